"""Record batches, byte by byte where it matters, and what must not go through."""

from __future__ import annotations

import importlib
import struct
import zlib
from array import array

import cramjam
import pytest
import zstandard
from crc32c import crc32c

from csv2kafka import kernel
from csv2kafka.errors import StateContradiction
from csv2kafka.kernel._python.compression import compress, decompress
from csv2kafka.model import Records

get_frame_info = importlib.import_module("lz4.frame").get_frame_info

pytestmark = pytest.mark.usefixtures("each_kernel")


def rows(*values: bytes) -> Records:
    ends, total = array("I"), 0
    for value in values:
        total += len(value)
        ends.append(total)
    return Records(values=b"".join(values), value_ends=ends)


def test_an_unstamped_batch_has_room_for_what_sending_knows() -> None:
    batch = kernel.pack_batch(rows(b"one", b""), 0, 2, compression="none")
    base, length, leader_epoch, magic = struct.unpack_from(">qiib", batch)
    assert (base, length, leader_epoch, magic) == (0, len(batch) - 12, -1, 2)
    assert batch[kernel.HEADER_BYTES :] == bytes.fromhex("12 00 00 00 01 06") + b"one" + bytes.fromhex(
        "00 0c 00 00 02 01 00 00"
    )


def test_stamping_twice_leaves_the_second() -> None:
    batch = kernel.pack_batch(rows(b"one"), 0, 1, compression="none")
    kernel.stamp(batch, producer_id=1, epoch=1, sequence=1, timestamp_ms=1, transactional=True)
    kernel.stamp(batch, producer_id=7, epoch=2, sequence=99, timestamp_ms=1234, transactional=False)
    again = kernel.pack_batch(rows(b"one"), 0, 1, compression="none")
    kernel.stamp(again, producer_id=7, epoch=2, sequence=99, timestamp_ms=1234, transactional=False)
    assert batch == again
    assert struct.unpack_from(">I", batch, 17)[0] == crc32c(bytes(batch[21:]))


def test_rows_more_than_the_table_of_varints_has() -> None:
    count = 70_000
    records = rows(*[b"%d" % number for number in range(count)])
    batch = kernel.pack_batch(records, 0, count, compression="zstd")
    kernel.stamp(batch, producer_id=1, epoch=1, sequence=0, timestamp_ms=1, transactional=True)
    unpacked = kernel.unpack_batch(batch)
    assert bytes(unpacked.records.values) == bytes(records.values)
    assert list(unpacked.offset_deltas) == list(range(count))


def test_lz4_is_what_javas_reader_takes() -> None:
    """Version 1, independent blocks, no content size: it refuses linked blocks."""
    packed = compress(b"abc" * 200_000, "lz4")
    info = get_frame_info(packed)
    assert not info["block_linked"]
    assert not info["content_size"]


def test_snappy_is_in_the_framing_java_writes() -> None:
    data = bytes(range(256)) * 300
    packed = compress(data, "snappy")
    assert packed.startswith(b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1))
    assert decompress(packed, "snappy") == data
    # librdkafka writes it without that framing.
    assert decompress(bytes(cramjam.snappy.compress_raw(data)), "snappy") == data


def test_zstd_frames_as_java_writes_them() -> None:
    """A stream: several frames, and none says how long its content is."""
    writer = zstandard.ZstdCompressor(write_content_size=False)
    assert decompress(writer.compress(b"one") + writer.compress(b"two"), "zstd") == b"onetwo"


@pytest.mark.parametrize("level", [None, -5, 1, 19])
def test_zstd_is_what_another_implementation_reads_and_says_its_length(level: int | None) -> None:
    data = b"a row of a kind\n" * 10_000
    packed = compress(data, "zstd", level)
    assert zstandard.ZstdDecompressor().decompress(packed) == data
    assert zstandard.frame_content_size(packed) == len(data)


@pytest.mark.parametrize("missing", [1, 3, 20])
def test_a_zstd_frame_that_is_cut_off_is_refused(missing: int) -> None:
    """zstandard gives what there is of one, and says nothing."""
    whole = compress(bytes(range(256)), "zstd")
    for packed in (whole[:-missing], whole + whole[:-missing]):
        with pytest.raises(StateContradiction, match="cannot be decompressed as zstd"):
            decompress(packed, "zstd")


@pytest.mark.parametrize("codec", kernel.COMPRESSIONS)
def test_what_unpacks_to_too_much_is_refused_before_it_is_there(codec: str) -> None:
    packed = compress(bytes(1 << 20), codec)
    assert decompress(packed, codec, 1 << 20) == bytes(1 << 20)
    with pytest.raises(StateContradiction, match="more than 1000 bytes"):
        decompress(packed, codec, 1000)


@pytest.mark.parametrize("codec", [codec for codec in kernel.COMPRESSIONS if codec != "none"])
def test_what_is_cut_short_or_no_such_data_is_refused(codec: str) -> None:
    with pytest.raises(StateContradiction, match=f"cannot be decompressed as {codec}"):
        decompress(b"no such data at all", codec)
    batch = kernel.pack_batch(rows(*[b"%d" % number for number in range(5000)]), 0, 5000, compression=codec)
    del batch[len(batch) // 2 :]
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    kernel.stamp(batch, producer_id=1, epoch=1, sequence=1, timestamp_ms=1, transactional=True)
    with pytest.raises(StateContradiction):
        kernel.unpack_batch(batch)


def test_gzip_takes_its_level() -> None:
    data = b"".join(b"%d" % (number * number) for number in range(10_000))
    assert len(compress(data, "gzip", 9)) < len(compress(data, "gzip", 1))
    assert zlib.decompress(compress(data, "gzip"), 31) == data


def test_a_batch_of_the_old_format_is_named() -> None:
    batch = kernel.pack_records([(None, b"x", ())])
    batch[16] = 1
    with pytest.raises(StateContradiction, match="at offset 0 has format 1, expected 2"):
        kernel.unpack_batch(batch)


def test_a_damaged_batch_says_what_was_expected_and_found() -> None:
    batch = kernel.pack_records([(None, b"x", ())])
    kernel.stamp(batch, producer_id=1, epoch=1, sequence=1, timestamp_ms=1, transactional=True)
    batch[-2] ^= 1
    with pytest.raises(StateContradiction, match=r"damaged: expected CRC-32C \w{8}, found \w{8}"):
        kernel.unpack_batch(batch)


def test_a_compacted_batch_keeps_its_gaps() -> None:
    batch = kernel.pack_records([(b"k", b"x", ()), (b"k", None, ())])
    batch[23:27] = (9).to_bytes(4, "big")
    batch[0:8] = (100).to_bytes(8, "big")
    at = batch.index(b"\x02k", kernel.HEADER_BYTES) - 1
    batch[at] = 2 * 3  # the first record's offset delta
    kernel.stamp(batch, producer_id=1, epoch=1, sequence=1, timestamp_ms=1, transactional=True)
    unpacked = kernel.unpack_batch(batch)
    header = unpacked.header
    assert (header.base_offset, header.last_offset, list(unpacked.offset_deltas)) == (100, 109, [3, 1])
    assert unpacked.null_values == {1}


def test_a_batch_that_compaction_emptied() -> None:
    batch = kernel.pack_records([(None, b"x", ())])[: kernel.HEADER_BYTES]
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    batch[57:61] = bytes(4)
    kernel.stamp(batch, producer_id=1, epoch=1, sequence=1, timestamp_ms=1, transactional=True)
    assert len(kernel.unpack_batch(batch).records) == 0


def test_a_record_that_does_not_end_where_it_says_is_refused() -> None:
    batch = kernel.pack_records([(None, b"xy", ()), (None, b"z", ())])
    batch[kernel.HEADER_BYTES] += 2
    kernel.stamp(batch, producer_id=1, epoch=1, sequence=1, timestamp_ms=1, transactional=True)
    with pytest.raises(StateContradiction, match="malformed record"):
        kernel.unpack_batch(batch)
