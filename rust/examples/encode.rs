//! For a profiler: encodes one CSV file again and again. `cargo run --release --example encode -- FILE [ROUNDS]`
use _rust::dialect::Dialect;
use _rust::encode::{encode_json, Task};
use _rust::scratch::{give_back, take, Use};
use std::time::Instant;

fn main() {
    let path = std::env::args().nth(1).expect("a file");
    let rounds: usize = std::env::args().nth(2).map_or(20, |rounds| rounds.parse().expect("a number"));
    let data = std::fs::read(path).expect("a file that can be read");
    let names: Vec<Vec<u8>> = ["id", "name", "note", "amount", "city", "when", "flag", "text", "code", "last"]
        .iter()
        .map(|name| format!("\"{name}\"").into_bytes())
        .collect();
    let dialect = Dialect { delimiter: b',', quote: Some(b'"'), escape: None, comment: None };
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let (mut rest, mut rows) = (&data[..], 0);
        let start = Instant::now();
        while !rest.is_empty() {
            let chunk = &rest[..rest.len().min(1 << 20)];
            let task = Task { data: chunk, dialect, shown_delimiter: "','", width: 10, keys: &[], last: false };
            let columns = encode_json(&task, &names, take(Use::Values));
            rows += columns.value_ends.len();
            let end = if chunk.len() == rest.len() { chunk.len() } else { columns.end };
            give_back(Use::Values, columns.values);
            rest = &rest[end..];
        }
        best = best.min(start.elapsed().as_secs_f64() / rows as f64 * 1e9);
    }
    println!("{best:.1} ns a row at best, {:.0} MB/s", 1e3 / best * data.len() as f64 / 500_000.0);
}
