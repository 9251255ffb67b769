"""How an error is told: what was wrong, what to do next, and the exit code. A traceback only with ``--debug``."""

from __future__ import annotations

import errno
import resource
import sys
import traceback
from typing import Any

import click

from csv2kafka.cli.printable import lines_of_it, printable
from csv2kafka.cli.redact import redacted, redacted_facts
from csv2kafka.cli.results import unwritable
from csv2kafka.errors import ConfigError, Csv2KafkaError, Stopped

FEW_FILES = (errno.EMFILE, errno.ENFILE)
BUG_HINT = "this is a bug in csv2kafka; run it again with --debug and report what it shows"


def as_error(error: BaseException) -> Csv2KafkaError:
    """Any exception as one of ours, with message, hint and exit code; the exception itself is its cause."""
    if isinstance(error, Csv2KafkaError):
        return error
    known = _translated(error)
    known.__cause__ = error
    return known


def _translated(error: BaseException) -> Csv2KafkaError:
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "csv2kafka"
        return ConfigError(error.format_message(), hint=f"{where} --help shows what there is")
    if isinstance(error, click.ClickException):
        return ConfigError(error.format_message())
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Stopped("interrupted", hint="run it again")
    if isinstance(error, OSError) and error.errno in FEW_FILES:
        return _few_files(error.errno)
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return ConfigError(f"{error.filename}: {error.strerror}", hint="give another path")
    if isinstance(error, OSError) and error.filename:
        return Csv2KafkaError(f"{error.filename}: {error.strerror}", hint="see whether it is there and may be used")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return unwritable(error)  # by click, of help and the version: what else is written has a name
    text = " ".join(str(error).split())
    return Csv2KafkaError(f"{type(error).__name__}{': ' + text if text else ''}", hint=BUG_HINT)


def _few_files(number: int) -> ConfigError:
    """Files, sockets and pipes alike. The file's name, which the system gives, is not what is wrong."""
    if number == errno.ENFILE:
        return ConfigError("too many open files on this machine", hint="see what holds them (lsof), then run it again")
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ConfigError(
        f"too many open files: this process may have {most:,} open at once (ulimit -n)",
        hint="allow more (ulimit -n 1024; LimitNOFILE= in systemd, --ulimit nofile= in Docker), then run it again",
    )


def error_facts(error: Csv2KafkaError) -> dict[str, Any]:
    """An error as programs read it, without secrets."""
    facts: dict[str, Any] = {
        "exit_code": error.exit_code,
        "error": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
    }
    if isinstance(error, ConfigError):
        facts["problems"] = list(error.problems)
    return {name: redacted_facts(fact) for name, fact in facts.items()}


def tell(error: BaseException, *, debug: bool = False) -> int:
    """Write the error to standard error; gives its exit code."""
    known = as_error(error)
    if isinstance(known.__cause__, OSError) and known.__cause__.errno in FEW_FILES:
        sys.unraisablehook = lambda _: None  # a loop that was made by half complains when it is taken away
    try:
        if debug:
            sys.stderr.write(printable(redacted("".join(traceback.format_exception(error)))))
        try:
            _render(known)
        except (OSError, ImportError) as unrendered:
            if isinstance(unrendered, OSError) and unrendered.errno not in FEW_FILES:
                raise
            sys.stderr.write(printable(redacted(f"error: {known}\n")))  # rich's files cannot be opened
    except (OSError, ValueError):
        pass  # nobody reads standard error any more: the exit code still says it
    return known.exit_code


def _render(error: Csv2KafkaError) -> None:
    from rich.text import Text

    from csv2kafka.cli.console import Console

    # A stop is no error: what it says stands alone.
    word, style, shade = ("", "", "yellow") if isinstance(error, Stopped) else ("error: ", "bold red", "")
    problems = error.problems if type(error) is ConfigError else [error.message]
    # soft_wrap: a message is cut into lines by the terminal, not by us, so that it can be searched for and copied.
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for problem in problems:
        console.print(Text.assemble((word, style), (printable(redacted(problem)).replace("\n", "\n  "), shade)))
    if error.hint:
        console.print(Text.assemble(("  → ", "cyan"), lines_of_it(redacted(error.hint))))
