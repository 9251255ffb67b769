//! Raw deflate as a stream: as much as is wanted at a time, with stops between its blocks.

use zlib_rs::{Inflate, InflateFlush, Status};

const WINDOW_BITS: u8 = 15;

/// Why it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The data is used up, or there is no room left.
    More,
    /// Between two blocks, with data left and room left.
    Boundary,
    End,
    Damage,
}

pub struct Stream(Inflate);

impl Stream {
    /// `window`: what stands before the stream's first byte, as far as it may be repeated. None if that is impossible.
    pub fn new(window: &[u8]) -> Option<Self> {
        let mut inflate = Inflate::new(false, WINDOW_BITS);
        if !window.is_empty() {
            inflate.set_dictionary(window).ok()?;
        }
        Some(Self(inflate))
    }

    /// Fill `out`; gives how much of `data` was used and how much was made, also in front of damage.
    pub fn run(&mut self, data: &[u8], out: &mut [u8], to_boundary: bool) -> (usize, usize, Stop) {
        let flush = if to_boundary { InflateFlush::Block } else { InflateFlush::NoFlush };
        let (first_in, first_out) = (self.0.total_in(), self.0.total_out());
        let (mut used, mut made) = (0, 0);
        loop {
            let before = (used, made);
            let status = self.0.decompress(&data[used..], &mut out[made..], flush);
            used = (self.0.total_in() - first_in) as usize;
            made = (self.0.total_out() - first_out) as usize;
            let stop = match status {
                Err(_) => Stop::Damage,
                Ok(Status::StreamEnd) => Stop::End,
                Ok(_) if used == data.len() || made == out.len() || (used, made) == before => Stop::More,
                Ok(_) if to_boundary => Stop::Boundary,
                Ok(_) => continue,
            };
            return (used, made, stop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two stored blocks, "ab" and, as the last one, "c".
    const STORED: [u8; 13] = [0, 2, 0, 0xfd, 0xff, b'a', b'b', 1, 1, 0, 0xfe, 0xff, b'c'];

    #[test]
    fn stops_between_blocks_and_at_the_end() {
        let mut stream = Stream::new(b"").unwrap();
        let mut out = [0; 9];
        assert_eq!(stream.run(&STORED, &mut out, true), (7, 2, Stop::Boundary));
        assert_eq!(stream.run(&STORED[7..], &mut out[2..], false), (6, 1, Stop::End));
        assert_eq!(&out[..3], b"abc");
    }

    #[test]
    fn gives_what_stands_in_front_of_damage() {
        let mut damaged = STORED;
        damaged[8] = 9;
        let mut out = [0; 9];
        let (_, made, stop) = Stream::new(b"").unwrap().run(&damaged, &mut out, false);
        assert_eq!((made, stop), (2, Stop::Damage));
    }
}
