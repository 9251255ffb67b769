"""Positions, hashes and digests."""

from __future__ import annotations

from csv2kafka.kernel import digest
from csv2kafka.model import ContentHash, Manifest, ResumePoint
from csv2kafka.testing import records

ROWS = [(b"k%d" % row, b"value %d" % row) for row in range(20)]


def test_a_resume_point_goes_forward_in_the_objects_bytes_where_they_are_the_text() -> None:
    assert ResumePoint(offset=10).forward(5) == ResumePoint(offset=15)
    assert ResumePoint(offset=10, state="0", skip=2).forward(5) == ResumePoint(offset=10, state="0", skip=7)


def test_the_content_hash_does_not_depend_on_where_it_was_cut() -> None:
    whole = ContentHash().extend(digest(records(ROWS)), len(ROWS))
    for cut in range(len(ROWS) + 1):
        parts = ContentHash().extend(digest(records(ROWS), 0, cut), cut)
        assert parts.extend(digest(records(ROWS), cut), len(ROWS) - cut) == whole


def test_the_content_hash_sees_order_values_keys_and_empty_rows() -> None:
    def of(rows: list[tuple[bytes | None, bytes]]) -> ContentHash:
        return ContentHash().extend(digest(records(rows)), len(rows))

    plain: list[tuple[bytes | None, bytes]] = [(b"a", b"1"), (b"b", b"2")]
    others: list[list[tuple[bytes | None, bytes]]] = [
        plain[::-1],
        plain[:1],
        [(b"a", b"1"), (b"b", b"3")],
        [(b"a", b"1"), (b"c", b"2")],
        [(None, b"1"), (None, b"2")],
        [*plain, (b"", b"")],
    ]
    found = {of(rows) for rows in [plain, *others]}
    assert len(found) == 1 + len(others)
    assert len(str(of(plain))) == 32


def test_a_manifests_digest_depends_on_content_alone() -> None:
    assert Manifest(objects=(("a", 1, "v"),)).digest == Manifest(objects=(("a", 1, "v"),)).digest
    differing = [(), (("a", None, "v"),), (("a", 1, "w"),), (("a", 1, "v"), ("a", 1, "v"))]
    assert len({Manifest(objects=objects).digest for objects in differing}) == len(differing)
