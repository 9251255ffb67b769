"""Where the last whole record ends, counted and exact."""

from __future__ import annotations

import pytest

from csv2kafka import kernel
from csv2kafka.model import Dialect

pytestmark = pytest.mark.usefixtures("each_kernel")

QUOTE = ord('"')


@pytest.mark.parametrize(
    ("data", "boundary"),
    [
        (b"", 0),
        (b"a,b", 0),
        (b"a,b\n", 4),
        (b"a\nb", 2),
        (b"a\r\nb", 3),
        (b"a\rb", 2),
        (b'"a\nb', 0),
        (b'x\n"a\nb', 2),
        (b'"a\nb"\nc', 6),
        (b'"a""\nb"\nc', 8),
        (b'x\r"a', 2),
        (b'x\n"a"\n"b\n"', 6),
        (b'"a\nb""\nc', 0),
        (b'x\n"a\nb""\nc""\nd', 2),
    ],
)
def test_both_find_the_end_of_the_last_record(data: bytes, boundary: int) -> None:
    assert kernel.find_boundary((data,), QUOTE) == boundary
    assert kernel.find_boundary_exact(data, Dialect()) == boundary


@pytest.mark.parametrize("data", [b"a\r", b"a\r\r", b'"a"\r'])
def test_a_cr_at_the_very_end_may_be_half_a_line_end(data: bytes) -> None:
    boundary = len(data) - 1 if data.endswith(b"\r\r") else 0
    assert kernel.find_boundary((data,), QUOTE) == boundary
    assert kernel.find_boundary_exact(data, Dialect()) == boundary
    assert kernel.find_boundary_exact(data, Dialect(), final=True) == len(data)


def test_bytes_behind_the_end_only_tell_whether_a_cr_is_half_a_line_end() -> None:
    for data, end, boundary in ((b"a\r\nb", 2, 0), (b"a\rb\n", 2, 2), (b"a\nb\n", 3, 2)):
        assert kernel.find_boundary((data,), QUOTE, end) == boundary
        assert kernel.find_boundary_exact(data, Dialect(), end) == boundary


def test_a_stray_quote_deceives_counting_and_not_the_exact_machine() -> None:
    inside = b'5" pipe,"a\nb"\n'
    assert kernel.find_boundary((inside,), QUOTE) == 11  # the newline in quotes
    assert kernel.find_boundary_exact(inside, Dialect()) == len(inside)
    odd = b'5" pipe\n6\n'
    assert kernel.find_boundary((odd,), QUOTE) == 0
    assert kernel.find_boundary_exact(odd, Dialect()) == len(odd)


def test_without_quoting_every_line_end_counts() -> None:
    assert kernel.find_boundary((b'a"\nb',), None) == 3
    assert kernel.find_boundary_exact(b'a"\n"b', Dialect(quote=None)) == 3


@pytest.mark.parametrize(
    ("data", "boundary"),
    [
        (b"a\\\nb\n", 5),
        (b'"a\\"\n"\nb', 7),
        (b'a\\,"\n', 5),
        (b"#it's \"one\nb\n", 13),
        (b'a#"\n"b\n', 4),
        (b'"#\n"\n#"\n', 8),
        (b'"a"\\\nb', 5),  # directly behind a closing quote an escape is none
    ],
)
def test_escapes_and_comments(data: bytes, boundary: int) -> None:
    assert kernel.find_boundary_exact(data, Dialect(escape="\\", comment="#")) == boundary


def test_at_the_end_a_record_needs_no_line_end_unless_it_is_in_quotes() -> None:
    assert kernel.find_boundary_exact(b"a\nb", Dialect(), final=True) == 3
    assert kernel.find_boundary_exact(b'a\n"b', Dialect(), final=True) == 2
    assert kernel.find_boundary_exact(b'a\n"b"', Dialect(), final=True) == 5
