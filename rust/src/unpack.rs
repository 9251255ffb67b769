//! The records of a batch to columns: see `_python/unpack.py`.

use crate::held::{Held, Places};
use crate::pool::Pooled;
use crate::varint;

/// A header's name, and its value unless that is null.
pub type Header = (Vec<u8>, Option<Vec<u8>>);

/// `null_keys`/`null_values`: rows where it is null rather than empty; where no row has a key `rows.keys` is None and
/// `null_keys` empty. `headers`: of the rows that have any.
#[derive(Debug, Default)]
pub struct Unpacked {
    pub rows: Held,
    pub deltas: Pooled<u32>,
    pub null_keys: Vec<usize>,
    pub null_values: Vec<usize>,
    pub headers: Vec<(usize, Vec<Header>)>,
}

/// `count` records, in the first `filled` bytes of `body`; None where the bytes are not that.
pub fn unpack(body: Pooled<u8>, filled: usize, count: i32) -> Option<Unpacked> {
    let count = count.max(0) as usize;
    // A record has 7 bytes at least.
    let rows = count.min(filled / 7 + 1);
    let mut unpacked = Unpacked { deltas: Pooled::new(rows), ..Unpacked::default() };
    let (mut values, mut keys) = (Places::new(rows), Places::new(rows));
    let (mut value_bytes, mut key_bytes, mut keyed) = (0, 0, false);
    let data = &body[..filled];
    let mut rest = data;
    for row in 0..count {
        let (length, record) = varint::take(rest)?;
        let (record, behind) = record.split_at_checked(usize::try_from(length).ok()?)?;
        let found = Record::take(record)?;
        // Where it ends in the body: there is less behind it than in all.
        let stop = |inside: usize| u32::try_from(filled - behind.len() - inside).ok();
        keyed |= found.key.is_some();
        if found.key.is_none() {
            unpacked.null_keys.push(row);
        }
        if found.value.is_none() {
            unpacked.null_values.push(row);
        }
        if !found.headers.is_empty() || found.long_count {
            unpacked.headers.push((row, found.headers));
        }
        value_bytes += found.value.unwrap_or_default().len();
        key_bytes += found.key.unwrap_or_default().len();
        *values.stops.get_mut(row)? = stop(found.behind_value)?;
        *values.ends.get_mut(row)? = value_bytes as u32;
        *keys.stops.get_mut(row)? = stop(found.behind_key)?;
        *keys.ends.get_mut(row)? = key_bytes as u32;
        *unpacked.deltas.get_mut(row)? = u32::try_from(found.delta).ok()?;
        rest = behind;
    }
    if !rest.is_empty() {
        return None;
    }
    if !keyed {
        unpacked.null_keys.clear();
    }
    unpacked.rows = Held { body, filled, count, values, keys: keyed.then_some(keys), ours: false };
    Some(unpacked)
}

/// What stands in one. `behind_key`, `behind_value`: bytes of the record behind it.
struct Record<'a> {
    delta: i64,
    key: Option<&'a [u8]>,
    behind_key: usize,
    value: Option<&'a [u8]>,
    behind_value: usize,
    headers: Vec<Header>,
    /// There are no headers, but that takes more than one byte.
    long_count: bool,
}

impl<'a> Record<'a> {
    #[inline(always)]
    fn take(record: &'a [u8]) -> Option<Self> {
        let rest = record.get(1..)?; // attributes: none are defined
        let (_timestamp_delta, rest) = varint::take(rest)?;
        let (delta, rest) = varint::take(rest)?;
        let (key, rest) = nullable(rest)?;
        let behind_key = rest.len();
        let (value, rest) = nullable(rest)?;
        let behind_value = rest.len();
        let (mut headers, mut long_count) = (Vec::new(), false);
        if rest != [0] {
            (headers, long_count) = (all_headers(rest)?, true);
        }
        Some(Self { delta, key, behind_key, value, behind_value, headers, long_count })
    }
}

/// The headers that `rest` is, their count before them.
#[cold]
fn all_headers(rest: &[u8]) -> Option<Vec<Header>> {
    let (count, mut rest) = varint::take(rest)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let (name, behind) = nullable(rest)?;
        let (content, behind) = nullable(behind)?;
        headers.push((name.unwrap_or_default().to_vec(), content.map(<[u8]>::to_vec)));
        rest = behind;
    }
    rest.is_empty().then_some(headers)
}

/// Bytes with their length before them; a negative length is null.
#[inline(always)]
fn nullable(data: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = varint::take(data)?;
    match usize::try_from(length) {
        Err(_) => Some((None, rest)),
        Ok(length) => rest.split_at_checked(length).map(|(bytes, rest)| (Some(bytes), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(bytes: &[u8], count: i32) -> Option<Unpacked> {
        let mut body = Pooled::new(bytes.len());
        body[..bytes.len()].copy_from_slice(bytes);
        unpack(body, bytes.len(), count)
    }

    #[test]
    fn records_and_what_is_none() {
        let body = [0x0e, 0, 0, 0, 1, 2, b'x', 0];
        let found = unpacked(&body, 1).unwrap();
        let rows = found.rows.rows(0, 1).unwrap();
        assert_eq!(rows.values.rows().collect::<Vec<_>>(), [b"x"]);
        assert!(rows.keys.is_none() && found.null_keys.is_empty());
        assert!(unpacked(&body, 2).is_none());
        assert!(unpacked(&body, 0).is_none());
        assert!(unpacked(&body[..7], 1).is_none());
        assert!(unpacked(&[0x10, 0, 0, 0, 1, 2, b'x', 0], 1).is_none());
    }
}
