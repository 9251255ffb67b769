"""Kafka, from the wire to a session (ARCHITECTURE.md).

Of aiokafka only the connection and the protocol's types are used. The package itself imports its clients, which
takes longer than all that is used of it; so it is entered without running it, and run the first time that
somebody asks it for one of its names (``from aiokafka import AIOKafkaConsumer``).
"""

import sys
from importlib.util import find_spec, module_from_spec


def _enter_aiokafka() -> None:
    spec = find_spec("aiokafka")
    if spec is None or spec.loader is None:
        return
    package, run = module_from_spec(spec), spec.loader.exec_module

    def load(name: str) -> object:
        vars(package).pop("__getattr__", None)
        run(package)
        return getattr(package, name)

    package.__getattr__ = load  # type: ignore[method-assign]
    sys.modules["aiokafka"] = package


if "aiokafka" not in sys.modules:
    _enter_aiokafka()
