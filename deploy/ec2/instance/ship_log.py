"""Ships a growing log file to CloudWatch Logs by the AWS CLI. Runs on the Python that Amazon Linux 2023 has (3.9).

    ship_log.py FILE GROUP STREAM                   every few seconds, until SIGTERM
    ship_log.py FILE GROUP STREAM --rest SECONDS    what is left, then ends; with 1 if it could not in that time

Where it is in the file stands beside the file, so one process goes on where another was.
"""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

EVERY_SECONDS = 5.0
CALL_SECONDS = 20.0
# CloudWatch's limits: of a batch 10,000 events and 1 MiB, of an event 256 KiB, each counted with 26 bytes more.
MOST_EVENTS = 10_000
MOST_BYTES = 1_048_576
MOST_OF_ONE = 262_144
OVERHEAD = 26
READ_BYTES = 300_000  # as text three times as much at most, where no byte is UTF-8


def batch(data: bytes, *, rest: bool) -> tuple[list[str], int]:
    """The messages that one request takes, and how many bytes of ``data`` they are.

    The last line may still be growing, or go on behind ``data``: it waits for its end, but not if this is the ``rest``
    or it fills ``data``.
    """
    messages: list[str] = []
    used = total = 0
    for line in io.BytesIO(data):  # ends at newlines alone
        full = len(data) >= READ_BYTES
        if not line.endswith(b"\n") and (used > 0 if full else not rest):
            break
        parts = [part for part in _parts(line.rstrip(b"\r\n")) if part.strip()]
        size = sum(len(part.encode()) + OVERHEAD for part in parts)
        if len(messages) + len(parts) > MOST_EVENTS or total + size > MOST_BYTES:
            break
        messages += parts
        used += len(line)
        total += size
    return messages, used


def _parts(line: bytes) -> list[str]:
    """A line as one event, or as several if it is too long for one."""
    text = line.decode(errors="replace")
    if len(text.encode()) + OVERHEAD <= MOST_OF_ONE:
        return [text]
    step = MOST_OF_ONE // 4  # a byte that is no UTF-8 takes three
    return [line[at : at + step].decode(errors="replace") for at in range(0, len(line), step)]


def aws(*arguments: str) -> bool:
    command = ["aws", "--cli-connect-timeout", "5", "--cli-read-timeout", "10", "logs", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        _say(str(error))
        return False
    if done.returncode and "ResourceAlreadyExistsException" not in done.stderr:
        _say(done.stderr.strip()[-300:])
        return False
    return True


def _say(what: str) -> None:
    """Into the log, which is where standard error goes."""
    sys.stderr.write(f"shipping the log: {what}\n")
    sys.stderr.flush()


def ship(file: Path, group: str, stream: str, *, rest: bool) -> tuple[bool, bool]:
    """One batch: whether there was something to ship, and whether that went."""
    place = file.with_name(file.name + ".shipped")
    at = int(place.read_text()) if place.exists() else 0
    with file.open("rb") as log:
        log.seek(at)
        data = log.read(READ_BYTES)
    messages, used = batch(data, rest=rest)
    if messages:
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": message} for message in messages]
        request = file.with_name(file.name + ".request")
        request.write_text(json.dumps({"logGroupName": group, "logStreamName": stream, "logEvents": events}))
        if not aws("put-log-events", "--cli-input-json", f"file://{request}"):
            return True, False
    if used:
        new = file.with_name(file.name + ".place")
        new.write_text(str(at + used))
        new.replace(place)
    return used > 0, True


def main(file: Path, group: str, stream: str, seconds: float | None) -> int:
    deadline = None if seconds is None else time.monotonic() + seconds
    made = False
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())  # not within a request: its batch would be there twice
    while not stop.is_set():
        made = made or aws("create-log-stream", "--log-group-name", group, "--log-stream-name", stream)
        found, went = ship(file, group, stream, rest=deadline is not None) if made else (True, False)
        if deadline is not None and went and not found:
            return 0
        if deadline is not None and time.monotonic() > deadline:
            return 1
        if not (found and went):
            stop.wait(EVERY_SECONDS if deadline is None else 1)
    return 0


if __name__ == "__main__":
    rest = float(sys.argv[5]) if sys.argv[4:5] == ["--rest"] else None
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], rest))
