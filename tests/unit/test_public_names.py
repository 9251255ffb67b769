"""What users may import. A change here is a change that users see: it needs a line in CHANGELOG.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import csv2kafka

PUBLIC = [
    "Checkpoint",
    "Csv2KafkaError",
    "Dialect",
    "DynamoDBStore",
    "FileSink",
    "HttpSource",
    "JsonEncoder",
    "KafkaSink",
    "KafkaStore",
    "LocalSource",
    "Pipeline",
    "RawEncoder",
    "Report",
    "RunConfig",
    "S3Source",
    "S3Store",
    "SQLiteStore",
    "StdinSource",
    "VerifyReport",
]


def test_the_public_names_are_these() -> None:
    assert sorted(csv2kafka.__all__) == [*PUBLIC, "__version__"]


@pytest.mark.parametrize("name", PUBLIC)
def test_each_is_what_it_says(name: str) -> None:
    assert getattr(csv2kafka, name).__name__ == name
    assert name in dir(csv2kafka)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(csv2kafka.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))  # the first: if TYPE_CHECKING
    seen = [alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(seen) == PUBLIC


def test_no_other_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Pipelin'"):
        _ = csv2kafka.Pipelin  # type: ignore[attr-defined]


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = {"aiobotocore", "aiokafka", "attrs", "asyncio", "rich"}
    code = f"import sys, csv2kafka; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
