"""A CSV in S3 beside the same file on this machine: ``python -m benchmarks.s3_source --rows 5000000``.

S3 is a small server in a process of its own that hands ranges to the socket without touching them (sendfile), so
that what is measured is the reader. "alone": all bytes are read and dropped. "run": the command, as a process, into
a file, or into new topics of ``--bootstrap-servers``. A figure is the median of the rounds, in which the ways take
turns. CPU is the reader's own.
"""

from __future__ import annotations

import argparse
import asyncio
import http.server
import multiprocessing
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.data import write_usual
from csv2kafka.protocols import Source
from csv2kafka.sources.http import HttpSource
from csv2kafka.sources.local import LocalSource
from csv2kafka.sources.s3 import S3Source

BUCKET = "bench"
Figure = tuple[float, float]
"""Seconds, and CPU seconds."""


class Ranges(http.server.BaseHTTPRequestHandler):
    """Ranges of one directory's files, by GET, as S3 answers them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    directory: Path

    def do_GET(self) -> None:
        with (self.directory / self.path.rpartition("/")[2]).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first, last = map(int, re.findall(r"\d+", self.headers["Range"]))
            last = min(last, size - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("ETag", '"bench"')
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file, first, last - first + 1)

    def log_message(self, *_: object) -> None:
        pass


def serve(directory: Path, port: Connection) -> None:
    Ranges.directory = directory
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    port.send(server.server_address[1])
    server.serve_forever()


def alone(make: Callable[[], Source]) -> Figure:
    """All bytes of the source, read and dropped."""

    async def read() -> Figure:
        source = make()
        (obj,) = [obj async for obj in source.objects()]
        start, cpu = time.perf_counter(), time.process_time()
        async for _ in source.read(obj, 0):
            pass
        took = time.perf_counter() - start, time.process_time() - cpu
        if close := getattr(source, "close", None):
            await close()
        return took

    return asyncio.run(read())


def run(source: str, directory: Path, servers: str | None) -> Figure:
    """The command with that source, into a new topic, or without ``servers`` into a file."""
    output, store = directory / "out.jsonl", directory / "jobs.db"
    topic = f"s3-source-{uuid.uuid4().hex[:12]}"
    target = ["-o", str(output)] if servers is None else ["-b", servers, "-t", topic, "--create-topic"]
    command = [sys.executable, "-m", "csv2kafka", "run", source, *target, "--checkpoints", f"sqlite:///{store}"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*command, "--progress", "none"], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    output.unlink(missing_ok=True)
    for file in directory.glob("jobs.db*"):
        file.unlink()
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-b", "--bootstrap-servers", help="a Kafka to run into")
    parser.add_argument("--work", type=Path, help="where to put files; best in memory (/dev/shm)")
    arguments = parser.parse_args()
    servers = arguments.bootstrap_servers
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        directory = Path(name)
        data = directory / "data"
        data.mkdir()
        table = write_usual(data / "usual.csv", arguments.rows)
        receiving, sending = multiprocessing.Pipe(duplex=False)
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(data, sending), daemon=True)
        server.start()
        address = f"http://127.0.0.1:{receiving.recv()}"
        os.environ |= {"AWS_ENDPOINT_URL_S3": address, "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
        (data / "one.csv").write_bytes(b"a,b\n1,2\n")
        path, s3, url = str(table.path), f"s3://{BUCKET}/usual.csv", f"{address}/usual.csv"
        starts = {"file": str(data / "one.csv"), "S3": f"s3://{BUCKET}/one.csv", "HTTP": f"{address}/one.csv"}
        ways: dict[str, Callable[[], Figure]] = {
            "alone, file": partial(alone, partial(LocalSource, path)),
            "alone, S3": partial(alone, partial(S3Source, s3)),
            "alone, HTTP": partial(alone, partial(HttpSource, url)),
            **{f"start, {name}": partial(run, source, directory, servers) for name, source in starts.items()},
            "run, file": partial(run, path, directory, servers),
            "run, S3": partial(run, s3, directory, servers),
            "run, HTTP": partial(run, url, directory, servers),
        }
        figures: dict[str, list[Figure]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                figures[name].append(way())
        server.terminate()
        server.join()
    print(f"{table.rows:,} rows, {table.bytes:,} bytes\n")
    for name, found in figures.items():
        seconds, cpu = (statistics.median(column) for column in zip(*found, strict=True))
        if name.startswith("start"):
            print(f"{name:12} {seconds:7.2f} s    {cpu:6.2f} CPU s")
            continue
        print(f"{name:12} {table.bytes / seconds / 1e6:7.0f} MB/s {cpu / table.bytes * 1e9:6.2f} CPU s/GB")


if __name__ == "__main__":
    main()
