"""Compressed sources through the whole pipeline: what is read again, what is committed, what progress says."""

from __future__ import annotations

from pathlib import Path

import pytest

from csv2kafka import kernel
from csv2kafka.chunk_size import ChunkSize
from csv2kafka.decoding import members
from csv2kafka.errors import DataError
from csv2kafka.model import Committed, Progressed
from csv2kafka.sources.local import LocalSource
from csv2kafka.testing import Crash, FakeSource
from tests.compressed import CODECS, ENDINGS, many_blocks, member, small_points
from tests.pipelines import Place, csv_text, values

ROWS = 4000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and chunks of some 1000 bytes of text."""
    monkeypatch.setattr(ChunkSize, "bytes", lambda *_: 1000)
    monkeypatch.setattr(members.Expander.expand, "__defaults__", (1000,))


def source_of(data: bytes, uri: str = "rows.csv.gz") -> FakeSource:
    return FakeSource({uri: data}, block_bytes=500)


@pytest.mark.parametrize("codec", CODECS)
async def test_rows_of_a_compressed_object_arrive(codec: str) -> None:
    text = csv_text(ROWS)
    place = Place(source=source_of(member(codec, text), f"rows.csv{ENDINGS[codec]}"))
    report = await place.run()
    assert place.values == values(ROWS)
    assert report.checkpoint.counts.bytes == len(text)


@pytest.mark.parametrize("codec", CODECS)
async def test_progress_is_in_own_bytes_and_ends_at_all_of_them(codec: str) -> None:
    data = member(codec, csv_text(ROWS)) + bytes(2000)  # padding behind it is read too
    place = Place(source=source_of(data, "a"))
    await place.run(checkpoint_rows=500)
    told = [event.source_bytes for event in place.told(Progressed)]
    assert told == sorted(told)
    assert told[-1] == len(data)
    if codec in ("gzip", "xz"):  # the others make nothing before they have the whole, so short is this
        assert any(0 < count < len(data) for count in told)


@pytest.mark.parametrize("codec", CODECS)
async def test_a_run_goes_on_in_the_middle(codec: str) -> None:
    """From the last member, with many of them; gzip also within one."""
    text = csv_text(ROWS)
    data = b"".join(member(codec, text[at : at + 3000]) for at in range(0, len(text), 3000))
    await _broken_off_and_resumed(data, text)


@pytest.mark.skipif(kernel.NAME != "native", reason="only the native kernel stops between blocks")
async def test_a_run_goes_on_within_a_gzip_member() -> None:
    text = csv_text(ROWS)
    with small_points(point_bytes=2000):
        await _broken_off_and_resumed(many_blocks(text), text)


async def _broken_off_and_resumed(data: bytes, text: bytes) -> None:
    place = Place(source=source_of(data, "a"))
    place.sink.faults.plan("commit", Crash(), nth=25)
    with pytest.raises(Crash):
        await place.run(checkpoint_rows=100)
    assert ROWS // 3 < len(place.values) < ROWS
    again = source_of(data, "a")
    report = await place.run(source=again)
    assert place.values == values(ROWS)
    assert report.checkpoint.counts.bytes == len(text)
    assert again.bytes_read["a"] < len(data) * 2 // 3


@pytest.mark.parametrize("codec", CODECS)
async def test_everything_before_damage_is_committed(codec: str) -> None:
    first, second = csv_text(ROWS), bytearray(member(codec, csv_text(ROWS)[8:]))
    second[12 if codec == "bzip2" else len(second) // 3] ^= 0xFF  # bzip2 gives a block before it checks its sum
    data = member(codec, first) + bytes(second)
    place = Place(source=source_of(data, "a"))
    with pytest.raises(DataError, match=r"^a: near byte \d+ .behind \d+ decompressed bytes.: .* damaged"):
        await place.run()
    assert place.values[:ROWS] == values(ROWS)
    assert place.told(Committed)[-1].checkpoint.counts.rows == len(place.values)


@pytest.mark.parametrize("codec", CODECS)
async def test_everything_before_the_end_is_committed_where_an_object_is_cut_off(codec: str) -> None:
    text = csv_text(ROWS)
    data = (member(codec, text) + member(codec, text[8:]))[:-1]
    place = Place(source=source_of(data, "a"))
    with pytest.raises(DataError, match=f"near byte {len(data)} .*: expected the rest of the {codec}"):
        await place.run()
    assert len(place.values) >= ROWS
    assert place.told(Committed)[-1].checkpoint.counts.rows == len(place.values)


async def test_a_local_file_is_read_from_the_place_on(tmp_path: Path) -> None:
    text = csv_text(ROWS)
    path = tmp_path / "rows.csv.zst"
    path.write_bytes(b"".join(member("zstd", text[at : at + 3000]) for at in range(0, len(text), 3000)))
    place = Place(source=LocalSource(path))
    await place.run()
    assert place.values == values(ROWS)
