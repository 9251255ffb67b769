"""What an object's first bytes and name say of its compression, and states that go to JSON and back."""

from __future__ import annotations

import pytest

from csv2kafka.decoding.compression import (
    CODECS,
    MAGIC_BYTES,
    Point,
    beginning,
    codec_of,
    resume_at,
    start_of,
    undecided,
)
from csv2kafka.errors import DataError, StateContradiction
from csv2kafka.model import ResumePoint
from tests import compressed

SKIPPABLE = b"\x5a\x2a\x4d\x18\0\0\0\0"


@pytest.mark.parametrize("codec", compressed.CODECS)
@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n"])
def test_the_first_bytes_decide(codec: str, data: bytes) -> None:
    head = compressed.member(codec, data)
    for uri in (
        "a.csv",
        "-",
        f"dir/A{compressed.ENDINGS[codec].upper()}",
        f"https://h/a{compressed.ENDINGS[codec]}?b=c",
    ):
        found = codec_of(head, uri)
        assert found is not None
        assert found.name == codec
    for size in range(MAGIC_BYTES):
        assert undecided(head[:size])
    assert not undecided(head[:MAGIC_BYTES])


def test_a_skippable_frame_is_zstd() -> None:
    found = codec_of(SKIPPABLE, "a")
    assert found is not None
    assert found.name == "zstd"


@pytest.mark.parametrize("head", [b"", b"a", b"a,b\n", b"BZh9,b,c,d,e", b"\x1f\x8b\x07", b"P,Q,R", b"(a", "µ".encode()])
def test_text_is_not_compressed(head: bytes) -> None:
    assert codec_of(head, "a.csv") is None


@pytest.mark.parametrize("head", [b"a", b"id,name\n", b"\xef\xbb\xbfid"])
def test_text_is_told_at_its_first_byte(head: bytes) -> None:
    """Standard input may not go on for long after it."""
    assert not undecided(head)


@pytest.mark.parametrize("ending", [ending for codec in CODECS for ending in codec.endings])
def test_a_name_that_says_what_the_bytes_are_not(ending: str) -> None:
    uri = f"s3://bucket/a.csv{ending}"
    with pytest.raises(DataError, match="as its name says, found bytes that are no compression") as raised:
        codec_of(b"id,name\n1,2\n", uri)
    assert uri in str(raised.value)
    assert "decompressed it on its way" in raised.value.hint
    other = "zstd" if ending in (".gz", ".gzip") else "gzip"
    with pytest.raises(DataError, match=f"found {other} data"):
        codec_of(compressed.member(other, b"a"), uri)
    assert codec_of(b"", uri) is None  # 0 bytes are 0 rows, whatever the name


@pytest.mark.parametrize(
    "text", [ResumePoint(offset=70), ResumePoint(offset=70, state="3", skip=4), ResumePoint(offset=70, state="0")]
)
def test_a_resume_point_goes_there_and_back(text: ResumePoint) -> None:
    gzip = CODECS[0]
    point = Point(offset=12, made=60, state='{"codec":"gzip","at":60,"bits":3}')
    start = start_of(resume_at(point, text), "a")
    assert start is not None
    assert (start.codec, start.point, start.extra) == (gzip, point, {"bits": 3})
    if text.state is None:
        assert start.text == ResumePoint(offset=60, skip=10)
        assert start.drop == 0
    else:
        assert start.text == text
        assert start.drop == 10
    assert start.passing == 10 + text.skip
    again = resume_at(point, text).forward(5)
    assert again.skip == resume_at(point, text).skip + 5
    assert again.state == resume_at(point, text).state


def test_states_without_compression_are_as_they_were() -> None:
    assert start_of(ResumePoint(offset=5), "a") is None
    assert start_of(ResumePoint(offset=5, state="12", skip=1), "a") is None
    assert start_of(ResumePoint(), "a") is None


def test_blocks_between_two_points_share_one_state() -> None:
    """Which may be of 44 KB."""
    point = beginning(CODECS[1]).point
    assert resume_at(point, ResumePoint(offset=5)).state is point.state


@pytest.mark.parametrize(
    "state", ['{"codec":"lzo","at":0}', "{", '{"codec":"gzip"}', '{"at":1}', '{"codec":[],"at":{}}']
)
def test_a_state_that_is_not_known_is_refused(state: str) -> None:
    with pytest.raises(StateContradiction, match="of no compression known here"):
        start_of(ResumePoint(offset=5, state=state), "a")
