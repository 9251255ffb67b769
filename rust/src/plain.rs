//! Rows as they stand, where they are well-formed: only where fields begin and end is looked for.

use memchr::{memchr, memchr3};

use crate::columns::Columns;
use crate::dialect::{after_line_end, CR, LF};
use crate::fused::{Span, Stop};

pub struct Plain {
    pub delimiter: u8,
    pub quote: Option<u8>,
    /// No line end is needed at the end of data.
    pub last: bool,
}

impl Plain {
    /// Encode rows from `columns.end` on; never `Stop::Full`. `spans`: one for each column, filled if keys are wanted.
    pub fn run<const KEYED: bool>(
        &self,
        data: &[u8],
        columns: &mut Columns,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Columns),
    ) -> Stop {
        let mut pos = columns.end;
        loop {
            let Some(&first) = data.get(pos) else { return Stop::Done };
            if first == LF || first == CR {
                pos = after_line_end(data, pos);
                columns.end = pos;
                columns.lines += 1;
                continue;
            }
            let mut lines = 0;
            for (column, place) in spans.iter_mut().enumerate() {
                if column > 0 {
                    if data.get(pos) != Some(&self.delimiter) {
                        return Stop::Odd;
                    }
                    pos += 1;
                }
                let quoted = data.get(pos).is_some_and(|byte| Some(*byte) == self.quote);
                let mut span = Span { start: pos + usize::from(quoted), ..Span::default() };
                if quoted {
                    match self.quoted(data, &mut span, &mut lines) {
                        true => pos = span.end + 1,
                        false => return Stop::Odd,
                    }
                } else {
                    let found = memchr3(self.delimiter, CR, LF, &data[pos..]);
                    span.end = found.map_or(data.len(), |at| pos + at);
                    pos = span.end;
                }
                if KEYED {
                    *place = span;
                }
            }
            let row = &data[columns.end..pos];
            match data.get(pos) {
                Some(&(CR | LF)) => pos = after_line_end(data, pos),
                None if self.last => {}
                _ => return Stop::Odd,
            }
            columns.append(row);
            columns.end = pos;
            columns.lines += lines + 1;
            columns.close_row(pos, columns.lines);
            if KEYED {
                take_key(spans, columns);
            }
        }
    }

    /// Find the closing quote for `span`; false where data ends before.
    fn quoted(&self, data: &[u8], span: &mut Span, lines: &mut usize) -> bool {
        let Some(quote) = self.quote else { return false };
        let mut pos = span.start;
        loop {
            let Some(found) = memchr(quote, &data[pos..]) else { return false };
            *lines += line_ends(&data[pos..pos + found]);
            span.end = pos + found;
            if data.get(span.end + 1) != Some(&quote) {
                return true;
            }
            span.doubled = true;
            pos = span.end + 2;
        }
    }
}

fn line_ends(data: &[u8]) -> usize {
    memchr::memchr2_iter(LF, CR, data).filter(|&at| data[at] == LF || data.get(at + 1) != Some(&LF)).count()
}
