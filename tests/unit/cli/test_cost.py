"""``csv2kafka cost``: what it takes, and how it tells the result."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from csv2kafka.cli import cost as cost_command
from tests.unit.cli.conftest import Command


def told(command: Command, *argv: str) -> dict[str, Any]:
    outcome = command("cost", *argv, "--json")
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_a_table_of_all_targets_and_what_was_assumed(command: Command) -> None:
    outcome = command("cost", "--rows", "100M", "--bytes", "10GB", "--minutes", "10")
    assert outcome.code == 0
    assert outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0] == "100,000,000 rows, 10 GB of CSV, 10 minutes (166,667 rows/s), in US dollars"
    assert lines[2].split() == ["ecs", "ecs-spot", "batch", "ec2"]
    table = {line[:14].strip(): line[14:].split("  ") for line in lines[3:11]}
    assert list(table) == [
        "compute", "S3 requests", "DynamoDB", "network", "logs", "metrics", "Step Functions", "total"
    ]  # fmt: skip
    assert lines[10].split() == ["total", "0.0360", "0.0166", "0.0245", "0.0217"]
    assert lines[11].split() == ["a", "month", "0.60", "0.60", "0.60", "0.80"]
    assert "- a month, whether anything runs or not: for alarms" in lines
    assert "- ecs: Fargate, ARM, 4 vCPU, 8 GB, paid for 10.5 minutes with start and end" in lines
    assert lines[-1] == "- prices of us-east-1, 2026-11-30 (csv2kafka/cost/prices.toml says where from)"
    assert "\x1b" not in outcome.out
    assert not any(line.endswith(" ") for line in lines)


def test_the_readme_of_the_targets_shows_it(command: Command) -> None:
    page = (Path(__file__).parents[3] / "deploy" / "README.md").read_text(encoding="utf-8")
    line, shown = page.partition("csv2kafka cost --rows")[1:]
    argv, _, shown = (line + shown).partition("\n```\n\n```\n")
    table = command(*argv.split()[1:]).out.partition("\n\n")[2].partition("\n\n")[0]
    assert shown.partition("\n```")[0] == table


def test_one_target_with_all_that_can_be_said(command: Command) -> None:
    outcome = command(
        "cost", "--rows", "1_000_000", "--target", "ec2", "--nat", "--cross-zone", "--spot-price", "0.08",
        "--interface-endpoints", "2", "--customer-managed-key", "--public-ip",
    )  # fmt: skip
    assert "ecs" not in outcome.out
    assert "- Spot price of an instance: as given; no interruption" in outcome.out
    assert "read through NAT" in outcome.out
    assert "to another zone" in outcome.out
    assert "whether anything runs or not: for alarms, 2 interface endpoints, a KMS key" in outcome.out
    assert "- network: a public IPv4 address for as long as the machine is paid for" in outcome.out
    assert "a month" in outcome.out
    assert "16.40" in outcome.out


def test_one_of_them_is_no_plural(command: Command) -> None:
    outcome = command("cost", "--rows", "1M", "--interface-endpoints", "1")
    assert "- a month, whether anything runs or not: for alarms, 1 interface endpoint\n" in outcome.out
    assert "IPv4" not in outcome.out
    assert "KMS" not in outcome.out


def test_as_json(command: Command) -> None:
    found = told(command, "--rows", "100,000,000", "--target", "batch", "--minutes", "2")
    assert {name: found[name] for name in ("cost_version", "currency", "rows", "bytes", "seconds", "prices_of")} == {
        "cost_version": 1,
        "currency": "USD",
        "rows": 100_000_000,
        "bytes": 10_000_000_000,
        "seconds": 120,
        "prices_of": "2026-11-30",
    }
    (one,) = found["targets"]
    assert one["target"] == "batch"
    assert one["billed_minutes"] == 5
    assert one["total"] == pytest.approx(sum(one["parts"].values()), abs=1e-5)


def test_how_long_it_takes(command: Command) -> None:
    assert told(command, "--rows", "100M")["seconds"] == 100
    assert told(command, "--rows", "100M", "--rows-per-second", "500k")["seconds"] == 200
    both = command("cost", "--rows", "1M", "--minutes", "1", "--rows-per-second", "1M")
    assert both.code == 2
    assert "expected either --rows-per-second or --minutes, found both" in both.err


@pytest.mark.parametrize(
    ("given", "bytes_"),
    [("10GB", 10**10), ("1.5TB", 1_500_000_000_000), ("8MiB", 8 << 20), ("2TiB", 2 << 40), ("10_000", 10_000)],
)
def test_sizes(command: Command, given: str, bytes_: int) -> None:
    found = told(command, "--rows", "1000", "--bytes", given)
    assert (found["bytes"], found["source_bytes"]) == (bytes_, bytes_)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ((), "Missing option '--rows'"),
        (("--rows", "many"), "expected a number such as 100M or 100_000_000, found 'many'"),
        (("--rows", "0"), "expected a number such as 100M or 100_000_000, found '0'"),
        (("--rows", "5", "--bytes", "10 cubits"), "expected a size such as 10GB or 8MiB, found '10 cubits'"),
        (("--rows", "5", "--bytes", "10i"), "expected a size such as 10GB or 8MiB, found '10i'"),
        (("--rows", "5", "--checkpoint-interval", "0"), "expected a duration"),
        (("--rows", "5", "--minutes", "0"), "is not in the range"),
        (("--rows", "5", "--target", "lambda"), "is not one of"),
    ],
)
def test_what_is_wrong_is_told(command: Command, argv: tuple[str, ...], said: str) -> None:
    outcome = command("cost", *argv)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.out == ""


def test_old_prices_are_told(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "more than a year old" not in command("cost", "--rows", "1M").out
    assert told(command, "--rows", "1M")["prices_are_old"] is False
    monkeypatch.setattr(cost_command, "today", lambda: date(2028, 1, 1))
    assert "! these prices are more than a year old, of 2026-11-30" in command("cost", "--rows", "1M").out
    assert told(command, "--rows", "1M")["prices_are_old"] is True


def test_no_other_command_reads_prices() -> None:
    code = (
        "import sys; from csv2kafka.cli.app import execute; execute(['--help']); "
        "print([name for name in sys.modules if name.startswith('csv2kafka.c') and 'cost' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
