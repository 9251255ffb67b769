"""``csv2kafka verify``: reads source and destination side by side and says whether they are equal.

``--proof`` writes a receipt of that, ``--check-proof`` looks at one later (``cli/receipt.py``).
"""

from __future__ import annotations

from typing import Any

import click

from csv2kafka.cli.echo import echo
from csv2kafka.cli.failure import as_error, tell
from csv2kafka.cli.options import config_file, configured, loaded, not_for_verify
from csv2kafka.cli.printable import printable_json
from csv2kafka.cli.progress import display, ticking
from csv2kafka.cli.progress.outcome import counted
from csv2kafka.cli.progress.words import verify_words
from csv2kafka.cli.results import results
from csv2kafka.cli.signals import run_until_signalled
from csv2kafka.config import RunConfig
from csv2kafka.errors import ConfigError, Csv2KafkaError, DataError, TopicMissing
from csv2kafka.memory import keep_large_buffers
from csv2kafka.model.report import VerifyReport
from csv2kafka.proof import Proof

AGAIN = "nothing is kept of a comparison that was stopped: the next one begins anew"
NO_TOPIC = "see that the run was done, into this topic of this cluster"


@configured("verify", RunConfig, hidden=not_for_verify)
@click.option("--json", "as_json", is_flag=True, help="The result as a JSON object.")
@click.option(
    "--proof",
    metavar="FILE",
    help="If they are equal, write a receipt of it (docs/proof.md) to this file, which must be new, empty or an "
    "earlier receipt.",
)
@click.option(
    "--check-proof",
    metavar="FILE",
    help="Look whether everything is still as this receipt says: the source by its versions, the topic by reading it "
    "once. SOURCE, topic and settings are the receipt's; needed is what reaches them (-b, --kafka, --s3).",
)
@click.option(
    "--only",
    type=click.Choice(["source", "destination"]),
    metavar="source|destination",
    help="With --check-proof: look at this side alone.",
)
def command(as_json: bool, proof: str | None, check_proof: str | None, only: Any, **flags: Any) -> int:
    """Read the topic (or file) back and prove that it holds exactly the rows of SOURCE, in order.

    Reads committed records only. Exits 0 if they are equal, else 65 with the first difference.

    Give it the command line of the run, with verify for run: options that matter to a run alone (--create-topic,
    --report and others) are taken and not looked at.

    --proof writes a receipt of it; --check-proof looks later whether it still holds: 0 if so, else 65 with what has
    changed.
    """
    from csv2kafka.cli import receipt

    if check_proof is not None and proof is not None:
        raise ConfigError("--check-proof: looks at a receipt, --proof writes one: give one of them")
    if check_proof is not None:
        return receipt.check(check_proof, flags, only=only, as_json=as_json)
    if only is not None:
        raise ConfigError("--only: is for --check-proof")
    config = loaded(RunConfig, flags)
    file = None if proof is None else receipt.file_for(proof, config, config_file(flags))
    keep_large_buffers()
    shown = display(config.progress, verify_words(config))

    async def work() -> tuple[VerifyReport, Proof | None]:
        async with ticking(shown):
            if file is None:
                from csv2kafka.verify import verify

                return await verify(config, on_event=shown.on_event), None
            from csv2kafka.verify import prove

            return await prove(config, on_event=shown.on_event)

    failed: BaseException | None = None
    with shown:
        try:
            found, proved = run_until_signalled(work, on_stop=shown.stopping, hint=AGAIN)
        except TopicMissing as error:
            failed = TopicMissing(*error.problems, hint=NO_TOPIC)
        except (Exception, KeyboardInterrupt) as error:
            failed = error
    if failed is not None:
        known = as_error(failed)
        shown.failed(known, debug=config.debug)
        return known.exit_code
    code = 0 if found.equal else DataError.exit_code
    unwritten: Csv2KafkaError | None = None
    if file is not None and proved is not None:
        try:
            receipt.write(file, proved, proof or "")
        except Csv2KafkaError as error:
            unwritten = error
    with results():
        if as_json:
            click.echo(printable_json(found.to_json()))
        else:
            for line in lines(found):
                echo(line)
        if proved is not None and unwritten is None and not as_json:
            echo(f"receipt: {proof}")
    return code if unwritten is None else tell(unwritten, debug=config.debug)


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
