"""CSV files and the rows they mean, others' and our own, through decoding, framing and the JSON encoder.

Of our own in ``cases/``: NAME.csv, and NAME.json with each row in order, an object, or the beginning of the reason
why it is refused.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from csv2kafka.decoding import TextDecoder
from csv2kafka.encoding import JsonEncoder
from csv2kafka.framing import Framer
from csv2kafka.model import Block, Dialect, ResumePoint
from tests import compressed

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*.csv"))
SPECTRUM = HERE.parents[1].parent / "shared" / "conformance" / "csv-spectrum"
SPECTRUM_CASES = sorted((SPECTRUM / "csvs").glob("*.csv")) if SPECTRUM.is_dir() else []

pytestmark = pytest.mark.usefixtures("each_kernel")


def read(data: bytes, size: int) -> list[Any]:
    """The rows as objects, refused ones as their reason, in order."""
    decoder = TextDecoder("utf-8", start=ResumePoint(), offset=0)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return rows_of([block for piece in pieces for block in decoder.feed(piece)] + decoder.finish())


def rows_of(blocks: Sequence[Block]) -> list[Any]:
    framer = Framer(Dialect(), 0, exact=True)  # a wrong count is set right by whoever reads, not here
    chunks = [chunk for block in blocks for chunk in framer.feed(block)] + framer.finish()
    rows: list[Any] = []
    for chunk in chunks:
        records = JsonEncoder().encode(chunk)
        assert not records.unfinished
        found: list[Any] = [json.loads(value) for _, value in records.rows()]
        for bad in reversed(records.bad):
            found.insert(bad.index, bad.reason)
        rows += found
    return rows


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_our_own(case: Path, size: int) -> None:
    rows = read(case.read_bytes(), size)
    expected = json.loads(case.with_suffix(".json").read_text())
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert row.startswith(wanted) if isinstance(wanted, str) else row == wanted


@pytest.mark.parametrize("codec", compressed.CODECS)
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
async def test_our_own_compressed(case: Path, codec: str) -> None:
    """As the text that decoding makes of them is the same, so are the rows."""
    data = case.read_bytes()
    blocks = await compressed.decoded(compressed.member(codec, data), (100,))
    assert blocks[0].offset == (3 if data.startswith(codecs.BOM_UTF8) else 0)
    assert rows_of(blocks) == read(data, 1 << 20)


@pytest.mark.skipif(not SPECTRUM_CASES, reason="no ../shared/conformance/csv-spectrum beside this checkout")
@pytest.mark.parametrize("case", SPECTRUM_CASES, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_csv_spectrum(case: Path, size: int) -> None:
    expected = json.loads((SPECTRUM / "json" / f"{case.stem}.json").read_text())
    if case.stem == "location_coordinates":  # its JSON has another number than its CSV, and is no list
        expected = [{**expected, "Contact Phone Number": "2095257564"}]
    assert read(case.read_bytes(), size) == expected
