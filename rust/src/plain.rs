//! One pass over rows that are well-formed, which stay as they are: only where they end is looked for.

use crate::columns::Columns;
use crate::dialect::{after_line_end, CR, LF};
use crate::fused::{Span, Stop};
use crate::index::{Index, Marks, Window, BLOCK};

pub struct Plain {
    pub marks: Marks,
    pub width: usize,
}

impl Plain {
    /// Encode rows from `columns.rows.end` on; never `Stop::Full`. `KEYED`: as for `Fused`.
    pub fn run<const KEYED: bool>(
        &self,
        window: Window,
        columns: &mut Columns,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Vec<u8>),
    ) -> Stop {
        let src = window.bytes;
        // No byte is equal to a quote that there is not.
        let quote = self.marks.quote.map_or(u16::MAX, u16::from);
        let is_quote = |at: usize| u16::from(src[at]) == quote;
        let span =
            |start, end, quoted| Span { start: window.offset + start, end: window.offset + end, quoted: quoted == 1 };
        let mut index = Index::new(self.marks);
        let mut row = columns.rows.end - window.offset;
        let mut column = 0;
        let mut lines = 0;
        let mut base = row;
        let mut quoted = usize::from(base < src.len() && is_quote(base));
        let mut field = row + quoted;
        let mut pair = 0; // behind the last two quotes that mean one
        while let Some(block) = window.block(base) {
            let found = index.look(block);
            let mut uncounted = found.delimiters;
            let mut events = if KEYED { found.events } else { found.events & !found.delimiters };
            while events != 0 {
                let bit = events & events.wrapping_neg();
                let at = base + events.trailing_zeros() as usize;
                events ^= bit;
                if KEYED && found.delimiters & bit != 0 {
                    if column + 1 >= self.width {
                        return Stop::Odd;
                    }
                    spans[column] = span(field, at - quoted, quoted);
                    column += 1;
                    quoted = usize::from(is_quote(at + 1));
                    field = at + 1 + quoted;
                    continue;
                }
                let byte = src[at];
                if u16::from(byte) == quote {
                    if at < pair {
                        continue;
                    }
                    let next = src[at + 1];
                    // At a block's end it cannot be seen that a quote closes its field.
                    let closes = next == self.marks.delimiter || next == LF || next == CR;
                    if u16::from(next) == quote {
                        pair = at + 2;
                    } else if !closes {
                        return Stop::Odd;
                    }
                    if found.inside & bit != 0 {
                        return Stop::Odd; // a quote in an unquoted field
                    }
                    continue;
                }
                if found.inside & bit != 0 {
                    lines += usize::from(byte == LF || src[at + 1] != LF);
                    continue;
                }
                if at < row {
                    continue; // the LF of a CRLF
                }
                if !KEYED {
                    column += (uncounted & (bit - 1)).count_ones() as usize;
                    uncounted &= !(bit - 1);
                }
                if at > row && column + 1 != self.width {
                    return Stop::Odd;
                }
                let next = after_line_end(src, at);
                if at == row {
                    columns.rows.end = window.offset + next;
                    columns.rows.lines += 1;
                } else {
                    if KEYED {
                        spans[column] = span(field, at - quoted, quoted);
                        take_key(spans, &mut columns.rows.key);
                    }
                    columns.add(&src[row..at], window.offset + next, lines + 1);
                }
                (row, column, lines) = (next, 0, 0);
                quoted = usize::from(is_quote(next));
                field = next + quoted;
            }
            if !KEYED {
                column += uncounted.count_ones() as usize;
            }
            base += BLOCK;
        }
        Stop::Done
    }
}
