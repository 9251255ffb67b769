"""Which implementation of the kernel is used. The only place that asks the environment."""

from __future__ import annotations

import logging
import os
from types import ModuleType

VARIABLE = "CSV2KAFKA_KERNEL"
_INSTALL = "install a wheel, or Rust (https://rustup.rs) and then csv2kafka again"


def choose() -> ModuleType:
    """The native kernel, or the reference where there is none, which is told once, or where it is asked for.

    ImportError if the native one is asked for and is not there, or another is.
    """
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if wanted not in ("", "native", "python"):
        raise ImportError(f"{VARIABLE}: expected native or python, found {wanted!r}")
    if wanted != "python":
        try:
            from csv2kafka.kernel import _native
        except ImportError as error:
            if wanted == "native":
                raise ImportError(f"{VARIABLE} is native, but the native kernel is not here: {_INSTALL}") from error
            logging.getLogger(__name__).warning(
                "the native kernel is not here, the Python one is used: the same results, many times slower; %s",
                _INSTALL,
            )
        else:
            return _native
    from csv2kafka.kernel import _python

    return _python
