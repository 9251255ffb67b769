"""Which implementation of the kernel is used. The only place that asks the environment."""

from __future__ import annotations

import importlib
import logging
import os
from types import ModuleType

from csv2kafka.errors import ConfigError

VARIABLE = "CSV2KAFKA_KERNEL"
_INSTALL = "install csv2kafka from a wheel, or again where Rust (https://rustup.rs) is"


def choose() -> ModuleType:
    """The native kernel; the reference where it is asked for, or where there is no native one, which is told once.

    ConfigError if the native one is asked for and is not there, or another is asked for.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if wanted not in ("", "native", "python"):
        raise ConfigError(f"{VARIABLE}: expected native or python, found {wanted!r}")
    if wanted != "python":
        try:
            return importlib.import_module("csv2kafka.kernel._native")
        except ImportError as error:
            if wanted:
                raise ConfigError(f"{VARIABLE}: the native kernel is not here ({error})", hint=_INSTALL) from error
            logging.getLogger("csv2kafka.kernel").warning(
                "the native kernel is not here, so the Python one does the work: right, but many times slower; %s",
                _INSTALL,
            )
    return importlib.import_module("csv2kafka.kernel._python")
