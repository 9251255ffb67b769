"""Flags over environment over TOML file over defaults, into one checked configuration.

A destination counts as a whole: a ``--topic`` on the command line sets aside the file's ``output``, and the other
way round. Options with names of their own (``[kafka]``, ``[s3]``) are merged key by key. An empty variable counts as
not set. In an array job the child's ``[[array]]`` table is a layer above the file's (``array``).
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from csv2kafka.config import array
from csv2kafka.config.common import CommonConfig
from csv2kafka.config.layer import Layer, settle_destination
from csv2kafka.config.option import PREFIX, Option, converted, did_you_mean, options
from csv2kafka.config.references import Resolve, resolved
from csv2kafka.config.run import RunConfig
from csv2kafka.errors import ConfigError

C = TypeVar("C", bound=CommonConfig)
Read = Callable[[str], bytes]

# Variables that are read elsewhere: by the kernel's chooser, the command itself and the tests.
_OTHERS = tuple(PREFIX + name for name in ("CONFIG", "KERNEL", "REQUIRE_NATIVE", "TEST_BOOTSTRAP"))


def load(
    cls: type[C],
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | str | None = None,
    read: Read | None = None,
    resolve: Resolve | None = None,
    assumed: Layer | None = None,
) -> C:
    """A ``cls`` from its layers, the strongest first. ``flags``: raw values by field name, None: not given.
    ``read``: reads a ``file`` that is an ``s3://`` URL (``csv2kafka.sources.small_object.read``). ``resolve``: looks
    up references to secrets (``csv2kafka.aws.secrets.resolve``). Without them such are refused. ``assumed``: a layer
    below all others, whose destination no other sets aside.

    Raises ConfigError with every problem of every layer; of a file that cannot be read, with that alone. Unreachable
    where references or the file could not be looked up.
    """
    problems: list[str] = []
    environ = environ or {}
    given = Layer({name: value for name, value in (flags or {}).items() if value is not None})
    layers = [given, _from_environment(environ, problems)]
    children = None
    if file is not None:
        shared, children = _from_file(file, read, problems)
        if children is not None:
            chosen = children.chosen(environ, options(cls))
            problems += children.problems(layers[1], chosen)
            layers += [] if chosen is None else [children.tables[chosen]]
        layers.append(shared)
    if children is None and "sources" in options(cls) and assumed is None:
        same = array.same_for_all(environ, given.values, "" if file is None else str(file))
        problems += [same] if same else []
    settle_destination(layers)
    layers += [] if assumed is None else [assumed]

    raw: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in reversed(layers):
        raw |= {name: value for name, value in layer.values.items() if name in options(cls)}
        origins |= dict.fromkeys(layer.values, layer.origin)
    raw |= {said.name: _merged(layers, said, problems) for said in _keyed(cls)}
    refused: dict[str, list[str]] = {}
    if resolve is not None:
        raw, refused = resolved(options(cls), raw, origins, resolve)
    try:
        values = converted(cls, raw, cls.contradictions, origins, refused)
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems) from None
    if problems:
        raise ConfigError(*problems)
    return cls(**values)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """One sentence for each ``CSV2KAFKA_*`` variable that nothing reads: most likely a slip."""
    known = [said.variable for said in options(RunConfig).values()] + list(_OTHERS)
    keyed = tuple(f"{said.variable}_" for said in _keyed(RunConfig))
    return [
        f"{name} is not a variable of csv2kafka{did_you_mean(name, known)}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and not name.startswith(keyed) and name not in known
    ]


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> Layer:
    values: dict[str, Any] = {
        name: environ[said.variable] for name, said in options(RunConfig).items() if environ.get(said.variable)
    }
    for said in _keyed(RunConfig):
        start = f"{said.variable}_"
        single = {name.removeprefix(start).lower(): environ[name] for name in environ if name.startswith(start)}
        if not single:
            continue
        try:
            pairs = shlex.split(values.get(said.name, ""))
        except ValueError:
            problems.append(f"{said.variable}: expected KEY=VALUE, found a quote that is not closed")
            pairs = []
        values[said.name] = [*pairs, *(f"{key}={value}" for key, value in single.items() if value)]
    return Layer(values, "in the environment")


def _from_file(file: Path | str, read: Read | None, problems: list[str]) -> tuple[Layer, array.Children | None]:
    """The file's layer, and the tables of an array job, if it has such."""
    table = _table(file, read)
    tables = table.pop(array.KEY, None)
    shared = _layer(table, str(file), problems)
    if tables is None:
        return shared, None
    if not (isinstance(tables, list) and tables and all(isinstance(one, dict) for one in tables)):
        raise _unreadable(f"{file}: expected [[{array.KEY}]] tables, one for each child, found {array.KEY} = …")
    wrong: list[str] = []
    layers = [_layer(one, f"child {number} of {file}", wrong) for number, one in enumerate(tables)]
    problems += array.first_of(wrong, str(file))
    return shared, array.Children(name=str(file), shared=shared, tables=layers)


def _table(file: Path | str, read: Read | None) -> dict[str, Any]:
    """What stands in it."""
    import tomllib

    remote = isinstance(file, str) and file.startswith("s3://")
    if remote and read is None:
        raise _unreadable(f"{file}: load(…, read=csv2kafka.sources.small_object.read) reads such")
    try:
        content = read(str(file)) if remote and read is not None else Path(file).read_bytes()
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise _unreadable(f"{file}: {error.strerror or error}") from error
    except RecursionError as error:
        raise _unreadable(f"{file}: its values stand within each other too deeply") from error
    except ValueError as error:  # besides those of TOML and UTF-8, of numbers that are too long
        raise _unreadable(f"{file}: not TOML: {error}") from error


def _layer(table: Mapping[str, Any], where: str, problems: list[str]) -> Layer:
    """The values of a table; a key that is no option is a problem."""
    by_key = _by_key()
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in by_key:
            values[by_key[key]] = value
        else:
            # Answers to a slip of the pen, an underscore, and a client option outside its table.
            known = [*by_key, array.KEY]
            problems.append(f"{where}: {key!r} is not an option{did_you_mean(key.replace('_', '-'), known)}")
    return Layer(values, f"in {where}")


@functools.cache
def _by_key() -> Mapping[str, str]:
    return {said.key: name for name, said in options(RunConfig).items()}


def _unreadable(what: str) -> ConfigError:
    """Alone: without the file, nobody knows what else is wrong."""
    return ConfigError(f"--config (environment {PREFIX}CONFIG): {what}")


def _keyed(cls: type) -> list[Option]:
    """The options that hold several values by name."""
    return [said for said in options(cls).values() if said.kind.keyed]


def _merged(layers: list[Layer], said: Option, problems: list[str]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        try:
            merged |= said.kind.parse(layer.values.get(said.name, {}))
        except ValueError as error:
            problems.append(f"{said.label}: {error} {layer.origin}".rstrip())
    return merged
