"""Flags over environment over TOML file over defaults, into one checked configuration.

A destination counts as a whole: a ``--topic`` on the command line sets aside the file's ``output``, and the other
way round. Options with names of their own (``[kafka]``, ``[s3]``) are merged key by key. An empty variable counts as
not set.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from csv2kafka.config.common import CommonConfig
from csv2kafka.config.option import PREFIX, Option, converted, did_you_mean, options
from csv2kafka.config.references import Resolve, resolved
from csv2kafka.config.run import RunConfig
from csv2kafka.errors import ConfigError

C = TypeVar("C", bound=CommonConfig)

_DESTINATIONS = (("topic", "bootstrap_servers", "partition"), ("output",))
# Variables that are read elsewhere: by the kernel's chooser, the command itself and the tests.
_OTHERS = tuple(PREFIX + name for name in ("CONFIG", "KERNEL", "REQUIRE_NATIVE", "TEST_BOOTSTRAP"))


@frozen
class _Layer:
    """Raw values by field name. ``origin``: how errors say where they came from."""

    values: dict[str, Any]
    origin: str


def load(
    cls: type[C],
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
    resolve: Resolve | None = None,
) -> C:
    """A ``cls`` from its layers, the strongest first. ``flags``: raw values by field name, None: not given.
    ``resolve``: looks up references to secrets (``csv2kafka.aws.secrets.resolve``); without it they are refused.

    Raises ConfigError with every problem of every layer; of a file that cannot be read, with that alone. Unreachable
    where references could not be looked up.
    """
    problems: list[str] = []
    layers = [
        _Layer({name: value for name, value in (flags or {}).items() if value is not None}, ""),
        _from_environment(environ or {}, problems),
    ]
    if file is not None:
        layers.append(_from_file(file, problems))
    _settle_destination(layers)

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


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> _Layer:
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
    return _Layer(values, "in the environment")


def _from_file(path: Path, problems: list[str]) -> _Layer:
    import tomllib

    origin = f"in {path}"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(f"{path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _unreadable(f"{path}: not TOML: {error}") from error
    by_key = {said.key: name for name, said in options(RunConfig).items()}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in by_key:
            values[by_key[key]] = value
        else:
            # Answers to a slip of the pen, an underscore, and a client option outside its table.
            problems.append(f"{path}: {key!r} is not an option{did_you_mean(key.replace('_', '-'), list(by_key))}")
    return _Layer(values, origin)


def _unreadable(what: str) -> ConfigError:
    """Alone: without the file, nobody knows what else is wrong."""
    return ConfigError(f"--config (environment {PREFIX}CONFIG): {what}")


def _settle_destination(layers: list[_Layer]) -> None:
    """The strongest layer that names a destination decides whether it is Kafka or a file."""
    for place, layer in enumerate(layers):
        named = [group for group in _DESTINATIONS if any(name in layer.values for name in group)]
        if not named:
            continue
        aside = [name for group in _DESTINATIONS if group not in named for name in group]
        for weaker in layers[place + 1 :]:
            for name in aside:
                weaker.values.pop(name, None)
        return


def _keyed(cls: type) -> list[Option]:
    """The options that hold several values by name."""
    return [said for said in options(cls).values() if said.kind.keyed]


def _merged(layers: list[_Layer], said: Option, problems: list[str]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        try:
            merged |= said.kind.parse(layer.values.get(said.name, {}))
        except ValueError as error:
            problems.append(f"{said.label}: {error} {layer.origin}".rstrip())
    return merged
