"""An object's own bytes to UTF-8 text in blocks, each of which says where reading can begin again.

``stream`` ties it together: what the first bytes say (``compression``), decompressed (``members``: ``gzip``,
``libraries``), as UTF-8 (``text``).
"""

from csv2kafka.decoding.stream import decode
from csv2kafka.decoding.text import TextDecoder, check_encoding, is_untouched

__all__ = ["TextDecoder", "check_encoding", "decode", "is_untouched"]
