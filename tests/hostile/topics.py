"""Topics that hold what no job wrote: verify and its receipts never say that they are equal to a CSV, and end soon.

A batch of a finished job is made wrong, mostly behind a CRC that fits. What a reader would make of it, by the kernel's
own account, is what verify is held to.
"""

from __future__ import annotations

import random
from pathlib import Path

from attrs import evolve

from csv2kafka.errors import Csv2KafkaError
from csv2kafka.kernel import batch_header, pack_records, stamp, unpack_batch
from csv2kafka.proof import Checked
from tests.hostile.batches import packed, stamped, whole
from tests.hostile.spoil import spoiled
from tests.pipelines import csv_text
from tests.simulation.clock import simulate
from tests.simulation.job import DATA
from tests.simulation.partition import Log, Stored
from tests.unit.verify.conftest import Place, laid_out

ROWS = 12

Row = tuple[bytes | None, bytes | None]


def try_one(seed: int, folder: Path) -> str:
    """A spoiled topic, verified and held against the receipt of before. What came of it."""
    draw = random.Random(seed)
    path = folder / "rows.csv"
    path.write_bytes(csv_text(ROWS))
    with laid_out(path) as place:
        return simulate(_tried(draw, place))


async def _tried(draw: random.Random, place: Place) -> str:
    place.options["delivery"] = draw.choice(["exactly-once", "at-least-once"])
    if draw.randrange(2):
        await place.load(csv_text(ROWS), crash_at=2)
    await place.load(csv_text(ROWS))
    proof, log = await place.prove(), place.network.cluster.log(DATA)
    before = _rows(log)
    at = draw.choice([number for number, each in enumerate(log.batches) if _is_read(log, each)])
    log.batches[at] = evolve(log.batches[at], data=_spoiled(draw, log.batches[at].data))
    try:
        same = _rows(log) == before
    except Csv2KafkaError:
        same = False
    ends = []
    for ask in (place.verify, lambda: place.check(proof)):
        try:
            answer = await ask()
        except Csv2KafkaError as error:
            if error.retryable:
                raise AssertionError(f"{error}: tried again, it would be the same") from error
            ends.append(type(error).__name__)
            continue
        equal = answer.holds if isinstance(answer, Checked) else answer.equal
        assert equal <= same, "said to be equal, and is not"
        ends.append("equal" if equal else "different")
    return ", ".join(ends)


def _spoiled(draw: random.Random, data: bytes) -> bytes:
    kind = draw.randrange(6)
    if kind > 3:  # rows of which one is lost, doubled, moved or changed
        rows = unpack_batch(data).records.rows()
        return _packed_like(data, _disordered(draw, list(rows)))
    if kind == 0:  # found by the CRC
        return spoiled(draw, data)
    if kind == 1:
        return stamped(data[:61] + spoiled(draw, data[61:]))
    if kind == 2:  # another codec is said
        return stamped(data[:22] + bytes([data[22] & ~7 | draw.randrange(8)]) + data[23:])
    count = draw.choice([0, 1, 2, 7, 2**31 - 1])
    return data[:8] + whole("zstd", packed("zstd", bytes(draw.choice([0, 10, 1 << 20]))), count)[8:]


def _disordered(draw: random.Random, rows: list[Row]) -> list[Row]:
    at, to = draw.randrange(len(rows)), draw.randrange(len(rows))
    kind = draw.randrange(4)
    if kind == 0:
        rows.insert(to, rows[at])
    elif kind == 1:
        rows[at], rows[to] = rows[to], rows[at]
    elif kind == 2:
        key, value = rows[at]
        rows[at] = key, spoiled(draw, value or b"")
    elif len(rows) > 1:
        del rows[at]
    return rows


def _packed_like(data: bytes, rows: list[Row]) -> bytes:
    """A right batch of the same producer. The log still says how many offsets it takes."""
    head, made = batch_header(data), pack_records([(key, value or b"", []) for key, value in rows])
    stamp(
        made,
        producer_id=head.producer_id,
        epoch=head.producer_epoch,
        sequence=head.base_sequence,
        timestamp_ms=0,
        transactional=bool(head.attributes & 0x10),
    )
    return data[:8] + bytes(made[8:])


def _is_read(log: Log, batch: Stored) -> bool:
    return batch.commit is None and not log.is_aborted(batch)


def _rows(log: Log) -> list[Row]:
    """What a reader makes of it."""
    return [row for batch in log.batches if _is_read(log, batch) for row in unpack_batch(batch.data).records.rows()]
