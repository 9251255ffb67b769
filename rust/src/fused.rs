//! One pass over rows that are well-formed, from CSV to JSON: 16 bytes at a time are read, written, and searched.
//!
//! Source and destination are slices that shrink as they are used up. What it does not understand it leaves to the
//! exact machine, a row at a time, so it never has to be sure.

use wide::u8x16;

use crate::columns::{Columns, Rows};
use crate::dialect::{CR, LF};
use crate::index::{Marks, Window};
use crate::json::{Lead, ESCAPES};

const STEP: usize = 16;

/// Why a pass stopped. The columns hold all rows before that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

pub struct Fused<'a> {
    delimiter: u8,
    /// No byte is equal to a quote that there is not.
    quote: u16,
    first: &'a Lead,
    others: &'a [Lead],
    suspect: bool,
}

/// What is left of source and destination.
type Rest<'s, 'd> = (&'s [u8], &'d mut [u8]);

impl<'a> Fused<'a> {
    /// `suspect`: rows may have invalid UTF-8. None if there are no columns.
    pub fn new(marks: Marks, leads: &'a [Lead], suspect: bool) -> Option<Self> {
        let (first, others) = leads.split_first()?;
        let quote = marks.quote.map_or(u16::MAX, u16::from);
        Some(Self { delimiter: marks.delimiter, quote, first, others, suspect })
    }

    /// Encode rows from `columns.rows.end` on. `KEYED`: `take_key` gives each row's key, of a span for each
    /// column.
    pub fn run<const KEYED: bool>(
        &self,
        window: Window,
        columns: &mut Columns,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Vec<u8>),
    ) -> Stop {
        let Columns { body, rows, .. } = columns;
        let stop = if self.quote == u16::from(b'"') || self.quote == u16::MAX {
            self.rows::<KEYED, true>(window, body, rows, spans, take_key)
        } else {
            self.rows::<KEYED, false>(window, body, rows, spans, take_key)
        };
        match stop {
            Err(stop) => stop,
            Ok(never) => match never {},
        }
    }

    /// `USUAL`: the quote is the one that JSON escapes too, or there is none.
    #[inline(always)]
    fn rows<const KEYED: bool, const USUAL: bool>(
        &self,
        window: Window,
        body: &mut [u8],
        rows: &mut Rows,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Vec<u8>),
    ) -> Result<std::convert::Infallible, Stop> {
        let end = window.offset + window.bytes.len();
        let room = body.len();
        let mut src = window.bytes.get(rows.end - window.offset..).ok_or(Stop::Done)?;
        loop {
            let first = *src.first().ok_or(Stop::Done)?;
            if first == LF || first == CR {
                src = after_line_end(src);
                rows.end = end - src.len();
                rows.lines += 1;
                continue;
            }
            let mut lines = 0;
            let mut others = self.others.iter();
            let value_at = rows.value_at();
            let mut dst = body.get_mut(value_at..).ok_or(Stop::Full)?;
            dst = self.first.put(dst).ok_or(Stop::Full)?;
            loop {
                let opened = *src.first().ok_or(Stop::Done)?;
                let quoted = u16::from(opened) == self.quote;
                let start = end - src.len() + usize::from(quoted);
                (src, dst) =
                    if quoted { self.quoted::<USUAL>(&src[1..], dst, &mut lines)? } else { self.unquoted(src, dst)? };
                if KEYED {
                    let end = end - src.len() - usize::from(quoted);
                    spans[self.others.len() - others.len()] = Span { start, end, quoted };
                }
                let Some((&byte, rest)) = src.split_first() else { return Err(Stop::Done) };
                if byte != self.delimiter {
                    break;
                }
                let Some(lead) = others.next() else { return Err(Stop::Odd) };
                src = rest;
                dst = lead.put(dst).ok_or(Stop::Full)?;
            }
            let row_end = end - src.len();
            if others.len() > 0 || !matches!(src.first(), Some(&(LF | CR))) {
                return Err(Stop::Odd);
            }
            if self.suspect {
                let row = &window.bytes[rows.end - window.offset..row_end - window.offset];
                simdutf8::basic::from_utf8(row).map_err(|_| Stop::Odd)?;
            }
            let (closing, rest) = dst.split_first_chunk_mut::<2>().ok_or(Stop::Full)?;
            *closing = *b"\"}";
            let size = room - rest.len() - value_at;
            if KEYED {
                take_key(spans, &mut rows.key);
            }
            let (before, lines_before) = (rows.end, rows.lines);
            src = after_line_end(src);
            rows.end = end - src.len();
            rows.lines += lines + 1;
            if rows.close::<KEYED>(body, value_at, size).is_none() {
                (rows.end, rows.lines) = (before, lines_before);
                return Err(Stop::Full);
            }
        }
    }

    /// A field up to the delimiter or line end that ends it.
    #[inline(always)]
    fn unquoted<'s, 'd>(&self, mut src: &'s [u8], mut dst: &'d mut [u8]) -> Result<Rest<'s, 'd>, Stop> {
        let delimiter = u8x16::splat(self.delimiter);
        loop {
            let block = *src.first_chunk::<STEP>().ok_or(Stop::Done)?;
            *dst.first_chunk_mut::<STEP>().ok_or(Stop::Full)? = block;
            let bytes = u8x16::new(block);
            let found = (to_escape(bytes) | bytes.simd_eq(delimiter)).to_bitmask();
            if found == 0 {
                (src, dst) = (&src[STEP..], &mut dst[STEP..]);
                continue;
            }
            let clean = found.trailing_zeros() as usize % STEP;
            (src, dst) = (&src[clean..], &mut dst[clean..]);
            let byte = *src.first().ok_or(Stop::Done)?;
            if byte == self.delimiter || byte == LF || byte == CR {
                return Ok((src, dst));
            }
            (src, dst) = (&src[1..], escape(byte, dst).ok_or(Stop::Full)?);
        }
    }

    /// The content behind an opening quote, and the closing one.
    #[inline(always)]
    fn quoted<'s, 'd, const USUAL: bool>(
        &self,
        mut src: &'s [u8],
        mut dst: &'d mut [u8],
        lines: &mut usize,
    ) -> Result<Rest<'s, 'd>, Stop> {
        let quote = if USUAL { b'"' } else { self.quote as u8 };
        loop {
            let block = *src.first_chunk::<STEP>().ok_or(Stop::Done)?;
            *dst.first_chunk_mut::<STEP>().ok_or(Stop::Full)? = block;
            let bytes = u8x16::new(block);
            let mut special = to_escape(bytes);
            if !USUAL {
                special |= bytes.simd_eq(u8x16::splat(quote));
            }
            let found = special.to_bitmask();
            if found == 0 {
                (src, dst) = (&src[STEP..], &mut dst[STEP..]);
                continue;
            }
            let clean = found.trailing_zeros() as usize % STEP;
            (src, dst) = (&src[clean..], &mut dst[clean..]);
            let byte = *src.first().ok_or(Stop::Done)?;
            src = &src[1..];
            let next = *src.first().ok_or(Stop::Done)?;
            if byte == quote {
                if next != quote {
                    return Ok((src, dst));
                }
                src = &src[1..];
            } else {
                *lines += usize::from(byte == LF || (byte == CR && next != LF));
            }
            dst = escape(byte, dst).ok_or(Stop::Full)?;
        }
    }
}

/// Quotes, backslashes and controls.
#[inline(always)]
fn to_escape(bytes: u8x16) -> u8x16 {
    let controls = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\')) | controls
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

#[inline(always)]
fn after_line_end(src: &[u8]) -> &[u8] {
    if src.first() == Some(&CR) && src.get(1) == Some(&LF) {
        &src[2..]
    } else {
        &src[1..]
    }
}
