//! Zigzag varints, as Kafka's records have them.

/// Bytes that the varint of a length, or of another number that is not negative, takes.
#[inline(always)]
pub fn length_of(value: usize) -> usize {
    // Counting zeros costs more than comparing with what there is in practice.
    let over = |bits: u32| usize::from(value as u64 >> bits != 0);
    let usual = 1 + over(6) + over(13) + over(20) + over(27);
    if over(34) == 0 {
        return usual;
    }
    usual + over(34) + over(41) + over(48) + over(55) + over(62)
}

/// Write a number that is not negative at the front of `out`, and give what is behind it. `out` has the room.
#[inline(always)]
pub fn put(out: &mut [u8], value: usize) -> &mut [u8] {
    let mut rest = (value as u64) << 1;
    if rest < 1 << 7 {
        out[0] = rest as u8;
        return &mut out[1..];
    }
    if rest < 1 << 14 {
        out[..2].copy_from_slice(&[rest as u8 | 0x80, (rest >> 7) as u8]);
        return &mut out[2..];
    }
    let mut at = 0;
    while rest > 0x7f {
        out[at] = rest as u8 | 0x80;
        rest >>= 7;
        at += 1;
    }
    out[at] = rest as u8;
    &mut out[at + 1..]
}

/// The varint at the front of `data`, and what is behind it; None where data ends in it. What does not fit is cut
/// to the greatest number of its sign: no length or delta can be that large.
#[inline(always)]
pub fn take(data: &[u8]) -> Option<(i64, &[u8])> {
    // Most have a byte or two.
    match data {
        [one @ ..=0x7f, rest @ ..] => Some((unzigzag(u64::from(*one)), rest)),
        [one, two @ ..=0x7f, rest @ ..] => Some((unzigzag(u64::from(*two) << 7 | u64::from(*one & 0x7f)), rest)),
        _ => take_any(data),
    }
}

#[inline(always)]
fn unzigzag(rest: u64) -> i64 {
    (rest >> 1) as i64 ^ -((rest & 1) as i64)
}

fn take_any(data: &[u8]) -> Option<(i64, &[u8])> {
    let mut rest: u64 = 0;
    let mut over = false;
    for (place, &byte) in data.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * place as u32;
        over |= bits != 0 && (shift >= 64 || (bits << shift) >> shift != bits);
        rest |= if shift < 64 { bits << shift } else { 0 };
        if byte < 0x80 {
            let negative = rest & 1 == 1;
            let value = match (over, negative) {
                (false, _) => unzigzag(rest),
                (true, false) => i64::MAX,
                (true, true) => i64::MIN,
            };
            return Some((value, &data[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken() {
        for value in [0, 1, 63, 64, 8191, 8192, 1 << 20, (1 << 20) - 1, 1 << 31, 1 << 40, 1 << 62] {
            let mut out = [0u8; 16];
            let left = put(&mut out, value).len();
            assert_eq!(16 - left, length_of(value), "{value}");
            let (found, rest) = take(&out).unwrap();
            assert_eq!((found, rest.len()), (value as i64, left));
        }
    }

    #[test]
    fn negative_endless_and_too_large_ones() {
        assert_eq!(take(&[0x01]), Some((-1, &[][..])));
        assert_eq!(take(&[0x80, 0x80]), None);
        let mut long = [0x80u8; 20];
        long[19] = 0;
        assert_eq!(take(&long).unwrap().0, 0);
        assert_eq!(take(&[0xff; 19]), None);
        let mut huge = [0xffu8; 12];
        huge[11] = 0x7f;
        assert_eq!(take(&huge).unwrap().0, i64::MIN);
    }
}
