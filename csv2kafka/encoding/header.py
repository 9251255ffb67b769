"""What an encoder asks of the column names. Told with the first chunk, before anything is written."""

from __future__ import annotations

from collections import Counter

from csv2kafka.errors import ConfigError, DataError


def require_unique(header: tuple[str, ...]) -> None:
    """DataError if two columns have the same name: a JSON object would lose one of them."""
    for name, count in Counter(header).items():
        if count > 1:
            raise _ambiguous(name, header, f"expected {len(header)} different column names")


def key_columns(header: tuple[str, ...], keys: tuple[str, ...]) -> tuple[int, ...]:
    """The key columns' places in the header, from 0.

    ConfigError for a name that is not there, DataError for one that stands there twice.
    """
    for name in keys:
        if name not in header:
            raise ConfigError(
                f"key column {name!r}: expected one of {', '.join(map(repr, header))}",
                hint="--key (CSV2KAFKA_KEY, TOML: key) takes column names of the header, case and blanks included",
            )
        if header.count(name) > 1:
            raise _ambiguous(name, header, f"key column {name!r} could be either")
    return tuple(header.index(name) for name in keys)


def keys_as_text(keys: tuple[str, ...]) -> str:
    """For a checkpoint: other keys, other text. As ``--key`` takes them, so a comma in a name is told from one behind
    it, and a column without a name from no key."""
    plain = [key != "" and "," not in key and '"' not in key for key in keys]
    doubled = [key.replace('"', '""') for key in keys]
    return ",".join(key if is_plain else f'"{key}"' for key, is_plain in zip(doubled, plain, strict=True))


def _ambiguous(name: str, header: tuple[str, ...], problem: str) -> DataError:
    places = [str(place) for place, other in enumerate(header, 1) if other == name]
    what = f"named {name!r}" if name else "without a name"
    return DataError(
        f"the header has columns {', '.join(places[:-1])} and {places[-1]} {what}: {problem}",
        hint="give names of your own with --columns",
    )
