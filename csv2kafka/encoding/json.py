"""``--format json``: each row as a JSON object, its values strings exactly as they stand."""

from __future__ import annotations

from attrs import field, frozen

from csv2kafka import kernel
from csv2kafka.encoding.header import key_columns, keys_as_text, require_unique
from csv2kafka.model import Chunk, Dialect, Records


@frozen(kw_only=True)
class JsonEncoder:
    """Rows as ``json.dumps(row, ensure_ascii=False, separators=(",", ":"))`` has them, columns in header order.

    ``keys``: names of the columns that make the record's key; of several, it is a JSON array of strings.
    """

    dialect: Dialect = field(factory=Dialect)
    keys: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, str]:
        """What shapes the output, for the checkpoint."""
        return {"format": "json", "key": keys_as_text(self.keys)}

    def encode(self, chunk: Chunk) -> Records:
        """The chunk's rows. DataError or ConfigError if its header cannot be used; never for a row."""
        if not chunk.header:
            return kernel.encode_json(chunk.data, dialect=self.dialect, header=(), last=chunk.last)
        require_unique(chunk.header)
        return kernel.encode_json(
            chunk.data,
            dialect=self.dialect,
            header=chunk.header,
            keys=key_columns(chunk.header, self.keys),
            last=chunk.last,
        )
