"""Any text encoding to UTF-8 as a stream, with positions exact enough to resume in the object's own bytes.

UTF-8 passes untouched, since what is wrong with it the encoder tells, row by row. Every other encoding goes through
Python's incremental decoder; bytes it cannot decode become bytes that are not valid UTF-8 (lone surrogates), so
that the row they stand in is refused downstream, with its place. A byte order mark at the object's start is
dropped, and counted in decoded offsets.
"""

from __future__ import annotations

import codecs

from csv2kafka.errors import ConfigError, DataError
from csv2kafka.model import Block, ResumePoint

PIECE_BYTES = 1 << 20  # of the object's own bytes, decoded at once
MAX_PENDING_BYTES = 64 << 10  # that make no character yet; only UTF-7 can have more than a few
_BOM = "\ufeff".encode()
_UTF_8 = ("utf-8", "utf-8-sig")
_NOT_FOR_FILES = ("idna", "punycode", "undefined")  # text codecs by name, but not for a stream
_REFUSE = "csv2kafka.refuse"


def check_encoding(name: str) -> None:
    """ConfigError unless ``name`` is a text codec that Python can decode as a stream."""
    what = f"encoding {name!r}"
    hint = "use a text encoding that Python knows, such as utf-8, utf-16, latin-1, cp1252 or shift_jis"
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError) as error:
        raise ConfigError(f"{what}: expected a codec that Python knows", hint=hint) from error
    # A codec's own mark for "bytes to str": base64, zlib and rot13 are codecs too.
    if not getattr(info, "_is_text_encoding", True):
        raise ConfigError(f"{what}: expected an encoding of text", hint=hint)
    if info.incrementaldecoder is None or info.name in _NOT_FOR_FILES:
        raise ConfigError(f"{what}: expected one that can be decoded as a stream", hint=hint)


def is_untouched(encoding: str) -> bool:
    """Whether text in it passes as it is."""
    return codecs.lookup(encoding).name in _UTF_8


class TextDecoder:
    """Pure: fed with an object's bytes in order, gives blocks of text."""

    def __init__(self, encoding: str, *, start: ResumePoint, offset: int, uri: str = "") -> None:
        info = codecs.lookup(encoding)
        self.untouched = is_untouched(encoding)
        self._encoding = encoding
        self._where = f"{uri}: " if uri else ""
        self._at = start.offset  # in the object's own bytes: all before it has been fed
        self._offset = offset
        self._skip = start.skip
        self._given = False
        self._bom = bytearray() if offset == 0 else None  # what may turn out to be one, until that is known
        self._bom_from = start
        if not self.untouched:
            assert info.incrementaldecoder is not None
            self._decoder = info.incrementaldecoder(_REFUSE)
            if start.state is not None:
                self._decoder.setstate((b"", int(start.state)))

    def feed(self, data: bytes) -> list[Block]:
        """The block for these bytes, if they make one."""
        if self.untouched:
            resume = ResumePoint(offset=self._at)
            self._at += len(data)
            return self._blocks(data, resume, final=False)
        return self._decode(data, final=False)

    def finish(self) -> list[Block]:
        """The object has ended: what was still held back. Where nothing was given so far, an empty block: its end."""
        if self.untouched:
            return self._blocks(b"", ResumePoint(offset=self._at), final=True)
        return self._decode(b"", final=True)

    def _decode(self, data: bytes, *, final: bool) -> list[Block]:
        # Bytes that made no character yet are read again on resuming: the state is then one number.
        pending, state = self._decoder.getstate()
        resume = ResumePoint(offset=self._at - len(pending), state=str(state))
        if len(pending) > MAX_PENDING_BYTES:
            raise DataError(
                f"{self._where}no character in {len(pending)} bytes from byte {resume.offset} on",
                hint="see that --encoding names the encoding the file was written in",
            )
        try:
            text = self._decoder.decode(data, final)
        except UnicodeError as error:
            place = resume.offset + error.start if isinstance(error, UnicodeDecodeError) else resume.offset
            raise DataError(
                f"{self._where}byte {place} cannot be decoded as {self._encoding}: {error}",
                hint="see that --encoding names the encoding the file was written in",
            ) from error
        self._at += len(data)
        return self._blocks(text.encode("utf-8", "surrogatepass"), resume, final=final)

    def _blocks(self, text: bytes, resume: ResumePoint, *, final: bool) -> list[Block]:
        """The text without a byte order mark and without what a resume point says to skip."""
        if self._bom is not None:
            if not self._bom:
                self._bom_from = resume
            self._bom += text
            if len(self._bom) < len(_BOM) and _BOM.startswith(self._bom) and not final:
                return []
            text, resume, self._bom = bytes(self._bom), self._bom_from, None
            if text.startswith(_BOM):
                self._skip = len(_BOM)
                self._offset = len(_BOM)
        return self._kept(text, resume, final=final)

    def _kept(self, text: bytes, resume: ResumePoint, *, final: bool) -> list[Block]:
        skipped = min(self._skip, len(text))
        self._skip -= skipped
        text = text[skipped:]
        if not text and (self._given or not final):
            return []
        self._given = True
        block = Block(data=text, offset=self._offset, resume=resume.forward(skipped))
        self._offset += len(text)
        return [block]


def _refuse(error: UnicodeError) -> tuple[str, int]:
    """Each byte that cannot be decoded as a lone surrogate, which UTF-8 must not have."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(_REFUSE, _refuse)
