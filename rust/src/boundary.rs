//! Where the last whole record of a stretch of bytes ends: see `_python/boundary.py`.
//!
//! `find` counts quotes, in a text of several pieces, so that they need not be put together to know where to cut.
//! `find_exact` runs the true state machine.

use memchr::{memchr, memchr2, memchr3, memrchr, memrchr2};

use crate::dialect::{after_line_end, Dialect, CR, LF};

/// A text in pieces, one behind the other.
#[derive(Clone, Copy)]
pub struct Pieces<'a>(pub &'a [&'a [u8]]);

impl<'a> Pieces<'a> {
    pub fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What of each piece lies in `start..end`, last piece first, with the place where it begins.
    fn within(self, start: usize, end: usize) -> impl Iterator<Item = (usize, &'a [u8])> {
        let mut behind = self.len();
        self.0.iter().rev().filter_map(move |piece| {
            let (at, stop) = (behind - piece.len(), end.min(behind));
            behind = at;
            let from = start.max(at);
            Some((from, piece.get(from - at..stop.checked_sub(at)?)?))
        })
    }

    fn at(self, index: usize) -> Option<u8> {
        self.within(index, index + 1).find_map(|(_, part)| part.first().copied())
    }

    /// How often `byte` stands in `start..end`.
    fn count(self, byte: u8, start: usize, end: usize) -> usize {
        self.within(start, end).map(|(_, part)| memchr::memchr_iter(byte, part).count()).sum()
    }

    /// The last place before `end` that `found` finds in a part.
    fn last(self, end: usize, found: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        self.within(0, end).find_map(|(at, part)| found(part).map(|place| at + place))
    }
}

/// End of the last line end in `..stop` with an even number of quotes before it; 0: there is none.
pub fn find(text: Pieces, quote: Option<u8>, stop: usize) -> usize {
    let mut boundary = last_line_end(text, stop);
    let Some(quote) = quote else { return boundary };
    let mut odd = text.count(quote, 0, boundary) & 1;
    while odd == 1 {
        let opening = text.last(boundary, |part| memrchr(quote, part)).unwrap_or(0);
        let earlier = last_line_end(text, opening);
        if earlier == 0 {
            return 0;
        }
        odd ^= text.count(quote, earlier, boundary) & 1;
        boundary = earlier;
    }
    boundary
}

/// End of the last LF, CRLF or lone CR that ends at or before `stop`.
fn last_line_end(text: Pieces, mut stop: usize) -> usize {
    let whole = stop;
    while let Some(at) = text.last(stop, |part| memrchr2(CR, LF, part)) {
        // A CR at the very end is no line end: the LF that belongs to it may follow. Before `stop` no LF follows a
        // CR, else that would have been found.
        let next = text.at(at + 1);
        if text.at(at) == Some(LF) || at + 1 < whole || next.is_some_and(|byte| byte != LF) {
            return at + 1;
        }
        stop = at;
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
            for cut in 0..=data.len() {
                let (one, other) = data.split_at(cut);
                assert_eq!(find(Pieces(&[one, other]), Some(b'"'), data.len()), boundary, "{data:?}");
            }
            assert_eq!(find_exact(data, &RFC, data.len(), false), boundary, "{data:?}");
        }
    }

    #[test]
    fn at_the_end_a_record_needs_no_line_end_unless_it_is_in_quotes() {
        assert_eq!(find_exact(b"a\nb", &RFC, 3, true), 3);
        assert_eq!(find_exact(b"a\n\"b", &RFC, 4, true), 2);
    }
}
