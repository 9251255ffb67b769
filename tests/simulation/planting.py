"""Plants a mistake in the package for a while: another text in one of its functions, compiled in that one's place.

The function keeps its identity, so whoever has imported it has the mistake too.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from attrs import frozen


@frozen
class Edit:
    """``new`` in the place of ``old``, which stands once in ``module``'s function ``name`` (``Class.method``)."""

    module: str
    name: str
    old: str
    new: str


class NoSuchPlace(Exception):
    """The package has changed: the mistake has to be written anew."""


@contextmanager
def planted(*edits: Edit) -> Iterator[None]:
    """All of them are in the package while this lasts."""
    places: dict[tuple[str, str], list[Edit]] = {}
    for edit in edits:
        places.setdefault((edit.module, edit.name), []).append(edit)
    with ExitStack() as stack:
        for (module, name), here in places.items():
            function = function_of(module, name)
            code = _edited(function, here).__code__
            stack.callback(setattr, function, "__code__", function.__code__)
            function.__code__ = code
        yield


def _edited(function: types.FunctionType, edits: list[Edit]) -> types.FunctionType:
    source = textwrap.dedent(inspect.getsource(function))
    for edit in edits:
        if source.count(edit.old) != 1:
            raise NoSuchPlace(f"{edit.module}.{edit.name}: {source.count(edit.old)} times: {edit.old!r}")
        source = source.replace(edit.old, edit.new)
    return compiled(source, function)


def function_of(module: str, name: str) -> types.FunctionType:
    """The function itself, without what decorates it."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = vars(found)[part]
    return plain(found)


def plain(found: Any) -> types.FunctionType:
    """Behind properties, class methods and decorators that tell what they wrap."""
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    assert isinstance(found, types.FunctionType), found
    return found


def compiled(source: str, like: types.FunctionType) -> types.FunctionType:
    """Another function in the place of one: of the same name, in the same module."""
    flags = __future__.annotations.compiler_flag
    code = compile(source, like.__code__.co_filename, "exec", flags=flags, dont_inherit=True)
    made: dict[str, Callable[..., Any]] = {}
    exec(code, like.__globals__, made)
    return plain(made[like.__name__])
