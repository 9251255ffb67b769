"""Does a checkpoint belong to this run? Are the pipeline's options sound? All problems at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from csv2kafka.decoding import check_encoding
from csv2kafka.errors import ConfigError, SettingsChanged, SourceChanged
from csv2kafka.model import Checkpoint, Dialect, Manifest, SourceObject

ON_BAD_ROW = ("fail", "skip", "dead-letter")
ON_FOREIGN = ("stop", "resend")


ANEW = (
    "or begin at row 0 with --restart, or as another job with --job NAME: rows that stand in a topic already stay "
    "there and are sent again"
)


def check_options(
    *,
    dialect: Dialect,
    encoder_dialect: Dialect | None,
    encoding: str,
    max_record: int,
    checkpoint_interval: float,
    checkpoint_rows: int | None,
    connect_timeout: float,
    give_up_after: float | None,
    on_bad_row: str,
    on_foreign: str,
) -> None:
    """Raises ConfigError naming each option out of its limits. ``encoder_dialect``: if the encoder has one."""
    problems = _dialect_problems(dialect)
    if encoder_dialect is not None and encoder_dialect != dialect:
        problems.append(f"dialect: the encoder reads {encoder_dialect}, framing would read {dialect}")
    try:
        check_encoding(encoding)
    except ConfigError as error:
        problems += error.problems
    if not 1 <= max_record <= 1 << 30:
        problems.append(f"max_record: expected 1 byte to 1 GiB, found {max_record}")
    if not 0.01 <= checkpoint_interval <= 30:  # well under the transaction time-out of 60 s
        problems.append(f"checkpoint_interval: expected 0.01 to 30 seconds, found {checkpoint_interval:g}")
    if checkpoint_rows is not None and checkpoint_rows < 1:
        problems.append(f"checkpoint_rows: expected 1 or more, found {checkpoint_rows}")
    if connect_timeout < 0:
        problems.append(f"connect_timeout: expected 0 or more seconds, found {connect_timeout:g}")
    if give_up_after is not None and give_up_after < 0:
        problems.append(f"give_up_after: expected 0 or more seconds, found {give_up_after:g}")
    if on_bad_row not in ON_BAD_ROW:
        problems.append(f"on_bad_row: expected one of {', '.join(ON_BAD_ROW)}, found {on_bad_row!r}")
    if on_foreign not in ON_FOREIGN:
        problems.append(f"on_foreign: expected one of {', '.join(ON_FOREIGN)}, found {on_foreign!r}")
    if problems:
        raise ConfigError(*problems)


def _dialect_problems(dialect: Dialect) -> list[str]:
    given = {"delimiter": dialect.delimiter, "quote": dialect.quote}
    given |= {"escape": dialect.escape, "comment": dialect.comment}
    marks = {name: mark for name, mark in given.items() if mark is not None}
    problems = [
        f"{name}: expected one ASCII character, no line end, found {mark!r}"
        for name, mark in marks.items()
        if len(mark) != 1 or not mark.isascii() or mark in "\r\n"
    ]
    if len(set(marks.values())) < len(marks):
        problems.append(f"dialect: expected different characters, found {marks}")
    return problems


def check_not_written(objects: Iterable[SourceObject], files: Iterable[Path]) -> None:
    """ConfigError if a file that the sink writes is one of the source's."""
    written = [path for path in files if path.exists()]
    for obj in objects:
        read = Path(obj.uri)
        same = next((path for path in written if read.exists() and path.samefile(read)), None)
        if same is not None:
            raise ConfigError(
                f"{same} would be written, and is one of the files to be read",
                hint="give --output a file outside the source; nothing has been changed",
            )


def check_checkpoint(
    checkpoint: Checkpoint, manifest: Manifest | None, *, settings: Mapping[str, str], found: Manifest
) -> None:
    """Hold a checkpoint, and the manifest kept beside it, against this run's settings and sources.

    Raises SettingsChanged or SourceChanged, naming everything that differs.
    """
    names = sorted(checkpoint.settings.keys() | settings.keys())
    differing = [
        f"{name}: the job began with {checkpoint.settings.get(name, '')!r}, this run has {settings.get(name, '')!r}"
        for name in names
        if checkpoint.settings.get(name, "") != settings.get(name, "")
    ]
    if differing:
        raise SettingsChanged(
            f"job {checkpoint.job} was begun with other settings:",
            *differing,
            hint=f"run with those; {ANEW}",
        )
    if checkpoint.complete and manifest is not None and set(found.objects) <= set(manifest.objects):
        return  # what is gone was moved or deleted, as ``after`` asks for
    if checkpoint.manifest_digest != found.digest:
        raise SourceChanged(
            f"job {checkpoint.job}: the source is not what it was when the job began:\n"
            + "\n".join(_manifest_differences(manifest, found)),
            hint=f"put the old version back; {ANEW}",
        )


def _manifest_differences(began: Manifest | None, found: Manifest) -> list[str]:
    if began is None:
        return ["(the list of its objects and versions was not kept where it could be read)"]
    before = {uri: (size, version) for uri, size, version in began.objects}
    now = {uri: (size, version) for uri, size, version in found.objects}
    lines = [f"  {uri}: is gone; it was {before[uri][1]}" for uri in before if uri not in now]
    lines += [f"  {uri}: is new, {now[uri][1]}" for uri in now if uri not in before]
    lines += [
        f"  {uri}: began with {before[uri][1]} ({before[uri][0]} bytes), found {now[uri][1]} ({now[uri][0]} bytes)"
        for uri in before
        if uri in now and before[uri] != now[uri]
    ]
    return lines or ["  the same objects in another order"]
