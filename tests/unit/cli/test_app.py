"""Usage errors, help, the version, and that no error shows a traceback."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from csv2kafka import __version__, errors
from csv2kafka.cli import failure, status
from csv2kafka.cli.app import COMMANDS, group
from csv2kafka.cli.options import Command as OptionCommand
from csv2kafka.model.report import Report
from tests.unit.cli.conftest import Command, FakePipeline, Work

KINDS = [
    one
    for _, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, errors.Csv2KafkaError) and one is not errors.BadRow
]


def commands() -> list[OptionCommand]:
    with click.Context(group) as ctx:
        found = [group.get_command(ctx, name) for name in COMMANDS]
    return [one for one in found if isinstance(one, OptionCommand)]


def raising(error: BaseException) -> Work:
    async def work(pipeline: FakePipeline) -> Report:
        raise error

    return work


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "Missing command"),
        (["rum"], "No such command 'rum'"),
        (["run", "--delimeter", ";"], "No such option"),
        (["run", "a.csv"], "--topic (environment CSV2KAFKA_TOPIC, file key topic): is needed, or --output"),
        (["run", "-o", "f"], "SOURCE... (environment CSV2KAFKA_SOURCES, file key sources): is needed"),
        (["run", "a.csv", "-b", "h:1", "-t", "t", "-o", "f"], "expected either a file or --topic, found both"),
        (["run", "a.csv", "-o", "f", "--max-record", "big"], "expected a size such as 500k or 16MiB"),
        (["run", "a.csv", "-o", "f", "--config", "/none.toml"], "/none.toml: No such file or directory"),
        (["run", "a.csv", "-o", "f", "--report", "/none/r.json"], "'/none/r.json', which cannot be written"),
        (["run", "a.csv", "-o", "-"], "standard output cannot be gone on with after a crash; give a file"),
        (["run", "a.csv", "-o", "f", "--delivery"], "requires an argument"),
        (["preview"], "is needed"),
        (["preview", "a.csv", "-n", "0"], "is not in the range"),
        (["verify", "a.csv"], "is needed"),
        (["status", "--checkpoints", "jobs.db"], "expected a URL such as"),
        (["status", "a", "b"], "unexpected extra argument"),
    ],
)
def test_usage_errors_exit_with_2_and_say_what_to_do(command: Command, argv: list[str], said: str) -> None:
    outcome = command(*argv)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.startswith("error: ")
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def test_all_problems_of_a_command_line_are_told_at_once(command: Command) -> None:
    outcome = command("run", "a.csv", "-b", "h:1", "-t", "a/b", "--max-record", "x", "--delivery", "twice")
    assert outcome.code == 2
    assert outcome.err.count("error: ") == 3


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_gives_its_code_a_message_and_no_traceback(
    command: Command, kind: type[errors.Csv2KafkaError]
) -> None:
    command.work = raising(kind("expected this, found that", hint="do so"))
    outcome = command.run()
    assert outcome.code == kind.exit_code
    assert "expected this, found that" in outcome.err
    assert "→ do so" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_bug_is_one_line_and_a_traceback_only_with_debug(command: Command) -> None:
    command.work = raising(ValueError("odd\nthing"))
    outcome = command.run()
    assert outcome.code == 1
    assert outcome.err.startswith("error: ValueError: odd thing\n")
    assert failure.BUG_HINT in outcome.err
    assert "Traceback" not in outcome.err
    debugged = command.run("--debug")
    assert debugged.code == 1
    assert "Traceback" in debugged.err


def test_messages_are_shown_as_they_stand(command: Command) -> None:
    """Not as rich's markup, and not cut into lines: they are searched for and copied."""
    message = "a [bold]row[/bold] [/] " + "x" * 300
    command.work = raising(errors.DataError(message))
    assert f"error: {message}\n" in command.run().err


def test_what_belongs_together_is_told_together(command: Command) -> None:
    command.work = raising(errors.SettingsChanged("begun with other settings:", "format: 'json', now 'raw'"))
    assert command.run().err == "error: begun with other settings:\n  format: 'json', now 'raw'\n"


def test_a_stop_is_no_error(command: Command) -> None:
    command.work = raising(errors.Stopped("stopped: 5 rows are committed", hint="run it again"))
    assert command.run().err == "stopped: 5 rows are committed\n  → run it again\n"


@pytest.mark.parametrize("name", [[], *([name] for name in COMMANDS)], ids=lambda name: " ".join(name) or "group")
def test_help_of_every_command(command: Command, name: list[str]) -> None:
    for flag in ("--help", "-h"):
        outcome = command(*name, flag)
        assert outcome.code == 0
        assert "Usage: csv2kafka" in outcome.out
        assert outcome.err == ""


@pytest.mark.parametrize("one", commands(), ids=lambda one: str(one.name))
def test_help_names_every_flag(command: Command, monkeypatch: pytest.MonkeyPatch, one: OptionCommand) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = command(str(one.name), "--help").out
    for parameter in one.params:
        if isinstance(parameter, click.Option) and parameter.hidden:
            continue
        for flag in (*parameter.opts, *parameter.secondary_opts):
            if flag.startswith("-"):
                assert flag in shown, flag
    assert not any(line.endswith(" ") for line in shown.splitlines())


def test_help_shows_no_colour_in_a_pipe(command: Command) -> None:
    assert "\x1b" not in command("run", "--help").out


def test_the_version_names_the_kernel(command: Command) -> None:
    outcome = command("--version")
    assert outcome.code == 0
    assert outcome.out.startswith(f"csv2kafka {__version__} (kernel: ")


def test_the_version_imports_little() -> None:
    """It answers at once: no broker client, no kernel, no display, no loop."""
    heavy = ("aiokafka", "attr", "cattrs", "crc32c", "rich", "structlog", "asyncio", "csv2kafka.kernel._python")
    code = (
        "import sys; from csv2kafka.cli.app import execute; execute(['--version']); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("destination", [["-o", "FILE"], ["-t", "orders", "-b", "127.0.0.1:1"]])
def test_a_run_imports_what_it_uses(destination: list[str], tmp_path: Path) -> None:
    """What only a display, a log line, an earlier checkpoint, a directory, a plug-in or AWS needs is not waited for."""
    heavy = ["rich", "structlog", "cattrs", "natsort", "tomllib", "aiokafka.client", "aiokafka.consumer"]
    heavy += ["botocore", "aiobotocore", "aiohttp", "prometheus_client", "csv2kafka.aws"]
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    to = [str(tmp_path / "out.jsonl") if word == "FILE" else word for word in destination]
    argv = ["run", str(tmp_path / "a.csv"), *to, "--checkpoints", f"sqlite:///{tmp_path}/jobs.sqlite"]
    argv += ["--progress", "json", "--connect-timeout", "1"]
    code = (
        f"import sys; from csv2kafka.cli.app import execute; execute({argv}); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_still_imports_is_a_stop(number: signal.Signals) -> None:
    code = f"""
import os, signal, sys
signal.signal({int(number)}, signal.SIG_DFL)  # as in a shell's foreground, wherever the tests run
class Early:
    def find_spec(self, name, path=None, target=None):
        if name == "csv2kafka.cli.app":
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Early())
sys.argv = ["csv2kafka", "--version"]
from csv2kafka.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == f"stopped ({number.name}); run the same command again\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["--version", "run --help", "preview FILE", "status --json", "preview FILE -n 1"])
def test_a_full_disk_behind_standard_output_is_told(command: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n2,3\n")
    argv = command.replace("FILE", str(tmp_path / "a.csv")).split()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "csv2kafka", *argv],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        )
    assert done.returncode == 1
    assert "error: cannot write to standard output: No space left on device\n" in done.stderr
    assert "bug" not in done.stderr


def closed(descriptors: str, *argv: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """The command as a shell starts it with these closed, ``2>&-`` for instance."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {descriptors}', "sh", sys.executable, "-m", "csv2kafka", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=directory,
        env={**os.environ, "XDG_STATE_HOME": str(directory / "state")},
    )


@pytest.mark.parametrize(
    ("descriptors", "progress"), [("2>&-", "auto"), ("2>&-", "json"), ("<&- >&- 2>&-", "plain"), ("<&- 2>&-", "rich")]
)
def test_what_is_closed_is_no_failure_and_no_file_takes_its_place(
    descriptors: str, progress: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n2\n")
    job = ("a.csv", "-o", "out", "--format", "raw")
    assert closed(descriptors, "run", *job, "--progress", progress, directory=tmp_path).returncode == 0
    assert (tmp_path / "out").read_text() == "1\n2\n"


def test_verify_says_equal_where_nobody_hears_of_its_progress(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    job = ("a.csv", "-o", "out")
    assert closed("2>&1", "run", *job, directory=tmp_path).returncode == 0
    done = closed("2>&-", "verify", *job, directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("equal: every row is there once, in order")


def test_standard_input_that_is_closed_is_no_empty_one(tmp_path: Path) -> None:
    done = closed("<&-", "run", "-", "-o", "out", directory=tmp_path)
    assert done.returncode == 2
    assert "error: SOURCE '-': standard input is closed, or cannot be read\n" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "locale",
    [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "latin-1"}],
    ids=["the system's", "Python's"],
)
def test_another_encoding_than_utf8_makes_no_other_job_and_no_bug(locale: dict[str, str], tmp_path: Path) -> None:
    """A name has the same bytes in each, and help has letters that not every encoding has."""
    (tmp_path / "é名.csv").write_text("a\n1\n")
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}

    def run(*argv: str, **changed: str) -> str:
        command = [sys.executable, "-m", "csv2kafka", *argv]
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=60, cwd=tmp_path, env={**environment, **changed}
        )
        assert done.returncode == 0, done.stderr
        return (done.stdout + done.stderr).decode()

    assert "done: 1 row in" in run("run", "é名.csv", "-o", "out", "--progress", "plain")
    assert "complete already" in run("run", "é名.csv", "-o", "out", "--progress", "plain", **locale)
    for command in ("", "run", "verify", "status", "check", "cost"):
        assert "csv2kafka" in run(*command.split(), "--help", **locale)
    assert "é名.csv" in run("status", "--json", **locale)


def test_a_reader_that_has_enough_is_no_failure() -> None:
    """``csv2kafka run --help | head -1``: no traceback, no error, whatever Python does on its way out."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "csv2kafka", "run", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_leaving_does_not_wait_for_a_thread_that_never_ends() -> None:
    code = (
        "import threading; from csv2kafka.cli.app import leave; "
        "threading.Thread(target=threading.Event().wait).start(); print('told'); leave(65)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (65, b"told\n")


def test_leaving_calls_what_was_registered_for_it() -> None:
    code = (
        "import atexit; from csv2kafka.cli.app import leave; "
        "atexit.register(print, 'registered', flush=True); print('told'); leave(65)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (65, b"told\nregistered\n")


def test_interrupted_outside_a_run_it_is_a_stop(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(status.command, "callback", interrupted)
    outcome = command("status")
    assert outcome.code == 75
    assert "interrupted" in outcome.err


def test_a_name_that_is_too_long_is_a_wrong_option(command: Command) -> None:
    outcome = command("run", "a.csv", "-o", "b", "--report", "x" * 300)
    assert outcome.code == 2, outcome.err
    assert "too long" in outcome.err
