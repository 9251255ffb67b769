"""``csv2kafka init`` of what is on this machine; tables and buckets are in tests/aws/test_init.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command


def test_a_file_is_made_once(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "jobs.db"
    first = command("init", f"sqlite:///{file}")
    assert (first.code, first.out.splitlines()[0]) == (0, f"{file}: made")
    assert file.read_bytes().startswith(b"SQLite format 3\0")
    again = command("init", f"sqlite:///{file}")
    assert (again.code, again.out) == (0, first.out.replace(": made", ": is there"))
    assert command("status", "--checkpoints", f"sqlite:///{file}").code == 0


def test_without_a_url_it_is_the_store_that_a_run_would_use(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "jobs.db"
    monkeypatch.setenv("CSV2KAFKA_CHECKPOINTS", f"sqlite:///{file}")
    assert command("init").code == 0
    assert file.exists()


def test_the_checkpoint_topic_needs_nothing(command: Command) -> None:
    outcome = command("init", "kafka://")
    assert outcome.code == 0
    assert "nothing to make" in outcome.out


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("dynamo://jobs", "did you mean dynamodb?"),
        ("jobs.db", "expected a URL such as"),
        ("dynamodb://jobs?tl=1", "did you mean ttl?"),
        ("s3://bucket", "expected s3://BUCKET/PREFIX"),
        ("sqlite:///no/such/directory/jobs.db", "unable to open"),
    ],
)
def test_what_cannot_be_made(command: Command, url: str, said: str) -> None:
    outcome = command("init", url)
    assert outcome.code == 2
    assert said in outcome.err
