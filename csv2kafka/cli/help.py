"""Help pages: options in panels by group, made from what the configuration says about each."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from csv2kafka.config import Option

MAX_WIDTH = 120


def command_help(ctx: click.Context, groups: Mapping[str, Iterable[Option]], extra: Iterable[click.Option]) -> str:
    """A command's help: what it does, how to call it, options by group; ``extra``: those of the command alone."""
    pages: list[RenderableType] = [_usage(ctx), Text()]
    for name, said in groups.items():
        pages.append(_panel(name, [_option_row(one) for one in said]))
    pages.append(_panel("Command", [_plain_row(one) for one in extra]))
    if groups:
        pages.append(Text("Each option is also an environment variable (CSV2KAFKA_MAX_RECORD) and a key in the file of "
                          "--config (max-record). Flags win over environment over file.", "dim"))  # fmt: skip
    return _rendered(pages)


def group_help(ctx: click.Context, commands: Mapping[str, tuple[str, str]]) -> str:
    """The help of ``csv2kafka`` itself."""
    rows = [(Text(name, "bold cyan"), Text(what)) for name, (_, what) in commands.items()]
    extra = [one for one in ctx.command.get_params(ctx) if isinstance(one, click.Option)]
    first = Text("See what a file becomes:  csv2kafka preview orders.csv\n"
                 "Put it into Kafka:        csv2kafka run orders.csv -b localhost:9092 -t orders\n"
                 "See it survive a kill:    csv2kafka demo")  # fmt: skip
    return _rendered(
        [
            _usage(ctx),
            Text(),
            _panel("Commands", rows),
            _panel("Options", [_plain_row(one) for one in extra]),
            _panel("To begin with", [(first,)]),
        ]
    )


def _usage(ctx: click.Context) -> Text:
    words = " ".join(ctx.command.collect_usage_pieces(ctx))
    return Text.assemble(("Usage: ", "bold"), f"{ctx.command_path} {words}\n\n", "\n\n".join(paragraphs(ctx.command)))


def paragraphs(command: click.Command) -> list[str]:
    """What the command says of itself, each paragraph on one line."""
    return [" ".join(part.split()) for part in cleandoc(command.help or "").split("\n\n")]


def _option_row(said: Option) -> tuple[Text, ...]:
    names = [said.short, said.flag] if said.short else [said.flag]
    flag = Text.assemble((", ".join(names), "bold cyan"))
    if said.off:
        flag.append(f"/{said.off}", "cyan")
    if said.kind.metavar and not said.positional:
        flag.append(f" {said.kind.metavar}", "yellow")
    text = Text(said.help)
    if said.default_text not in ("", "none", "off"):
        text.append(f" [{said.default_text}]", "dim")
    return flag, text


def _plain_row(one: click.Option) -> tuple[Text, ...]:
    metavar = "" if one.is_flag else f" {one.metavar or 'TEXT'}"
    return Text.assemble((", ".join(one.opts), "bold cyan"), (metavar, "yellow")), Text(one.help or "")


def _panel(title: str, rows: Iterable[tuple[Text, ...]]) -> Panel:
    table = Table.grid(padding=(0, 2), expand=True)
    for row in rows:
        table.add_row(*row)
    if table.columns and len(table.columns) > 1:
        table.columns[0].max_width = 38
        table.columns[-1].ratio = 1
    return Panel(table, title=title, title_align="left", border_style="dim", box=box.ROUNDED)


def _rendered(pages: Iterable[RenderableType]) -> str:
    """As text, with colour only where standard output shows it; click writes it."""
    outside = Console(file=sys.stdout)
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=min(outside.width, MAX_WIDTH),
        force_terminal=outside.is_terminal,
        color_system="auto" if outside.is_terminal else None,
        no_color=outside.no_color,
        highlight=False,
    )
    for page in pages:
        console.print(page)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())
