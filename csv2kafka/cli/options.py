"""Commands whose options are made from the configuration's fields.

A flag's text goes to ``config.load`` as it stands, so that conversion and errors are the same for every layer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from csv2kafka.cli import redact
from csv2kafka.cli.echo import echo
from csv2kafka.config import GROUPS, PREFIX, CommonConfig, Option, RunConfig, load, options, unknown_variables
from csv2kafka.config.layer import Layer
from csv2kafka.errors import ConfigError

C = TypeVar("C", bound=CommonConfig)
F = TypeVar("F", bound=Callable[..., Any])

CONFIG_FLAG = "config_file"
REMOTE = "s3://"
HELP = {"help_option_names": ["-h", "--help"]}


class Command(click.Command):
    """A command that shows its options in panels. ``said``: the configuration's options it takes."""

    said: Mapping[str, Option] = {}

    def get_help(self, ctx: click.Context) -> str:
        from csv2kafka.cli.help import command_help

        return command_help(ctx, grouped(self.said), self.own(self.get_params(ctx)))

    def own(self, parameters: Iterable[click.Parameter]) -> list[click.Option]:
        """The options among them that are no configuration's, and shown."""
        found = [one for one in parameters if isinstance(one, click.Option) and not one.hidden]
        return [one for one in found if one.name not in self.said]


def grouped(said: Mapping[str, Option]) -> dict[str, list[Option]]:
    """The options by the group in which help shows them, those with a short flag first."""
    ordered = sorted(said.values(), key=lambda one: not one.short)
    groups = {group: [one for one in ordered if one.group == group] for group in GROUPS}
    return {group: members for group, members in groups.items() if members}


def configured(
    name: str,
    cls: type[CommonConfig],
    *,
    only: Callable[[Option], bool] = lambda _: True,
    hidden: Callable[[Option], bool] = lambda _: False,
) -> Callable[[F], Command]:
    """Make a command ``name`` that takes the options of ``cls`` and ``--config``; ``only`` these of them. Those
    that are ``hidden`` it takes too, but does not show."""
    said = {one.name: one for one in options(cls).values() if only(one) and not hidden(one)}

    def decorate(function: F) -> Command:
        made = click.command(name, cls=Command, context_settings=HELP)(function)
        taken = [one for one in options(cls).values() if only(one)]
        parameters: list[click.Parameter] = [_parameter(one, hidden=hidden(one)) for one in taken]
        parameters.append(
            click.Option(
                ["--config", CONFIG_FLAG],
                metavar="FILE.toml",
                help=f"Options from a file, or s3://BUCKET/KEY; its keys are the flags' names, client options stand in "
                f"[kafka], those of each child of an array job in [[array]]. Also {PREFIX}CONFIG.",
            )
        )
        made.params = [*made.params, *parameters]
        made.said = said
        return made

    return decorate


def config_file(flags: Mapping[str, Any]) -> Path | None:
    """The file of ``--config``, where it is one of this machine."""
    file = _config(flags)
    return file if isinstance(file, Path) else None


def loaded(cls: type[C], flags: Mapping[str, Any], assumed: Layer | None = None) -> C:
    """The configuration of ``cls`` from the flags given, the environment and the file. References to secrets are looked
    up, and logging is set up as it says. ``assumed``: what counts where none of them says anything.

    Variables that nothing reads are warned of on standard error, also where the configuration is wrong: most
    likely because of them.
    """
    given = {name: _given(value) for name, value in flags.items() if name != CONFIG_FLAG}
    warn = _warn
    try:
        config = load(
            cls, flags=given, environ=os.environ, file=_config(flags), read=_read, resolve=_resolve, assumed=assumed
        )
        redact.hide_given(config)
        from csv2kafka.cli import log

        log.configure(json_lines=isinstance(config, RunConfig) and config.progress == "json", debug=config.debug)
        if isinstance(config, RunConfig):
            warn = log.warning
    finally:
        for warning in unknown_variables(os.environ):
            warn(warning)
    return config


def not_for_verify(said: Option) -> bool:
    """What verify takes and does not look at, so that a run's command line is verify's too."""
    return not said.verify


def _config(flags: Mapping[str, Any]) -> Path | str | None:
    """What ``--config`` names: a file, or the URL of an object."""
    named: str | None = flags.get(CONFIG_FLAG) or os.environ.get(PREFIX + "CONFIG")
    if not named:
        return None
    return named if named.startswith(REMOTE) else Path(named)


def _read(url: str) -> bytes:
    """What S3 has there."""
    from csv2kafka.sources.small_object import read

    return read(url)


def _resolve(references: Collection[str]) -> Mapping[str, str | ConfigError]:
    """What AWS gives for them; secrets are not written from then on."""
    from csv2kafka.aws.secrets import resolve

    return resolve(references, hide=redact.hide)


def _warn(text: str) -> None:
    echo(f"warning: {text}", err=True)


def _given(value: Any) -> Any:
    """click gives an empty tuple for what was not given at all."""
    return None if value == () else value


def _parameter(said: Option, *, hidden: bool) -> click.Parameter:
    if said.positional:
        return click.Argument([said.name], nargs=-1, metavar=said.kind.metavar)
    names = [said.name, *([said.short] if said.short else [])]
    if said.is_switch:
        return click.Option([*names, f"{said.flag}/{said.off}"], default=None, help=said.help, hidden=hidden)
    return click.Option(
        [*names, said.flag], multiple=said.repeatable, metavar=said.kind.metavar, help=said.help, hidden=hidden
    )
