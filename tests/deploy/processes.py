"""What is planned, run here: the command and the environment of a planned container, and nothing else of this machine.

    planned = of_ecs(state.rendered("aws_ecs_task_definition.job")[0])
    run = planned.start(directory, aws.environment)
    stop(run, rows=1000, within=120)                        # SIGTERM after so many rows: 75 in time

The image's ENTRYPOINT is csv2kafka (deploy/image/Dockerfile), so a container's command are its arguments. What AWS
itself puts into a container (credentials, metadata) is given besides; the plan's own variables win.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from attrs import evolve, frozen

from tests.aws.conftest import Aws
from tests.faults.installed import LONGEST_SECONDS, Installed


@frozen
class Process:
    """``arguments``: of csv2kafka. ``environment``: all that is planned. ``stop_seconds``: from SIGTERM to SIGKILL;
    None: the plan says nothing of it."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    stop_seconds: float | None = None

    def overridden(
        self, *, command: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
    ) -> Process:
        """As a state machine, a submitted job or a script starts it, with these in place of the planned ones."""
        return evolve(
            self,
            arguments=self.arguments if command is None else tuple(command),
            environment={**self.environment, **(environment or {})},
        )

    def start(self, directory: Path, surroundings: Mapping[str, str]) -> Installed:
        """One that runs. ``surroundings``: what AWS gives each container, and where moto is."""
        told = {**surroundings, **self.environment}
        return Installed(list(self.arguments), directory, variables=told).start()


def of_ecs(container: Mapping[str, Any]) -> Process:
    """A container of a task definition."""
    assert "entryPoint" not in container, "the image's own is what csv2kafka needs"
    return Process(
        tuple(container.get("command", ())), pairs(container.get("environment", ())), container.get("stopTimeout")
    )


def of_batch(properties: Mapping[str, Any]) -> Process:
    """A job definition's container."""
    return Process(tuple(properties.get("command", ())), pairs(properties.get("environment", ())))


def pairs(listed: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Variables as ECS and Batch list them."""
    found = {each["name"]: each["value"] for each in listed}
    assert len(found) == len(listed), f"one of them is there twice: {[each['name'] for each in listed]}"
    return found


def client(aws: Aws, service: str, region: str) -> Any:
    """As ``aws.client``, in the region that a plan names: moto keeps them apart."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return boto3.client(service, endpoint_url=aws.url, region_name=region, **keys)


def make_table(aws: Aws, table: Mapping[str, Any], region: str) -> None:
    """The planned table in moto, as it is there after an apply."""
    dynamodb = client(aws, "dynamodb", region)
    keys = {name: table[f"{name}_key"] for name in ("hash", "range") if table.get(f"{name}_key")}
    attributes = [{"AttributeName": each["name"], "AttributeType": each["type"]} for each in table["attribute"]]
    dynamodb.create_table(
        TableName=table["name"],
        BillingMode=table["billing_mode"],
        KeySchema=[{"AttributeName": name, "KeyType": kind.upper()} for kind, name in keys.items()],
        AttributeDefinitions=attributes,
    )
    (ttl,) = table["ttl"]
    expiry = {"Enabled": ttl["enabled"], "AttributeName": ttl["attribute_name"]}
    dynamodb.update_time_to_live(TableName=table["name"], TimeToLiveSpecification=expiry)


def stop(run: Installed, *, rows: int, within: float) -> None:
    """SIGTERM once so many rows are committed. It ends with 75 before it would be killed."""
    wait_for_rows(run, rows)
    run.signal(signal.SIGTERM)
    code = run.end(within)
    assert code == 75, f"ended with {code} after SIGTERM:\n{run.output[-3000:]}"


def wait_for_rows(run: Installed, rows: int) -> None:
    """Until the run has told of a commit behind so many rows."""
    _wait(run, lambda: run.committed_rows() >= rows)


def wait_for_metric(run: Installed, name: str) -> None:
    """Until the run has told of this metric; of some not with its first line."""
    _wait(run, lambda: f'"{name}":' in run.output.replace(" ", ""))


def _wait(run: Installed, seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not seen():
        assert run.process.poll() is None, f"ended with {run.process.poll()}:\n{run.output[-3000:]}"
        assert time.monotonic() < deadline, run.output[-3000:]
        time.sleep(0.02)


def lines(run: Installed) -> list[dict[str, Any]]:
    """All that it wrote, which CloudWatch must be able to read as JSON."""
    return [json.loads(line) for line in run.output.splitlines()]


def event(run: Installed, name: str) -> dict[str, Any]:
    """The last line about this."""
    found = [line for line in lines(run) if line["event"] == name]
    assert found, f"no {name}:\n{run.output[-3000:]}"
    return found[-1]
