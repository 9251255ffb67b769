"""Both kernels on random input for some minutes: ``python -m tests.fuzz --minutes 10``.

Input is made from a corpus (our own cases, csv-spectrum where it is) by cutting, joining, repeating and changing it
at random. It ends with 1 at the first difference, and says which seed gives it again. The property tests look for
small failures; this looks for rare ones.
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
    files = [path.read_bytes() for folder in FOLDERS for path in sorted(folder.glob("*.csv"))]
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
    end = draw.choice([None, draw.randint(0, len(data))])
    twins.compare_boundaries(data, dialect, end, final=draw.random() < 0.5)
    width = (
        data.partition(b"\n")[0].count(dialect.delimiter.encode()) + 1 if draw.random() < 0.8 else draw.randint(0, 12)
    )
    header = tuple(draw.choices(NAMES, k=width))
    keys = tuple(draw.choices(range(width), k=draw.choice([0, 0, 1, 2]))) if width else ()
    for records in twins.compare_encoding(data, dialect, header, keys, last=draw.random() < 0.5):
        if len(records) and draw.random() < 0.2:
            try_batches(draw, records)


def try_batches(draw: random.Random, records: Records) -> None:
    first = draw.randrange(len(records))
    last = draw.randint(first + 1, len(records))
    twins.compare_batches(records, first, last, draw.choice(kernel.COMPRESSIONS))
    # Damage that the CRC does not show.
    batch = _python.pack_batch(records, first, last, compression="none")
    for _ in range(draw.randint(1, 3)):
        batch[draw.randrange(_python.HEADER_BYTES, len(batch))] = draw.randrange(256)
    twins.compare_unpacking(twins.stamped(batch))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="of the first input; the next have the next (at random)")
    arguments = parser.parse_args()
    if twins.native is None:
        print("the native kernel was not built: nothing to compare")
        return 1
    first = seed = random.randrange(1 << 40) if arguments.seed is None else arguments.seed
    texts = corpus()
    stop = time.monotonic() + arguments.minutes * 60
    while time.monotonic() < stop:
        try:
            try_one(seed, texts)
        except BaseException:
            print(f"a difference: python -m tests.fuzz --minutes 0.01 --seed {seed}")
            raise
        seed += 1
    print(f"{seed - first:,} inputs in {arguments.minutes:g} minutes, no difference; seeds from {first}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
