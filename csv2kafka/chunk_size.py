"""How much text the next chunk should have, so that its rows fill a payload of the sink. Pure.

How rows grow by encoding and shrink by compression is known only afterwards, so it is learned from the chunks
before. A payload over the sink's limit has to be packed again in parts; one far below it costs everybody behind it
(sending, the broker, consumers) as much as a full one.
"""

from __future__ import annotations

from collections import deque

from csv2kafka.model import Chunk, Records
from csv2kafka.model.flow import RECORD_OVERHEAD

SMALLEST_BYTES = 1 << 10
FIRST_BYTES = 1 << 20  # until the first payload is seen
ENCODED_BYTES = 7800 << 10  # what a chunk may become; consumers hold a batch decompressed, 8 MiB at most
PLACES_BYTES = 20  # of a row beside its record: where it ended, here and there
FILL = 0.9  # of the limit: the next chunk may compress a little worse
RECENT = 8  # payloads that tell how well rows compress


class ChunkSize:
    """``limit``: bytes of the sink's largest payload; None: it has none, and chunks stay at ``FIRST_BYTES``."""

    def __init__(self, limit: int | None = None) -> None:
        self._goal = None if limit is None else limit * FILL
        self._growth = 0.0  # encoded bytes for each byte of text; 0: not known yet
        self._memory = 0.0  # bytes of memory for rows for each byte of text
        self._packed: deque[float] = deque(maxlen=RECENT)  # payload bytes for each byte of text

    def bytes(self, header: tuple[str, ...]) -> int:
        """Of text. Until a chunk was seen, growth is supposed from the header: JSON repeats it in every row."""
        growth = self._growth or self._worst_growth(header)
        size = ENCODED_BYTES / growth
        if self._goal is None or not self._packed:
            size = min(size, FIRST_BYTES)
        else:
            size = min(size, self._goal / max(self._packed))
        return max(int(size), SMALLEST_BYTES)

    def memory(self, text: int) -> int:
        """Bytes that so much text and its rows take while they are encoded."""
        return int(text * (1 + max(1.0, self._growth, self._memory)))

    def encoded(self, chunk: Chunk, records: Records) -> None:
        """Learn from a chunk that was encoded. Called in worker threads: which of two is last makes no difference."""
        if chunk.data:
            rows, text = len(records), len(chunk.data)
            self._growth = max(1.0, (records.size + rows * RECORD_OVERHEAD) / text)
            self._memory = (records.size + rows * (RECORD_OVERHEAD + PLACES_BYTES)) / text

    def packed(self, chunk: Chunk, payload_bytes: int) -> None:
        """Learn from a chunk that was packed whole."""
        if chunk.data:
            self._packed.append(max(payload_bytes, 1) / len(chunk.data))

    @staticmethod
    def _worst_growth(header: tuple[str, ...]) -> float:
        """Of rows that are nothing but delimiters."""
        return 1 + (sum(len(name) + 6 for name in header) + RECORD_OVERHEAD) / max(1, len(header))
