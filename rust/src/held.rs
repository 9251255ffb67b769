//! Rows where they were written: as the records of a Kafka batch, one behind the other.

use crate::pool::Pooled;

/// Consecutive rows of a column. Row n has the bytes up to `stops[n]` of `data`, as many as from the end before it to
/// `ends[n]`: what all rows before it have is the difference, so stops are ends where rows stand side by side.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    data: &'a [u8],
    stops: &'a [u32],
    ends: &'a [u32],
    start: u32,
}

impl<'a> Column<'a> {
    /// Rows side by side, the first from `start` on. None where the ends do not rise, or lie behind the data.
    pub fn new(data: &'a [u8], start: u32, ends: &'a [u32]) -> Option<Self> {
        let rising = ends.iter().try_fold(start, |before, &end| (before <= end).then_some(end));
        let fits = rising? as usize <= data.len();
        fits.then_some(Self { data, stops: ends, ends, start })
    }

    pub fn rows(&self) -> impl Iterator<Item = &'a [u8]> + 'a {
        let (data, mut before) = (self.data, self.start);
        self.stops.iter().zip(self.ends).map(move |(&stop, &end)| {
            let (stop, size) = (stop as usize, (end - before) as usize);
            before = end;
            &data[stop - size..stop]
        })
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Rows to work on.
#[derive(Clone, Copy)]
pub struct Selection<'a> {
    pub values: Column<'a>,
    pub keys: Option<Column<'a>>,
}

/// Of each row where its bytes end in the body, and how many bytes all rows up to it have.
#[derive(Debug, Default)]
pub struct Places {
    pub stops: Pooled<u32>,
    pub ends: Pooled<u32>,
}

impl Places {
    pub fn new(rows: usize) -> Self {
        Self { stops: Pooled::new(rows), ends: Pooled::new(rows) }
    }

    /// Room for that many rows, the first `filled` of them as they were.
    #[inline(always)]
    pub fn grow(&mut self, rows: usize, filled: usize) {
        if self.stops.len().min(self.ends.len()) < rows {
            self.stops.grow(rows * 2, filled);
            self.ends.grow(rows * 2, filled);
        }
    }

    fn column<'a>(&'a self, data: &'a [u8], first: usize, last: usize) -> Option<Column<'a>> {
        let start = if first == 0 { 0 } else { *self.ends.get(first - 1)? };
        Some(Column { data, stops: self.stops.get(first..last)?, ends: self.ends.get(first..last)?, start })
    }
}

/// `count` rows; the first `filled` bytes of `body` are their records. `ours`: as `pack` would write them, and nothing
/// stands in a record behind its value but that it has no headers.
#[derive(Debug, Default)]
pub struct Held {
    pub body: Pooled<u8>,
    pub filled: usize,
    pub count: usize,
    pub values: Places,
    pub keys: Option<Places>,
    pub ours: bool,
}

impl Held {
    /// The rows `first` to `last` (excluded); None where there are none.
    pub fn rows(&self, first: usize, last: usize) -> Option<Selection<'_>> {
        if first > last || last > self.count {
            return None;
        }
        let data = &self.body[..self.filled];
        let keys = match &self.keys {
            Some(keys) => Some(keys.column(data, first, last)?),
            None => None,
        };
        Some(Selection { values: self.values.column(data, first, last)?, keys })
    }

    /// A batch's body of the rows `first` to `last`, where it is there already.
    pub fn body_of(&self, first: usize, last: usize) -> Option<&[u8]> {
        if !self.ours || first != 0 || last > self.count {
            return None;
        }
        let end = if last == 0 { 0 } else { self.values.stops[last - 1] as usize + 1 };
        Some(&self.body[..end])
    }

    pub fn value_ends(&self) -> &[u32] {
        &self.values.ends[..self.count]
    }

    pub fn key_ends(&self) -> Option<&[u32]> {
        self.keys.as_ref().map(|keys| &keys.ends[..self.count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_make_no_sense_are_none() {
        assert!(Column::new(b"abc", 0, &[2, 1]).is_none());
        assert!(Column::new(b"abc", 0, &[4]).is_none());
        assert!(Column::new(b"abc", 4, &[]).is_none());
        assert!(Column::new(b"abc", 3, &[3]).is_some());
    }
}
