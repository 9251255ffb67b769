"""Both kernels on random input for some minutes: ``python -m tests.fuzz --minutes 10``.

Input is made from a corpus (our own cases, csv-spectrum where it is) by cutting, joining, repeating and changing it
at random. It ends with 1 at the first difference, and says which seed gives it again. The property tests look for
small failures; this looks for rare ones. ``tests/conformance/test_fuzz.py`` runs it with the other tests.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from csv2kafka import kernel
from csv2kafka.kernel import _python
from csv2kafka.model import Dialect, Records
from tests import twins

HERE = Path(__file__).parent
FOLDERS = (HERE / "conformance" / "cases", HERE.parents[1] / "shared" / "conformance" / "csv-spectrum" / "csvs")
MARKS = [",", ";", "\t", '"', "'", "\\", "#", "|", "a", "\x1f", "\x00", "\x7f", " "]
SPECIAL = [b",", b'"', b'""', b"\n", b"\r\n", b"\r", b"\\", b"'", b";", b"\t", b"#", b"\0", b"\xff", "é☕".encode()]
NAMES = ["a", "", "id", 'say "é"', "x" * 28, "y" * 100, "\n"]
LONGEST = 4096


def corpus() -> list[bytes]:
    """Texts to begin with. AssertionError where a folder has none of them that should."""
    files = [path.read_bytes() for folder in FOLDERS if folder.is_dir() for path in sorted(folder.glob("*.csv"))]
    assert files, f"no cases in {FOLDERS[0]}"
    rows = b"".join(b'%d,"name, %d",plain,"two\nlines","say ""%d"""\r\n' % (n, n, n) for n in range(40))
    return [*files, rows, b"1,2,3\n" * 50, b'"' + b"x" * 300 + b'"\n']


def text_of(draw: random.Random, texts: list[bytes]) -> bytes:
    """Some text of the corpus, changed."""
    data = bytearray()
    for _ in range(draw.randint(1, 4)):
        text = draw.choice(texts)
        start = draw.randrange(len(text) + 1) if draw.random() < 0.5 else 0
        data += text[start : start + draw.randint(0, LONGEST)]
    for _ in range(draw.choice([0, 0, 1, 2, 10, 50])):
        at = draw.randrange(len(data) + 1)
        kind = draw.random()
        if kind < 0.5:
            data[at:at] = draw.choice(SPECIAL)
        elif kind < 0.7:
            del data[at : at + draw.randint(1, 40)]
        elif kind < 0.9:
            data[at : at + 1] = draw.randbytes(1)
        else:
            data[at:at] = draw.choice(SPECIAL) * draw.randint(1, 100)
    return bytes(data[:LONGEST])


def dialect_of(draw: random.Random) -> Dialect:
    if draw.random() < 0.6:
        return Dialect()
    marks = draw.sample(MARKS, 4)
    quote = marks[1] if draw.random() < 0.8 else None
    escape = marks[2] if draw.random() < 0.3 else None
    comment = marks[3] if draw.random() < 0.3 else None
    return Dialect(delimiter=marks[0], quote=quote, escape=escape, comment=comment)


def try_one(seed: int, texts: list[bytes]) -> None:
    """All that a seed says. AssertionError where the kernels differ."""
    draw = random.Random(seed)
    data, dialect = text_of(draw, texts), dialect_of(draw)
    if draw.random() < 0.5:
        data = twins.in_its_marks(data, dialect)
    end = draw.choice([None, draw.randint(0, len(data))])
    twins.compare_boundaries(data, dialect, end, final=draw.random() < 0.5)
    if draw.random() < 0.2:
        sizes = [draw.randint(1, draw.choice([8, 100, LONGEST])) for _ in range(draw.randint(1, 5))]
        longest = draw.choice([10, 200, LONGEST])
        twins.compare_framing(data, dialect, sizes, chunk_bytes=draw.randint(1, LONGEST), max_record=longest)
    width = (
        data.partition(b"\n")[0].count(dialect.delimiter.encode()) + 1 if draw.random() < 0.8 else draw.randint(0, 12)
    )
    header = tuple(draw.choices(NAMES, k=width))
    keys = tuple(draw.choices(range(width), k=draw.choice([0, 0, 1, 2]))) if width else ()
    for records in twins.compare_encoding(data, dialect, header, keys, last=draw.random() < 0.5):
        if len(records) and draw.random() < 0.2:
            try_batches(draw, records)


def try_batches(draw: random.Random, records: Records) -> None:
    codec = draw.choice(kernel.COMPRESSIONS)
    first = draw.randrange(len(records))
    last = draw.randint(first + 1, len(records))
    twins.compare_batches(records, first, last, codec)
    if draw.random() < 0.2:
        limit, uncompressed_bytes = draw.randint(_python.HEADER_BYTES, 3000), draw.randint(1, 2 * LONGEST)
        twins.compare_packing(records, codec, limit=limit, uncompressed_bytes=uncompressed_bytes)
    # Damage that the CRC does not show. Of damaged compressed data the libraries differ in what they notice.
    damaged = damage(draw, _python.pack_batch(records, first, last, compression="none"))
    twins.compare_unpacking(twins.stamped(damaged))
    damaged = damage(draw, _python.pack_batch(records, first, last, compression=codec))
    twins.unpack_damaged(twins.stamped(damaged))


def damage(draw: random.Random, batch: bytearray) -> bytearray:
    """Some bytes of its records changed, or its end cut off."""
    if draw.random() < 0.2:
        del batch[draw.randint(_python.HEADER_BYTES, len(batch)) :]
        batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    else:
        for _ in range(draw.randint(1, 3)):
            batch[draw.randrange(_python.HEADER_BYTES, len(batch))] = draw.randrange(256)
    return batch


def campaign(minutes: float, first: int | None = None) -> tuple[int, int]:
    """Try one seed after the other, from ``first`` or a random one on; gives the first and how many.

    AssertionError at the first difference, whatever it was, with the seed that gives it again."""
    begin = random.randrange(1 << 40) if first is None else first
    seed, texts = begin, corpus()
    stop = time.monotonic() + minutes * 60
    while time.monotonic() < stop:
        try:
            try_one(seed, texts)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic in Rust is no Exception
            raise AssertionError(f"a difference: python -m tests.fuzz --minutes 0.01 --seed {seed}") from error
        seed += 1
    return begin, seed - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="of the first input; the next have the next (at random)")
    arguments = parser.parse_args()
    if twins.native is None:
        print("the native kernel was not built: nothing to compare")
        return 1
    first, count = campaign(arguments.minutes, arguments.seed)
    print(f"{count:,} inputs in {arguments.minutes:g} minutes, no difference; seeds from {first}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
