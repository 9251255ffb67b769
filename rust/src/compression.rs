//! Kafka's compression codecs, as its Java client writes and reads them: see `_python/compression.py`.

use std::cell::RefCell;
use std::io::{self, Read, Write};

/// The value is the code in a batch's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Codec {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    pub fn from_code(code: u8) -> Option<Self> {
        [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd].get(code as usize).copied()
    }
}

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER: &[u8; 16] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const XERIAL_BLOCK: usize = 32 << 10;

const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 1;

thread_local! {
    /// Contexts hold some 100 KiB that would be cleared anew for each batch. The level is that of the last use.
    static ZSTD: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static SNAPPY: RefCell<snap::raw::Encoder> = RefCell::new(snap::raw::Encoder::new());
}

/// Compress to `out`, from `at` on; `out` is made as long as it has to be, and what was in it is lost. Gives the
/// compressed size. `level` means what the codec's library says; None: the default.
pub fn compress(data: &[u8], codec: Codec, level: Option<i32>, out: &mut Vec<u8>, at: usize) -> Result<usize, String> {
    let result = match codec {
        Codec::Zstd => zstd_into(data, level.unwrap_or(ZSTD_LEVEL), out, at),
        Codec::Snappy => snappy_into(data, out, at),
        _ => {
            out.clear();
            out.resize(at, 0);
            match codec {
                Codec::Gzip => gzip_into(data, level, out),
                Codec::Lz4 => lz4_into(data, level, out),
                _ => out.write_all(data),
            }
            .map(|()| out.len() - at)
        }
    };
    result.map_err(|error| error.to_string())
}

fn zstd_into(data: &[u8], level: i32, out: &mut Vec<u8>, at: usize) -> io::Result<usize> {
    crate::scratch::stretch(out, at + zstd::zstd_safe::compress_bound(data.len()));
    ZSTD.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(known, _)| *known != level) {
            *kept = Some((level, zstd::bulk::Compressor::new(level)?));
        }
        match kept {
            Some((_, compressor)) => compressor.compress_to_buffer(data, &mut out[at..]),
            None => Ok(0),
        }
    })
}

/// The framing of xerial's SnappyOutputStream: a header, then blocks of raw snappy with their lengths.
fn snappy_into(data: &[u8], out: &mut Vec<u8>, at: usize) -> io::Result<usize> {
    let blocks = data.len().div_ceil(XERIAL_BLOCK);
    let bound = XERIAL_HEADER.len() + blocks * (4 + snap::raw::max_compress_len(XERIAL_BLOCK));
    crate::scratch::stretch(out, at + bound);
    let mut end = at + XERIAL_HEADER.len();
    out[at..end].copy_from_slice(XERIAL_HEADER);
    SNAPPY.with_borrow_mut(|encoder| {
        for block in data.chunks(XERIAL_BLOCK) {
            let size = encoder.compress(block, &mut out[end + 4..])?;
            out[end..end + 4].copy_from_slice(&(size as i32).to_be_bytes());
            end += 4 + size;
        }
        Ok(end - at)
    })
}

fn gzip_into(data: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> io::Result<()> {
    let level = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(GZIP_LEVEL);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level.min(9)));
    encoder.write_all(data)?;
    encoder.finish().map(|_| ())
}

fn lz4_into(data: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> io::Result<()> {
    // Java's reader takes independent blocks only, and a content size in the header confuses old ones.
    let mut encoder = lz4::EncoderBuilder::new()
        .block_size(lz4::BlockSize::Max256KB)
        .block_mode(lz4::BlockMode::Independent)
        .checksum(lz4::ContentChecksum::NoChecksum)
        .level(u32::try_from(level.unwrap_or(0)).unwrap_or(0))
        .build(out)?;
    encoder.write_all(data)?;
    encoder.finish().1
}

/// Why compressed data was refused.
#[derive(Debug)]
pub enum Fault {
    /// It is not data of that codec, or is cut short.
    Undecodable(String),
    /// It would be more than the limit.
    TooLong,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Undecodable(error.to_string())
    }
}

impl From<snap::Error> for Fault {
    fn from(error: snap::Error) -> Self {
        Fault::Undecodable(error.to_string())
    }
}

/// At most `limit` bytes of decompressed data.
pub fn decompress(data: &[u8], codec: Codec, limit: usize) -> Result<Vec<u8>, Fault> {
    match codec {
        Codec::None if data.len() > limit => Err(Fault::TooLong),
        Codec::None => Ok(data.to_vec()),
        Codec::Gzip if data.starts_with(&[0x1f, 0x8b]) => read(flate2::read::GzDecoder::new(data), data.len(), limit),
        Codec::Gzip => read(flate2::read::ZlibDecoder::new(data), data.len(), limit),
        Codec::Lz4 => unlz4(data, limit),
        Codec::Zstd => read(zstd::stream::read::Decoder::with_buffer(data)?, data.len(), limit),
        Codec::Snappy => unsnappy(data, limit),
    }
}

/// All that `from` gives.
fn read(from: impl Read, packed: usize, limit: usize) -> Result<Vec<u8>, Fault> {
    let mut unpacked = Vec::with_capacity((packed * 4).min(limit));
    from.take(limit as u64 + 1).read_to_end(&mut unpacked)?;
    if unpacked.len() > limit {
        return Err(Fault::TooLong);
    }
    Ok(unpacked)
}

fn unlz4(data: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut decoder = lz4::Decoder::new(data)?;
    let unpacked = read(&mut decoder, data.len(), limit)?;
    decoder.finish().1?;
    Ok(unpacked)
}

/// Xerial's framing, or raw snappy, which librdkafka writes.
fn unsnappy(data: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut unpacked = Vec::new();
    if !data.starts_with(XERIAL_MAGIC) {
        unsnappy_block(data, &mut unpacked, limit)?;
        return Ok(unpacked);
    }
    let mut rest = data.get(XERIAL_HEADER.len()..).unwrap_or_default();
    let cut_short = || Fault::Undecodable("it ends too early".into());
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(cut_short)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, behind) = behind.split_at_checked(length).ok_or_else(cut_short)?;
        unsnappy_block(block, &mut unpacked, limit)?;
        rest = behind;
    }
    Ok(unpacked)
}

fn unsnappy_block(block: &[u8], unpacked: &mut Vec<u8>, limit: usize) -> Result<(), Fault> {
    let start = unpacked.len();
    let end = start + snap::raw::decompress_len(block)?;
    if end > limit {
        return Err(Fault::TooLong);
    }
    unpacked.resize(end, 0);
    snap::raw::Decoder::new().decompress(block, &mut unpacked[start..])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn packed(data: &[u8], codec: Codec) -> Vec<u8> {
        let mut out = vec![0xaa; 7];
        let size = compress(data, codec, None, &mut out, 7).unwrap();
        out[7..7 + size].to_vec()
    }

    #[test]
    fn what_is_compressed_is_decompressed() {
        let long: Vec<u8> = (0..300_000u32).flat_map(|number| number.to_le_bytes()).collect();
        for codec in ALL {
            for data in [&b""[..], b"x", &long] {
                assert_eq!(decompress(&packed(data, codec), codec, 1 << 22).unwrap(), data, "{codec:?}");
            }
        }
    }

    #[test]
    fn no_more_than_the_limit() {
        for codec in ALL {
            let data = packed(&[0; 100_000], codec);
            assert!(matches!(decompress(&data, codec, 99_999), Err(Fault::TooLong)), "{codec:?}");
            assert!(decompress(&data, codec, 100_000).is_ok());
        }
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        for codec in &ALL[1..] {
            let data = packed(&[7; 100_000], *codec);
            for size in [1, data.len() / 2, data.len() - 1] {
                assert!(decompress(&data[..size], *codec, 1 << 22).is_err(), "{codec:?} {size}");
            }
        }
    }
}
