"""Speed against size of the codecs: ``python -m benchmarks.curve``.

Two tables are encoded to JSON and packed, one thread, batches of some 4 MiB before compression: the usual one, and
one of ids, UUIDs, names, addresses, amounts and times, of which less repeats. A figure is the fastest of the rounds,
codecs in turns.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

from benchmarks import data
from csv2kafka import kernel
from csv2kafka.encoding import JsonEncoder
from csv2kafka.model import Chunk, Records

TEXT_BYTES = 2 << 20
CODECS: list[tuple[str, int | None]] = [
    *[("zstd", level) for level in (-7, -5, -3, -2, -1, 1, 2, 3)],
    *[(name, None) for name in ("lz4", "snappy", "gzip", "none")],
]


def records_of(text: bytes, header: tuple[str, ...]) -> Records:
    whole = text[: text.rindex(b"\n", 0, TEXT_BYTES) + 1]
    chunk = Chunk(data=whole, object_index=0, offset=0, header=header, last=True, marks=())
    return JsonEncoder().encode(chunk)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    tables = {
        "usual": records_of(data.table(30_000, "\n"), data.HEADER),
        "mixed": records_of(data.mixed_table(30_000), data.MIXED_HEADER),
    }
    best: dict[tuple[str, str, int | None], float] = defaultdict(lambda: float("inf"))
    size: dict[tuple[str, str, int | None], int] = {}
    for _ in range(rounds):
        for table, records in tables.items():
            for codec, level in CODECS:
                start = time.perf_counter()
                batch = kernel.pack_batch(records, 0, len(records), compression=codec, level=level)
                seconds = time.perf_counter() - start
                best[table, codec, level] = min(best[table, codec, level], seconds)
                size[table, codec, level] = len(batch)
    print(f"kernel: {kernel.NAME}\n")
    print("| codec | " + " | ".join(f"{table}: ns a row | bytes a row" for table in tables) + " |")
    print("|---|" + "---|---|" * len(tables))
    for codec, level in CODECS:
        name = codec if level is None else f"{codec} {level}"
        cells = [
            f"{best[table, codec, level] / len(records) * 1e9:.0f} | {size[table, codec, level] / len(records):.1f}"
            for table, records in tables.items()
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
