"""DuckDB reads the CSV and writes a JSON object a line to standard output: ``duckdb_json.py SOURCE``."""

from __future__ import annotations

import sys

import duckdb


def main() -> None:
    source = sys.argv[1].replace("'", "''")
    duckdb.sql(f"COPY (FROM read_csv('{source}', header = true, all_varchar = true)) TO '/dev/stdout' (FORMAT json)")


if __name__ == "__main__":
    main()
