"""Sources that nobody would wish for, through the command into a file.

Whatever comes: an exit code of docs/errors.md, no traceback, an end, bounded memory; and what is committed is a prefix
of what the source says, and stays.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import shutil
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import zstandard
from attrs import Factory, define

from tests import fuzz
from tests.hostile.forked import Forked
from tests.hostile.laws import hold
from tests.hostile.spoil import spoiled

MIB = 1 << 20
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, 1),
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".bz2": lambda data: bz2.compress(data, 1),
    ".xz": lambda data: lzma.compress(data, preset=0),
}
NAMES = (
    *(
        "new\nline.csv",
        "\x1b[2J.csv",
        "\x1b]52;c;aGk=\x07.csv",
        "tab\t.csv",
        "cr\r.csv",
        "bidi\u202e.csv",
        "c1\x9b31m.csv",
    ),
    *(
        "surrogate\udcff.csv",
        "-n.csv",
        "--config.csv",
        "[bold]x[/bold].csv",
        "a b 'c' \"d\".csv",
        "%s%n{0}.csv",
        "x" * 255,
    ),
    *("x" * 256, "x" * 5000, "s3:/.csv", "file:a.csv", ".hidden", "*.csv", "[a-", "**", "e\u0301.csv", "\u2028.csv"),
)


@define
class Case:
    """A command line behind ``run``, and what comes in. ``rows``: what the output may be the beginning of, and is the
    whole of where the code is 0; ``late``: only the latter, for what is wrong is known at the end only."""

    arguments: list[str]
    stdin: bytes = b""
    rows: bytes | None = None
    late: bool = False
    meanwhile: Callable[[], None] | None = None
    environment: dict[str, str] = Factory(dict)
    descriptors: int = 0


def good_rows(count: int, width: int = 3) -> tuple[bytes, bytes]:
    """A well-formed CSV, and its rows as ``--format raw`` gives them."""
    rows = b"".join(b"%d,%s\n" % (n, b",".join([b"x" * (n % 17)] * (width - 1))) for n in range(count))
    return b",".join(b"c%d" % n for n in range(width)) + b"\n" + rows, rows


def anything(draw: random.Random, place: Path) -> Case:
    (place / "a.csv").write_bytes(fuzz.text_of(draw, fuzz.corpus()))
    more = draw.choice([[], ["--on-bad-row", "skip"], ["--on-bad-row", "dead-letter"], ["--no-header"]])
    return Case(["a.csv", *more, *dialect(draw)])


def dialect(draw: random.Random) -> list[str]:
    marks = [",", ";", "tab", "'", '"', "\\", "#", "\x00", "\x7f", "é", "", "ab", "\n", "none"]
    options = ["--delimiter", "--quote", "--escape", "--comment"]
    return [part for option in options if draw.random() < 0.2 for part in (option, draw.choice(marks[:7] + marks))]


def bytes_of_all_kinds(draw: random.Random, place: Path) -> Case:
    parts = [bytes(range(256)), b"\0" * 100, b"\xff\xfe", b"\xef\xbb\xbf", "a,b\n1,2\n".encode("utf-16"), b'"\n', b"\r"]
    (place / "a.csv").write_bytes(b"".join(draw.choice(parts) for _ in range(draw.randint(1, 30))))
    encoding = draw.choice(["utf-8", "utf-16", "utf-7", "latin-1", "cp037", "shift_jis", "hz", "iso2022_jp", "utf-32"])
    more = draw.choice([[], ["--encoding", encoding], ["--encoding", encoding, "--on-bad-row", "skip"]])
    return Case(["a.csv", *more, "--format", draw.choice(["json", "raw"])])


def never_closed(draw: random.Random, place: Path) -> Case:
    """The rows before the quote are there; nothing behind it."""
    data, rows = good_rows(draw.randint(0, 2000))
    rest = b"x,y\n" * draw.choice([10, 100_000, 5 * MIB])
    (place / "a.csv").write_bytes(data + b'9,"' + rest)
    more = draw.choice([[], ["--max-record", draw.choice(["1KiB", "100", "64MiB"])]])
    return Case(["a.csv", "--format", "raw", *more], rows=rows)


def wide(draw: random.Random, place: Path) -> Case:
    width = draw.choice([1000, 20_000, 100_000])
    names = draw.choice([[b"c%d" % n for n in range(width)], [b"same"] * width, [b""] * width])
    row = b",".join([b"v"] * width) + b"\n"
    (place / "a.csv").write_bytes(b",".join(names) + b"\n" + row * draw.randint(0, 20))
    return Case(["a.csv", *draw.choice([[], ["--no-header"], ["--format", "raw"]])])


def huge_field(draw: random.Random, place: Path) -> Case:
    size = draw.choice([MIB, 15 * MIB, 17 * MIB, 40 * MIB])
    field = draw.choice([b"x", b'""', b"\x01", "é".encode()]) * (size // 2)
    (place / "a.csv").write_bytes(b'a,b\n1,2\n3,"' + field + b'"\n4,5\n')
    more = draw.choice([[], ["--on-bad-row", "skip"], ["--max-record", "48MiB"]])
    return Case(["a.csv", *more])


def bomb(draw: random.Random, place: Path) -> Case:
    """Small on disk, hundreds of MiB in memory if somebody kept them."""
    ending = draw.choice(list(COMPRESS))
    unit = draw.choice([b"\0", b"\n", b'"', b"a"])
    size = {".bz2": 48, ".xz": 96}.get(ending, 256) * MIB
    packed = COMPRESS[ending](unit * (size // 4)) * 4  # four members
    if draw.random() < 0.3 and ending in (".gz", ".bz2"):
        packed = COMPRESS[ending](b"") * 50_000
    (place / f"a.csv{ending}").write_bytes(packed)
    return Case([f"a.csv{ending}"])


def cut_off(draw: random.Random, place: Path) -> Case:
    data, rows = good_rows(draw.choice([10, 1000, 40_000]))
    ending = draw.choice(list(COMPRESS))
    packed = COMPRESS[ending](data)
    (place / f"a.csv{ending}").write_bytes(packed[: draw.randrange(len(packed))])
    return Case([f"a.csv{ending}", "--format", "raw"], rows=rows)


def flipped(draw: random.Random, place: Path) -> Case:
    """Its check sum stands at its end: then it is known, and it is never taken for whole."""
    data, rows = good_rows(draw.choice([10, 1000, 40_000]))
    ending = draw.choice(list(COMPRESS))
    packed = bytearray(COMPRESS[ending](data))
    packed[draw.randrange(len(packed))] ^= 1 << draw.randrange(8)
    (place / f"a.csv{ending}").write_bytes(packed)
    case = Case([f"a.csv{ending}", "--format", "raw", "--on-bad-row", "skip"], rows=rows, late=True)
    if draw.random() < 0.3:
        (place / f"a.csv{ending}").write_bytes(spoiled(draw, bytes(packed)))
        case.rows = None
    return case


def nested(draw: random.Random, place: Path) -> Case:
    data, _ = good_rows(100)
    first, second = draw.choice(list(COMPRESS)), draw.choice(list(COMPRESS))
    packed = COMPRESS[second](COMPRESS[first](data))
    if draw.random() < 0.4:
        out = io.BytesIO()
        if draw.random() < 0.5:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("a.csv", data)
        else:
            with tarfile.open(fileobj=out, mode="w:gz") as tar:
                tar.addfile(tarfile.TarInfo("a.csv"), io.BytesIO())
        packed = out.getvalue()
    name = draw.choice([f"a.csv{first}{second}", "a.csv", f"a{second}", "a.zip", "a.tar.gz"])
    (place / name).write_bytes(packed)
    return Case([name, "--on-bad-row", draw.choice(["fail", "skip"])])


def named(draw: random.Random, place: Path) -> Case:
    name = draw.choice(NAMES)
    if draw.random() < 0.8:
        with contextlib.suppress(OSError):  # too long for a file, and still a name
            (place / name).write_bytes(b"a,b\n1,2\n3\n")
    given = draw.choice([name, f"./{name}", str(place / name), str(place), f"{place}/*"])
    more = draw.choice([[], ["--on-bad-row", "skip"], ["--job", name], ["--report", "report.json"]])
    return Case([*more, "--", given])


def no_file(draw: random.Random, place: Path) -> Case:
    os.mkfifo(place / "pipe")
    (place / "directory").mkdir()
    (place / "loop").symlink_to("loop")
    (place / "there").symlink_to("back")
    (place / "back").symlink_to("there")
    (place / "dangling").symlink_to("nowhere")
    (place / "sealed").write_bytes(b"a\n1\n")
    (place / "sealed").chmod(0)
    places = [
        "pipe",
        "directory",
        "loop",
        "there",
        "dangling",
        "sealed",
        "/dev/zero",
        "/dev/null",
        "/proc/self/mem",
        "/dev/full",
    ]
    places += [
        "/proc/self/environ",
        "/dev/stdin",
        "/dev/fd/99",
        "nothing",
        "nothing/at/all",
        "sealed/below",
        "",
        " ",
        ".",
        "/",
    ]
    return Case(["--", *draw.choices(places, k=draw.choice([1, 1, 2]))])


def changing(draw: random.Random, place: Path) -> Case:
    """Another program writes to it, or cuts it, while it is read."""
    data, _ = good_rows(300_000, 6)
    file = place / "a.csv"
    file.write_bytes(data)
    how = draw.choice(["cut", "empty", "grow", "replace", "delete", "touch", "overwrite"])
    seconds = draw.uniform(0, 1.0)

    def change() -> None:
        time.sleep(seconds)
        if how == "cut":
            os.truncate(file, draw.randrange(len(data)))
        elif how == "empty":
            os.truncate(file, 0)
        elif how == "grow":
            with file.open("ab") as more:
                more.write(b"9,9\n" * 1000)
        elif how == "replace":
            (place / "b").write_bytes(data[: len(data) // 2])
            (place / "b").replace(file)
        elif how == "delete":
            file.unlink()
        elif how == "touch":
            os.utime(file)
        else:
            with file.open("r+b") as other:
                other.seek(draw.randrange(len(data)))
                other.write(b"\0" * 1000)

    # What was changed before it was looked at for the first time is what the job began with.
    return Case(["a.csv", "--format", "raw", "--checkpoint-rows", "20000"], meanwhile=change)


def from_a_pipe(draw: random.Random, place: Path) -> Case:
    data, _ = good_rows(draw.choice([0, 100, 10_000]))
    ending = draw.choice([None, *COMPRESS])
    if ending is not None:
        data = COMPRESS[ending](data)
    if draw.random() < 0.5:
        return Case(["-", "--format", "raw"], stdin=data[: draw.randrange(len(data) + 1)])
    return Case(["-", "--on-bad-row", draw.choice(["skip", "dead-letter", "fail"])], stdin=spoiled(draw, data))


def many(draw: random.Random, place: Path) -> Case:
    (place / "d").mkdir()
    for number in range(draw.choice([2, 50, 500])):
        content = draw.choice([b"a,b\n1,2\n", b"", b"\n", b"b,a\n1,2\n", b"a\n1\n", b"a,b\n", b'a,b\n"'])
        (place / "d" / f"{number}.csv").write_bytes(content)
    return Case(["d"], descriptors=draw.choice([0, 0, 12, 24, 40]))


KINDS: tuple[Callable[[random.Random, Path], Case], ...] = (
    *(anything, anything, bytes_of_all_kinds, never_closed, wide, huge_field, bomb, cut_off, flipped, flipped),
    *(nested, named, named, no_file, changing, from_a_pipe, many),
)


def try_one(seed: int, command: Forked, base: Path) -> str:
    """A source, run once or twice, sometimes looked at before. Gives its kind and the exit code."""
    draw = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    place = base / f"seed-{seed}"
    place.mkdir()
    command.directory = place
    try:
        case = kind(draw, place)
        if draw.random() < 0.2 and case.meanwhile is None and "--on-bad-row" not in case.arguments:
            _look(command, case)
        code = _run(draw, command, case, place)
        return f"{kind.__name__} {code}"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _look(command: Forked, case: Case) -> None:
    """By the commands that write nothing."""
    if not {"--job", "--report"} & set(case.arguments):
        hold(command.run("preview", *case.arguments, stdin=case.stdin), shown=False)
    hold(command.run("check", "-o", "out", "--checkpoints", "sqlite:///c.db", *case.arguments, stdin=case.stdin))


def _run(draw: random.Random, command: Forked, case: Case, place: Path) -> int:
    out = place / "out"
    progress = draw.choice(["plain", "json", "none"])
    fixed = ["-o", "out", "--checkpoints", "sqlite:///c.db", "--progress", progress, "--give-up-after", "5"]
    before = b""
    code = 0
    for attempt in range(draw.choice([1, 2])):
        thread = None
        if case.meanwhile is not None and not attempt:
            thread = threading.Thread(target=case.meanwhile)
            thread.start()
        ended = command.run(
            "run", *fixed, *case.arguments, stdin=case.stdin, environment=case.environment, descriptors=case.descriptors
        )
        if thread is not None:
            thread.join()
        hold(ended)
        written = out.read_bytes() if out.is_file() else b""
        if case.arguments[0] != "-":
            assert written.startswith(before), f"what was committed is gone: {ended}"
        _check(case, ended.code, written)
        before, code = written, ended.code
    return code


def _check(case: Case, code: int, written: bytes) -> None:
    if case.rows is None:
        return
    if code == 0:
        assert written == case.rows, "it was taken for whole, and is not"
    elif not case.late:
        assert case.rows.startswith(written), f"not a prefix: {written[:200]!r}"
