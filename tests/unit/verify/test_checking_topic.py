"""What has changed in a receipt's topic is said, in one sentence each."""

from __future__ import annotations

import pytest
from attrs import evolve

from csv2kafka.kernel import Header, pack_records, stamp, unpack_batch
from csv2kafka.proof import Proof
from tests.pipelines import csv_text
from tests.simulation.clock import simulate
from tests.simulation.job import DATA, TOPIC
from tests.unit.verify.conftest import ROWS, WHERE, Place, topic_of


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
