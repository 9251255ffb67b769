//! What encoding gives: columns, as `Records` in `csv2kafka/model/flow.py` describes them.

/// A row that was refused, by its place in the chunk.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub index: usize,
    pub start: usize,
    pub end: usize,
    pub line: usize,
    pub reason: String,
}

/// Rows as columns. `keyed`: `keys` and `key_ends` mean something. Only the first `filled` bytes of `values` are
/// rows; what is behind them is room.
#[derive(Debug, Default)]
pub struct Columns {
    pub values: Vec<u8>,
    pub filled: usize,
    pub value_ends: Vec<u32>,
    pub keys: Vec<u8>,
    pub key_ends: Vec<u32>,
    pub row_ends: Vec<u32>,
    pub row_lines: Vec<u32>,
    pub bad: Vec<Refused>,
    pub end: usize,
    pub lines: usize,
}

impl Columns {
    /// At least `more` bytes of room behind what is filled.
    pub fn make_room(&mut self, more: usize) {
        let needed = self.filled + more;
        if self.values.len() < needed {
            let size = needed.max(self.values.len() * 2);
            self.values.resize(size, 0);
        }
    }

    /// Add to what is filled.
    pub fn append(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.values[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// A good row's value is complete; `end` and `lines` are where the row ended.
    pub fn close_row(&mut self, end: usize, lines: usize) {
        self.value_ends.push(self.filled as u32);
        self.row_ends.push(end as u32);
        self.row_lines.push(lines as u32);
    }
}
