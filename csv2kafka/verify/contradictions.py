"""What a receipt has of a configuration, and what of another configuration speaks against it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from csv2kafka import registry
from csv2kafka.config import RunConfig
from csv2kafka.config.option import options
from csv2kafka.errors import ConfigError
from csv2kafka.proof import Proof, TopicSide

# Of the options those that shape what a row becomes.
SHAPING = ("format", "key", "delimiter", "quote", "escape", "comment", "encoding", "no_header", "columns")


def asked_by(config: RunConfig) -> tuple[str, ...]:
    """SOURCE as it can be asked for from anywhere: paths absolute, addresses without secrets."""
    return tuple(registry.build_source(evolve(config, sources=(url,))).uri for url in config.sources)


def settings_of(config: RunConfig) -> dict[str, Any]:
    """The options that shape the output, as JSON has them."""
    values = {name: getattr(config, name) for name in SHAPING}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def assumed_from(proof: Proof) -> dict[str, Any]:
    """The options that a receipt says, by field name: what need not be given again."""
    side = proof.destination
    where = {"topic": side.topic, "partition": side.partition} if isinstance(side, TopicSide) else {"output": side.path}
    settings = {name: proof.settings[name] for name in SHAPING if name in proof.settings}  # and none of any other kind
    return {"sources": proof.source.asked, **settings, **where}


def refuse_contradictions(config: RunConfig, proof: Proof) -> None:
    """ConfigError, with all of them, where a configuration says otherwise than a receipt."""
    problems = [
        f"{options(RunConfig)[name].label}: the receipt is of {_text(wanted)}, found {_text(found)}"
        for name, wanted, found in _contradictions(config, proof)
    ]
    if problems:
        raise ConfigError(*problems, hint="leave out what the receipt says: it is checked by what stands in it")


def _contradictions(config: RunConfig, proof: Proof) -> Iterator[tuple[str, Any, Any]]:
    """(option, what the receipt says, what the configuration says)."""
    if config.sources != proof.source.asked:
        asked = asked_by(config)
        if asked != proof.source.asked:
            yield "sources", " ".join(proof.source.asked), " ".join(asked)
    if config.job is not None and config.job != proof.job:
        yield "job", proof.job, config.job
    for name, found in settings_of(config).items():
        if found != proof.settings.get(name, found):
            yield name, proof.settings[name], found
    side, output = proof.destination, registry.output_file(config)
    if isinstance(side, TopicSide):
        if config.output is not None:
            yield "output", side, config.output
        elif (config.topic, config.partition) != (side.topic, side.partition):
            name = "partition" if config.topic == side.topic else "topic"
            yield name, side, f"topic {config.topic} partition {config.partition}"
    elif config.topic is not None:
        yield "topic", side, config.topic
    elif output is None or os.path.abspath(output) != side.path:  # noqa: PTH100 (`..` is to be resolved)
        yield "output", side, config.output


def _text(value: Any) -> str:
    return "none" if value is None else ",".join(value) if isinstance(value, list) else str(value)
