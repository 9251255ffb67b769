"""What the author of a plug-in needs: a conformance suite for each protocol, and fakes with faults on demand.

Passing the suite is the definition of done. It needs pytest to collect it, and nothing else of pytest's:

    from csv2kafka.testing import SinkConformance

    class TestMySink(SinkConformance):
        def make(self) -> MySink: ...            # a sink for the same destination, as a new process would make it
        def read(self) -> list[...]: ...         # what a reader of that destination sees

Each class says in its docstring what to fill in. Tests run in an event loop of their own (``run``); a subclass
for something that works in this process alone can let time fly with ``run_virtual``.

``VirtualClockLoop``, ``run_virtual``   time that passes only when nothing else is to be done
``Faults``, ``Crash``                    errors, delays and deaths at the n-th call of anything
``FakeSource``, ``MemorySink``, ``MemoryStore``   true implementations in memory, with ``faults``
``records``, ``chunk``, ``example_job``  values to feed a plug-in with
"""

import sys

if "pytest" in sys.modules:  # or a failing assert in a suite would not say what it compared
    import pytest

    pytest.register_assert_rewrite(
        "csv2kafka.testing.session_work",
        *(f"csv2kafka.testing.{name}_conformance" for name in ("source", "encoder", "sink", "store")),
    )

from csv2kafka.testing.clock import VirtualClockLoop, run_virtual
from csv2kafka.testing.encoder_conformance import EncoderConformance
from csv2kafka.testing.faults import Crash, Faults
from csv2kafka.testing.memory_sink import MemorySink
from csv2kafka.testing.memory_source import FakeSource
from csv2kafka.testing.memory_store import MemoryStore
from csv2kafka.testing.sink_conformance import SinkConformance
from csv2kafka.testing.source_conformance import SourceConformance
from csv2kafka.testing.store_conformance import CheckpointStoreConformance, LeaselessStoreConformance
from csv2kafka.testing.values import chunk, example_job, records

__all__ = [
    "CheckpointStoreConformance",
    "Crash",
    "EncoderConformance",
    "FakeSource",
    "Faults",
    "LeaselessStoreConformance",
    "MemorySink",
    "MemoryStore",
    "SinkConformance",
    "SourceConformance",
    "VirtualClockLoop",
    "chunk",
    "example_job",
    "records",
    "run_virtual",
]
