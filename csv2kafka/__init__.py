"""Huge CSV files into Kafka: every row, in exact order, once, whatever crashes."""

__version__ = "0.1.0"
