"""The command group: commands imported when they are called for, and one way out for every error.

    execute(argv) ──▶ a command ──▶ exit code
                         └─ error ──▶ one message and what to do next on standard error, never a traceback

Exit codes are the errors' own (``csv2kafka.errors``); docs/errors.md lists them.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from csv2kafka import __version__
from csv2kafka.cli import importing
from csv2kafka.cli.results import results
from csv2kafka.errors import Csv2KafkaError

# name → (module, what it does). Help of the group is made from this, so that no command need be imported for it.
COMMANDS = {
    "run": ("csv2kafka.cli.run", "Put a CSV into Kafka, every row in order, once; go on where it stopped."),
    "preview": ("csv2kafka.cli.preview", "Show what the first rows become. Writes nothing anywhere."),
    "check": ("csv2kafka.cli.check", "Look at what a run needs, and say what is missing. Sends nothing."),
    "verify": ("csv2kafka.cli.verify", "Prove that the topic holds exactly the rows of the CSV, in order."),
    "status": ("csv2kafka.cli.status", "Show jobs and how far they are."),
    "init": ("csv2kafka.cli.init", "Make a checkpoint store, or see that it can be used."),
    "cost": ("csv2kafka.cli.cost", "Tell what a load costs in AWS on each target. Asks nobody."),
    "demo": ("csv2kafka.cli.demo_command", "See it survive a kill: a CSV, a broker, SIGKILL, and the proof."),
}


class Group(click.Group):
    """The commands of COMMANDS, each imported only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        with importing():
            command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def get_help(self, ctx: click.Context) -> str:
        from csv2kafka.cli.help import group_help

        return group_help(ctx, COMMANDS)


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from csv2kafka import kernel

        python = ".".join(map(str, sys.version_info[:3]))
        click.echo(f"csv2kafka {__version__} (kernel: {kernel.NAME}, Python {python})")
        ctx.exit()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="The version.")
def group() -> None:
    """Huge CSV files into Kafka: every row, in exact order, once, whatever crashes."""


def execute(argv: Sequence[str]) -> int:
    """Run the command; gives the exit code. Errors are told on standard error."""
    debug = "--debug" in argv or os.environ.get("CSV2KAFKA_DEBUG", "").lower() in ("1", "true", "yes", "on")
    try:
        result: Any = group.main(args=list(argv), prog_name="csv2kafka", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (BrokenPipeError, SystemExit):  # the latter is what click makes of the former
        return _nobody_reads()
    except (Exception, KeyboardInterrupt) as error:
        from csv2kafka.cli.failure import tell

        return tell(error, debug=debug)


def leave(code: int) -> NoReturn:
    """End the process with ``code``, also while a thread still waits on something (a read of standard input).

    At once: taking an interpreter apart piece by piece costs more than a tenth of what a small run does, for nothing.
    """
    try:
        if sys.stdout is not None:
            with results():
                pass  # what a command printed may still be on its way
    except BrokenPipeError:
        _nobody_reads()
    except Csv2KafkaError as error:
        from csv2kafka.cli.failure import tell

        _nobody_reads()
        code = code or tell(error)
    with suppress(OSError, ValueError, AttributeError):  # the last: it was closed from the beginning
        sys.stderr.flush()
    if all(thread is threading.main_thread() or thread.daemon for thread in threading.enumerate()):
        atexit._run_exitfuncs()  # what plug-ins and libraries have asked for
    os._exit(code)


def _nobody_reads() -> int:
    """Whoever read our output (``head``) has enough: that is no failure. Python must not fail on its last flush."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
