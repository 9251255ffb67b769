//! One pass over rows that are well-formed, from CSV to JSON.
//!
//! What it does not understand it leaves to the exact machine, a row at a time, so it never has to be sure. The
//! destination is a slice that shrinks as it is used up. Copies are of 32 bytes whatever is needed of them, since
//! most fields are shorter: what is too much is overwritten by what comes next.

use crate::columns::Columns;
use crate::dialect::{after_line_end, CR, LF};
use crate::index::{Index, Marks, BLOCK, MARGIN};
use crate::json::{Lead, ESCAPES};

const STEP: usize = 32;

/// Why a pass stopped. The columns hold all rows before that place.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Too little is left of the data.
    Done,
    /// The row there is for the exact machine.
    Odd,
    /// There was no more room for the row's value.
    Full,
}

/// A key field's bytes as they stand in the data, without outer quotes. `quoted`: quotes in it are doubled.
#[derive(Clone, Copy, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub quoted: bool,
}

/// A stretch of data that begins at a record's start, with zeros or more data behind it. `offset`: of its first
/// byte, in the chunk.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    pub bytes: &'a [u8],
    pub offset: usize,
}

impl<'a> Window<'a> {
    /// The block at `base`, if there is one with a margin behind it.
    #[inline(always)]
    pub fn block(&self, base: usize) -> Option<&'a [u8; BLOCK]> {
        self.bytes.get(base..)?.first_chunk::<{ BLOCK + MARGIN }>()?.first_chunk::<BLOCK>()
    }
}

pub struct Fused<'a> {
    pub marks: Marks,
    pub leads: &'a [Lead],
    /// Rows may have invalid UTF-8.
    pub suspect: bool,
}

impl Fused<'_> {
    /// Encode rows from `columns.end` on. `KEYED`: `take_key` is called for each row, with a span for each column.
    pub fn run<const KEYED: bool>(
        &self,
        window: Window,
        columns: &mut Columns,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Columns),
    ) -> Stop {
        let mut values = std::mem::take(&mut columns.values);
        let stop = self.rows::<KEYED>(window, &mut values, columns, spans, take_key);
        columns.values = values;
        stop.unwrap_or(Stop::Full)
    }

    /// None: the destination is full.
    #[inline(always)]
    fn rows<const KEYED: bool>(
        &self,
        window: Window,
        values: &mut [u8],
        columns: &mut Columns,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Columns),
    ) -> Option<Stop> {
        let src = window.bytes;
        // No byte is equal to a quote that there is not.
        let quote = self.marks.quote.map_or(u16::MAX, u16::from);
        let is_quote = |at: usize| u16::from(src[at]) == quote;
        let room = values.len();
        let mut index = Index::<true>::new(self.marks);
        let mut row = columns.end - window.offset;
        let mut dst = self.leads[0].put(&mut values[columns.filled..])?;
        let mut column = 0;
        let mut lines = 0;
        let mut base = row;
        let mut quoted = usize::from(base < src.len() && is_quote(base));
        let mut start = row + quoted; // of what was not copied yet
        let mut field = start;
        while let Some(block) = window.block(base) {
            let found = index.look(block);
            let mut events = found.events;
            while events != 0 {
                let bit = events & events.wrapping_neg();
                let at = base + events.trailing_zeros() as usize;
                events ^= bit;
                if found.delimiters & bit != 0 {
                    let Some(lead) = self.leads.get(column + 1) else { return Some(Stop::Odd) };
                    let Some(length) = (at - quoted).checked_sub(start) else { return Some(Stop::Odd) };
                    dst = lead.put(copy(src, start, length, dst)?)?;
                    if KEYED {
                        spans[column] = Span::new(window, field, at, quoted);
                    }
                    column += 1;
                    quoted = usize::from(is_quote(at + 1));
                    start = at + 1 + quoted;
                    field = start;
                    continue;
                }
                let byte = src[at];
                let outside = found.inside & bit == 0;
                if outside && (byte == LF || byte == CR) {
                    if at < row {
                        continue; // the LF of a CRLF
                    }
                    let next = after_line_end(src, at);
                    if at > row {
                        if column + 1 != self.leads.len() || (self.suspect && !is_utf8(&src[row..at])) {
                            return Some(Stop::Odd);
                        }
                        let Some(length) = (at - quoted).checked_sub(start) else { return Some(Stop::Odd) };
                        let (end, rest) = copy(src, start, length, dst)?.split_first_chunk_mut::<2>()?;
                        *end = *b"\"}";
                        columns.filled = room - rest.len();
                        dst = self.leads[0].put(rest)?;
                    }
                    columns.end = window.offset + next;
                    columns.lines += lines + 1;
                    if at > row {
                        columns.close_row(columns.end, columns.lines);
                        if KEYED {
                            spans[column] = Span::new(window, field, at, quoted);
                            take_key(spans, columns);
                        }
                    }
                    (row, column, lines) = (next, 0, 0);
                    quoted = usize::from(is_quote(next));
                    start = next + quoted;
                    field = start;
                    continue;
                }
                if u16::from(byte) == quote {
                    if at < start {
                        continue; // the second of a pair
                    }
                    if found.inside & bit != 0 {
                        return Some(Stop::Odd); // in an unquoted field
                    }
                    let next = src[at + 1];
                    if u16::from(next) != quote {
                        if self.ends_field(next) {
                            continue; // it closes the field, which could not be seen at a block's end
                        }
                        return Some(Stop::Odd);
                    }
                    dst = escape(byte, copy(src, start, at - start, dst)?)?;
                    start = at + 2;
                    continue;
                }
                if outside && (is_quote(at + 1) || (at > 0 && is_quote(at - 1))) {
                    return Some(Stop::Odd); // these quotes were taken for ones that open or close a field
                }
                lines += usize::from(byte == LF || (byte == CR && src[at + 1] != LF));
                dst = escape(byte, copy(src, start, at - start, dst)?)?;
                start = at + 1;
            }
            base += BLOCK;
        }
        Some(Stop::Done)
    }

    fn ends_field(&self, byte: u8) -> bool {
        byte == self.marks.delimiter || byte == LF || byte == CR
    }
}

impl Span {
    #[inline(always)]
    pub fn new(window: Window, start: usize, end: usize, quoted: usize) -> Self {
        let (start, end) = (window.offset + start, window.offset + end - quoted);
        Self { start, end, quoted: quoted == 1 }
    }
}

#[inline(always)]
fn copy<'a>(src: &[u8], start: usize, length: usize, dst: &'a mut [u8]) -> Option<&'a mut [u8]> {
    *dst.first_chunk_mut::<STEP>()? = *src.get(start..)?.first_chunk::<STEP>()?;
    if length > STEP {
        dst.get_mut(STEP..length)?.copy_from_slice(&src[start + STEP..start + length]);
    }
    dst.get_mut(length..)
}

#[inline(always)]
fn escape(byte: u8, dst: &mut [u8]) -> Option<&mut [u8]> {
    let escape = &ESCAPES[byte as usize];
    if escape.length == 0 {
        let (here, rest) = dst.split_first_mut()?;
        *here = byte;
        return Some(rest);
    }
    *dst.first_chunk_mut::<8>()? = escape.bytes;
    dst.get_mut(escape.length as usize..)
}

fn is_utf8(row: &[u8]) -> bool {
    simdutf8::basic::from_utf8(row).is_ok()
}
