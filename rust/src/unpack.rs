//! The records of a batch to columns: see `_python/unpack.py`.

use crate::varint;

/// A header's name, and its value unless that is null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// `null_keys`/`null_values`: rows where it is null rather than empty. `headers`: of the rows that have any.
#[derive(Debug, Default)]
pub struct Rows<'a> {
    pub values: Vec<u8>,
    pub value_ends: Vec<u32>,
    pub keys: Vec<u8>,
    pub key_ends: Vec<u32>,
    pub deltas: Vec<u32>,
    pub null_keys: Vec<usize>,
    pub null_values: Vec<usize>,
    pub headers: Vec<(usize, Vec<Header<'a>>)>,
}

/// `count` records; None where the bytes are not that.
pub fn unpack(body: &[u8], count: i32) -> Option<Rows<'_>> {
    let mut rows = Rows::default();
    rows.values.reserve(body.len());
    let mut rest = body;
    for row in 0..count.max(0) as usize {
        let (length, record) = varint::take(rest)?;
        let (record, behind) = record.split_at_checked(usize::try_from(length).ok()?)?;
        rows.take(row, record)?;
        rest = behind;
    }
    rest.is_empty().then_some(rows)
}

impl<'a> Rows<'a> {
    fn take(&mut self, row: usize, record: &'a [u8]) -> Option<()> {
        let rest = record.get(1..)?; // attributes: none are defined
        let (_timestamp_delta, rest) = varint::take(rest)?;
        let (delta, rest) = varint::take(rest)?;
        let (key, rest) = nullable(rest)?;
        let (value, rest) = nullable(rest)?;
        let plain = rest.first() == Some(&0);
        let (count, mut rest) = varint::take(rest)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let (name, behind) = nullable(rest)?;
            let (content, behind) = nullable(behind)?;
            headers.push((name.unwrap_or_default(), content));
            rest = behind;
        }
        if !rest.is_empty() {
            return None;
        }
        if key.is_none() {
            self.null_keys.push(row);
        }
        if value.is_none() {
            self.null_values.push(row);
        }
        if !plain {
            self.headers.push((row, headers));
        }
        self.deltas.push(u32::try_from(delta).ok()?);
        self.keys.extend_from_slice(key.unwrap_or_default());
        self.key_ends.push(u32::try_from(self.keys.len()).ok()?);
        self.values.extend_from_slice(value.unwrap_or_default());
        self.value_ends.push(u32::try_from(self.values.len()).ok()?);
        Some(())
    }
}

/// Bytes with their length before them; a negative length is null.
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

    #[test]
    fn records_and_what_is_none() {
        let body = [0x0e, 0, 0, 0, 1, 2, b'x', 0];
        let rows = unpack(&body, 1).unwrap();
        assert_eq!((&rows.values[..], &rows.null_keys[..]), (&b"x"[..], &[0][..]));
        assert!(unpack(&body, 2).is_none());
        assert!(unpack(&body, 0).is_none());
        assert!(unpack(&body[..7], 1).is_none());
        assert!(unpack(&[0x10, 0, 0, 0, 1, 2, b'x', 0], 1).is_none());
    }
}
