"""``csv2kafka cost``: what a load costs in AWS on each target. Arithmetic alone: nothing is asked of AWS."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from csv2kafka.cli.options import HELP, Command
from csv2kafka.cli.results import results
from csv2kafka.config import kinds
from csv2kafka.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from csv2kafka.cost import Cost, Load, Prices

COST_VERSION = 1
SHOWN = 0.0001  # dollars
NAMES = ("ecs", "ecs-spot", "batch", "ec2")
_UNITS = {"": 1} | {unit: 1000**power for power, unit in enumerate("kmgt", 1)}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgt", 1)}
_DURATION = kinds.duration(0.05, 3600)


def _number(expected: str) -> Callable[[click.Context, click.Parameter, str | None], int | None]:
    """For ``100M``, ``100_000_000``, ``10GB``, ``8MiB``: a number above 0 and perhaps its unit."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
        if value is None:
            return None
        match = re.fullmatch(r"(\d[\d_,]*(?:\.\d+)?)\s*([kmgt]?i?)b?", value.strip(), re.IGNORECASE)
        unit = _UNITS.get(match[2].lower()) if match else None
        number = round(float(re.sub("[_,]", "", match[1])) * unit) if match and unit else 0
        if number < 1:
            raise click.BadParameter(f"expected {expected}, found {value!r}", ctx, param)
        return number

    return convert


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    try:
        return float(_DURATION.parse(value))
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


_ROWS, _SIZE = _number("a number such as 100M or 100_000_000"), _number("a size such as 10GB or 8MiB")
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command("cost", cls=Command, context_settings=HELP)
@click.option("--rows", callback=_ROWS, required=True, metavar="ROWS", help="Data rows: 100M, 100_000_000.")
@click.option("--bytes", "size", callback=_SIZE, metavar="BYTES", help="Of the CSV: 10GB, 8MiB. [100 a row]")
@click.option(
    "--source-bytes", callback=_SIZE, metavar="BYTES", help="Of its objects, if they are compressed. [--bytes]"
)
@click.option("--source-objects", type=click.IntRange(1), default=1, metavar="N", help="How many objects. [1]")
@click.option("--rows-per-second", callback=_ROWS, metavar="ROWS", help="How fast it goes. [1M, as check estimates]")
@click.option("--minutes", type=_POSITIVE, metavar="N", help="Instead: how long it takes.")
@click.option(
    "--target",
    type=click.Choice([*NAMES, "all"]),
    default="all",
    metavar="|".join([*NAMES, "all"]),
    help="Where it runs. [all]",
)
@click.option("--nat", is_flag=True, help="S3 is read through a NAT gateway, not a gateway endpoint.")
@click.option("--cross-zone", is_flag=True, help="The partition's leader is in another zone.")
@click.option("--public-ip", is_flag=True, help="The machine has a public IPv4 address.")
@click.option(
    "--interface-endpoints",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Those that stand all month, each zone's counted. [0]",
)
@click.option("--customer-managed-key", "own_key", is_flag=True, help="There is a KMS key, which costs by the month.")
@click.option("--compressed", type=_POSITIVE, metavar="RATIO", help="Bytes to Kafka for one of the CSV. [0.35]")
@click.option("--checkpoint-interval", callback=_seconds, default="1", metavar="TIME", help="As the run's. [1s]")
@click.option(
    "--item",
    callback=_SIZE,
    metavar="BYTES",
    help="The job's item in DynamoDB. [1600, and 40 for each further object; with gzip give up to 30k]",
)
@click.option("--spot-price", type=_POSITIVE, metavar="USD", help="An hour of c7g.xlarge Spot. [half of on demand]")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def command(
    target: str, spot_price: float | None, interface_endpoints: int, own_key: bool, as_json: bool, **flags: Any
) -> int:
    """Tell what a load costs in AWS, in US dollars: on ECS Fargate, on Fargate Spot, in Batch on Spot, on EC2 Spot.

    It is a calculation: nothing is asked of AWS. Prices are those of one region and date, which stand below the result.
    """
    from csv2kafka.cost import TARGETS, cost, prices

    load = _load(**flags)
    known = prices()
    names = NAMES if target == "all" else (target,)
    costs = [cost(load, TARGETS[name], known, spot_price=spot_price) for name in names]
    answer = _Answer(
        load=load,
        costs=costs,
        endpoints=interface_endpoints,
        own_key=own_key,
        prices=known,
        spot_price=spot_price,
    )
    with results():
        if as_json:
            click.echo(json.dumps(answer.facts(), indent=2))
        else:
            answer.show()
    return 0


def _load(
    *,
    rows: int,
    size: int | None,
    source_bytes: int | None,
    source_objects: int,
    rows_per_second: int | None,
    minutes: float | None,
    compressed: float | None,
    checkpoint_interval: float,
    item: int | None,
    nat: bool,
    cross_zone: bool,
    public_ip: bool,
) -> Load:
    from csv2kafka.cost import Load
    from csv2kafka.cost.estimate import BYTES_PER_ROW, COMPRESSED, ROWS_PER_SECOND

    if minutes is not None and rows_per_second is not None:
        raise ConfigError("expected either --rows-per-second or --minutes, found both")
    text = size or rows * BYTES_PER_ROW
    return Load(
        rows=rows,
        bytes=text,
        seconds=minutes * 60 if minutes is not None else rows / (rows_per_second or ROWS_PER_SECOND),
        source_bytes=source_bytes or text,
        objects=source_objects,
        checkpoint_interval=checkpoint_interval,
        compressed=compressed or COMPRESSED,
        item_bytes=item,
        nat=nat,
        cross_zone=cross_zone,
        public_ip=public_ip,
    )


@frozen(kw_only=True)
class _Answer:
    load: Load
    costs: Sequence[Cost]
    endpoints: int
    own_key: bool
    prices: Prices
    spot_price: float | None

    def facts(self) -> dict[str, Any]:
        """As programs read it. Fields may be added within a version."""
        load = self.load
        return {
            "cost_version": COST_VERSION,
            "currency": self.prices.currency,
            "region": self.prices.region,
            "prices_of": self.prices.date.isoformat(),
            "prices_are_old": self.prices.are_old(today()),
            "rows": load.rows,
            "bytes": load.bytes,
            "source_bytes": load.source_bytes,
            "seconds": load.seconds,
            "targets": [
                {
                    "target": one.target.name,
                    "machine": one.target.machine,
                    "billed_minutes": round(one.billed_minutes, 3),
                    "parts": {name: round(usd, 6) for name, usd in one.parts.items()},
                    "total": round(one.total, 6),
                    "a_month": round(self.standing(one), 6),
                }
                for one in self.costs
            ],
            "assumed": self.assumed(),
        }

    def show(self) -> None:
        from csv2kafka.cli.console import Console

        console = Console(highlight=False, soft_wrap=True)
        load = self.load
        console.print(
            f"{load.rows:,} rows, {load.bytes / 1e9:,.3g} GB of CSV, {load.seconds / 60:,.3g} minutes "
            f"({load.rows / load.seconds:,.0f} rows/s), in US dollars\n",
            markup=False,
        )
        console.print(self._table())
        console.print("\nassumed")
        for line in self.assumed():
            console.print(f"- {line}", markup=False)
        if self.prices.are_old(today()):
            console.print(
                f"! these prices are more than a year old, of {self.prices.date}: compare them with AWS's pages, or "
                "update csv2kafka",
                style="yellow",
                markup=False,
            )

    def _table(self) -> Table:
        from rich.table import Table

        table = Table(box=None, padding=(0, 0, 0, 3), pad_edge=False, header_style="bold")
        table.add_column("")
        for one in self.costs:
            table.add_column(one.target.name, justify="right")
        for name in self.costs[0].parts:
            table.add_row(name, *(_usd(one.parts[name]) for one in self.costs))
        table.add_row("total", *(_usd(one.total) for one in self.costs), style="bold")
        table.add_row("a month", *(f"{self.standing(one):,.2f}" for one in self.costs))
        return table

    def standing(self, one: Cost) -> float:
        """Dollars a month."""
        from csv2kafka.cost import standing

        return standing(one.target, self.prices, endpoints=self.endpoints, own_key=self.own_key)

    def assumed(self) -> list[str]:
        """What the figures rest on, a line each."""
        from csv2kafka.cost.estimate import METRICS, dynamodb_units, log_bytes, s3_requests

        load, sent = self.load, self.load.bytes * self.load.compressed
        lines = [
            f"{one.target.name}: {one.target.machine}, paid for {one.billed_minutes:,.3g} minutes with start and end"
            for one in self.costs
        ]
        endpoints = f"{self.endpoints:,} interface endpoint{'' if self.endpoints == 1 else 's'}"
        stand = ["alarms"] + [endpoints] * (self.endpoints > 0) + ["a KMS key"] * self.own_key
        lines.append(f"a month, whether anything runs or not: for {', '.join(stand)}")
        if any(one.target.is_instance for one in self.costs):
            given = "as given" if self.spot_price is not None else "half of the price on demand: see --spot-price"
            lines.append(f"Spot price of an instance: {given}; no interruption")
        if load.public_ip:
            lines.append("network: a public IPv4 address for as long as the machine is paid for")
        lines += [
            f"S3: {s3_requests(load):,} requests, read {'through NAT' if load.nat else 'through a gateway endpoint'}",
            f"DynamoDB: {dynamodb_units(load):,} write units, for an item of {load.item:,} bytes",
            f"Kafka: {sent / 1e9:,.3g} GB, to {'another' if load.cross_zone else 'the same'} zone",
            f"CloudWatch: {log_bytes(load) / 1e6:,.3g} MB of logs, {METRICS} metrics, no free tier",
            f"prices of {self.prices.region}, {self.prices.date} (csv2kafka/cost/prices.toml says where from)",
        ]
        return lines


def today() -> date:
    """By the world's clock."""
    return datetime.now(UTC).date()


def _usd(value: float) -> str:
    """Four places, since a whole run is a few cents."""
    if 0 < value < SHOWN:
        return f"< {SHOWN}"
    return f"{value:,.2f}" if value >= 10 else f"{value:,.4f}" if value else "-"
