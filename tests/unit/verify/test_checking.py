"""A receipt holds as long as nothing has changed; what has changed is said, in one sentence each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csv2kafka import registry
from csv2kafka.errors import ConfigError, NotAuthorized, SourceChanged, StateContradiction
from csv2kafka.kernel import digest
from csv2kafka.model import Event, Progressed, Records, Started
from csv2kafka.pipeline import Pipeline
from csv2kafka.proof import FileSide, Proof
from csv2kafka.sinks.kafka import KafkaSink
from csv2kafka.sources.local import LocalSource
from csv2kafka.sources.stdin import StdinSource
from csv2kafka.verify import check_proof, comparing, prove
from tests.pipelines import csv_text, values
from tests.simulation.clock import now, simulate
from tests.simulation.job import DATA, TOPIC
from tests.unit.verify.conftest import ROWS, WHERE, Place, played, topic_of


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
@pytest.mark.parametrize("key", [None, ("id",)])
def test_a_receipt_holds(place: Place, delivery: str, key: tuple[str, ...] | None) -> None:
    place.options.update(delivery=delivery, key=key)

    async def main() -> None:
        await place.load(csv_text(ROWS), crash_at=2)
        await place.load(csv_text(ROWS))
        proof = await place.prove()
        side = topic_of(proof)
        assert (proof.job, proof.rows, proof.bad_rows) == ("job", ROWS, 0)
        assert side.content_hash == proof.source.content_hash != "0" * 32
        assert (side.topic, side.partition, side.first_offset) == (TOPIC, 0, 0)
        assert side.topic_id == place.network.cluster.topics[TOPIC].topic_id
        assert side.log_end == place.network.cluster.log(DATA).end
        checked = await place.check(proof)
        assert (checked.source, checked.destination, checked.differences) == ("holds", "holds", ())
        assert (checked.rows, checked.content_hash, checked.grown) == (ROWS, side.content_hash, 0)

    simulate(main())


@played
async def test_the_hash_is_that_of_the_runs_checkpoint(place: Place) -> None:
    await place.load(csv_text(ROWS))
    proof = await place.prove()
    assert proof.checkpoint is not None
    assert proof.checkpoint.complete
    assert (proof.checkpoint.rows, proof.checkpoint.content_hash) == (ROWS, proof.source.content_hash)
    assert proof.checkpoint.transactions > 5


def test_the_topics_hash_is_of_what_was_read_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both were made of one side, nobody would see that the other is another."""
    hashed: list[Records] = []

    def watched(records: Records, first: int, last: int) -> int:
        hashed.append(records)
        return digest(records, first, last)

    monkeypatch.setattr(comparing, "digest", watched)

    async def main() -> Proof:
        await place.load(csv_text(ROWS))
        return await place.prove()

    simulate(main())
    sources, found = ({id(each): each for each in hashed[side::2]} for side in (0, 1))
    assert not sources.keys() & found.keys()
    assert sum(map(len, sources.values())) == sum(map(len, found.values())) == ROWS


def test_two_hashes_that_differ_though_all_rows_are_equal_are_no_receipt(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours; no receipt says that it holds."""
    calls = itertools.count()
    monkeypatch.setattr(comparing, "digest", lambda *_: next(calls))
    simulate(place.load(csv_text(ROWS)))
    with pytest.raises(StateContradiction, match="all rows are equal, but the hash of the source's is"):
        simulate(place.prove())


def test_nothing_is_hashed_without_a_receipt(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(comparing, "digest")
    simulate(place.load(csv_text(ROWS)))
    assert simulate(place.verify()).equal


@played
async def test_no_receipt_of_what_is_not_equal(place: Place) -> None:
    await place.load(csv_text(ROWS))
    place.path.write_bytes(csv_text(ROWS + 1))
    report, proof = await prove(place.config())
    assert not report.equal
    assert proof is None


@played
async def test_a_configuration_that_contradicts_it_is_refused(place: Place) -> None:
    await place.load(csv_text(ROWS))
    proof = await place.prove()
    with pytest.raises(ConfigError, match="the receipt is of none, found id"):
        await place.check(proof, key=("id",))


@played
async def test_only_rows_between_the_two_offsets_are_read(place: Place) -> None:
    place.write([(None, b"before")])
    await place.load(csv_text(ROWS))
    proof = await place.prove()
    place.write([(None, b"behind"), (None, b"and more")])
    checked = await place.check(proof)
    assert (checked.holds, checked.rows, checked.grown) == (True, ROWS, 2)


@played
async def test_an_empty_source(place: Place) -> None:
    place.path.write_bytes(b"id\n")
    proof = await place.prove()
    assert (proof.rows, topic_of(proof).first_offset) == (0, None)
    checked = await place.check(proof)
    assert (checked.holds, checked.rows) == (True, 0)


@played
async def test_bad_rows_are_counted(place: Place) -> None:
    await place.load(b"id,name\n1,one\n2\n3,three\n", on_bad_row="skip")
    proof = await place.prove()
    assert (proof.rows, proof.bad_rows) == (2, 1)
    assert (await place.check(proof)).holds


@played
async def test_its_progress_is_told(place: Place) -> None:
    await place.load(csv_text(ROWS))
    proof = await place.prove()
    events: list[Event] = []
    await check_proof(place.config(), proof, on_event=events.append)
    size = len(csv_text(ROWS))
    assert events[0] == Started(job="job", run_id="", objects=1, total_bytes=size)
    assert events[-1] == Progressed(rows=ROWS, bad_rows=0, source_bytes=size, uri=WHERE)


class TestSource:
    @pytest.fixture
    def proof(self, place: Place) -> Proof:
        async def main() -> Proof:
            await place.load(csv_text(ROWS))
            return await place.prove()

        return simulate(main())

    def differences(self, place: Place, proof: Proof) -> tuple[str, ...]:
        checked = simulate(place.check(proof, only="source"))
        assert checked.destination == "not checked"
        assert checked.rows is None
        assert checked.source == ("differs" if checked.differences else "holds")
        return checked.differences

    def test_is_the_same(self, place: Place, proof: Proof) -> None:
        assert self.differences(place, proof) == ()

    def test_was_changed(self, place: Place, proof: Proof) -> None:
        was = proof.source.objects.objects[0][2]
        place.path.write_bytes(csv_text(ROWS + 1))
        (told,) = self.differences(place, proof)
        assert told.startswith(f"{place.path}: was changed: it was {was}, now it is size=")
        assert not told.endswith("differs)")

    def test_was_touched(self, place: Place, proof: Proof) -> None:
        os.utime(place.path, ns=(0, 1))
        (told,) = self.differences(place, proof)
        assert told.endswith(" (only its modification time differs)")

    def test_is_gone(self, place: Place, proof: Proof) -> None:
        place.path.unlink()
        (told,) = self.differences(place, proof)
        assert told.startswith(f"{place.path}: it is gone")

    def test_may_not_be_read_any_more(self, place: Place, proof: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
        """No difference is known, so none is told."""

        refused = PermissionError(13, "Permission denied", str(place.path))
        monkeypatch.setattr("csv2kafka.sources.local._open", raising(refused))
        with pytest.raises(ConfigError, match="no permission"):
            self.differences(place, proof)

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (ConfigError("nothing is there"), "the source cannot be found as it was: nothing is there"),
            (SourceChanged("it is another"), "the source cannot be found as it was: it is another"),
        ],
    )
    def test_cannot_be_listed_though_each_object_is_there(
        self, place: Place, proof: Proof, error: Exception, told: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(LocalSource, "_find", raising(error))
        assert self.differences(place, proof) == (told,)

    def test_may_not_be_listed(self, place: Place, proof: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(LocalSource, "_find", raising(NotAuthorized("s3:ListBucket is missing")))
        with pytest.raises(NotAuthorized):
            self.differences(place, proof)

    def test_is_not_looked_at(self, place: Place, proof: Proof) -> None:
        place.path.unlink()
        checked = simulate(place.check(proof, only="destination"))
        assert (checked.source, checked.destination, checked.holds) == ("not checked", "holds", True)

    def test_objects_that_are_new_gone_or_come_in_another_order(self, place: Place, tmp_path: Path) -> None:
        directory = tmp_path / "parts"
        directory.mkdir()
        for number in (1, 2):
            (directory / f"{number}.csv").write_bytes(csv_text(number))
        place.options["sources"] = (str(directory),)

        async def main() -> Proof:
            sink = KafkaSink(TOPIC, broker_factory=place.network.factory("run"), clock=now)
            await Pipeline(LocalSource(directory), sink, place.store, job="job").run()
            return await place.prove()

        proof = simulate(main())
        assert self.differences(place, proof) == ()
        (directory / "3.csv").write_bytes(csv_text(1))
        (directory / "1.csv").unlink()
        first, second = self.differences(place, proof)
        assert first.startswith(f"{directory / '1.csv'}: is gone; it was size=")
        assert second.startswith(f"{directory / '3.csv'}: was not there; now it is, with size=")


class TestFile:
    @pytest.fixture
    def output(self, place: Place) -> Path:
        output = place.path.with_name("rows.jsonl")
        place.options["output"] = str(output)
        simulate(place.load(csv_text(ROWS)))
        return output

    def test_a_receipt_holds(self, place: Place, output: Path) -> None:
        proof = simulate(place.prove())
        side = proof.destination
        assert isinstance(side, FileSide)
        assert (side.path, side.size) == (str(output), len(output.read_bytes()))
        assert proof.checkpoint is not None
        assert proof.checkpoint.content_hash == proof.source.content_hash
        checked = simulate(place.check(proof))
        assert (checked.holds, checked.rows, checked.content_hash) == (True, ROWS, side.sha256)

    def test_another_path_to_it(self, place: Place, output: Path) -> None:
        proof = simulate(place.prove())
        other = f"{output.parent}/x/../{output.name}"
        assert simulate(place.check(proof, output=other)).holds

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda text: text + b"x\n", "bytes, now it has"),
            (lambda text: text[:-1], "bytes, now it has"),
            (lambda text: text.replace(b"name 3", b"name 4", 1), "its lines are other ones: its sha256 was "),
        ],
    )
    def test_was_changed(self, place: Place, output: Path, change: Callable[[bytes], bytes], told: str) -> None:
        proof = simulate(place.prove())
        output.write_bytes(change(output.read_bytes()))
        checked = simulate(place.check(proof))
        assert (checked.source, checked.destination, checked.rows) == ("holds", "differs", None)
        assert told in checked.differences[0]
        assert checked.differences[0].startswith(f"file {output}: ")

    def test_is_gone(self, place: Place, output: Path) -> None:
        proof = simulate(place.prove())
        output.unlink()
        assert simulate(place.check(proof)).differences == (f"file {output}: is not there any more",)


class TestStandardInput:
    @pytest.fixture
    def proof(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proof]:
        place.path.write_bytes(csv_text(ROWS))
        place.options.update(sources=("-",), job=None)

        async def main() -> Proof:
            place.write([(None, value) for value in values(ROWS)])
            return await place.prove()

        with place.path.open("rb") as stdin:
            monkeypatch.setattr(registry, "stdin_source", lambda *_: StdinSource(fd=stdin.fileno()))
            yield simulate(main())

    def test_only_the_destination_is_looked_at(self, place: Place, proof: Proof) -> None:
        checked = simulate(place.check(proof))
        assert (checked.source, checked.destination, checked.holds) == ("not checked", "holds", True)

    def test_it_cannot_be_looked_at_alone(self, place: Place, proof: Proof) -> None:
        with pytest.raises(ConfigError, match="standard input"):
            simulate(place.check(proof, only="source"))
