"""A receipt holds as long as nothing has changed; what has changed is said, in one sentence each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from csv2kafka import registry
from csv2kafka.errors import ConfigError, NotAuthorized, SourceChanged, StateContradiction
from csv2kafka.kernel import Header, digest, pack_records, stamp, unpack_batch
from csv2kafka.model import Event, Progressed, Records, Started
from csv2kafka.pipeline import Pipeline
from csv2kafka.proof import FileSide, Proof, TopicSide
from csv2kafka.sinks.kafka import KafkaSink
from csv2kafka.sources.local import LocalSource
from csv2kafka.sources.stdin import StdinSource
from csv2kafka.verify import check_proof, comparing, prove
from tests.pipelines import csv_text, values
from tests.simulation.clock import now, simulate
from tests.simulation.job import DATA, TOPIC
from tests.unit.verify.conftest import ROWS, Place, played

WHERE = f"topic {TOPIC} partition 0"


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def topic_of(proof: Proof) -> TopicSide:
    assert isinstance(proof.destination, TopicSide)
    return proof.destination


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


class TestTopic:
    @pytest.fixture
    def proof(self, place: Place) -> Proof:
        place.options["key"] = ("id",)

        async def main() -> Proof:
            await place.load(csv_text(ROWS))
            return await place.prove()

        return simulate(main())

    def difference(self, place: Place, proof: Proof) -> str:
        checked = simulate(place.check(proof))
        assert (checked.source, checked.destination) == ("holds", "differs")
        (told,) = checked.differences
        return told

    def test_is_gone(self, place: Place, proof: Proof) -> None:
        del place.network.cluster.topics[TOPIC]
        assert self.difference(place, proof) == f"{WHERE}: is not there any more"

    def test_its_partition_is_gone(self, place: Place, proof: Proof) -> None:
        """Made anew with fewer of them."""
        del place.network.cluster.topics[TOPIC].partitions[0]
        assert self.difference(place, proof) == f"{WHERE}: is not there any more"

    def test_was_made_anew(self, place: Place, proof: Proof) -> None:
        was = place.network.cluster.topics.pop(TOPIC).topic_id
        place.network.cluster.make_topic(TOPIC)
        now_it_is = place.network.cluster.topics[TOPIC].topic_id
        assert self.difference(place, proof) == (
            f"topic {TOPIC}: was deleted and made anew: its id was {was}, now it is {now_it_is}"
        )

    def test_is_of_another_cluster(self, place: Place, proof: Proof) -> None:
        other = evolve(proof, destination=evolve(topic_of(proof), cluster_id="another"))
        told = self.difference(place, other)
        assert told == f"this is another cluster: the receipt's is another, this is {topic_of(proof).cluster_id}"

    def test_ids_that_a_broker_does_not_have_are_no_difference(self, place: Place, proof: Proof) -> None:
        assert simulate(
            place.check(evolve(proof, destination=evolve(topic_of(proof), cluster_id="", topic_id="")))
        ).holds

    @pytest.mark.parametrize(("start", "gone"), [(1, "from offset 0 to 0"), (3, "from offset 0 to 2")])
    def test_rows_are_gone_at_the_front(self, place: Place, proof: Proof, start: int, gone: str) -> None:
        place.network.cluster.log(DATA).start = start
        assert self.difference(place, proof) == (
            f"{WHERE}: the rows {gone} are gone: the first row was at offset 0, the topic now begins at "
            f"{start}, as retention or somebody has deleted what stood before"
        )

    def test_all_rows_are_gone(self, place: Place, proof: Proof) -> None:
        log = place.network.cluster.log(DATA)
        log.start = log.end
        assert "all rows are gone" in self.difference(place, proof)

    def test_the_log_was_cut(self, place: Place, proof: Proof) -> None:
        log = place.network.cluster.log(DATA)
        end = log.end
        log.truncate(end - 1)
        assert self.difference(place, proof) == (
            f"{WHERE}: it ended at offset {end}, now it ends at {end - 1}: records were lost "
            "(truncated, an unclean leader election)"
        )

    def test_rows_are_missing_amid_the_others(self, place: Place, proof: Proof) -> None:
        log = place.network.cluster.log(DATA)
        found = next(batch for batch in log.batches if batch.commit is None and batch.base_offset > 0)
        log.batches.remove(found)
        rows = ROWS - (found.last_offset - found.base_offset + 1)
        assert self.difference(place, proof) == (
            f"{WHERE}: {ROWS} rows stood from offset 0 to {topic_of(proof).last_offset}, now there are {rows}"
        )
        place.network.cluster.topics[TOPIC].config["cleanup.policy"] = "compact"
        assert self.difference(place, proof).endswith(
            " (the topic is compacted: of rows with the same key only the last one stays)"
        )

    @pytest.mark.parametrize("what", ["value", "key", "order"])
    def test_rows_are_other_ones(self, place: Place, proof: Proof, what: str) -> None:
        """The same number of rows at the same offsets."""
        log = place.network.cluster.log(DATA)
        at, batch = next((at, batch) for at, batch in enumerate(log.batches) if batch.commit is None)
        rows: list[tuple[bytes | None, bytes, list[Header]]]
        rows = [(key, value, []) for key, value in unpack_batch(batch.data).records.rows()]
        if what == "order":
            rows[0], rows[1] = rows[1], rows[0]
        else:
            key, value, headers = rows[0]
            rows[0] = (key, value + b" ", headers) if what == "value" else ((key or b"") + b"0", value, headers)
        packed = pack_records(rows)
        stamp(packed, producer_id=-1, epoch=-1, sequence=-1, timestamp_ms=0, transactional=False)
        data = batch.base_offset.to_bytes(8, "big") + bytes(packed)[8:]
        log.batches[at] = evolve(batch, data=data)
        assert self.difference(place, proof).startswith(
            f"{WHERE}: the rows are other ones: their content hash was {topic_of(proof).content_hash}, now it is "
        )

    def test_a_null_key_is_no_empty_one(self, place: Place) -> None:
        """Their hashes are the same."""
        place.options.update(key=("a",), job=None)

        async def main() -> str:
            place.write([(b"", b'{"a":""}'), (b"", b'{"a":""}'), (b"x", b'{"a":"x"}')])
            place.path.write_bytes(b'a\n""\n""\nx\n')
            proof = await place.prove()
            assert (await place.check(proof)).holds
            log = place.network.cluster.log(DATA)
            log.batches, log.end = [], 0
            place.write([(b"", b'{"a":""}'), (None, b'{"a":""}'), (b"x", b'{"a":"x"}')])
            (told,) = (await place.check(proof)).differences
            return told

        assert simulate(main()) == (f"{WHERE}: the record at offset 1 has a null key or value, which no row has")


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
