"""``--format raw``: each row's own bytes, without its line end."""

from __future__ import annotations

from attrs import field, frozen

from csv2kafka import kernel
from csv2kafka.encoding.header import key_columns, keys_as_text
from csv2kafka.model import Chunk, Dialect, Records


@frozen(kw_only=True)
class RawEncoder:
    """Rows as they stand, quotes and all; bytes need not be UTF-8, unless they were converted to it. The number of
    fields must still be right.

    ``keys``: names of the columns that make the record's key; of several, it is a JSON array of strings.
    """

    dialect: Dialect = field(factory=Dialect)
    keys: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, str]:
        """What shapes the output, for the checkpoint."""
        return {"format": "raw", "key": keys_as_text(self.keys)}

    def encode(self, chunk: Chunk) -> Records:
        """The chunk's rows. DataError or ConfigError if its header cannot be used; never for a row."""
        return kernel.encode_raw(
            chunk.data,
            dialect=self.dialect,
            columns=len(chunk.header),
            keys=key_columns(chunk.header, self.keys) if chunk.header else (),
            last=chunk.last,
            text=chunk.converted,
        )
