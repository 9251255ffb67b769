"""``verify --proof FILE`` and ``verify --check-proof FILE``: receipts written, read, and held against the world."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from csv2kafka.cli.echo import echo
from csv2kafka.cli.failure import as_error
from csv2kafka.cli.options import loaded
from csv2kafka.cli.printable import printable_json
from csv2kafka.cli.progress import display, ticking
from csv2kafka.cli.progress.outcome import counted
from csv2kafka.cli.progress.words import check_words
from csv2kafka.cli.redact import redacted_facts
from csv2kafka.cli.report_file import taken_by
from csv2kafka.cli.result_file import ResultFile
from csv2kafka.cli.results import results
from csv2kafka.cli.signals import run_until_signalled
from csv2kafka.config import CheckConfig, RunConfig, options
from csv2kafka.config.layer import Layer
from csv2kafka.errors import ConfigError, Csv2KafkaError, DataError, Difference
from csv2kafka.memory import keep_large_buffers
from csv2kafka.proof import BEGINS, Checked, Proof, TopicSide, proof_from_json, receipt

AGAIN = "nothing is kept of a check that was stopped: the next one begins anew"
HINT = "give another file"
LARGEST_BYTES = 1 << 30
TOLD = 20  # of differences, to people


def file_for(target: str, config: RunConfig, file: Path | None) -> ResultFile:
    """Where the receipt goes; ``file``: that of --config. Raises ConfigError if it would overwrite something else."""
    taken = [*taken_by(config, file), *([(config.report, "the file of --report")] if config.report else [])]
    return ResultFile(target, taken, label="--proof", what="receipt", begins=BEGINS, hint=HINT)


def write(file: ResultFile, proof: Proof, target: str) -> None:
    """Write it, without secrets. Raises Csv2KafkaError if that cannot be done."""
    try:
        file.write(printable_json(receipt(redacted_facts(proof.as_dict())).decode()).encode())
    except OSError as error:
        raise Csv2KafkaError(
            f"--proof {target}: {error.strerror}", hint="source and destination are equal; there is no receipt of it"
        ) from error


def check(target: str, flags: Mapping[str, Any], *, only: Any, as_json: bool) -> int:
    """Look whether everything is as the receipt says; gives the exit code."""
    where = f"--check-proof {target}"
    try:
        with Path(target).open("rb") as file:
            proof = proof_from_json(file.read(LARGEST_BYTES), where=where)
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}", hint="give a file that verify --proof wrote") from error
    except Difference as error:
        if not as_json:
            raise
        return _told(Checked(source="not checked", destination="not checked", differences=(error.message,)), True)

    from csv2kafka.verify.contradictions import assumed_from, refuse_contradictions

    config = loaded(CheckConfig, flags, Layer(assumed_from(proof), f"in {target}"))
    refuse_contradictions(config, proof)
    to_topic = isinstance(proof.destination, TopicSide)
    if to_topic and only != "source" and config.bootstrap_servers is None:
        label = options(RunConfig)["bootstrap_servers"].label
        raise ConfigError(f"{label}: is needed", hint="the rows are in Kafka; --only source looks at the source alone")
    keep_large_buffers()
    shown = display(config.progress, check_words(str(proof.destination)))

    async def work() -> Checked:
        from csv2kafka.verify import check_proof

        async with ticking(shown):
            return await check_proof(config, proof, only=only, on_event=shown.on_event)

    failed: BaseException | None = None
    with shown:
        try:
            found = run_until_signalled(work, on_stop=shown.stopping, hint=AGAIN)
        except (Exception, KeyboardInterrupt) as error:
            failed = error
    if failed is not None:
        known = as_error(failed)
        shown.failed(known, debug=config.debug)
        return known.exit_code
    return _told(found, as_json, proof)


def _told(found: Checked, as_json: bool, proof: Proof | None = None) -> int:
    with results():
        if as_json or proof is None:
            click.echo(printable_json(found.to_json()))
        else:
            for line in lines(found, proof):
                echo(line)
    return 0 if found.holds else DataError.exit_code


def lines(found: Checked, proof: Proof) -> list[str]:
    """The result as a person reads it."""
    of = f"receipt of {proof.at}, {proof.tool}, checked in {found.seconds:.1f} s"
    told = [f"holds: everything is as it was proved ({of})" if found.holds else f"does NOT hold ({of})"]
    told += found.differences[:TOLD]
    if len(found.differences) > TOLD:
        told.append(f"and {len(found.differences) - TOLD:,} more like these (--json has all)")
    objects = counted(len(proof.source.objects.objects), "object")
    if found.source != "differs":
        told.append(f"source: {f'{objects}, the same versions' if found.source == 'holds' else 'not looked at'}")
    if found.destination == "not checked":
        told.append(f"{proof.destination}: not looked at")
    elif found.destination == "holds":
        told.append(f"{proof.destination}: {counted(proof.rows, 'row')}{_offsets(proof)}, {_hash(found, proof)}")
    if found.grown:
        told.append(f"{counted(found.grown, 'offset')} more behind them than at that time, not looked at")
    return told


def _offsets(proof: Proof) -> str:
    side = proof.destination
    if not isinstance(side, TopicSide) or side.first_offset is None or side.last_offset is None:
        return ""
    return f" at offsets {side.first_offset:,} to {side.last_offset:,}"


def _hash(found: Checked, proof: Proof) -> str:
    return f"{'content hash' if isinstance(proof.destination, TopicSide) else 'sha256'} {found.content_hash}"
