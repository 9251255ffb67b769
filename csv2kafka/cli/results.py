"""Standard output, which is for results alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from csv2kafka.errors import Csv2KafkaError


@contextmanager
def results() -> Iterator[None]:
    """For a block that writes to standard output and does nothing else; flushed at its end.

    Raises Csv2KafkaError if it cannot be written to (a full disk); BrokenPipeError if nobody reads it any more,
    which is no failure.
    """
    if sys.stdout is None:
        raise Csv2KafkaError("cannot write to standard output: it is closed")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> Csv2KafkaError:
    """Standard output did not take what was written."""
    return Csv2KafkaError(
        f"cannot write to standard output: {error.strerror}", hint="see where it goes, and that there is room"
    )
