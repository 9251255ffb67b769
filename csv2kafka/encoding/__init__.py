"""Chunks of CSV to records: one file for each output format. Pure, thin over the kernel."""

from csv2kafka.encoding.json import JsonEncoder
from csv2kafka.encoding.raw import RawEncoder

__all__ = ["JsonEncoder", "RawEncoder"]
