"""The options that say what is read, and how its CSV becomes keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import frozen

from csv2kafka.config import kinds
from csv2kafka.config.common import CSV, SOURCE, CommonConfig
from csv2kafka.config.option import Contradiction, option, options
from csv2kafka.model import DEFAULT_MAX_RECORD

_NAMES = kinds.names("COLUMN[,COLUMN...]")


@frozen(kw_only=True, slots=False)
class ReadConfig(CommonConfig):
    """A source, and how its CSV becomes keys and values."""

    sources: tuple[str, ...] = option(
        kinds.words("SOURCE...", "one or more sources"),
        group=SOURCE,
        help="A CSV file, a directory, a glob in quotes, s3://BUCKET/KEY, s3://BUCKET/PREFIX/, a glob of keys, an "
        "http(s):// address, or - for standard input; also compressed (gzip, zstd, bzip2, xz). Several are read one "
        "after another, as if they were one; each with its own header, which must agree. A directory gives all its "
        "files, whatever they are called, but for those whose names begin with . or _; nothing of its subdirectories. "
        "A glob in quotes gives the files it matches (** for any depth). Both in natural order: part-2.csv before "
        "part-10.csv; a glob without quotes comes in the shell's order. From - a run cannot be gone on with: each is "
        "a new job with a name of its own, and running it again sends the rows again.",
        example="'exports/2024-*.csv'",
        positional=True,
        repeatable=True,
        verify=True,
    )
    s3: Mapping[str, Any] = option(
        kinds.mapping("KEY=VALUE"),
        group=SOURCE,
        help="How s3:// sources are asked, by boto3's names: request_payer=requester, anonymous=true, "
        "addressing_style=path, and so on (docs/aws.md). May be given several times. A secret is better kept in a "
        "variable, CSV2KAFKA_S3_<NAME>.",
        default={},
        example="--s3 request_payer=requester",
        repeatable=True,
        verify=True,
    )
    format: Literal["json", "raw"] = option(
        kinds.choice("json", "raw"),
        group=CSV,
        help="json: each row an object by header names, all values strings as they stand. raw: the row's own "
        "bytes without its line end.",
        default="json",
        verify=True,
    )
    key: tuple[str, ...] | None = option(
        _NAMES,
        group=CSV,
        help="The column whose value is the record's key; several make a JSON array.",
        default=None,
        example="--key customer,order",
        verify=True,
    )
    delimiter: str = option(
        kinds.character(), group=CSV, help="Between fields.", default=",", example="--delimiter tab", verify=True
    )
    quote: str | None = option(
        kinds.optional(kinds.character()),
        group=CSV,
        help="Around fields. none (or ''): quotes mean nothing.",
        default='"',
        example="--quote none",
        verify=True,
    )
    escape: str | None = option(
        kinds.optional(kinds.character()),
        group=CSV,
        help="The character after it stands for itself.",
        default=None,
        example=r"--escape '\'",
        verify=True,
    )
    comment: str | None = option(
        kinds.optional(kinds.character()),
        group=CSV,
        help="A line that begins with it is skipped.",
        default=None,
        example="--comment '#'",
        verify=True,
    )
    encoding: str = option(
        kinds.text("NAME", "the name of a text encoding", r"[\w.:-]+"),
        group=CSV,
        help="Any text encoding that Python can decode as a stream. A byte order mark is dropped.",
        default="utf-8",
        example="--encoding windows-1252",
        verify=True,
    )
    no_header: bool = option(
        kinds.switch(),
        group=CSV,
        help="The first row is data. Columns are named by --columns, or column0, column1, and so on.",
        default=False,
        off="--header",
        verify=True,
    )
    columns: tuple[str, ...] | None = option(
        _NAMES,
        group=CSV,
        help="Names for the columns, instead of the header's. Names all of them; it does not select.",
        default=None,
        example="--columns id,name,price",
        verify=True,
    )
    max_record: int = option(
        # Above: ends of values are 32 bits wide, and a byte can become six in JSON.
        kinds.size(1, 512 * kinds.MIB),
        group=CSV,
        help="The longest record; a longer one stops the run, so that a quote never closed cannot eat memory.",
        default=DEFAULT_MAX_RECORD,
        example="--max-record 64MiB",
        verify=True,
    )

    @property
    def header(self) -> bool:
        """Whether each object begins with its column names."""
        return not self.no_header

    @classmethod
    def contradictions(cls, values: Mapping[str, Any]) -> Iterator[Contradiction]:
        said = options(cls)
        marks = [name for name in ("delimiter", "quote", "escape", "comment") if values[name] is not None]
        for place, name in enumerate(marks):
            for other in marks[:place]:
                if values[name] == values[other]:
                    yield (
                        (name, other),
                        f"{said[name].label}: expected another character than {said[other].flag}'s, "
                        f"found {values[name]!r} for both",
                    )
        if values["columns"] and values["key"]:
            for missing in [name for name in values["key"] if name not in values["columns"]]:
                yield ("key", "columns"), f"{said['key'].label}: {missing!r} is not one of {said['columns'].flag}"
        yield from super().contradictions(values)
