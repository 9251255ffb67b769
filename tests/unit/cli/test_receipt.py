"""``verify --proof`` and ``--check-proof``: what is written where, what is taken from the receipt, and the exit codes.

Into a file: all but the broker is there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve

from csv2kafka.cli import receipt
from csv2kafka.cli import redact as secrets
from csv2kafka.config import RunConfig
from csv2kafka.proof import Checked, Proof, proof_from_json
from csv2kafka.proof import receipt as receipt_of
from tests.unit.cli.conftest import Command, Outcome
from tests.unit.test_proof import PROOF

TEXT = b"id,name\n1,one\n2,two\n"
LINES = b'{"id":"1","name":"one"}\n{"id":"2","name":"two"}\n'


@define
class Job:
    """A source and an output that are equal. ``options``: of all its commands."""

    command: Command
    directory: Path
    options: tuple[str, ...] = ()

    @property
    def source(self) -> Path:
        return self.directory / "rows.csv"

    @property
    def output(self) -> Path:
        return self.directory / "rows.jsonl"

    @property
    def receipt(self) -> Path:
        return self.directory / "receipt.json"

    def verify(self, *more: str) -> Outcome:
        return self.command(
            "verify", str(self.source), "-o", str(self.output), "--progress", "none", *self.options, *more
        )

    def prove(self, *more: str) -> Outcome:
        return self.verify("--proof", str(self.receipt), *more)

    def check(self, *more: str) -> Outcome:
        return self.command("verify", "--check-proof", str(self.receipt), "--progress", "none", *more)

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.receipt.read_bytes())
        return found

    def put(self, proof: Proof) -> None:
        """Another receipt there."""
        self.receipt.write_bytes(receipt_of(proof.as_dict()))


@pytest.fixture
def job(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    job = Job(command, tmp_path)
    job.source.write_bytes(TEXT)
    job.output.write_bytes(LINES)
    return job


def test_written_and_checked(job: Job) -> None:
    proved = job.prove()
    assert (proved.code, proved.out.splitlines()[-1]) == (0, f"receipt: {job.receipt}")
    assert (job.said["rows"], job.said["checkpoint"]) == (2, None)
    assert job.said["tool"].startswith("csv2kafka 0.")
    checked = job.check()
    assert checked.code == 0
    assert checked.out.splitlines()[1:] == [
        "source: 1 object, the same versions",
        f"file {job.output}: 2 rows, sha256 {job.said['destination']['sha256']}",
    ]
    assert checked.out.startswith("holds: everything is as it was proved (receipt of ")


def test_as_json(job: Job) -> None:
    found = json.loads(job.prove("--json").out)
    assert found["equal"] is True
    assert json.loads(job.check("--json").out)["holds"] is True
    job.output.write_bytes(LINES[:-1])
    checked = job.check("--json")
    assert (checked.code, json.loads(checked.out)["destination"]) == (65, "differs")


def test_what_differs_is_65_and_said_first(job: Job) -> None:
    job.prove()
    job.output.write_bytes(LINES + b"x\n")
    job.source.unlink()
    checked = job.check()
    assert checked.code == 65
    lines = checked.out.splitlines()
    assert lines[0].startswith("does NOT hold (")
    assert lines[1].startswith(f"{job.source}: it is gone")
    assert lines[2] == f"file {job.output}: it had 48 bytes, now it has 50"
    assert len(lines) == 3


def test_one_side_alone(job: Job) -> None:
    job.prove()
    job.output.unlink()
    checked = job.check("--only", "source")
    assert (checked.code, checked.out.splitlines()[-1]) == (0, f"file {job.output}: not looked at")
    assert job.check("--only", "destination").code == 65
    assert job.command("verify", "--check-proof", str(job.receipt), "--only", "topic").code == 2


def test_the_receipt_says_source_settings_and_destination(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another directory, given as relative paths, and with settings that are not the defaults."""
    job.source.write_bytes(TEXT.replace(b",", b";"))
    monkeypatch.setenv("CSV2KAFKA_DELIMITER", ";")
    arguments = ["verify", job.source.name, "-o", job.output.name, "--proof", job.receipt.name, "--progress", "none"]
    assert job.command(*arguments).code == 0
    assert job.said["source"]["asked"] == [str(job.source)]
    assert (job.said["destination"]["path"], job.said["settings"]["delimiter"]) == (str(job.output), ";")
    monkeypatch.delenv("CSV2KAFKA_DELIMITER")
    monkeypatch.chdir("/")
    assert job.check().code == 0


def test_what_is_given_besides_and_agrees_is_taken(job: Job, tmp_path: Path) -> None:
    job.prove()
    file = tmp_path / "job.toml"
    file.write_text(f'sources = ["{job.source}"]\noutput = "{job.output}"\nformat = "json"\n')
    assert job.check("--config", str(file)).code == 0
    assert job.check("rows.csv", "-o", "./x/../rows.jsonl", "--create-topic", "--restart").code == 0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["other.csv"], "SOURCE"),
        (["rows.csv", "other.csv"], "SOURCE"),
        (["-o", "other.jsonl"], "--output"),
        (["-t", "orders"], "--topic"),
        (["--format", "raw"], "--format"),
        (["--delimiter", ";"], "--delimiter"),
        (["--key", "id"], "--key"),
        (["--no-header"], "--no-header"),
        (["--job", "other"], "--job"),
    ],
)
def test_what_contradicts_it_is_refused(job: Job, more: list[str], told: str) -> None:
    """Also where nobody looks at it."""
    job.prove()
    for only in ([], ["--only", "source"]):
        refused = job.check(*more, *only)
        assert (refused.code, refused.out) == (2, "")
        assert told in refused.err
        assert "the receipt is of " in refused.err


def test_all_that_contradicts_it_is_told(job: Job) -> None:
    job.prove()
    refused = job.check("other.csv", "--format", "raw", "-o", "x")
    assert refused.err.count("the receipt is of ") == 3


def test_brokers_in_the_environment_do_not_set_its_file_aside(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.prove()
    monkeypatch.setenv("CSV2KAFKA_BOOTSTRAP_SERVERS", "host:9092")
    assert job.check().code == 0


def test_in_an_array_job_it_need_not_be_said_which_child(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.prove()
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "1")
    assert job.check().code == 0


class TestTopic:
    @pytest.fixture
    def checked(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
        """The configurations that a check began with."""
        configs: list[RunConfig] = []

        async def check_proof(config: RunConfig, proof: Proof, **_: Any) -> Checked:
            configs.append(config)
            return Checked(source="holds", destination="holds", rows=proof.rows, content_hash="0f", grown=1)

        monkeypatch.setattr("csv2kafka.verify.check_proof", check_proof)
        job.put(evolve(PROOF, source=evolve(PROOF.source, asked=(str(job.source),))))
        return configs

    def test_only_the_brokers_are_needed(self, job: Job, checked: list[RunConfig]) -> None:
        refused = job.check()
        assert (refused.code, checked) == (2, [])
        assert "--bootstrap-servers" in refused.err
        assert "--only source" in refused.err
        found = job.check("-b", "host:9092")
        assert found.code == 0
        (config,) = checked
        assert (config.topic, config.partition, config.key) == ("orders", 3, ("id",))
        assert found.out.splitlines()[1:] == [
            "source: 2 objects, the same versions",
            "topic orders partition 3: 3 rows at offsets 5 to 8, content hash 0f",
            "1 offset more behind them than at that time, not looked at",
        ]

    def test_of_the_source_alone_not_even_they(self, job: Job, checked: list[RunConfig]) -> None:
        assert job.check("--only", "source").code == 0

    @pytest.mark.parametrize(
        ("more", "told"),
        [
            (["-t", "other"], "--topic (environment CSV2KAFKA_TOPIC, file key topic): the receipt is of topic orders "),
            (["-p", "0"], "--partition (environment CSV2KAFKA_PARTITION, file key partition): the receipt is of "),
            (["-o", "x"], "--output (environment CSV2KAFKA_OUTPUT, file key output): the receipt is of topic orders "),
        ],
    )
    def test_what_contradicts_it(self, job: Job, checked: list[RunConfig], more: list[str], told: str) -> None:
        refused = job.check("-b", "host:9092", *more)
        assert (refused.code, checked) == (2, [])
        assert told in " ".join(refused.err.split())


class TestWhereItIsWritten:
    def test_nothing_else_is_overwritten(self, job: Job) -> None:
        other = job.directory / "other.json"
        for content in (b"{}", b"x", b'{"report_version": 1}', b'[{"proof_version": 1}]'):
            other.write_bytes(content)
            refused = job.verify("--proof", str(other))
            assert refused.code == 2
            assert "which is there already, and no receipt of csv2kafka" in refused.err
            assert other.read_bytes() == content

    @pytest.mark.parametrize("taken", ["rows.csv", "rows.jsonl", "rows.jsonl.bad", "report.json", "."])
    def test_not_into_what_is_read_or_written(self, job: Job, taken: str) -> None:
        refused = job.verify("--proof", taken, "--report", "report.json")
        assert refused.code == 2
        assert "--proof: expected a file of its own" in refused.err
        assert job.source.read_bytes() == TEXT
        assert job.output.read_bytes() == LINES

    def test_an_earlier_receipt_is_replaced(self, job: Job) -> None:
        job.put(PROOF)
        assert job.prove().code == 0
        assert job.said["rows"] == 2

    def test_of_what_differs_nothing_is_written(self, job: Job) -> None:
        job.output.write_bytes(LINES[:-1])
        assert job.prove().code == 65
        assert not job.receipt.exists()
        job.put(PROOF)
        before = job.receipt.read_bytes()
        differs = job.prove()
        assert differs.code == 65
        assert "receipt" not in differs.out
        assert job.receipt.read_bytes() == before

    def test_a_full_disk(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        """They are equal all the same, which is said; what stood there stays."""
        job.put(PROOF)
        before = job.receipt.read_bytes()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        failed = job.prove()
        assert failed.code == 1
        assert failed.out.splitlines()[0].startswith("equal: ")
        assert "receipt:" not in failed.out
        assert "No space left on device" in failed.err
        assert job.receipt.read_bytes() == before
        assert {path.name for path in job.directory.iterdir()} == {"receipt.json", "rows.csv", "rows.jsonl", "state"}

    def test_no_secrets_and_nothing_a_terminal_would_obey(self, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(secrets, "_known", ["hidden-in-a-name"])
        job.options = ("--job", "hidden-in-a-name")
        job.source.write_bytes(TEXT.replace(b"id,name", "id,na\u202eme".encode()))
        job.output.write_bytes(LINES.replace(b"name", "na\u202eme".encode()))
        assert job.prove("--columns", "id,na\u202eme", "--no-header").code == 65  # the header is a row then
        job.output.write_bytes('{"id":"id","na\u202eme":"na\u202eme"}\n'.encode() + job.output.read_bytes())
        assert job.prove("--columns", "id,na\u202eme", "--no-header").code == 0
        text = job.receipt.read_text()
        assert "hidden-in-a-name" not in text
        assert "\u202e" not in text
        assert proof_from_json(job.receipt.read_bytes(), where="").settings["columns"] == ["id", "na\u202eme"]


class TestWhatIsNone:
    def test_a_file_that_is_not_there(self, job: Job) -> None:
        refused = job.check()
        assert refused.code == 2
        assert "No such file" in refused.err

    def test_another_file(self, job: Job) -> None:
        job.receipt.write_bytes(LINES)
        assert job.check().code == 2

    def test_one_that_was_changed(self, job: Job) -> None:
        job.prove()
        job.receipt.write_bytes(job.receipt.read_bytes().replace(b'"rows": 2', b'"rows": 3'))
        refused = job.check()
        assert refused.code == 65
        assert "was changed after it was written" in refused.err
        said = job.check("--json")
        assert (said.code, json.loads(said.out)["holds"]) == (65, False)

    def test_another_version(self, job: Job) -> None:
        job.receipt.write_bytes(receipt_of({**PROOF.as_dict(), "proof_version": 2}))
        refused = job.check()
        assert refused.code == 2
        assert "a receipt of proof_version 2, this csv2kafka knows 1" in refused.err


def test_one_of_the_two(job: Job) -> None:
    refused = job.check("--proof", "x")
    assert refused.code == 2
    assert "give one of them" in refused.err
    assert job.verify("--only", "source").code == 2


def test_very_many_differences_are_not_all_told_to_people() -> None:
    found = Checked(source="differs", destination="holds", differences=tuple(f"d{n}" for n in range(100)))
    told = receipt.lines(found, PROOF)
    assert told[1:21] == [f"d{n}" for n in range(20)]
    assert told[21] == "and 80 more like these (--json has all)"


def test_an_error_is_told_as_anywhere(job: Job) -> None:
    job.prove()
    job.output.chmod(0)
    if os.access(job.output, os.R_OK):
        job.output.unlink()
        job.output.mkdir()
    refused = job.check()
    assert (refused.code, refused.out) == (2, "")
    assert f"file {job.output}: " in refused.err


def test_a_receipt_says_nothing_but_source_settings_and_destination(job: Job) -> None:
    """One that somebody else made does not lead the command to servers of theirs."""
    job.put(evolve(PROOF, settings={"bootstrap_servers": "evil:9092", "kafka": {"sasl_mechanism": "PLAIN"}}))
    refused = job.check("--only", "destination")
    assert refused.code == 2
    assert "--bootstrap-servers" in refused.err
    assert "is needed" in refused.err
