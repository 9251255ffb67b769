//! Rows to a whole Kafka record batch, with room for what is only known when it is sent: see `_python/pack.py`.

use crate::compression::{bound, compress, Codec};
use crate::held::Selection;
use crate::pool::Pooled;
use crate::varint::{length_of, put};

pub const HEADER_BYTES: usize = 61;
const LENGTH_AT: usize = 8;
const LENGTH_FROM: usize = 12;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const ATTRIBUTES_AT: usize = 21;
const LAST_DELTA_AT: usize = 23;
const PRODUCER_AT: usize = 43;
const COUNT_AT: usize = 57;

/// A batch's records before compression: their size is known before they are written.
pub struct Body<'a> {
    rows: &'a Selection<'a>,
    pub size: usize,
}

impl<'a> Body<'a> {
    pub fn new(rows: &'a Selection<'a>) -> Self {
        let mut body = Self { rows, size: 0 };
        let mut size = 0;
        body.each(|delta, key, value| {
            let record = record_size(delta, key, value);
            size += length_of(record) + record;
        });
        body.size = size;
        body
    }

    /// Fill `out`, which has exactly the body's size.
    pub fn write(&self, mut out: &mut [u8]) {
        self.each(|delta, key, value| {
            let mut rest = put(std::mem::take(&mut out), record_size(delta, key, value));
            rest[..2].fill(0); // attributes, timestamp delta
            rest = put(&mut rest[2..], delta);
            rest = match key {
                Some(key) => copy(put(rest, key.len()), key),
                None => copy(rest, &[1]),
            };
            rest = copy(put(rest, value.len()), value);
            out = copy(rest, &[0]); // no headers
        });
    }

    #[inline(always)]
    fn each(&self, mut work: impl FnMut(usize, Option<&[u8]>, &[u8])) {
        let values = self.rows.values.rows().enumerate();
        match &self.rows.keys {
            None => values.for_each(|(delta, value)| work(delta, None, value)),
            Some(keys) => values.zip(keys.rows()).for_each(|((delta, value), key)| work(delta, Some(key), value)),
        }
    }
}

#[inline(always)]
fn record_size(delta: usize, key: Option<&[u8]>, value: &[u8]) -> usize {
    let key = key.map_or(1, |key| length_of(key.len()) + key.len());
    3 + length_of(delta) + key + length_of(value.len()) + value.len()
}

#[inline(always)]
fn copy<'a>(out: &'a mut [u8], bytes: &[u8]) -> &'a mut [u8] {
    let (here, rest) = out.split_at_mut(bytes.len());
    here.copy_from_slice(bytes);
    rest
}

/// A batch of `count` rows, header and all, of its body: the front of a buffer, and how much of it.
pub fn compressed(body: &[u8], count: usize, codec: Codec, level: Option<i32>) -> Result<(Pooled<u8>, usize), String> {
    let mut packed = Pooled::roomy(HEADER_BYTES + bound(body.len(), codec));
    let end = HEADER_BYTES + compress(body, codec, level, &mut packed[HEADER_BYTES..])?;
    write_header(&mut packed[..end], count, codec);
    Ok((packed, end))
}

/// The header of a whole batch of `count` rows: what does not need to be known before sending.
pub fn write_header(batch: &mut [u8], count: usize, codec: Codec) {
    let length = (batch.len() - LENGTH_FROM) as i32;
    let mut field = |at: usize, bytes: &[u8]| batch[at..at + bytes.len()].copy_from_slice(bytes);
    field(0, &[0; HEADER_BYTES]);
    field(LENGTH_AT, &length.to_be_bytes());
    field(LEADER_EPOCH_AT, &(-1i32).to_be_bytes());
    field(MAGIC_AT, &[2]);
    field(ATTRIBUTES_AT, &(codec as i16).to_be_bytes());
    field(LAST_DELTA_AT, &(count as i32 - 1).to_be_bytes());
    field(PRODUCER_AT, &[0xff; 14]); // producer id, epoch and sequence
    field(COUNT_AT, &(count as i32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::Column;

    #[test]
    fn a_body_has_the_size_it_says() {
        let data = vec![b'x'; 100_000];
        let ends: Vec<u32> = (0..1000).map(|row| row * 100).collect();
        let values = Column::new(&data, 0, &ends).unwrap();
        for keys in [None, Some(values)] {
            let rows = Selection { values, keys };
            let body = Body::new(&rows);
            let mut out = vec![0xee; body.size];
            body.write(&mut out);
            assert_eq!(out[out.len() - 1], 0);
        }
    }
}
