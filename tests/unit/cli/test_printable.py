"""What others chose comes to a terminal as something to read, not as something to obey."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from csv2kafka.cli.console import Console
from csv2kafka.cli.failure import tell
from csv2kafka.cli.log import configure
from csv2kafka.cli.printable import lines_of_it, printable, printable_json, printable_value
from csv2kafka.cli.progress.bar import BarDisplay
from csv2kafka.cli.progress.lines import JsonDisplay, PlainDisplay
from csv2kafka.cli.progress.words import Words
from csv2kafka.errors import ConfigError, Difference
from csv2kafka.model import Waiting
from tests.unit.cli.conftest import Command

CLIPBOARD, CLEAR, CSI, LINK = "\x1b]52;c;aGk=\x07", "\x1b[2J\x1b[1;1H", "\x9b31m", "\x1b]8;;http://x\x1b\\"
TURNED, BACK, HIDDEN = "\u202egpj.exe\u2066", "ok\b\b\rno", "\U000e0041\u2060\u2028"
HOSTILE = CLIPBOARD + CLEAR + CSI + LINK + TURNED + BACK + HIDDEN + "\x7f\0\udc9b[bold red]:bomb:[/bold red]"


def obeyed(text: str) -> set[str]:
    """Those of Unicode's own controls and format characters in it, but for what joins letters, and line ends."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - set(
        "\t\n\u200c\u200d\u00ad"
    )


@given(st.text() | st.text(st.sampled_from(HOSTILE)))
def test_nothing_that_is_obeyed_is_left(text: str) -> None:
    shown = printable(text)
    assert not obeyed(shown) & set(HOSTILE)
    assert not {c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")} - set("\t\n")
    assert printable(shown) == shown
    assert all(line.startswith(" ") for line in lines_of_it(text).split("\n")[1:])


@given(st.text())
def test_what_is_harmless_stays(text: str) -> None:
    harmless = "".join(c for c in text if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029")
    assert printable(harmless) == harmless


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_means_the_same(value: object) -> None:
    text = printable_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == json.loads(json.dumps(value))
    assert printable(text) == text


def test_values_are_one_line_each() -> None:
    assert printable_value(b"a\x1b[2J\xff\tb\nc") == "a\\x1b[2J\\xff\tb\\nc"


def test_it_is_said_how() -> None:
    assert printable("\x1b[2J\u202e\r\n\U000e0001") == "\\x1b[2J\\u202e\\r\n\\U000e0001"


def test_rich_renders_none() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system="truecolor", width=400)
    table = Table(HOSTILE)
    table.add_row(Text(HOSTILE, "bold"))
    for thing in (HOSTILE, Text(HOSTILE), table, escape(HOSTILE)):
        console.print(thing)
    told = written.getvalue()
    assert "\x1b[1m" in told  # of its own it says what it likes
    for sequence in (CLIPBOARD, CLEAR, CSI, "\x1b]", "\u202e", "\x08", "\r", "\x7f"):
        assert sequence not in told, repr(sequence)


@pytest.mark.parametrize("debug", [False, True])
def test_errors(debug: bool, capsys: pytest.CaptureFixture[str]) -> None:
    for error in (ConfigError(HOSTILE, HOSTILE + "\nerror: faked", hint=HOSTILE + "\nfaked"), Difference(HOSTILE)):
        try:
            raise error from OSError(HOSTILE)
        except Exception as raised:
            tell(raised, debug=debug)
    told = capsys.readouterr().err
    assert not obeyed(told)
    assert "[bold red]:bomb:[/bold red]" in told
    if not debug:
        assert "\nfaked" not in told
        assert "\nerror: faked" not in told


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (PlainDisplay, JsonDisplay):
        shown = kind(clock=lambda: 0.0, words=Words(opening=HOSTILE))
        shown.on_event(Waiting(reason=HOSTILE + "\nfaked", seconds=1.0, attempt=1))
        shown.tick()
    told = capsys.readouterr().err
    assert not obeyed(told)
    assert "\nfaked" not in told
    assert json.loads(told.splitlines()[-1])["reason"] == HOSTILE + "\nfaked"


def test_the_bar() -> None:
    shown = BarDisplay(clock=lambda: 0.0, words=Words(looking=HOSTILE))
    written = io.StringIO()
    console = Console(file=written, width=2000)
    console.print(shown.render())
    shown._tally.job = HOSTILE
    shown.on_event(Waiting(reason=HOSTILE, seconds=1.0, attempt=1))
    console.print(shown.render())
    told = written.getvalue()
    assert told.count("[bold red]:bomb:[/bold red]") == 3
    assert not obeyed(told)


@pytest.mark.parametrize("json_lines", [False, True])
def test_logs(json_lines: bool, capsys: pytest.CaptureFixture[str], command: Command) -> None:
    import logging

    configure(json_lines=json_lines, debug=False)
    logging.getLogger("somebody").warning("%s", HOSTILE + "\nfaked")
    told = capsys.readouterr().err
    assert not obeyed(told)
    assert "faked" in told
    assert "\nfaked" not in told


@pytest.mark.usefixtures("_logging_put_back")
def test_preview_shows_rows_on_a_terminal_and_gives_them_to_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from csv2kafka.cli.app import execute

    source = tmp_path / "a.csv"
    row = 'x\x9b31m\u202e,"two\nlines\x1b[2J"'
    source.write_text(f"a\x1b]0;t\x07,b\n{row}\n")
    arguments = ["preview", str(source), "--format", "raw"]
    assert execute(arguments) == 0
    piped = capfdbinary.readouterr()
    assert piped.out == f"{row}\n".encode()
    assert not obeyed(piped.err.decode())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert execute(arguments) == 0
    assert capfdbinary.readouterr().out == b'x\\x9b31m\\u202e,"two\\nlines\\x1b[2J"\n'
