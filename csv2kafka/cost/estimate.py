"""From a load and prices to dollars. What a figure rests on stands beside it, and is told with the result."""

from __future__ import annotations

import math
from collections.abc import Mapping

from attrs import evolve, frozen

from csv2kafka.cost.prices import Prices
from csv2kafka.protocols import HEARTBEAT_SECONDS

ROWS_PER_SECOND = 1_000_000  # as ``check`` estimates; docs/performance.md has 1.6 to 2 million on two CPUs
BYTES_PER_ROW = 100
COMPRESSED = 0.35  # of the CSV's bytes go to Kafka: docs/performance.md, zstd 1, the usual table
RANGE_BYTES = 8 << 20  # as S3 objects are read
REQUESTS_PER_OBJECT = 2  # its version and size, and a last range that is not full
ITEM_BYTES = 1600  # the job's item with one object and ten columns, as measured
ITEM_BYTES_PER_OBJECT = 40
HOURS_A_MONTH = 730
GB = 1e9

# Lines of --progress json and --metrics emf as measured: bytes, how often.
PROGRESS_BYTES, COMMITTED_BYTES, METRICS_BYTES = 250, 140, 1115
PROGRESS_SECONDS, METRICS_SECONDS = 1.0, 10.0
METRICS = 13 + 3  # of docs/metrics.md, and those that alarms are made of in deploy/modules/common


@frozen(kw_only=True)
class Load:
    """``bytes``: of the CSV's text; ``source_bytes``: of its objects in S3, less where they are compressed.
    ``nat``: S3 is read through a NAT gateway. ``cross_zone``: the partition's leader is in another zone.
    ``public_ip``: the machine has a public IPv4 address, as ``assign_public_ip`` or a public subnet gives it."""

    rows: int
    bytes: int
    seconds: float
    source_bytes: int
    objects: int = 1
    checkpoint_interval: float = 1.0
    compressed: float = COMPRESSED
    item_bytes: int | None = None
    nat: bool = False
    cross_zone: bool = False
    public_ip: bool = False

    @property
    def item(self) -> int:
        """Bytes of the job's item in DynamoDB."""
        return self.item_bytes or ITEM_BYTES + ITEM_BYTES_PER_OBJECT * (self.objects - 1)


@frozen(kw_only=True)
class Target:
    """As deploy/ makes it. ``start_minutes``: paid before the first row and behind the last. ``transitions``: of a
    state machine. ``share``: the name of what is paid of the full price. ``alarms``: of CloudWatch."""

    name: str
    machine: str
    start_minutes: float
    transitions: int = 0
    vcpu: int = 0
    memory_gb: int = 0
    share: str | None = None
    disk_gb: int = 0
    alarms: int = 6

    @property
    def is_instance(self) -> bool:
        return self.disk_gb > 0

    def hour(self, of: Mapping[str, float], spot_price: float | None) -> float:
        """Dollars for an hour of the machine, with its disk."""
        if not self.is_instance:
            whole = self.vcpu * of["fargate_vcpu_hour"] + self.memory_gb * of["fargate_gb_hour"]
            return whole * (of[self.share] if self.share else 1)
        machine = of["c7g_xlarge_hour"] * of["ec2_spot_share"] if spot_price is None else spot_price
        return machine + self.disk_gb * of["ebs_gp3_gb_month"] / HOURS_A_MONTH


_ECS = Target(name="ecs", machine="Fargate, ARM, 4 vCPU, 8 GB", vcpu=4, memory_gb=8, start_minutes=0.5, transitions=8)
TARGETS = {
    target.name: target
    for target in (
        _ECS,
        evolve(_ECS, name="ecs-spot", machine="Fargate Spot, ARM, 4 vCPU, 8 GB", share="fargate_spot_share"),
        Target(name="batch", machine="c7g.xlarge Spot, 30 GB gp3", start_minutes=3, disk_gb=30),
        Target(name="ec2", machine="c7g.xlarge Spot, 16 GB gp3", start_minutes=1, disk_gb=16, alarms=8),
    )
}


@frozen(kw_only=True)
class Cost:
    """Dollars by what they are for, in the order in which they are shown."""

    target: Target
    billed_minutes: float
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def cost(load: Load, target: Target, prices: Prices, *, spot_price: float | None = None) -> Cost:
    """What one run of the load costs there, without interruptions. ``spot_price``: of an instance's hour."""
    of = prices.of
    billed = load.seconds / 60 + target.start_minutes
    return Cost(
        target=target,
        billed_minutes=billed,
        parts={
            "compute": target.hour(of, spot_price) * billed / 60,
            "S3 requests": s3_requests(load) * of["s3_get"],
            "DynamoDB": dynamodb_units(load) * of["dynamodb_write"],
            "network": _network(load, of, billed),
            "logs": log_bytes(load) / GB * of["logs_gb"],
            "metrics": METRICS * math.ceil(load.seconds / 3600) * of["metric_month"] / HOURS_A_MONTH,
            "Step Functions": target.transitions * of["step_functions_transition"],
        },
    )


def standing(target: Target, prices: Prices, *, endpoints: int = 0, own_key: bool = False) -> float:
    """Dollars a month, whether anything runs or not: alarms, interface ``endpoints``, each zone's counted, and the KMS
    key that ``customer_managed_key`` makes."""
    of = prices.of
    key = of["kms_key_month"] if own_key else 0.0
    return target.alarms * of["alarm_month"] + endpoints * of["interface_endpoint_hour"] * HOURS_A_MONTH + key


def s3_requests(load: Load) -> int:
    """All are GET or HEAD, but for one list of a prefix."""
    return math.ceil(load.source_bytes / RANGE_BYTES) + REQUESTS_PER_OBJECT * load.objects


def dynamodb_units(load: Load) -> int:
    """A write for each commit and each heartbeat, of one unit for each KB of the item."""
    writes = load.seconds / load.checkpoint_interval + load.seconds / HEARTBEAT_SECONDS
    return math.ceil(writes) * math.ceil(load.item / 1024)


def log_bytes(load: Load) -> float:
    """Of the lines on standard error; the checkpoint interval says how many commits there are."""
    a_second = (
        PROGRESS_BYTES / PROGRESS_SECONDS + COMMITTED_BYTES / load.checkpoint_interval + METRICS_BYTES / METRICS_SECONDS
    )
    return load.seconds * a_second


def _network(load: Load, of: Mapping[str, float], billed_minutes: float) -> float:
    read = load.source_bytes / GB * of["nat_gb"] if load.nat else 0.0
    sent = load.bytes * load.compressed / GB * of["cross_zone_gb"] if load.cross_zone else 0.0
    address = billed_minutes / 60 * of["public_ipv4_hour"] if load.public_ip else 0.0
    return read + sent + address
