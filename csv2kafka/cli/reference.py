"""docs/commands.md and docs/errors.md, made from the commands and the errors themselves.

``python -m csv2kafka.cli.reference docs`` writes both; a test keeps them equal to what this gives.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import click

from csv2kafka import errors
from csv2kafka.cli.app import COMMANDS, group
from csv2kafka.cli.help import paragraphs
from csv2kafka.cli.options import CONFIG_FLAG, Command, grouped
from csv2kafka.config import Option, RunConfig, options
from csv2kafka.kafka.settings import OPTIONS as CLIENT_OPTIONS

MADE = "<!-- Made by `python -m csv2kafka.cli.reference docs`: change it there. -->"

EXIT_CODES = {
    0: ("done", "Every row is there. Also when an earlier run had completed the job: then no row is sent."),
    1: ("anything else", "A bug in csv2kafka, or a result that could not be written. `--debug` shows the traceback."),
    2: (
        "usage or configuration",
        "A wrong option, no such file or topic, no permission, or settings that differ from those the job began with. "
        "Nothing was written; or, where a right was taken away or `--after` cannot be done, what was committed stays. "
        "Running it again does not help; the message names what to change.",
    ),
    65: (
        "the data",
        "A bad row under `--on-bad-row fail`, a source that is no longer the version the job began with, a difference "
        "that verify found, or a receipt that no longer holds. Everything before it is committed.",
    ),
    69: (
        "not reachable",
        "Nothing answered within `--connect-timeout`, or something in the place of AWS did, or what was lost did not "
        "come back within `--give-up-after`. "
        "What was committed stays; run it again to go on.",
    ),
    70: (
        "the state contradicts itself",
        "Records, checkpoint and store cannot all be true: data was lost, or somebody else's records are in the way. "
        "A person decides; the message says between what.",
    ),
    75: (
        "stopped before the end",
        "SIGTERM, SIGINT, or a notice under `--watch`. What was on the way is committed; run it again to go on. A "
        "second SIGINT ends it at once, with 130.",
    ),
    76: ("taken over", "Another run has this job. Do not start this one again: the other one does the work."),
}


def commands_page() -> str:
    """The reference of all commands and options."""
    lines = [
        "# Commands and options",
        "",
        MADE,
        "",
        "Every option is a flag, an environment variable, and a key in the TOML file that `--config` (or "
        "`CSV2KAFKA_CONFIG`) names. Flags win over environment over file over defaults. An empty variable counts as "
        "not set; `none` switches an option off that may be absent. Sizes are written `500k` (500,000) or `16MiB`, "
        "durations `0.2` (seconds), `500ms`, `2m` or `1h`, switches in variables and files `true` or `false` "
        "(as texts also `yes`, `no`, `on`, `off`, `1` and `0`). A destination counts as a whole: `--output` on the "
        "command line sets the file's `topic` aside. Any value can be a reference, `secretsmanager://NAME#key` or "
        "`ssm://NAME` ([aws.md](aws.md#secrets)).",
        "",
        "```toml",
        'sources = ["exports/*.csv"]',
        'bootstrap-servers = "broker1:9092,broker2:9092"',
        'topic = "orders"',
        'checkpoint-interval = "500ms"',
        "",
        "[kafka]                      # the client's own options",
        'security_protocol = "SASL_SSL"',
        'sasl_mechanism = "SCRAM-SHA-512"',
        'sasl_plain_username = "loader"     # and CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD in the environment',
        "```",
        "",
        "The file may also be `s3://BUCKET/KEY`, which is read once, at the start. For an array job of AWS Batch it "
        "has an `[[array]]` table for each child, at its end, with the options that are the child's own; "
        "`AWS_BATCH_JOB_ARRAY_INDEX`, which Batch sets, says which one counts. It is a layer above the rest of the "
        "file. Every child looks at all tables and refuses two that share a topic's partition, an output or a job's "
        "name, and variables that would overrule a table for all children. To look at one child: "
        "`AWS_BATCH_JOB_ARRAY_INDEX=1 csv2kafka verify --config orders.toml`.",
        "",
        "```toml",
        'topic = "orders"',
        "",
        "[[array]]                    # child 0",
        'sources = ["s3://example-exports/orders/eu.csv.gz"]',
        "partition = 0",
        "",
        "[[array]]                    # child 1",
        'sources = ["s3://example-exports/orders/us.csv.gz"]',
        "partition = 1",
        "```",
        "",
        *_table(("command", "what it does"), ([f"[`{name}`](#{name})", what] for name, (_, what) in COMMANDS.items())),
        "",
        "Exit codes: [errors.md](errors.md). What `--report`, `--progress json`, `status --json`, `verify --json` and "
        "`--proof` give: [report.md](report.md).",
    ]
    taken: dict[str, list[str]] = {}
    with click.Context(group, info_name="csv2kafka") as above:
        for name in COMMANDS:
            command = group.get_command(above, name)
            assert isinstance(command, Command)
            for one in command.said:
                taken.setdefault(one, []).append(name)
            with command.make_context(name, [], parent=above, resilient_parsing=True) as ctx:
                lines += _command(ctx, command)
    return "\n".join([*lines, *_options(taken), *_client_options()]) + "\n"


def errors_page() -> str:
    """The exit codes, and the exceptions that a library user sees."""
    members = inspect.getmembers(errors, inspect.isclass)
    kinds = [one for _, one in members if issubclass(one, errors.Csv2KafkaError)]
    kinds.sort(key=lambda one: (one.exit_code, inspect.getsourcelines(one)[1]))
    lines = [
        "# Errors and exit codes",
        "",
        MADE,
        "",
        "An error says what was expected and what was found, and what to do next. No traceback is shown without "
        "`--debug`.",
        "",
        "## Exit codes",
        "",
        *_table(("code", "meaning", ""), ([str(code), *said] for code, said in EXIT_CODES.items())),
        "",
        "## Exceptions",
        "",
        "From `csv2kafka.errors`, for library users; all are a `Csv2KafkaError` with `message`, `hint`, `exit_code` "
        "and `retryable`. A retryable one never leaves a run: it ends a session, and the run opens a new one.",
        "",
        *_table(
            ("exception", "is a", "code", "retryable", "meaning"),
            (
                [
                    f"`{one.__name__}`",
                    f"`{one.__bases__[0].__name__}`",
                    str(one.exit_code),
                    "yes" if one.retryable else "no",
                    " ".join((one.__doc__ or "").split()),
                ]
                for one in kinds
            ),
        ),
    ]
    return "\n".join(lines) + "\n"


def _command(ctx: click.Context, command: Command) -> Iterator[str]:
    usage = f"{ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}"
    yield from ("", f"## {ctx.info_name}", "", "```", usage, "```")
    for paragraph in paragraphs(command):
        yield from ("", paragraph)
    extra = [one for one in command.own(command.params) if one.name != CONFIG_FLAG]  # params: without --help
    if extra:
        yield from ("", "Of its own, besides the options below:" if command.said else "Its options:", "")
        rows = ([_code(f"{', '.join(one.opts)} {one.metavar or ''}".strip()), one.help or ""] for one in extra)
        yield from _table(("flag", "meaning"), rows)


def _options(taken: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """All options, each once; ``taken``: the commands that take each."""
    yield from ("", "# Options")
    for name, members in grouped(options(RunConfig)).items():
        yield from ("", f"## {name}", "")
        yield from _table(
            ("flag", "variable", "file key", "default", "meaning", "of"),
            (
                [_flag(one), _code(one.variable), _key(one), _default(one), _meaning(one), ", ".join(taken[one.name])]
                for one in members
            ),
        )


def _flag(one: Option) -> str:
    names = ", ".join(_code(name) for name in (one.short, one.flag, one.off) if name)
    return names if one.positional or not one.kind.metavar else f"{names} {_code(one.kind.metavar)}"


def _key(one: Option) -> str:
    return f"table `[{one.key}]`" if one.repeatable and not one.positional else _code(one.key)


def _default(one: Option) -> str:
    return "" if one.default_text in ("", "none") else _code(one.default_text)


def _meaning(one: Option) -> str:
    takes = "" if one.kind.choices or one.is_switch else f" Takes {one.kind.expected}."
    example = f" Example: {_code(one.example)}." if one.example else ""
    return f"{one.help}{takes}{example}"


def _client_options() -> Iterator[str]:
    yield from (
        "",
        "## Options of the Kafka client",
        "",
        "For `--kafka KEY=VALUE` and the file's `[kafka]` table, by aiokafka's names. As a variable each is "
        "`CSV2KAFKA_KAFKA_` and its name in capitals.",
        "",
    )
    rows = (
        [_code(name), "" if said.default is None else _code(said.kind.show(said.default)), said.about]
        for name, said in CLIENT_OPTIONS.items()
        if said.used and name != "bootstrap_servers" and said.kind.metavar != "OBJECT"
    )
    yield from _table(("option", "default", "meaning"), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(head)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _code(text: str) -> str:
    return f"`{text}`"


def write(directory: Path) -> None:
    """Write both pages."""
    (directory / "commands.md").write_text(commands_page(), encoding="utf-8")
    (directory / "errors.md").write_text(errors_page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
