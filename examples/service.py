"""A service that loads several files at once in its own event loop, says how far they are, and stops cleanly.

    python examples/service.py orders.csv customers.csv                      # orders.jsonl, customers.jsonl beside them
    python examples/service.py orders.csv customers.csv -b localhost:9092    # topics orders, customers

SIGTERM or Ctrl-C: what is on the way is committed, and the same command goes on there. A file that cannot be loaded
does not hold up the others.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from csv2kafka import Csv2KafkaError, FileSink, KafkaSink, LocalSource, Pipeline
from csv2kafka.protocols import Sink

STOPPED = 75
STATUS_SECONDS = 1.0


class Loading:
    """One file on its way. A Pipeline is used once; it keeps its own report up to date."""

    def __init__(self, path: Path, bootstrap_servers: str | None) -> None:
        sink: Sink
        if bootstrap_servers is None:
            sink = FileSink(path.with_suffix(".jsonl"))
        else:
            sink = KafkaSink(path.stem, bootstrap_servers=bootstrap_servers, create_topic=True)
        self.name = path.name
        self.pipeline = Pipeline(LocalSource(path), sink)

    async def run(self) -> int:
        """Gives an exit code, as the command's."""
        try:
            report = await self.pipeline.run()
        except Csv2KafkaError as error:
            print(f"{self.name}: {error}", flush=True)
            return error.exit_code
        except asyncio.CancelledError:
            print(f"{self.name}: stopped, {self.pipeline.report.checkpoint.counts.rows} rows are committed", flush=True)
            return STOPPED
        already = " (by an earlier run)" if report.already_complete else ""
        print(f"{self.name}: complete, {report.checkpoint.counts.rows} rows{already}", flush=True)
        return 0


async def serve(paths: list[Path], bootstrap_servers: str | None) -> int:
    """Load all files; gives the first exit code that is not 0."""
    loadings = [Loading(path, bootstrap_servers) for path in paths]
    tasks = [asyncio.create_task(loading.run()) for loading in loadings]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # The library sets no signal handlers; cancelling is how a pipeline is asked to stop.
        loop.add_signal_handler(number, lambda: [task.cancel() for task in tasks])
    status = asyncio.create_task(tell(loadings))
    codes = await asyncio.gather(*tasks)
    status.cancel()
    return next((code for code in codes if code), 0)


async def tell(loadings: list[Loading]) -> None:
    """How far each is, every now and then: what else the service does goes here."""
    while True:
        await asyncio.sleep(STATUS_SECONDS)
        print(", ".join(f"{each.name} {each.pipeline.report.checkpoint.counts.rows}" for each in loadings), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("-b", "--bootstrap-servers", help="into Kafka; else into files")
    arguments = parser.parse_args()
    raise SystemExit(asyncio.run(serve(arguments.files, arguments.bootstrap_servers)))
