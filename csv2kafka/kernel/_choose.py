"""Which implementation of the kernel is used. The only place that asks the environment."""

from __future__ import annotations

import importlib
import os

from csv2kafka.errors import ConfigError

VARIABLE = "CSV2KAFKA_KERNEL"
EXTENSION = "csv2kafka.kernel._rust"
_INSTALL = "install csv2kafka from a wheel, or again where Rust (https://rustup.rs) is"


def choose() -> str:
    """``native``; ``python`` where that is asked for, or where the native kernel was not built, which is told.

    ConfigError if the native one is asked for and is not there, or another is asked for.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if wanted not in ("", "native", "python"):
        raise ConfigError(f"{VARIABLE}: expected native or python, found {wanted!r}")
    if wanted == "python":
        return "python"
    try:
        importlib.import_module(EXTENSION)
    except ImportError as error:
        if wanted:
            raise ConfigError(f"{VARIABLE}: the native kernel is not here ({error})", hint=_INSTALL) from error
        _tell_of_falling_back()
        return "python"
    return "native"


def _tell_of_falling_back() -> None:
    import logging

    logging.getLogger("csv2kafka.kernel").warning(
        "the native kernel is not here, so the Python one does the work: right, but many times slower; %s", _INSTALL
    )
