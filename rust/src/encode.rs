//! A chunk of whole records to columns of values and keys: see `_python/encode.py`.
//!
//! Dialects with escapes or comments are read by the exact machine; others by a fast way, which leaves single rows
//! to the exact machine.

use crate::columns::{Columns, Refused};
use crate::dialect::{count_lines, Dialect};
use crate::fused::{Fused, Span, Stop};
use crate::index::{Marks, Window, BLOCK, MARGIN};
use crate::json::{leads, quote, Lead};
use crate::plain::Plain;
use crate::rows::{Fields, Machine, Row};

/// Room for this many bytes of records is made at first, and at a time, at least.
const ROOM: usize = 64 << 10;

/// What a chunk is and how it is read. `keys`: the columns that make the record's key.
pub struct Task<'a> {
    pub data: &'a [u8],
    pub dialect: Dialect,
    pub shown_delimiter: &'a str,
    pub width: usize,
    pub keys: &'a [usize],
    pub last: bool,
}

/// Each row as a JSON object. `names`: the columns', as JSON has them, with their quotes.
pub fn encode_json(task: &Task, names: &[Vec<u8>]) -> Columns {
    let leads = leads(names);
    let mut columns = task.columns();
    let mut exact = Exact::new(task, Some(&leads));
    let suspect = simdutf8::basic::from_utf8(task.data).is_err();
    let fused = Fused::new(task.marks(), &leads, suspect).filter(|_| task.dialect.is_simple());
    let Some(fused) = fused else {
        while exact.row(&mut columns) {}
        return columns;
    };
    let mut spans = vec![Span::default(); task.width];
    let mut take_key = |spans: &[Span], key: &mut Vec<u8>| task.take_key(spans, key);
    columns.make_room(ROOM);
    task.windows(&mut columns, exact, |window, columns| {
        if task.keys.is_empty() {
            fused.run::<false>(window, columns, &mut spans, &mut take_key)
        } else {
            fused.run::<true>(window, columns, &mut spans, &mut take_key)
        }
    });
    columns
}

/// Each row's own bytes, without line end.
pub fn encode_raw(task: &Task) -> Columns {
    let mut columns = task.columns();
    let mut exact = Exact::new(task, None);
    if !task.dialect.is_simple() || task.width == 0 {
        while exact.row(&mut columns) {}
        return columns;
    }
    columns.make_room(task.data.len() + task.data.len() / 8 + ROOM);
    let plain = Plain { marks: task.marks(), width: task.width };
    let mut spans = vec![Span::default(); task.width];
    let mut take_key = |spans: &[Span], key: &mut Vec<u8>| task.take_key(spans, key);
    task.windows(&mut columns, exact, |window, columns| {
        if task.keys.is_empty() {
            plain.run::<false>(window, columns, &mut spans, &mut take_key)
        } else {
            plain.run::<true>(window, columns, &mut spans, &mut take_key)
        }
    });
    columns
}

impl Task<'_> {
    fn marks(&self) -> Marks {
        Marks { delimiter: self.dialect.delimiter, quote: self.dialect.quote }
    }

    fn columns(&self) -> Columns {
        Columns::new(self.data.len() / 64 + 16, !self.keys.is_empty())
    }

    /// All rows by the fast way, but for those that it leaves to the exact machine. What it cannot see at the end of
    /// data, which has no margin behind it, it sees in a copy with zeros there.
    fn windows(&self, columns: &mut Columns, mut exact: Exact, mut fast: impl FnMut(Window, &mut Columns) -> Stop) {
        let mut tail = Vec::new();
        let mut window = Window { bytes: self.data, offset: 0 };
        while columns.rows.end < self.data.len() {
            match fast(window, columns) {
                Stop::Full => {
                    let (filled, end) = (columns.rows.filled, columns.rows.end);
                    // What the rest takes if it is like what is done, and a little; but more than there was.
                    let rest = (self.data.len() - end) as u64 * filled as u64 / end.max(1) as u64;
                    let rest = (rest + rest / 32) as usize;
                    columns.make_room(((columns.body.len() - filled) * 2).max(rest) + ROOM);
                }
                Stop::Done if tail.is_empty() && columns.rows.end < self.data.len() => {
                    let end = columns.rows.end;
                    tail.extend_from_slice(&self.data[end..]);
                    tail.resize(tail.len() + BLOCK + MARGIN, 0);
                    window = Window { bytes: &tail, offset: end };
                }
                _ if exact.row(columns) => {}
                _ => return,
            }
        }
    }

    /// The key of the row whose fields are `spans`.
    fn take_key(&self, spans: &[Span], key: &mut Vec<u8>) {
        key.clear();
        if let [column] = self.keys {
            return self.content(spans[*column], key);
        }
        let mut field = Vec::new();
        for (place, &column) in self.keys.iter().enumerate() {
            key.push(if place == 0 { b'[' } else { b',' });
            field.clear();
            self.content(spans[column], &mut field);
            quote(&field, key);
        }
        key.push(b']');
    }

    /// A field's content, doubled quotes made single.
    fn content(&self, span: Span, out: &mut Vec<u8>) {
        let mut rest = &self.data[span.start..span.end];
        if let (true, Some(quote)) = (span.quoted, self.dialect.quote) {
            while let Some(at) = memchr::memchr(quote, rest) {
                out.extend_from_slice(&rest[..=at]);
                rest = &rest[at + 2..];
            }
        }
        out.extend_from_slice(rest);
    }
}

/// The exact machine at work on a chunk. `leads`: for JSON.
struct Exact<'a> {
    task: &'a Task<'a>,
    leads: Option<&'a [Lead]>,
    machine: Machine<'a>,
    fields: Fields,
    value: Vec<u8>,
}

impl<'a> Exact<'a> {
    fn new(task: &'a Task, leads: Option<&'a [Lead]>) -> Self {
        let machine = Machine { dialect: task.dialect, shown_delimiter: task.shown_delimiter };
        Self { task, leads, machine, fields: Fields::default(), value: Vec::new() }
    }

    /// Read the row at `columns.end`; false where there is no whole one.
    fn row(&mut self, columns: &mut Columns) -> bool {
        let (data, start) = (self.task.data, columns.rows.end);
        if start == data.len() {
            return false;
        }
        let Some(row) = self.machine.read(data, start, self.task.last, &mut self.fields) else {
            return false;
        };
        let (line, lines) = (columns.rows.lines, count_lines(&data[start..row.end]));
        let (content_end, row_end) = (row.content_end, row.end);
        if row.is_record {
            let Some(reason) = self.refusal(start, row) else {
                self.add(&data[start..content_end], row_end, lines, columns);
                return true;
            };
            let index = columns.rows.count;
            columns.bad.push(Refused { index, start, end: content_end, line, reason });
        }
        columns.rows.end = row_end;
        columns.rows.lines += lines;
        true
    }

    fn refusal(&self, start: usize, row: Row) -> Option<String> {
        let (found, expected) = (self.fields.len(), self.task.width);
        if row.problem.is_some() {
            return row.problem;
        }
        if found != expected {
            let few = if found < expected { "few" } else { "many" };
            return Some(format!("too {few} fields: expected {expected}, found {found}"));
        }
        let content = &self.task.data[start..row.content_end];
        let invalid = self.leads.and_then(|_| std::str::from_utf8(content).err());
        invalid.map(|error| {
            let at = error.valid_up_to();
            format!("not valid UTF-8: byte 0x{:02x} at byte {at} of the row", content[at])
        })
    }

    fn add(&mut self, content: &[u8], end: usize, lines: usize, columns: &mut Columns) {
        self.take_key(&mut columns.rows.key);
        let Some(leads) = self.leads else { return columns.add(content, end, lines) };
        self.value.clear();
        for (column, lead) in leads.iter().enumerate() {
            // `quote` writes the quotes that leads have too.
            let whole = lead.bytes();
            let before = &whole[usize::from(column > 0)..whole.len() - 1];
            self.value.extend_from_slice(before);
            quote(self.fields.get(column), &mut self.value);
        }
        self.value.push(b'}');
        columns.add(&self.value, end, lines);
    }

    fn take_key(&self, key: &mut Vec<u8>) {
        key.clear();
        match self.task.keys {
            [] => {}
            [column] => key.extend_from_slice(self.fields.get(*column)),
            all => {
                for (place, &column) in all.iter().enumerate() {
                    key.push(if place == 0 { b'[' } else { b',' });
                    quote(self.fields.get(column), key);
                }
                key.push(b']');
            }
        }
    }
}
