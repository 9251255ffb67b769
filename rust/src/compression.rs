//! Kafka's compression codecs, as its Java client writes and reads them: see `_python/compression.py`.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use crate::pool::Pooled;

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
/// A table of 16 KiB instead of 64 leaves room for data in the first cache: 10 to 15 % faster, at most 4 % more bytes
/// (docs/performance.md).
const ZSTD_HASH_LOG: u32 = 12;
/// Zstandard's blocks become 128 KiB at most, and take at least 3 bytes and one.
const MOST_ZSTD_GAINS: usize = 32 << 10;

thread_local! {
    /// Contexts hold some 100 KiB that would be cleared anew for each batch. The level is that of the last use.
    static ZSTD: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static UNZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    static SNAPPY: RefCell<snap::raw::Encoder> = RefCell::new(snap::raw::Encoder::new());
}

/// What `data` of that size becomes at most.
pub fn bound(size: usize, codec: Codec) -> usize {
    match codec {
        Codec::None => size,
        Codec::Zstd => zstd::zstd_safe::compress_bound(size),
        Codec::Snappy => {
            XERIAL_HEADER.len() + size.div_ceil(XERIAL_BLOCK) * (4 + snap::raw::max_compress_len(XERIAL_BLOCK))
        }
        // Blocks are stored as they are where they would become longer.
        Codec::Gzip | Codec::Lz4 => size + size / 512 + 1024,
    }
}

/// Compress to the front of `out`, which is as long as the bound. Gives the compressed size. `level` means what the
/// codec's library says; None: the default.
pub fn compress(data: &[u8], codec: Codec, level: Option<i32>, out: &mut [u8]) -> Result<usize, String> {
    let result = match codec {
        Codec::Zstd => zstd_into(data, level.unwrap_or(ZSTD_LEVEL), out),
        Codec::Snappy => snappy_into(data, out),
        _ => {
            let room = out.len();
            let mut rest = out;
            match codec {
                Codec::Gzip => gzip_into(data, level, &mut rest),
                Codec::Lz4 => lz4_into(data, level, &mut rest),
                _ => rest.write_all(data),
            }
            .map(|()| room - rest.len())
        }
    };
    result.map_err(|error| error.to_string())
}

fn zstd_into(data: &[u8], level: i32, out: &mut [u8]) -> io::Result<usize> {
    ZSTD.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(known, _)| *known != level) {
            let mut compressor = zstd::bulk::Compressor::new(level)?;
            if level == ZSTD_LEVEL {
                compressor.set_parameter(zstd::zstd_safe::CParameter::HashLog(ZSTD_HASH_LOG))?;
            }
            *kept = Some((level, compressor));
        }
        match kept {
            Some((_, compressor)) => compressor.compress_to_buffer(data, out),
            None => Ok(0),
        }
    })
}

/// The framing of xerial's SnappyOutputStream: a header, then blocks of raw snappy with their lengths.
fn snappy_into(data: &[u8], out: &mut [u8]) -> io::Result<usize> {
    let mut end = XERIAL_HEADER.len();
    out[..end].copy_from_slice(XERIAL_HEADER);
    SNAPPY.with_borrow_mut(|encoder| {
        for block in data.chunks(XERIAL_BLOCK) {
            let size = encoder.compress(block, &mut out[end + 4..])?;
            out[end..end + 4].copy_from_slice(&(size as i32).to_be_bytes());
            end += 4 + size;
        }
        Ok(end)
    })
}

fn gzip_into(data: &[u8], level: Option<i32>, out: &mut &mut [u8]) -> io::Result<()> {
    let level = level.and_then(|level| u32::try_from(level).ok()).unwrap_or(GZIP_LEVEL);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level.min(9)));
    encoder.write_all(data)?;
    encoder.finish().map(|_| ())
}

fn lz4_into(data: &[u8], level: Option<i32>, out: &mut &mut [u8]) -> io::Result<()> {
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

/// Decompressed data: the front of a buffer, and how much of it.
pub type Unpacked = (Pooled<u8>, usize);

/// At most `limit` bytes of decompressed data.
pub fn decompress(data: &[u8], codec: Codec, limit: usize) -> Result<Unpacked, Fault> {
    match codec {
        Codec::None if data.len() > limit => Err(Fault::TooLong),
        Codec::None => Ok(copied(data)),
        Codec::Gzip if data.starts_with(&[0x1f, 0x8b]) => read(flate2::read::GzDecoder::new(data), data.len(), limit),
        Codec::Gzip => read(flate2::read::ZlibDecoder::new(data), data.len(), limit),
        Codec::Lz4 => unlz4(data, limit),
        Codec::Zstd => unzstd(data, limit),
        Codec::Snappy => unsnappy(data, limit),
    }
}

fn copied(data: &[u8]) -> Unpacked {
    let mut unpacked = Pooled::new(data.len());
    unpacked[..data.len()].copy_from_slice(data);
    (unpacked, data.len())
}

/// All that `from` gives.
fn read(mut from: impl Read, packed: usize, limit: usize) -> Result<Unpacked, Fault> {
    let mut unpacked = Pooled::new((packed * 4).clamp(1024, limit.max(1024)));
    let mut filled = 0;
    loop {
        if filled == unpacked.len() {
            unpacked.grow(filled * 2, filled);
        }
        match from.read(&mut unpacked[filled..]) {
            Ok(0) => return Ok((unpacked, filled)),
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if filled > limit {
            return Err(Fault::TooLong);
        }
    }
}

/// A frame that says how long its content is at once; what else there may be as a stream.
fn unzstd(data: &[u8], limit: usize) -> Result<Unpacked, Fault> {
    use zstd::zstd_safe::{find_frame_compressed_size, get_frame_content_size};
    let size = match get_frame_content_size(data) {
        Ok(Some(size)) if find_frame_compressed_size(data) == Ok(data.len()) => size,
        _ => return read(zstd::stream::read::Decoder::with_buffer(data)?, data.len(), limit),
    };
    let size = usize::try_from(size).ok().filter(|size| *size <= limit).ok_or(Fault::TooLong)?;
    // No more memory is taken for what a header says than the data can become.
    if size / MOST_ZSTD_GAINS > data.len() {
        return read(zstd::stream::read::Decoder::with_buffer(data)?, data.len(), limit);
    }
    let mut unpacked = Pooled::new(size);
    let filled = UNZSTD.with_borrow_mut(|kept| -> io::Result<usize> {
        if kept.is_none() {
            *kept = Some(zstd::bulk::Decompressor::new()?);
        }
        match kept {
            Some(decompressor) => decompressor.decompress_to_buffer(data, &mut unpacked[..size]),
            None => Ok(0),
        }
    })?;
    Ok((unpacked, filled))
}

fn unlz4(data: &[u8], limit: usize) -> Result<Unpacked, Fault> {
    let mut decoder = lz4::Decoder::new(data)?;
    let unpacked = read(&mut decoder, data.len(), limit)?;
    decoder.finish().1?;
    Ok(unpacked)
}

/// Xerial's framing, or raw snappy, which librdkafka writes.
fn unsnappy(data: &[u8], limit: usize) -> Result<Unpacked, Fault> {
    if !data.starts_with(XERIAL_MAGIC) {
        let mut unpacked = Pooled::default();
        let filled = unsnappy_block(data, &mut unpacked, 0, limit)?;
        return Ok((unpacked, filled));
    }
    let mut unpacked = Pooled::new((data.len() * 4).min(limit));
    let mut filled = 0;
    let mut rest = data.get(XERIAL_HEADER.len()..).unwrap_or_default();
    let cut_short = || Fault::Undecodable("it ends too early".into());
    while !rest.is_empty() {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or_else(cut_short)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, behind) = behind.split_at_checked(length).ok_or_else(cut_short)?;
        filled = unsnappy_block(block, &mut unpacked, filled, limit)?;
        rest = behind;
    }
    Ok((unpacked, filled))
}

/// Add a block's content to the `filled` bytes; how many they are then.
fn unsnappy_block(block: &[u8], unpacked: &mut Pooled<u8>, filled: usize, limit: usize) -> Result<usize, Fault> {
    let end = filled + snap::raw::decompress_len(block)?;
    if end > limit {
        return Err(Fault::TooLong);
    }
    if end > unpacked.len() {
        unpacked.grow(end.max(filled * 2), filled);
    }
    snap::raw::Decoder::new().decompress(block, &mut unpacked[filled..end])?;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn packed(data: &[u8], codec: Codec) -> Vec<u8> {
        let mut out = vec![0xaa; bound(data.len(), codec)];
        let size = compress(data, codec, None, &mut out).unwrap();
        out[..size].to_vec()
    }

    fn unpacked(data: &[u8], codec: Codec) -> Vec<u8> {
        let (unpacked, size) = decompress(data, codec, 1 << 22).unwrap();
        unpacked[..size].to_vec()
    }

    #[test]
    fn what_is_compressed_is_decompressed() {
        let long: Vec<u8> = (0..300_000u32).flat_map(|number| number.to_le_bytes()).collect();
        // What cannot be compressed becomes longer.
        let noise: Vec<u8> = long.chunks(8).flat_map(|part| xxhash_rust::xxh3::xxh3_64(part).to_le_bytes()).collect();
        for codec in ALL {
            for data in [&b""[..], b"x", &long, &noise] {
                assert_eq!(unpacked(&packed(data, codec), codec), data, "{codec:?}");
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
