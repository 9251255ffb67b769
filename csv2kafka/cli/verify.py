"""``csv2kafka verify``: reads source and destination side by side and says whether they are equal."""

from __future__ import annotations

from typing import Any

import click

from csv2kafka.cli.failure import as_error
from csv2kafka.cli.options import configured, loaded, not_for_verify
from csv2kafka.cli.progress import display, ticking
from csv2kafka.cli.progress.outcome import counted
from csv2kafka.cli.progress.words import verify_words
from csv2kafka.cli.results import results
from csv2kafka.cli.signals import run_until_signalled
from csv2kafka.config import RunConfig
from csv2kafka.errors import DataError, TopicMissing
from csv2kafka.memory import keep_large_buffers
from csv2kafka.model.report import VerifyReport

AGAIN = "nothing is kept of a comparison that was stopped: the next one begins anew"
NO_TOPIC = "see that the run was done, into this topic of this cluster"


@configured("verify", RunConfig, hidden=not_for_verify)
@click.option("--json", "as_json", is_flag=True, help="The result as a JSON object.")
def command(as_json: bool, **flags: Any) -> int:
    """Read the topic (or file) back and prove that it holds exactly the rows of SOURCE, in order.

    Reads committed records only. Exits 0 if they are equal, else 65 with the first difference.

    Give it the command line of the run, with verify for run: options that matter to a run alone (--create-topic,
    --report and others) are taken and not looked at.
    """
    config = loaded(RunConfig, flags)
    keep_large_buffers()
    shown = display(config.progress, verify_words(config))

    async def work() -> VerifyReport:
        from csv2kafka.verify import verify

        async with ticking(shown):
            return await verify(config, on_event=shown.on_event)

    failed: BaseException | None = None
    with shown:
        try:
            found = run_until_signalled(work, on_stop=shown.stopping, hint=AGAIN)
        except TopicMissing as error:
            failed = TopicMissing(*error.problems, hint=NO_TOPIC)
        except (Exception, KeyboardInterrupt) as error:
            failed = error
    if failed is not None:
        known = as_error(failed)
        shown.failed(known, debug=config.debug)
        return known.exit_code
    with results():
        click.echo(found.to_json() if as_json else "\n".join(lines(found)))
    return 0 if found.equal else DataError.exit_code


def lines(found: VerifyReport) -> list[str]:
    """The result as a person reads it."""
    rows = f"{counted(found.rows, 'row')} compared in {found.seconds:.1f} s"
    if found.bad_rows:
        rows += f", {counted(found.bad_rows, 'bad row')} left out"
    told = [f"equal: every row is there once, in order ({rows})" if found.equal else f"NOT equal ({rows})"]
    if found.difference:
        told.append(found.difference)
    if found.first_offset is not None and found.last_offset is not None:
        told.append(f"offsets {found.first_offset:,} to {found.last_offset:,}")
    others = [(found.besides, "between them"), (found.behind, "behind them")]
    if any(count for count, _ in others):
        told.append("records of others: " + ", ".join(f"{count:,} {place}" for count, place in others if count))
    return told
