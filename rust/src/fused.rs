//! One pass over rows that are well-formed, from CSV to JSON: 16 bytes at a time are read, written, and searched.
//!
//! Source and destination are slices that shrink as they are used up. What it does not understand it leaves to the
//! exact machine, a row at a time, so it never has to be sure.

use wide::u8x16;

use crate::columns::Columns;
use crate::dialect::{CR, LF};
use crate::json::{Lead, ESCAPES};

const STEP: usize = 16;

/// Why a pass stopped. The columns hold all rows before that place.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// All data is used up.
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
    pub delimiter: u8,
    /// A quote that opens fields; None: quotes are data.
    pub quote: Option<u8>,
    pub leads: &'a [Lead],
    /// No line end is needed at the end of data.
    pub last: bool,
    /// Rows may have invalid UTF-8.
    pub suspect: bool,
}

/// How a field ended.
enum Field<'s, 'd> {
    /// At a delimiter or line end, or at the end of data, which the rests begin with.
    At(&'s [u8], &'d mut [u8]),
    Full,
    /// Data ended inside quotes.
    Open,
}

/// 16 bytes at the front of `src`; past its end there are zeros, which are found as controls.
#[inline(always)]
fn load(src: &[u8]) -> [u8; STEP] {
    match src.first_chunk::<STEP>() {
        Some(block) => *block,
        None => {
            let mut block = [0; STEP];
            block[..src.len()].copy_from_slice(src);
            block
        }
    }
}

impl Fused<'_> {
    /// Encode rows from `columns.end` on. `spans`: one for each column if keys are wanted, filled for each row
    /// before `take_key` is called.
    pub fn run<const KEYED: bool>(
        &self,
        data: &[u8],
        columns: &mut Columns,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Columns),
    ) -> Stop {
        match self.quote {
            Some(b'"') | None => self.rows::<KEYED, true>(data, columns, spans, take_key),
            Some(_) => self.rows::<KEYED, false>(data, columns, spans, take_key),
        }
    }

    fn rows<const KEYED: bool, const USUAL: bool>(
        &self,
        data: &[u8],
        columns: &mut Columns,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Columns),
    ) -> Stop {
        let mut values = std::mem::take(&mut columns.values);
        let stop = self.rows_into::<KEYED, USUAL>(data, &mut values, columns, spans, take_key);
        columns.values = values;
        stop
    }

    #[inline(always)]
    fn rows_into<const KEYED: bool, const USUAL: bool>(
        &self,
        data: &[u8],
        values: &mut [u8],
        columns: &mut Columns,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Columns),
    ) -> Stop {
        let room = values.len();
        let mut src = &data[columns.end..];
        let mut dst = &mut values[columns.filled..];
        loop {
            let Some(&first) = src.first() else { return Stop::Done };
            if first == LF || first == CR {
                src = after_line_end(src);
                columns.end = data.len() - src.len();
                columns.lines += 1;
                continue;
            }
            let mut lines = 0;
            for (column, lead) in self.leads.iter().enumerate() {
                if column > 0 {
                    match src.split_first() {
                        Some((&byte, rest)) if byte == self.delimiter => src = rest,
                        _ => return Stop::Odd,
                    }
                }
                let Some(rest) = lead.put(dst) else { return Stop::Full };
                let quoted = src.first().copied().is_some_and(|byte| Some(byte) == self.quote);
                let start = data.len() - src.len() + usize::from(quoted);
                let field =
                    if quoted { self.quoted::<USUAL>(&src[1..], rest, &mut lines) } else { self.unquoted(src, rest) };
                match field {
                    Field::At(source, rest) => (src, dst) = (source, rest),
                    Field::Full => return Stop::Full,
                    Field::Open => return Stop::Odd,
                }
                if KEYED {
                    let end = data.len() - src.len() - usize::from(quoted);
                    spans[column] = Span { start, end, quoted };
                }
            }
            let content_end = data.len() - src.len();
            match src.first() {
                Some(&(CR | LF)) => src = after_line_end(src),
                None if self.last => {}
                _ => return Stop::Odd,
            }
            if self.suspect && simdutf8::basic::from_utf8(&data[columns.end..content_end]).is_err() {
                return Stop::Odd;
            }
            let Some((end, rest)) = dst.split_first_chunk_mut::<2>() else { return Stop::Full };
            *end = *b"\"}";
            dst = rest;
            columns.filled = room - dst.len();
            columns.end = data.len() - src.len();
            columns.lines += lines + 1;
            columns.close_row(columns.end, columns.lines);
            if KEYED {
                take_key(spans, columns);
            }
        }
    }

    #[inline(always)]
    fn unquoted<'s, 'd>(&self, mut src: &'s [u8], mut dst: &'d mut [u8]) -> Field<'s, 'd> {
        let delimiter = u8x16::splat(self.delimiter);
        loop {
            let block = load(src);
            let Some(room) = dst.first_chunk_mut::<STEP>() else { return Field::Full };
            *room = block;
            let bytes = u8x16::new(block);
            let found = (to_escape(bytes) | bytes.simd_eq(delimiter)).to_bitmask();
            if found == 0 {
                (src, dst) = (&src[STEP..], &mut dst[STEP..]);
                continue;
            }
            let clean = found.trailing_zeros() as usize;
            let Some((&byte, _)) = src.get(clean..).and_then(<[u8]>::split_first) else {
                let clean = src.len();
                return Field::At(&src[clean..], &mut dst[clean..]);
            };
            (src, dst) = (&src[clean..], &mut dst[clean..]);
            if byte == self.delimiter || byte == LF || byte == CR {
                return Field::At(src, dst);
            }
            let Some(rest) = escape(byte, dst) else { return Field::Full };
            (src, dst) = (&src[1..], rest);
        }
    }

    /// The content behind an opening quote. `USUAL`: the quote is the one that JSON escapes too.
    #[inline(always)]
    fn quoted<'s, 'd, const USUAL: bool>(
        &self,
        mut src: &'s [u8],
        mut dst: &'d mut [u8],
        lines: &mut usize,
    ) -> Field<'s, 'd> {
        let quote = if USUAL { b'"' } else { self.quote.unwrap_or(b'"') };
        loop {
            let block = load(src);
            let Some(room) = dst.first_chunk_mut::<STEP>() else { return Field::Full };
            *room = block;
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
            let clean = found.trailing_zeros() as usize;
            let Some((&byte, after)) = src.get(clean..).and_then(<[u8]>::split_first) else {
                return Field::Open;
            };
            dst = &mut dst[clean..];
            src = after;
            if byte == quote {
                if src.first() != Some(&quote) {
                    return Field::At(src, dst);
                }
                src = &src[1..];
            } else {
                let ends_line = byte == LF || (byte == CR && src.first() != Some(&LF));
                *lines += usize::from(ends_line);
            }
            let Some(rest) = escape(byte, dst) else { return Field::Full };
            dst = rest;
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
