"""Rows as they stand."""

from __future__ import annotations

import pytest

from csv2kafka.encoding import RawEncoder
from csv2kafka.errors import DataError
from csv2kafka.model import Chunk, Dialect, Records, ResumePoint
from csv2kafka.protocols import Encoder

pytestmark = pytest.mark.usefixtures("each_kernel")


def encode(
    data: bytes,
    header: tuple[str, ...] = ("a", "b"),
    *,
    dialect: Dialect | None = None,
    keys: tuple[str, ...] = (),
    last: bool = True,
) -> Records:
    marks = ((0, ResumePoint()),)
    chunk = Chunk(data=data, object_index=0, offset=0, header=header, last=last, marks=marks)
    return RawEncoder(dialect=dialect or Dialect(), keys=keys).encode(chunk)


def values(records: Records) -> list[bytes]:
    return [value for _, value in records.rows()]


def test_it_is_an_encoder() -> None:
    assert isinstance(RawEncoder(), Encoder)
    assert RawEncoder().settings == {"format": "raw", "key": ""}


def test_rows_without_their_line_ends() -> None:
    assert values(encode(b"1,2\r\n3,4\n5,6\r7,8")) == [b"1,2", b"3,4", b"5,6", b"7,8"]


def test_quotes_and_what_is_in_them_stay() -> None:
    records = encode(b'"1\r\n",""""\r\n\n3,4\n')
    assert values(records) == [b'"1\r\n",""""', b"3,4"]
    assert list(records.row_ends) == [12, 17]
    assert list(records.row_lines) == [2, 4]


def test_blank_lines_are_no_rows() -> None:
    assert values(encode(b"\n1\n\n2\n", ("a",))) == [b"1", b"2"]
    assert values(encode(b'1\n""\n', ("a",))) == [b"1", b'""']
    assert values(encode(b"\n\r\n\r", ())) == []


def test_bytes_pass_that_are_no_utf_8() -> None:
    assert values(encode(b'\xff,1\n"\xfe",2\n')) == [b"\xff,1", b'"\xfe",2']


def test_structure_is_checked_all_the_same() -> None:
    records = encode(b'1\n"a"b,c\n1,2\n')
    assert values(records) == [b"1,2"]
    assert [row.reason.partition(":")[0] for row in records.bad] == [
        "too few fields",
        "character after the closing quote",
    ]


def test_a_cr_that_is_escaped_belongs_to_the_row() -> None:
    assert values(encode(b"1,2\\\r\n3,4\r\n", dialect=Dialect(escape="\\"))) == [b"1,2\\\r", b"3,4"]


def test_keys_are_the_columns_values() -> None:
    assert list(encode(b'"x""y",2\n', keys=("a",)).rows()) == [(b'x"y', b'"x""y",2')]
    assert list(encode(b"\xff,2\n", keys=("b", "a")).rows()) == [(b'["2","\xff"]', b"\xff,2")]


def test_two_columns_of_one_name_matter_only_as_a_key() -> None:
    assert len(encode(b"1,2,3\n", ("a", "b", "a"), keys=("b",))) == 1
    with pytest.raises(DataError, match="columns 1 and 3 named 'a': key column 'a' could be either"):
        encode(b"1,2,3\n", ("a", "b", "a"), keys=("a",))
