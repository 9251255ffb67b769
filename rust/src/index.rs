//! Where something happens in 64 bytes of CSV, as bits: bit 0 is the first byte.
//!
//! Quotes are counted from a record's start, so that delimiters and line ends in quotes are told from others. A
//! quote where none should be breaks the count; it is always shown as an event before that can matter, and whoever
//! follows the events gives the row to the exact machine.

use wide::u8x16;

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
        self.block_and_margin(base)?.first_chunk::<BLOCK>()
    }

    #[inline(always)]
    pub fn block_and_margin(&self, base: usize) -> Option<&'a [u8; BLOCK + MARGIN]> {
        self.bytes.get(base..)?.first_chunk()
    }
}

pub const BLOCK: usize = 64;
/// Bytes that must lie behind a block's, so that nobody has to ask whether there are any.
pub const MARGIN: usize = 32;

/// What is looked for.
#[derive(Clone, Copy)]
pub struct Marks {
    pub delimiter: u8,
    /// A quote that opens fields; None: quotes are data.
    pub quote: Option<u8>,
}

/// What was found in a block.
pub struct Found {
    /// All places to look at: delimiters outside quotes, line ends, and quotes that neither open nor close a field.
    pub events: u64,
    /// Delimiters outside quotes.
    pub delimiters: u64,
    /// Bytes in quotes, opening ones included, closing ones not.
    pub inside: u64,
}

/// What one block leaves to the next.
pub struct Index {
    marks: Marks,
    /// All ones if the last byte was in quotes.
    inside: u64,
    /// One if the last byte ended a field or row.
    ended: u64,
}

impl Index {
    /// To begin with the block at a record's start.
    pub fn new(marks: Marks) -> Self {
        Self { marks, inside: 0, ended: 1 }
    }

    /// The next block.
    #[inline(always)]
    pub fn look(&mut self, block: &[u8; BLOCK]) -> Found {
        let [mut quotes, mut delimiters, mut line_ends] = [0u64; 3];
        let quote = u8x16::splat(self.marks.quote.unwrap_or(0));
        let delimiter = u8x16::splat(self.marks.delimiter);
        for (place, part) in block.chunks_exact(16).enumerate() {
            let Some(part) = part.first_chunk::<16>() else { continue };
            let bytes = u8x16::new(*part);
            quotes |= bits(bytes.simd_eq(quote), place);
            delimiters |= bits(bytes.simd_eq(delimiter), place);
            line_ends |= bits(bytes.simd_eq(u8x16::splat(b'\n')) | bytes.simd_eq(u8x16::splat(b'\r')), place);
        }
        if self.marks.quote.is_none() {
            quotes = 0;
        }
        let inside = up_to(quotes) ^ self.inside;
        let ends = (delimiters | line_ends) & !inside;
        let opening = quotes & (ends << 1 | self.ended);
        let closing = quotes & ends >> 1;
        self.inside = ((inside as i64) >> 63) as u64;
        self.ended = ends >> 63;
        let delimiters = delimiters & !inside;
        Found { events: delimiters | line_ends | (quotes & !opening & !closing), delimiters, inside }
    }
}

/// What was found in 16 bytes of a block.
#[inline(always)]
pub fn bits(found: u8x16, place: usize) -> u64 {
    u64::from(found.to_bitmask()) << (16 * place)
}

/// Each bit: whether the number of bits set up to it, itself included, is odd.
#[inline(always)]
pub fn up_to(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> [u8; BLOCK] {
        let mut block = [b'.'; BLOCK];
        block[..text.len()].copy_from_slice(text.as_bytes());
        block
    }

    fn places(mut bits: u64) -> Vec<u32> {
        let mut all = Vec::new();
        while bits != 0 {
            all.push(bits.trailing_zeros());
            bits &= bits - 1;
        }
        all
    }

    #[test]
    fn what_is_in_quotes_is_no_delimiter() {
        let mut index = Index::new(Marks { delimiter: b',', quote: Some(b'"') });
        let found = index.look(&block("\"a,b\",c\\d\n\"e\"\"f\n\"\nx\"y"));
        assert_eq!(places(found.delimiters), [5]);
        // Not the quotes that open or close a field; the doubled ones, and the one in `x"y`.
        assert_eq!(places(found.events), [5, 9, 12, 13, 15, 17, 19]);
        let raw = Index::new(Marks { delimiter: b',', quote: None }).look(&block("\"a,b\\\n"));
        assert_eq!(places(raw.events), [2, 5]);
    }

    #[test]
    fn quotes_are_counted_from_block_to_block() {
        let mut index = Index::new(Marks { delimiter: b',', quote: Some(b'"') });
        index.look(&block("\"a"));
        let found = index.look(&block(",\",b"));
        assert_eq!((places(found.delimiters), places(found.inside)), (vec![2], vec![0]));
    }
}
