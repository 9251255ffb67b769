//! One pass over rows that are well-formed, from CSV to JSON.
//!
//! 64 bytes at a time become bits that say where something happens: so the next place does not wait for the one before,
//! as it would if each field were searched for its end. What is between two places is copied in steps of known size,
//! and what is behind it written over. What it does not understand it leaves to the exact machine, a row at a time, so
//! it never has to be sure.

use std::convert::Infallible;

use wide::u8x16;

use crate::columns::{Columns, Rows};
use crate::dialect::{CR, LF};
use crate::index::{bits, up_to, Marks, Window, BLOCK, MARGIN};
use crate::json::{Lead, ESCAPES, PADDED};

const STEP: usize = 32;

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
    quote: u8,
    /// All ones if there are quotes, else nothing.
    quoting: u64,
    first: &'a Lead,
    others: &'a [Lead],
    suspect: bool,
}

/// What happens in a block: see `Found` in `index`.
struct Found {
    events: u64,
    /// Delimiters and controls outside quotes.
    ends: u64,
}

/// What one block leaves to the next: all ones if its last byte was in quotes, one if that was an end.
struct Before {
    inside: u64,
    ended: u64,
}

impl<'a> Fused<'a> {
    /// `suspect`: rows may have invalid UTF-8. None if there are no columns, or the quote is a byte that JSON escapes
    /// but for the usual one.
    pub fn new(marks: Marks, leads: &'a [Lead], suspect: bool) -> Option<Self> {
        let (first, others) = leads.split_first()?;
        let quote = marks.quote.unwrap_or(b'"');
        let known = quote == b'"' || ESCAPES[quote as usize].length == 0;
        let quoting = if marks.quote.is_some() { u64::MAX } else { 0 };
        known.then_some(Self { delimiter: marks.delimiter, quote, quoting, first, others, suspect })
    }

    /// Encode rows from `columns.rows.end` on. `KEYED`: `take_key` gives each row's key, of a span for each column.
    pub fn run<const KEYED: bool>(
        &self,
        window: Window,
        columns: &mut Columns,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Vec<u8>),
    ) -> Stop {
        let Columns { body, rows, .. } = columns;
        let stop = if self.quote == b'"' && self.quoting != 0 {
            self.rows::<KEYED, true>(window, body, rows, spans, take_key)
        } else {
            self.rows::<KEYED, false>(window, body, rows, spans, take_key)
        };
        match stop {
            Err(stop) => stop,
            Ok(never) => match never {},
        }
    }

    /// `USUAL`: there are quotes, and they are what JSON escapes too.
    #[inline(always)]
    fn rows<const KEYED: bool, const USUAL: bool>(
        &self,
        window: Window,
        body: &mut [u8],
        rows: &mut Rows,
        spans: &mut [Span],
        take_key: &mut impl FnMut(&[Span], &mut Vec<u8>),
    ) -> Result<Infallible, Stop> {
        let (src, offset, room) = (window.bytes, window.offset, body.len());
        let mut base = rows.end - offset;
        let mut before = Before { inside: 0, ended: 1 };
        let mut passed = 0; // events of the next block that were seen already
        let mut row = base;
        let mut lines = 0;
        let mut left = self.others.iter();
        // The field's content, from where it is not yet copied on; `quoted`: 1 if there are quotes around it.
        let mut quoted = self.opens::<USUAL>(src, base).ok_or(Stop::Done)?;
        let mut field = base + quoted;
        let mut start = field;
        let mut pair = 0; // behind the last two quotes that mean one
        let mut value_at = rows.value_at();
        let mut dst = self.first.put(body.get_mut(value_at..).ok_or(Stop::Full)?).ok_or(Stop::Full)?;
        while let Some(block) = window.block_and_margin(base) {
            let Found { events, ends } = self.look::<USUAL>(block, &mut before);
            let mut events = events & !passed;
            passed = 0;
            while events != 0 {
                let bit = events & events.wrapping_neg();
                let place = events.trailing_zeros() as usize % BLOCK;
                let at = base + place;
                events ^= bit;
                let (byte, next) = (block[place], block[place + 1]);
                let is_end = ends & bit != 0;
                if is_end && byte == self.delimiter {
                    if KEYED {
                        spans[self.others.len() - left.len()] = span(offset, field, at, quoted);
                    }
                    let lead = left.next().ok_or(Stop::Odd)?;
                    dst = between(src, start, at - quoted, lead, dst)?;
                    quoted = self.is_quote::<USUAL>(next);
                    field = at + 1 + quoted;
                    start = field;
                    continue;
                }
                if is_end && (byte == LF || byte == CR) {
                    let both = byte == CR && next == LF;
                    if both {
                        events &= !(bit << 1);
                        passed = bit >> 63;
                    }
                    let behind = at + 1 + usize::from(both);
                    if at == row {
                        rows.end = offset + behind;
                        rows.lines += 1;
                    } else {
                        if left.len() > 0 {
                            return Err(Stop::Odd);
                        }
                        if self.suspect {
                            simdutf8::basic::from_utf8(&src[row..at]).map_err(|_| Stop::Odd)?;
                        }
                        dst = copied(src, start, at - quoted, dst)?;
                        let (closing, rest) = dst.split_first_chunk_mut::<2>().ok_or(Stop::Full)?;
                        *closing = *b"\"}";
                        let size = room - rest.len() - value_at;
                        if KEYED {
                            spans[self.others.len()] = span(offset, field, at, quoted);
                            take_key(spans, &mut rows.key);
                        }
                        rows.close::<KEYED>(body, value_at, size, offset + behind, lines + 1).ok_or(Stop::Full)?;
                    }
                    (row, lines) = (behind, 0);
                    quoted = self.is_quote::<USUAL>(src[behind]);
                    field = behind + quoted;
                    start = field;
                    left = self.others.iter();
                    value_at = rows.value_at();
                    dst = self.first.put(body.get_mut(value_at..).ok_or(Stop::Full)?).ok_or(Stop::Full)?;
                    continue;
                }
                let mut behind = at + 1;
                if self.is_quote::<USUAL>(byte) == 1 {
                    if at < pair {
                        continue;
                    }
                    if self.is_quote::<USUAL>(next) == 0 {
                        // At a block's end it cannot be seen that a quote closes its field.
                        let closes = quoted == 1 && (next == self.delimiter || next == LF || next == CR);
                        if !closes {
                            return Err(Stop::Odd);
                        }
                        continue;
                    }
                    if quoted == 0 {
                        return Err(Stop::Odd);
                    }
                    behind = at + 2;
                    pair = behind;
                } else if is_end {
                    // A control outside quotes, which was taken for the end of a field.
                    let quote_before = at > row && self.is_quote::<USUAL>(src[at - 1]) == 1;
                    if quote_before || self.is_quote::<USUAL>(next) == 1 {
                        return Err(Stop::Odd);
                    }
                } else {
                    lines += usize::from(byte == LF || (byte == CR && next != LF));
                }
                dst = copied(src, start, at, dst)?;
                dst = escaped(byte, dst).ok_or(Stop::Full)?;
                start = behind;
            }
            base += BLOCK;
        }
        Err(Stop::Done)
    }

    #[inline(always)]
    fn look<const USUAL: bool>(&self, block: &[u8; BLOCK + MARGIN], before: &mut Before) -> Found {
        let [mut quotes, mut delimiters, mut escapes] = [0u64; 3];
        for (place, part) in block[..BLOCK].chunks_exact(16).enumerate() {
            let Some(part) = part.first_chunk::<16>() else { continue };
            let bytes = u8x16::new(*part);
            let controls = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
            let mut special = controls | bytes.simd_eq(u8x16::splat(b'\\'));
            if !USUAL {
                special |= bytes.simd_eq(u8x16::splat(b'"'));
            }
            let quote = u8x16::splat(if USUAL { b'"' } else { self.quote });
            quotes |= bits(bytes.simd_eq(quote), place);
            delimiters |= bits(bytes.simd_eq(u8x16::splat(self.delimiter)) | controls, place);
            escapes |= bits(special, place);
        }
        if !USUAL {
            quotes &= self.quoting;
        }
        let inside = up_to(quotes) ^ before.inside;
        let ends = delimiters & !inside;
        let opening = quotes & (ends << 1 | before.ended);
        let closing = quotes & ends >> 1;
        *before = Before { inside: ((inside as i64) >> 63) as u64, ended: ends >> 63 };
        Found { events: ends | escapes | (quotes & !opening & !closing), ends }
    }

    #[inline(always)]
    fn is_quote<const USUAL: bool>(&self, byte: u8) -> usize {
        let quoting = USUAL || self.quoting != 0;
        usize::from(quoting && byte == if USUAL { b'"' } else { self.quote })
    }

    fn opens<const USUAL: bool>(&self, src: &[u8], at: usize) -> Option<usize> {
        src.get(at).map(|byte| self.is_quote::<USUAL>(*byte))
    }
}

#[inline(always)]
fn span(offset: usize, field: usize, at: usize, quoted: usize) -> Span {
    Span { start: offset + field, end: offset + at - quoted, quoted: quoted == 1 }
}

/// Copy `start..end`, and give what is behind it.
#[inline(always)]
fn copied<'d>(src: &[u8], start: usize, end: usize, mut dst: &'d mut [u8]) -> Result<&'d mut [u8], Stop> {
    let mut rest = src.get(start..).ok_or(Stop::Done)?;
    let mut size = end.wrapping_sub(start);
    loop {
        *dst.first_chunk_mut::<STEP>().ok_or(Stop::Full)? = *rest.first_chunk::<STEP>().ok_or(Stop::Done)?;
        if size <= STEP {
            return Ok(&mut dst[size..]);
        }
        size -= STEP;
        (rest, dst) = (&rest[STEP..], &mut dst[STEP..]);
    }
}

/// Copy `start..end`, and what stands before the next value, and give what is behind it.
#[inline(always)]
fn between<'d>(src: &[u8], start: usize, end: usize, lead: &Lead, dst: &'d mut [u8]) -> Result<&'d mut [u8], Stop> {
    let size = end.wrapping_sub(start);
    let (Some(padded), true) = (lead.padded(), size <= STEP) else {
        return lead.put(copied(src, start, end, dst)?).ok_or(Stop::Full);
    };
    // Most often: then one look at what room there is does for both.
    let here = dst.first_chunk_mut::<{ STEP + PADDED }>().ok_or(Stop::Full)?;
    let content = src.get(start..).and_then(|rest| rest.first_chunk::<STEP>()).ok_or(Stop::Done)?;
    here[..STEP].copy_from_slice(content);
    here[size..size + PADDED].copy_from_slice(padded);
    dst.get_mut(size + lead.bytes().len()..).ok_or(Stop::Full)
}

#[inline(always)]
fn escaped(byte: u8, dst: &mut [u8]) -> Option<&mut [u8]> {
    let escape = &ESCAPES[byte as usize];
    if escape.length == 0 {
        let (here, rest) = dst.split_first_mut()?;
        *here = byte;
        return Some(rest);
    }
    *dst.first_chunk_mut::<8>()? = escape.bytes;
    dst.get_mut(escape.length as usize..)
}
