"""What a load costs: the figures of docs/aws.md, what each part grows with, and where prices come from."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from csv2kafka.cost import TARGETS, Load, cost, prices, standing
from csv2kafka.cost.estimate import METRICS, dynamodb_units, s3_requests
from csv2kafka.metrics.table import METRICS as TOLD

DOCS = Path(__file__).parents[2] / "docs"
DEPLOY = Path(__file__).parents[2] / "deploy"
USUAL = Load(rows=100_000_000, bytes=10_000_000_000, source_bytes=10_000_000_000, seconds=600)

# Worked out by hand from AWS's pages in November 2026, for 2, 10 and 60 minutes, with fewer metrics and smaller items.
EXPECTED = {
    "ecs": (0.013, 0.034, 0.168),
    "ecs-spot": (0.008, 0.014, 0.056),
    "batch": (0.013, 0.024, 0.091),
    "ec2": (0.010, 0.021, 0.088),
}
MINUTES = (2, 10, 60)


def total(target: str, load: Load = USUAL) -> float:
    return cost(load, TARGETS[target], prices()).total


def part(name: str, load: Load, target: str = "ecs") -> float:
    return cost(load, TARGETS[target], prices()).parts[name]


@pytest.mark.parametrize("target", EXPECTED)
def test_a_hundred_million_rows_cost_what_was_worked_out_by_hand(target: str) -> None:
    for minutes, expected in zip(MINUTES, EXPECTED[target], strict=True):
        assert total(target, evolve(USUAL, seconds=minutes * 60)) == pytest.approx(expected, abs=0.006)


def test_the_documents_have_these_figures() -> None:
    said = (DOCS / "aws.md").read_text(encoding="utf-8").partition("## What it costs")[2]
    rows = re.findall(r"^\| `([a-z0-9-]+)`.*?((?:\| \$[\d.]+ ){3})\|$", said, re.MULTILINE)
    assert {name for name, _ in rows} == set(TARGETS)
    for name, figures in rows:
        found = [float(figure) for figure in re.findall(r"[\d.]+", figures)]
        assert found == [round(total(name, evolve(USUAL, seconds=minutes * 60)), 3) for minutes in MINUTES]


def test_the_sum_of_one_by_hand() -> None:
    """ECS, ten minutes: 10.5 minutes of 4 vCPU and 8 GB; 1,195 requests; 720 writes of 2 units; 0.3 MB; 16 metrics."""
    found = cost(USUAL, TARGETS["ecs"], prices())
    assert found.parts == pytest.approx(
        {
            "compute": (4 * 0.03238 + 8 * 0.00356) * 10.5 / 60,
            "S3 requests": 1195 * 0.4e-6,
            "DynamoDB": 720 * 2 * 0.625e-6,
            "network": 0,
            "logs": 600 * (250 + 140 + 111.5) / 1e9 * 0.5,
            "metrics": 16 * 0.3 / 730,
            "Step Functions": 8 * 0.025e-3,
        }
    )
    assert found.total == pytest.approx(sum(found.parts.values()))


def test_the_network_is_the_largest_part_where_it_is_not_free() -> None:
    assert part("network", USUAL) == 0
    assert part("network", evolve(USUAL, nat=True)) == pytest.approx(0.45)
    assert part("network", evolve(USUAL, cross_zone=True)) == pytest.approx(3.5 * 0.02)
    address = part("network", evolve(USUAL, public_ip=True))
    assert address == pytest.approx(0.005 * 10.5 / 60)  # for as long as the task is paid for
    assert part("network", evolve(USUAL, public_ip=True), "batch") == pytest.approx(0.005 * 13 / 60)
    assert part("network", evolve(USUAL, nat=True, public_ip=True)) == pytest.approx(0.45 + address)
    both = evolve(USUAL, nat=True, cross_zone=True, source_bytes=3_000_000_000)
    assert part("network", both) == pytest.approx(3 * 0.045 + 3.5 * 0.02)


def test_what_grows_with_what() -> None:
    assert s3_requests(evolve(USUAL, objects=1000)) == s3_requests(USUAL) + 2 * 999
    assert dynamodb_units(evolve(USUAL, checkpoint_interval=0.2)) == (3000 + 120) * 2
    assert dynamodb_units(evolve(USUAL, item_bytes=30_000)) == 720 * 30
    assert dynamodb_units(evolve(USUAL, objects=1000)) == 720 * 41
    slower = evolve(USUAL, seconds=7200)
    assert part("metrics", slower) == pytest.approx(2 * part("metrics", USUAL))
    assert part("logs", slower) == pytest.approx(12 * part("logs", USUAL))
    assert part("logs", evolve(USUAL, checkpoint_interval=10)) < part("logs", USUAL)
    assert part("Step Functions", USUAL, "batch") == 0


def test_a_price_of_today_takes_the_place_of_the_assumed_one() -> None:
    assumed = cost(USUAL, TARGETS["ec2"], prices())
    doubled = cost(USUAL, TARGETS["ec2"], prices(), spot_price=0.145)
    assert doubled.parts["compute"] - assumed.parts["compute"] == pytest.approx(0.0725 * 11 / 60)
    assert cost(USUAL, TARGETS["ecs-spot"], prices(), spot_price=9).total == total("ecs-spot")


def test_what_stands_all_month() -> None:
    assert standing(TARGETS["ecs"], prices()) == pytest.approx(0.6)
    assert standing(TARGETS["ec2"], prices(), endpoints=4) == pytest.approx(0.8 + 29.2)
    assert standing(TARGETS["batch"], prices(), own_key=True) == pytest.approx(1.6)


def test_each_price_says_where_it_is_from() -> None:
    for name, price in prices().named.items():
        assert price.source.startswith("https://aws.amazon.com/"), name
        assert price.unit, name
        assert price.usd > 0, name


def test_no_price_is_there_that_nothing_uses() -> None:
    text = (Path(__file__).parents[2] / "csv2kafka" / "cost" / "estimate.py").read_text(encoding="utf-8")
    assert [name for name in prices().named if f'"{name}"' not in text] == []


def test_prices_are_old_after_a_year() -> None:
    known = prices()
    assert not known.are_old(known.date)
    assert not known.are_old(known.date + timedelta(days=365))
    assert known.are_old(known.date + timedelta(days=366))
    assert known.date >= date(2026, 11, 1)


def test_metrics_alarms_and_disks_are_as_they_are_made() -> None:
    alarms = (DEPLOY / "modules" / "common" / "alarms.tf").read_text(encoding="utf-8")
    per_line = re.search(r"per_line = \{\n(.*?)\n  \}", alarms, re.DOTALL)
    common = re.search(r"  alarms = \{\n(.*?)\n  \}\n", alarms, re.DOTALL)
    assert per_line is not None
    assert common is not None
    assert len(TOLD) + len(per_line[1].splitlines()) == METRICS
    shared = len(re.findall(r"^    [a-z-]+ += \{", common[1], re.MULTILINE))
    for target in TARGETS.values():
        folder = DEPLOY / target.name.partition("-")[0]
        made = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.tf")))
        own = re.findall(r'^resource "aws_cloudwatch_metric_alarm" "\w+" \{\n(  count)?', made, re.MULTILINE)
        assert target.alarms == shared + own.count(""), target.name  # those with a count are made where asked for
        disks = [int(size) for size in re.findall(r"volume_size += (\d+)", made)]
        assert disks == ([target.disk_gb] if target.is_instance else []), target.name
