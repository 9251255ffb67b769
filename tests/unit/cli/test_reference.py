"""The pages made from the command are what stands in docs/."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from csv2kafka import errors
from csv2kafka.cli import reference
from csv2kafka.config import RunConfig, options

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("name", "made"), [("commands.md", reference.commands_page), ("errors.md", reference.errors_page)]
)
def test_the_page_is_up_to_date(name: str, made: object) -> None:
    assert callable(made)
    assert (DOCS / name).read_text(encoding="utf-8") == made(), "run: python -m csv2kafka.cli.reference docs"


def test_every_option_is_documented() -> None:
    page = reference.commands_page()
    for said in options(RunConfig).values():
        assert f"`{said.variable}`" in page
        assert said.help.replace("|", "\\|") in page


def test_every_exit_code_is_explained() -> None:
    raised = {
        one.exit_code
        for _, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, errors.Csv2KafkaError)
    }
    assert raised | {0} == set(reference.EXIT_CODES)


def test_both_pages_are_written(tmp_path: Path) -> None:
    reference.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"commands.md", "errors.md"}
