//! What stands around values in a JSON object, and what must be escaped in them: as Python's `json` has it.

/// The bytes that stand for one byte in a JSON string; of length 0 where the byte stands for itself.
#[derive(Clone, Copy)]
pub struct Escape {
    pub bytes: [u8; 8],
    pub length: u8,
}

pub static ESCAPES: [Escape; 256] = escapes();

const fn escapes() -> [Escape; 256] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut table = [Escape { bytes: [0; 8], length: 0 }; 256];
    let mut byte = 0;
    while byte < 0x20 {
        let (high, low) = (HEX[byte >> 4], HEX[byte & 15]);
        table[byte] = Escape { bytes: [b'\\', b'u', b'0', b'0', high, low, 0, 0], length: 6 };
        byte += 1;
    }
    let short = [(8, b'b'), (9, b't'), (10, b'n'), (12, b'f'), (13, b'r'), (b'"', b'"'), (b'\\', b'\\')];
    let mut at = 0;
    while at < short.len() {
        let (byte, letter) = short[at];
        table[byte as usize] = Escape { bytes: [b'\\', letter, 0, 0, 0, 0, 0, 0], length: 2 };
        at += 1;
    }
    table
}

/// `bytes` as the content of a JSON string, in quotes.
pub fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut done = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape = &ESCAPES[byte as usize];
        if escape.length > 0 {
            out.extend_from_slice(&bytes[done..at]);
            out.extend_from_slice(&escape.bytes[..escape.length as usize]);
            done = at + 1;
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

/// Bytes of a fixed text, with zeros behind them, so that one copy of known size does for most.
pub const PADDED: usize = 32;

/// What stands before a value: `{"name":"`, or `","name":"` behind another.
pub struct Lead {
    padded: [u8; PADDED],
    whole: Vec<u8>,
}

impl Lead {
    pub fn new(whole: Vec<u8>) -> Self {
        let mut padded = [0; PADDED];
        let short = whole.len().min(PADDED);
        padded[..short].copy_from_slice(&whole[..short]);
        Self { padded, whole }
    }

    /// Write it at the front of `out` and give what is behind it; None where there is no room.
    #[inline(always)]
    pub fn put<'a>(&self, out: &'a mut [u8]) -> Option<&'a mut [u8]> {
        *out.first_chunk_mut::<PADDED>()? = self.padded;
        if self.whole.len() > PADDED {
            out.get_mut(..self.whole.len())?.copy_from_slice(&self.whole);
        }
        out.get_mut(self.whole.len()..)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.whole
    }

    /// It with zeros behind it, if it is not longer.
    #[inline(always)]
    pub fn padded(&self) -> Option<&[u8; PADDED]> {
        (self.whole.len() <= PADDED).then_some(&self.padded)
    }
}

/// The leads of all columns. `names`: as JSON has them, with their quotes.
pub fn leads(names: &[Vec<u8>]) -> Vec<Lead> {
    let before = |column| if column == 0 { &b"{"[..] } else { &b"\","[..] };
    names.iter().enumerate().map(|(column, name)| Lead::new([before(column), name, b":\""].concat())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_escapes() {
        let mut out = Vec::new();
        quote("é\"\\\n\u{1}\u{7f}x".as_bytes(), &mut out);
        assert_eq!(out, "\"é\\\"\\\\\\n\\u0001\u{7f}x\"".as_bytes());
    }

    #[test]
    fn leads_of_any_length() {
        let name = format!("\"{}\"", "n".repeat(100)).into_bytes();
        let all = leads(&[b"\"a\"".to_vec(), name.clone()]);
        let mut out = [0; 200];
        let rest = all[0].put(&mut out).unwrap();
        let rest = all[1].put(rest).unwrap().len();
        let written = &out[..200 - rest];
        assert_eq!(written, [&b"{\"a\":\"\","[..], &name, b":\""].concat());
        assert!(all[0].put(&mut [0; 20]).is_none());
    }
}
