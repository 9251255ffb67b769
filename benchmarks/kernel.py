"""The kernel alone, on one thread: ``python -m benchmarks.kernel --rows 500000``.

Rows of 10 columns, about 103 bytes, with quoted commas, doubled quotes, quoted newlines and UTF-8, in memory. Each
round does every stage once; a figure is the median of the rounds. Rates count rows, and bytes of CSV.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.data import HEADER, table
from csv2kafka import kernel
from csv2kafka.encoding import JsonEncoder, RawEncoder
from csv2kafka.framing import Framer
from csv2kafka.model import Block, Chunk, Dialect, ResumePoint
from csv2kafka.protocols import Encoder

BLOCK_BYTES = 1 << 20


class Stopwatch:
    """Seconds by stage, of several rounds."""

    def __init__(self) -> None:
        self.rounds: list[dict[str, float]] = []

    def next_round(self) -> None:
        self.rounds.append(defaultdict(float))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.rounds[-1][name] += time.perf_counter() - start

    def median(self, *names: str) -> float:
        return statistics.median(sum(seconds[name] for name in names) for seconds in self.rounds)


def frame(data: bytes, watch: Stopwatch) -> Iterator[Chunk]:
    framer = Framer(Dialect(), 0, header=HEADER)
    for at in range(0, len(data), BLOCK_BYTES):
        block = Block(data=data[at : at + BLOCK_BYTES], offset=at, resume=ResumePoint(offset=at))
        with watch.stage("frame"):
            chunks = framer.feed(block)
        yield from chunks
    with watch.stage("frame"):
        chunks = framer.finish()
    yield from chunks


def measure(data: bytes, codecs: list[str], rounds: int) -> Stopwatch:
    """Chunk after chunk through all stages, so that memory is used again as it is in a run."""
    watch = Stopwatch()
    encoders: dict[str, Encoder] = {"json": JsonEncoder(), "raw": RawEncoder(), "json, key": JsonEncoder(keys=("id",))}
    for _ in range(rounds):
        watch.next_round()
        for chunk in frame(data, watch):
            for name, encoder in encoders.items():
                with watch.stage(f"encode {name}"):
                    records = encoder.encode(chunk)
                with watch.stage(f"digest {name}"):
                    kernel.digest(records)
                for codec in codecs if name == "json" else ["none"]:
                    with watch.stage(f"pack {name} {codec}"):
                        batch = kernel.pack_batch(records, 0, len(records), compression=codec)
                    if name == "json":
                        with watch.stage(f"stamp {codec}"):
                            kernel.stamp(batch, producer_id=1, epoch=0, sequence=0, timestamp_ms=0, transactional=True)
                        with watch.stage(f"unpack {codec}"):
                            kernel.unpack_batch(batch)
    return watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--codecs", default="none,lz4,snappy,zstd", help="comma-separated")
    arguments = parser.parse_args()
    data = table(arguments.rows)
    codecs = arguments.codecs.split(",")
    watch = measure(data, codecs, arguments.rounds)
    print(f"kernel: {kernel.NAME}; {arguments.rows:,} rows of {len(data) / arguments.rows:.0f} bytes\n")
    ways: dict[str, tuple[str, ...]] = {name: (name,) for name in watch.rounds[0]}
    ways |= {f"frame, encode, pack: json, {codec}": ("frame", "encode json", f"pack json {codec}") for codec in codecs}
    ways |= {"frame, encode, digest, pack: json, none": ("frame", "encode json", "digest json", "pack json none")}
    ways |= {"frame, encode, pack: raw, none": ("frame", "encode raw", "pack raw none")}
    for name, stages in ways.items():
        seconds = watch.median(*stages)
        rate, volume = arguments.rows / seconds / 1e6, len(data) / seconds / 1e6
        print(f"{name:45} {rate:7.2f} M rows/s {volume:8.0f} MB/s {seconds / arguments.rows * 1e9:7.1f} ns a row")


if __name__ == "__main__":
    main()
