"""Records to finished record batches, each within the topic's limit. Pure; runs in worker threads.

How well rows compress is known only afterwards: a range is packed whole, and if the batch is over the limit the
range is cut into as many parts as its measured ratio says, until each part fits or is a single row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from attrs import frozen

from csv2kafka.kernel import pack_batch, pack_records
from csv2kafka.model import DeadLetter, Packed, Payload, Records, Target
from csv2kafka.model.flow import RECORD_OVERHEAD

UNCOMPRESSED_BYTES = 8 << 20  # consumers hold a batch decompressed
HEADROOM = 0.95  # parts of a range do not all compress alike


@frozen(kw_only=True)
class KafkaPacker:
    """``limit``: ``max.message.bytes`` of the data topic, which counts the compressed batch; ``dead_letter_limit``
    of the dead-letter topic."""

    limit: int
    dead_letter_limit: int
    compression: str

    def pack(self, records: Records, first: int = 0, last: int | None = None) -> Packed:
        """Batches for the good rows ``first`` to ``last`` (excluded), in order. A row over the limit is left out
        and named in ``too_large``."""
        payloads: list[Payload] = []
        too_large: list[tuple[int, str]] = []
        ends = _Sizes(records)
        todo = list(reversed(ends.split(first, len(records) if last is None else last, UNCOMPRESSED_BYTES)))
        while todo:
            begin, end = todo.pop()
            batch = pack_batch(records, begin, end, compression=self.compression)
            if len(batch) <= self.limit:
                payloads.append(Payload(target=Target.DATA, body=batch, first=begin, last=end))
            elif end - begin == 1:
                too_large.append((begin, self._over_limit(len(batch))))
            else:
                part = int(ends.between(begin, end) * self.limit * HEADROOM / len(batch))
                todo.extend(reversed(ends.split(begin, end, part, at_least=2)))
        return Packed(payloads=tuple(payloads), too_large=tuple(too_large))

    def pack_dead_letters(self, rows: Sequence[DeadLetter]) -> tuple[Payload, ...]:
        """One batch for as many refused rows as fit; value: the row's own bytes, headers: its place and reason."""
        payloads: list[Payload] = []
        first = 0
        while first < len(rows):
            batch, last = self._dead_letters(rows, first)
            payloads.append(Payload(target=Target.DEAD_LETTER, body=batch, first=first, last=last))
            first = last
        return tuple(payloads)

    def _dead_letters(self, rows: Sequence[DeadLetter], first: int) -> tuple[bytearray, int]:
        last, size = first, 0
        while last < len(rows) and (last == first or size + len(rows[last].value) <= UNCOMPRESSED_BYTES):
            size += len(rows[last].value)
            last += 1
        while True:
            batch = pack_records([_record(row, row.value) for row in rows[first:last]], compression=self.compression)
            if len(batch) <= self.dead_letter_limit:
                return batch, last
            if last - first == 1:
                return pack_records([_record(rows[first], None)], compression=self.compression), last
            last = first + (last - first) // 2

    def _over_limit(self, size: int) -> str:
        return f"record batch of {size} bytes for this one row, the topic's max.message.bytes is {self.limit}"


class _Sizes:
    """Sizes of ranges of rows before compression."""

    def __init__(self, records: Records) -> None:
        self._values = records.value_ends
        self._keys = records.key_ends

    def between(self, first: int, last: int) -> int:
        return self._until(last) - self._until(first)

    def split(self, first: int, last: int, size: int, *, at_least: int = 1) -> list[tuple[int, int]]:
        """Ranges of about equal size, none larger than ``size`` unless it is one row."""
        ranges: list[tuple[int, int]] = []
        while first < last:
            rest = self.between(first, last)
            parts = max(at_least - len(ranges), -(-rest // max(1, size)), 1)
            goal = self._until(first) + min(-(-rest // parts), size)
            end = bisect_right(range(last + 1), goal, lo=first + 1, hi=last + 1, key=self._until) - 1
            end = max(end, first + 1)
            ranges.append((first, end))
            first = end
        return ranges

    def _until(self, row: int) -> int:
        if row == 0:
            return 0
        keys = self._keys[row - 1] if self._keys is not None else 0
        return self._values[row - 1] + keys + row * RECORD_OVERHEAD


def _record(row: DeadLetter, value: bytes | None) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]:
    headers = [
        ("source", row.source.encode()),
        ("row", b"%d" % row.row),
        ("line", b"%d" % row.line),
        ("byte", b"%d" % row.byte),
        ("reason", row.reason.encode()),
    ]
    return None, value, headers
