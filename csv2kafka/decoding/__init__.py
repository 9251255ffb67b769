"""An object's own bytes to UTF-8 text in blocks, each of which says where reading can begin again."""

from csv2kafka.decoding.text import TextDecoder, check_encoding, decode

__all__ = ["TextDecoder", "check_encoding", "decode"]
