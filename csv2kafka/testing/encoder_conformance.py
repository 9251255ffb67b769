"""What every Encoder must do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from csv2kafka.model import Records
from csv2kafka.protocols import Encoder
from csv2kafka.testing.values import Row, chunk

HEADER = ("id", "name")
ROWS = (
    b"1,one\n",
    b'2,"two, and a half"\n',
    b'3,"three ""quoted"" words"\r\n',
    b'4,"four\nlines\r\nof\n text"\n',
    "5,fünf\n".encode(),
    b"6,\n",
)
DATA = b"".join(ROWS)


class EncoderConformance:
    """Fill in ``make``: an encoder of the default dialect for rows of two columns."""

    def make(self) -> Encoder:
        raise NotImplementedError

    def test_satisfies_the_protocol(self) -> None:
        encoder = self.make()
        assert isinstance(encoder, Encoder)
        assert all(isinstance(text, str) for item in encoder.settings.items() for text in item)
        assert encoder.settings == self.make().settings

    def test_every_row_is_encoded_or_refused_and_its_end_is_told(self) -> None:
        records = self.make().encode(chunk(DATA, HEADER))
        _check(records, DATA)
        assert len(records) + len(records.bad) == len(ROWS)
        assert (records.end, records.unfinished) == (len(DATA), False)
        assert records.lines == DATA.count(b"\n")
        ends = [len(b"".join(ROWS[: index + 1])) for index in range(len(ROWS))]
        lines = [DATA[:end].count(b"\n") for end in ends]
        if not records.bad:
            assert list(records.row_ends) == ends
            assert list(records.row_lines) == lines

    def test_where_chunks_are_cut_does_not_matter(self) -> None:
        encoder = self.make()
        whole = _rows(encoder.encode(chunk(DATA, HEADER)))
        for cut in range(len(ROWS) + 1):
            first, second = b"".join(ROWS[:cut]), b"".join(ROWS[cut:])
            pieces = (chunk(first, HEADER, last=False), chunk(second, HEADER, offset=len(first)))
            assert [row for piece in pieces for row in _rows(encoder.encode(piece))] == whole

    def test_the_last_row_needs_no_line_end(self) -> None:
        with_end = self.make().encode(chunk(b"1,one\n2,two\n", HEADER))
        without = self.make().encode(chunk(b"1,one\n2,two", HEADER))
        assert _rows(without) == _rows(with_end)
        assert (without.end, without.unfinished) == (11, False)

    def test_a_chunk_cut_inside_a_record_says_so(self) -> None:
        start = len(ROWS[0]) + len(ROWS[1]) + len(ROWS[2])
        cut = DATA[: start + len(b'4,"four\n')]
        records = self.make().encode(chunk(cut, HEADER, last=False))
        _check(records, cut)
        assert records.unfinished
        assert (records.end, len(records) + len(records.bad)) == (start, 3)

    def test_nothing_and_blank_lines_are_no_rows(self) -> None:
        for data in (b"", b"\n", b"\r\n\n"):
            for header in (HEADER, ()):  # an object of nothing else has no header
                records = self.make().encode(chunk(data, header))
                assert (len(records), records.bad, records.end, records.unfinished) == (0, (), len(data), False)
        records = self.make().encode(chunk(b"\n1,one\n\n2,two\n\n", HEADER))
        assert (len(records) + len(records.bad), records.end, records.lines) == (2, 15, 5)

    def test_it_is_pure_and_can_be_called_from_several_threads(self) -> None:
        encoder = self.make()
        expected = _rows(encoder.encode(chunk(DATA, HEADER)))
        with ThreadPoolExecutor(4) as threads:
            results = threads.map(lambda _: _rows(encoder.encode(chunk(DATA, HEADER))), range(50))
            assert all(result == expected for result in results)

    def test_no_data_makes_it_raise(self) -> None:
        encoder = self.make()
        dice = random.Random(0)
        for _ in range(500):
            data = bytes(dice.choices(b'a1,"\n\r\\\0\xff\xc3\xbc#', k=dice.randrange(40)))
            for last in (True, False):
                _check(encoder.encode(chunk(data, HEADER, last=last)), data)


def _rows(records: Records) -> list[Row]:
    return list(records.rows())


def _check(records: Records, data: bytes) -> None:
    """The columns fit together, and so do the refused rows."""
    count = len(records)
    assert _rising(records.value_ends)
    assert len(memoryview(records.values)) >= (records.value_ends[-1] if count else 0)
    for column in (records.value_ends, records.row_ends, records.row_lines):
        assert len(column) == count
        assert memoryview(column).format == "I", "native uint32, by the buffer protocol"  # type: ignore[arg-type]
    if records.keys is not None:
        assert records.key_ends is not None
        assert len(records.key_ends) == count
        assert _rising(records.key_ends)
    assert _rising(records.row_ends)
    assert _rising(records.row_lines)
    assert 0 <= records.end <= len(data)
    assert all(end <= records.end for end in records.row_ends)
    assert _rising([row.index for row in records.bad])
    for row in records.bad:
        assert 0 <= row.index <= count
        assert 0 <= row.start <= row.end <= records.end
        assert row.reason


def _rising(values: Sequence[int]) -> bool:
    return all(before <= after for before, after in pairwise(values))
