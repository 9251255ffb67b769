"""``csv2kafka check``: what a run needs, one line each. No row is sent, nothing is left behind, nobody is fenced."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict
from rich.text import Text

from csv2kafka.cli.console import Console
from csv2kafka.cli.echo import echo_json
from csv2kafka.cli.options import configured, loaded
from csv2kafka.cli.printable import lines_of_it, printable
from csv2kafka.cli.redact import redacted
from csv2kafka.cli.results import results
from csv2kafka.cli.signals import run_until_signalled
from csv2kafka.cli.suspicion import wrong_delimiter
from csv2kafka.config import RunConfig
from csv2kafka.model.findings import Finding, Forecast

if TYPE_CHECKING:
    from csv2kafka.preflight import Preflight

CHECK_VERSION = 1
MARKS = {"pass": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "bold red"), "not checked": ("-", "dim")}
WORDS = {"pass": "ok", "warn": "warning", "fail": "FAILS", "not checked": "-"}  # where marks cannot be shown


@configured("check", RunConfig)
@click.option("--json", "as_json", is_flag=True, help="As a JSON object (docs/check.md).")
def command(as_json: bool, **flags: Any) -> int:
    """Look at everything that a run of the same options needs, and say what is missing.

    Sends no row, makes no topic, takes no lease and fences no running job. Exits as the run would: with the code of
    the first thing that would stop it, else 0.
    """
    config = loaded(RunConfig, flags)
    return run_until_signalled(lambda: check(config, as_json=as_json), hint="run it again")


async def check(config: RunConfig, *, as_json: bool) -> int:
    """Print what is found, as soon as it is known (JSON: at the end); gives the exit code."""
    from csv2kafka.preflight import Preflight  # late, so that a wrong flag is told at once

    look = Preflight(config)
    found: list[Finding] = []
    console = Console(highlight=False, soft_wrap=True)
    async for finding in _all_of(look):
        found.append(finding)
        if not as_json:
            with results():
                console.print(line(finding, marks=shows_marks(console)), markup=False)
    code = exit_code(found)
    with results():
        if as_json:
            echo_json(facts(look.job, look.forecast, found))
        else:
            console.print(summary(found, code), markup=False)
    return code


async def _all_of(look: Preflight) -> AsyncIterator[Finding]:
    """Its findings, and what a person would suspect."""
    async with aclosing(look.findings()) as findings:
        async for finding in findings:
            yield finding
    if (doubt := wrong_delimiter(look.forecast.header)) is not None:
        yield Finding.warned("delimiter", doubt)


def exit_code(found: list[Finding]) -> int:
    """That of the first that fails: what the run would end with."""
    return next((finding.exit_code for finding in found if finding.status == "fail"), 0)


def facts(job: str, forecast: Forecast, found: list[Finding]) -> dict[str, Any]:
    """All of it as programs read it; docs/check.md has the fields."""
    return {
        "check_version": CHECK_VERSION,
        "job": job,
        "exit_code": exit_code(found),
        "estimate": {"rows": forecast.rows, "value_bytes": forecast.value_bytes, "seconds": forecast.seconds},
        "findings": [asdict(finding) for finding in found],
    }


def line(finding: Finding, *, marks: bool) -> Text:
    """``✓ topic orders: partition 0 of 1 …``, and below it what to do."""
    mark, style = MARKS[finding.status]
    begins = mark if marks else f"{WORDS[finding.status]:<7}"
    message = printable(redacted(_said_once(finding))).replace("\n", "\n    ")
    unknown = finding.status == "not checked"
    what = (f"not checked: {message}", "dim") if unknown else (message, "")
    text = Text.assemble((begins, style), f" {lines_of_it(finding.name)}: ", what)
    if finding.hint:
        text.append(f"\n    {'→' if marks else '->'} ", "cyan")
        text.append(lines_of_it(redacted(finding.hint)))
    return text


def _said_once(finding: Finding) -> str:
    """The message without what it is about, where the name has just said that: errors tell of it by themselves."""
    subject, message = finding.name.partition(": ")[0], finding.message
    kind, _, thing = subject.partition(" ")
    for begins in (subject, thing or kind):
        message = message.removeprefix(f"{begins}: ")
    return message


def summary(found: list[Finding], code: int) -> Text:
    """What a run would do with all that."""
    counts = Counter(finding.status for finding in found)
    rest = f"{counts['pass']} well, {counts['warn']} to look at, {counts['not checked']} not checked"
    if code:
        stop = f"a run would stop with exit code {code}"
        return Text.assemble((stop, "bold red"), f" ({counts['fail']} fail, {rest})")
    return Text.assemble(("a run can begin", "bold green"), f" ({rest})")


def shows_marks(console: Console) -> bool:
    """Whether standard output takes more than ASCII."""
    return console.encoding.lower().startswith("utf")
