//! Where the last whole record of a stretch of bytes ends: see `_python/boundary.py`.
//!
//! `find` counts quotes and is generic over how bytes are read, so that a buffer that another thread could change
//! (Python's bytearray) needs no copy. `find_exact` runs the true state machine.

use memchr::{memchr, memchr2, memchr3};

use crate::dialect::{after_line_end, Dialect, CR, LF};

/// Something that can be looked at byte by byte.
pub trait Bytes {
    fn size(&self) -> usize;
    fn at(&self, index: usize) -> u8;
    /// How often `byte` stands in `start..end`.
    fn count(&self, byte: u8, start: usize, end: usize) -> usize;
    /// The last place of `byte` in `start..end`.
    fn last(&self, byte: u8, start: usize, end: usize) -> Option<usize> {
        (start..end).rev().find(|&at| self.at(at) == byte)
    }
}

impl Bytes for [u8] {
    fn size(&self) -> usize {
        self.len()
    }
    fn at(&self, index: usize) -> u8 {
        self[index]
    }
    fn count(&self, byte: u8, start: usize, end: usize) -> usize {
        memchr::memchr_iter(byte, &self[start..end]).count()
    }
    fn last(&self, byte: u8, start: usize, end: usize) -> Option<usize> {
        memchr::memrchr(byte, &self[start..end]).map(|at| start + at)
    }
}

/// End of the last line end in `..stop` with an even number of quotes before it; 0: there is none.
pub fn find<B: Bytes + ?Sized>(data: &B, quote: Option<u8>, stop: usize) -> usize {
    let mut boundary = last_line_end(data, stop);
    let Some(quote) = quote else { return boundary };
    let mut odd = data.count(quote, 0, boundary) & 1;
    while odd == 1 {
        let opening = data.last(quote, 0, boundary).unwrap_or(0);
        let earlier = last_line_end(data, opening);
        if earlier == 0 {
            return 0;
        }
        odd ^= data.count(quote, earlier, boundary) & 1;
        boundary = earlier;
    }
    boundary
}

/// End of the last LF, CRLF or lone CR that ends at or before `stop`.
fn last_line_end<B: Bytes + ?Sized>(data: &B, stop: usize) -> usize {
    let mut at = stop;
    while at > 0 {
        at -= 1;
        match data.at(at) {
            LF => return at + 1,
            // A CR before `stop` is followed by another byte than LF, else that LF would have been found.
            CR if at + 1 < stop => return at + 1,
            CR if at + 1 < data.size() && data.at(at + 1) != LF => return at + 1,
            _ => {}
        }
    }
    0
}

/// End of the last true record (or blank line, or comment) in `..stop`; 0: there is none. `last`: nothing follows
/// `data`, so what has no line end is whole too, unless it is inside quotes.
pub fn find_exact(data: &[u8], dialect: &Dialect, stop: usize, last: bool) -> usize {
    let window = &data[..stop];
    let whole = stop == data.len();
    let (mut boundary, mut pos) = (0, 0);
    while pos < stop {
        let line_end = if Some(window[pos]) == dialect.comment {
            memchr2(CR, LF, &window[pos..]).map(|at| pos + at)
        } else {
            match record_line_end(window, pos, dialect) {
                Ok(found) => found,
                Err(Unclosed) => return boundary,
            }
        };
        let Some(line_end) = line_end else {
            return if last && whole { stop } else { boundary };
        };
        pos = after_line_end(window, line_end);
        let cut = pos == stop && window[pos - 1] == CR;
        if cut && (if whole { !last } else { data[pos] == LF }) {
            return boundary;
        }
        boundary = pos;
    }
    boundary
}

struct Unclosed;

/// Where the line end of the record at `start` begins.
fn record_line_end(data: &[u8], start: usize, dialect: &Dialect) -> Result<Option<usize>, Unclosed> {
    let mut pos = start;
    if Some(data[pos]) == dialect.quote {
        pos = after_quotes(data, pos + 1, dialect)?;
    }
    loop {
        let rest = &data[pos..];
        let found = match (dialect.quote, dialect.escape) {
            (Some(_), Some(_)) => rest.iter().position(|byte| {
                matches!(*byte, CR | LF) || *byte == dialect.delimiter || Some(*byte) == dialect.escape
            }),
            (Some(_), None) => memchr3(CR, LF, dialect.delimiter, rest),
            (None, Some(escape)) => memchr3(CR, LF, escape, rest),
            (None, None) => memchr2(CR, LF, rest),
        };
        let Some(found) = found else { return Ok(None) };
        let at = pos + found;
        let byte = data[at];
        if Some(byte) == dialect.escape {
            pos = (at + 2).min(data.len());
        } else if matches!(byte, CR | LF) {
            return Ok(Some(at));
        } else if data.get(at + 1).copied().is_some_and(|next| Some(next) == dialect.quote) {
            pos = after_quotes(data, at + 2, dialect)?;
        } else {
            pos = at + 1;
        }
    }
}

/// Behind the closing quote of the field whose content begins at `pos`.
fn after_quotes(data: &[u8], mut pos: usize, dialect: &Dialect) -> Result<usize, Unclosed> {
    let quote = dialect.quote.ok_or(Unclosed)?;
    while pos < data.len() {
        let found = match dialect.escape {
            None => memchr(quote, &data[pos..]),
            Some(escape) => memchr2(quote, escape, &data[pos..]),
        };
        let at = pos + found.ok_or(Unclosed)?;
        let next = data.get(at + 1).copied();
        if Some(data[at]) == dialect.escape || next == Some(quote) {
            pos = at + 2;
        } else if next.is_some() && next == dialect.escape {
            // What follows a closing quote is never an escape, as in Python's csv.
            return Ok(at + 2);
        } else {
            return Ok(at + 1);
        }
    }
    Err(Unclosed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC: Dialect = Dialect { delimiter: b',', quote: Some(b'"'), escape: None, comment: None };

    #[test]
    fn both_find_the_end_of_the_last_record() {
        let cases: [(&[u8], usize); 8] = [
            (b"", 0),
            (b"a,b", 0),
            (b"a\r\nb", 3),
            (b"a\rb", 2),
            (b"\"a\nb", 0),
            (b"\"a\nb\"\nc", 6),
            (b"a\r", 0),
            (b"x\n\"a\nb\"\"\nc\"\"\nd", 2),
        ];
        for (data, boundary) in cases {
            assert_eq!(find(data, Some(b'"'), data.len()), boundary, "{data:?}");
            assert_eq!(find_exact(data, &RFC, data.len(), false), boundary, "{data:?}");
        }
    }

    #[test]
    fn at_the_end_a_record_needs_no_line_end_unless_it_is_in_quotes() {
        assert_eq!(find_exact(b"a\nb", &RFC, 3, true), 3);
        assert_eq!(find_exact(b"a\n\"b", &RFC, 4, true), 2);
    }
}
