//! What encoding gives: rows as the records of a batch, and columns of numbers as `Records` in
//! `csv2kafka/model/flow.py` describes them.

use crate::held::{Held, Places};
use crate::pool::Pooled;
use crate::varint::{length_of, put};

/// A row that was refused, by its place in the chunk.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub index: usize,
    pub start: usize,
    pub end: usize,
    pub line: usize,
    pub reason: String,
}

/// What stands in a record around key and value is never more.
pub const AROUND: usize = 32;

/// What is made room for at least where a single row needs more.
const SPARE: usize = 64 << 10;

/// The rows of a chunk up to `rows.end`.
#[derive(Debug, Default)]
pub struct Columns {
    pub body: Pooled<u8>,
    pub rows: Rows,
    pub bad: Vec<Refused>,
}

/// Where the rows are. `key`: of the row that is being made.
#[derive(Debug, Default)]
pub struct Rows {
    pub filled: usize,
    pub count: usize,
    pub key: Vec<u8>,
    /// Of each row where its value ends in the body, what all values up to it have, where the row ends in the chunk, and
    /// the lines passed there: side by side, so that one step writes them all.
    numbers: Pooled<[u32; 4]>,
    keys: Option<Places>,
    pub end: usize,
    pub lines: usize,
    /// Bytes before the value in the last record: most often it is the same in the next.
    head: usize,
    value_bytes: usize,
    key_bytes: usize,
}

impl Columns {
    /// No rows yet; room for about `rows` of them.
    pub fn new(rows: usize, keyed: bool) -> Self {
        let keys = keyed.then(|| Places::new(rows));
        let rows = Rows { numbers: Pooled::new(rows), keys, ..Rows::default() };
        Self { rows, ..Self::default() }
    }

    /// At least `more` bytes of room behind the rows.
    pub fn make_room(&mut self, more: usize) {
        let needed = self.rows.filled + more;
        if self.body.len() < needed {
            self.body.grow(needed, self.rows.filled);
        }
    }

    /// Add the row that ends at `end`, `lines` lines behind the one before, with the key that is in `rows.key`.
    #[inline(always)]
    pub fn add(&mut self, value: &[u8], end: usize, lines: usize) {
        let needed = value.len() + self.rows.head + self.rows.key.len() + AROUND;
        if self.body.len() - self.rows.filled < needed {
            self.make_room(needed.max(self.rows.filled) + SPARE);
        }
        let at = self.rows.value_at();
        self.body[at..at + value.len()].copy_from_slice(value);
        let added = if self.rows.keys.is_some() {
            self.rows.close::<true>(&mut self.body, at, value.len(), end, lines)
        } else {
            self.rows.close::<false>(&mut self.body, at, value.len(), end, lines)
        };
        debug_assert!(added.is_some());
    }

    /// The rows, and where they end in the chunk, with the lines passed there.
    pub fn finish(self) -> (Held, Pooled<u32>, Pooled<u32>) {
        let Self { body, rows, .. } = self;
        let Rows { filled, count, keys, numbers, .. } = rows;
        let mut values = Places::new(count);
        let (mut row_ends, mut row_lines) = (Pooled::new(count), Pooled::new(count));
        let places = values.stops.iter_mut().zip(values.ends.iter_mut());
        let columns = places.zip(row_ends.iter_mut().zip(row_lines.iter_mut()));
        for (row, ((stop, value_end), (end, lines))) in numbers[..count].iter().zip(columns) {
            [*stop, *value_end, *end, *lines] = *row;
        }
        (Held { body, filled, count, values, keys, ours: true }, row_ends, row_lines)
    }

    /// Whether the numbers in the columns are what they should be.
    pub fn fits(&self) -> bool {
        u32::try_from(self.rows.filled).is_ok() && u32::try_from(self.rows.end).is_ok()
    }
}

impl Rows {
    /// Where in the body the next value is best written.
    #[inline(always)]
    pub fn value_at(&self) -> usize {
        self.filled + self.head
    }

    /// The value of the row that ends at `end` in the chunk, `lines` lines behind the one before, is complete, at `at`
    /// in the body: make its record around it. None where there is no room for that; then nothing has changed.
    #[inline(always)]
    pub fn close<const KEYED: bool>(
        &mut self,
        body: &mut [u8],
        at: usize,
        size: usize,
        end: usize,
        lines: usize,
    ) -> Option<()> {
        let delta = self.count;
        let key = if KEYED { length_of(self.key.len()) + self.key.len() } else { 1 };
        let around = 2 + length_of(delta) + key + length_of(size);
        let record = around + size + 1;
        let head = length_of(record) + around;
        let from = at - self.filled;
        let out = body.get_mut(self.filled..self.filled + size + 1 + head.max(from))?;
        if head != from {
            out.copy_within(from..from + size, head);
        }
        let rest = put(out, record);
        rest[..2].fill(0); // attributes, timestamp delta
        let rest = put(&mut rest[2..], delta);
        let rest = if KEYED {
            let (key, rest) = put(rest, self.key.len()).split_at_mut(self.key.len());
            key.copy_from_slice(&self.key);
            rest
        } else {
            rest[0] = 1; // null
            &mut rest[1..]
        };
        put(rest, size);
        let stop = head + size;
        out[stop] = 0; // no headers
        (self.end, self.lines) = (end, self.lines + lines);
        self.value_bytes += size;
        let row = self.count;
        if row == self.numbers.len() {
            self.more_rows();
        }
        self.numbers[row] = [(self.filled + stop) as u32, self.value_bytes as u32, self.end as u32, self.lines as u32];
        if let (true, Some(keys)) = (KEYED, &mut self.keys) {
            keys.grow(row + 1, row);
            self.key_bytes += self.key.len();
            keys.stops[row] = (self.filled + head - length_of(size)) as u32;
            keys.ends[row] = self.key_bytes as u32;
        }
        self.count += 1;
        self.head = head;
        self.filled += stop + 1;
        Some(())
    }

    #[cold]
    #[inline(never)]
    fn more_rows(&mut self) {
        self.numbers.grow(self.count * 2 + 16, self.count);
    }
}
