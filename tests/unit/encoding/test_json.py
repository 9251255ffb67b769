"""Rows as JSON: bytes, places, keys, and every reason a row is refused. docs/csv.md tells the same."""

from __future__ import annotations

import csv
import json

import pytest

from csv2kafka.encoding import JsonEncoder
from csv2kafka.errors import ConfigError, DataError
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
    return JsonEncoder(dialect=dialect or Dialect(), keys=keys).encode(chunk)


def values(records: Records) -> list[bytes]:
    return [value for _, value in records.rows()]


def reasons(records: Records) -> list[str]:
    return [row.reason for row in records.bad]


def test_it_is_an_encoder() -> None:
    encoder = JsonEncoder(keys=("a", "b"))
    assert isinstance(encoder, Encoder)
    assert encoder.settings == {"format": "json", "key": "a,b"}


def test_values_are_strings_as_they_stand() -> None:
    assert values(encode(b'1,"x, ""y"""\r\n 2 ,\n')) == [b'{"a":"1","b":"x, \\"y\\""}', b'{"a":" 2 ","b":""}']


def test_utf_8_stays_and_only_what_json_must_escape_is() -> None:
    text = 'é😀\x7f\u2028,"\t\\/\n\x00\x1f"\n'
    expected = json.dumps({"a": "é😀\x7f\u2028", "b": "\t\\/\n\x00\x1f"}, ensure_ascii=False, separators=(",", ":"))
    assert values(encode(text.encode())) == [expected.encode()]


def test_names_are_escaped_too_and_may_be_empty() -> None:
    assert values(encode(b"1,2\n", ("", '"é\n%s'))) == ['{"":"1","\\"é\\n%s":"2"}'.encode()]


def test_blank_lines_are_no_rows_but_count_as_lines() -> None:
    records = encode(b"\n1,2\r\n\r\n\r3,4")
    assert values(records) == [b'{"a":"1","b":"2"}', b'{"a":"3","b":"4"}']
    assert list(records.row_ends) == [6, 12]
    assert list(records.row_lines) == [2, 5]
    assert (records.end, records.lines, records.unfinished) == (12, 5, False)


def test_blank_lines_are_no_rows_where_there_are_no_columns() -> None:
    """An object of nothing else has no header, and a blank line has as many fields."""
    assert values(encode(b"\n\r\n\r", ())) == []


def test_a_line_with_an_empty_quoted_field_is_a_row() -> None:
    assert values(encode(b'""\n\n" "\n', ("a",))) == [b'{"a":""}', b'{"a":" "}']


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(end: bytes) -> None:
    records = encode(end.join([b"1,2", b'3,"x%sy"' % end, b""]))
    assert values(records)[1] == b'{"a":"3","b":"x%sy"}' % end.replace(b"\r", b"\\r").replace(b"\n", b"\\n")
    assert list(records.row_lines) == [1, 3]


def test_what_only_str_splitlines_takes_for_a_line_end_is_data() -> None:
    assert len(encode("1,\x0b\x0c\x1c\x85\u2028\n3,4\n".encode())) == 2


def test_a_quote_inside_an_unquoted_field_is_data() -> None:
    assert values(encode(b'5" pipe,a"b"\n')) == [b'{"a":"5\\" pipe","b":"a\\"b\\""}']


def test_rows_too_short_and_too_long() -> None:
    records = encode(b"1\n1,2\r\n1,2,3\r\n\n1,2,\n3,4\n")
    assert reasons(records) == [
        "too few fields: expected 2, found 1",
        "too many fields: expected 2, found 3",
        "too many fields: expected 2, found 3",
    ]
    assert [(row.index, row.start, row.end, row.line) for row in records.bad] == [
        (0, 0, 1, 0),
        (1, 7, 12, 2),
        (1, 15, 19, 4),
    ]
    assert len(records) == 2


def test_a_character_after_the_closing_quote() -> None:
    """The row goes on as an unquoted field, as in Python's lenient mode: its line end is the row's."""
    records = encode(b'1,"x"y,"z\n"\n3,4\n')
    assert reasons(records) == [
        "character after the closing quote: expected ',' or a line end, found 'y' at byte 5 of the row, in field 2"
    ]
    assert (records.bad[0].start, records.bad[0].end) == (0, 11)
    assert values(records) == [b'{"a":"3","b":"4"}']
    assert "found 'p' at byte 3" in reasons(encode(b'"x"p,"y"q\n'))[0]
    assert reasons(encode(b'1,"x"\x00\n'))[0].count("found 0x00") == 1


def test_bytes_that_are_not_utf_8() -> None:
    records = encode(b"1,2\nx,\xe9\n3,4\n")
    assert reasons(records) == ["not valid UTF-8: byte 0xe9 at byte 2 of the row"]
    assert (records.bad[0].index, records.bad[0].start, records.bad[0].end, records.bad[0].line) == (1, 4, 7, 1)
    assert len(records) == 2


def test_structure_is_told_before_counts_and_counts_before_utf_8() -> None:
    assert reasons(encode(b'"a"\xff\n'))[0].startswith("character after")
    assert reasons(encode(b"\xff\n"))[0].startswith("too few")


def test_a_field_over_pythons_limit_is_no_problem_and_the_limit_stays() -> None:
    limit = csv.field_size_limit()
    data = b"1," + b"x" * (limit + 1) + b"\n"
    assert [len(value) for value in values(encode(data))] == [limit + 1 + len('{"a":"1","b":""}')]
    assert csv.field_size_limit() == limit


def test_escapes() -> None:
    dialect = Dialect(escape="\\")
    assert values(encode(b'a\\,b,"c\\"d"\n\\\n1,2\\\\\n', dialect=dialect)) == [
        b'{"a":"a,b","b":"c\\"d"}',
        b'{"a":"\\n1","b":"2\\\\"}',
    ]
    assert reasons(encode(b"1,2\\", dialect=dialect)) == ["escape character with nothing after it, in field 2"]


def test_comments_begin_a_record() -> None:
    records = encode(b'#"x\n1,#2\n"3\n#",4\n#end', dialect=Dialect(comment="#"))
    assert values(records) == [b'{"a":"1","b":"#2"}', b'{"a":"3\\n#","b":"4"}']
    assert (records.lines, records.unfinished) == (5, False)


def test_quoting_switched_off() -> None:
    assert values(encode(b'"1,2"\n', dialect=Dialect(quote=None))) == [b'{"a":"\\"1","b":"2\\""}']


def test_a_chunk_cut_inside_a_record_says_where_the_last_whole_one_ended() -> None:
    records = encode(b'1,2\n3,"4\n', last=False)
    assert (records.unfinished, records.end, records.lines, len(records)) == (True, 4, 1, 1)
    records = encode(b"1,2\n3,4", last=False)
    assert (records.unfinished, records.end, len(records)) == (True, 4, 1)
    assert not encode(b"1,2\n3,4", last=True).unfinished
    assert encode(b'1,2\n3,"4', last=True).unfinished


def test_keys() -> None:
    assert [key for key, _ in encode('é,"2,"\n'.encode(), keys=("a",)).rows()] == ["é".encode()]
    assert [key for key, _ in encode('é,"2"""\n'.encode(), keys=("b", "a")).rows()] == ['["2\\"","é"]'.encode()]
    bad_between = encode(b"1,2\nx\n3,4\n", keys=("a",))
    assert [key for key, _ in bad_between.rows()] == [b"1", b"3"]


def test_a_key_column_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="key column 'c': expected one of 'a', 'b'"):
        encode(b"", keys=("c",))


@pytest.mark.parametrize(
    ("header", "what"), [(("a", "b", "a"), "columns 1 and 3 named 'a'"), (("", "b", ""), "without a name")]
)
def test_two_columns_of_one_name(header: tuple[str, ...], what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        encode(b"1,2,3\n", header)
    assert "--columns" in caught.value.hint


def test_an_empty_object_has_no_columns_and_no_rows() -> None:
    assert len(encode(b"", (), keys=("a",))) == 0
