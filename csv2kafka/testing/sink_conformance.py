"""What every Sink must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cached_property
from typing import Any

from attrs import evolve, frozen

from csv2kafka.errors import Csv2KafkaError, Doubt, SettingsChanged, TakenOver
from csv2kafka.model import Checkpoint, Counts, DeadLetter, Manifest, Packed
from csv2kafka.protocols import Sink, SinkSession
from csv2kafka.testing.faults import Crash
from csv2kafka.testing.memory_store import MemoryStore
from csv2kafka.testing.session_work import SessionWork
from csv2kafka.testing.values import Row, example_job, records

JOB = "conformance"


class SinkConformance:
    """Fill in ``make`` and ``read``; ``dead_letters`` if the sink writes them; the attributes where they differ.

    The suite does what the pipeline does: it opens sessions under a lease, saves ``resume_from`` before the first
    write, reads ``standing``, writes payloads of the session's packer, commits and saves the checkpoint. A crash
    is an exception that leaves the session with rows on the way.
    """

    keeps_keys = True  # else rows are read back with None as key
    restart_empties = False  # what was there before a restart is gone after it (a file), or stays (a log)
    dead_letters_can_double = False  # at-least-once on a log: those that were not committed stand there
    too_large: int | None = None  # bytes of a value that no payload can hold; None: there is no such size

    def make(self) -> Sink:
        """A sink. Within one test all are for one destination, empty at first, as other processes would make it."""
        raise NotImplementedError

    async def read(self) -> list[Row]:
        """What a reader of the destination gets of the data, in order."""
        raise NotImplementedError

    async def dead_letters(self) -> list[bytes] | None:
        """The values of the dead letters, in order; None if the sink cannot write them."""
        return None

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run one test's coroutine."""
        asyncio.run(main)

    def test_satisfies_the_protocol_and_says_what_it_is(self) -> None:
        sink, again = self.make(), self.make()
        assert isinstance(sink, Sink)
        assert sink.destination
        assert (sink.destination, sink.settings) == (again.destination, again.settings)
        assert all(isinstance(text, str) for item in sink.settings.items() for text in item)

    def test_rows_arrive_once_and_in_order(self) -> None:
        rows = _rows(5000)

        async def main() -> None:
            async with self._work("run-1") as work:
                assert isinstance(work.session, SinkSession)
                for last in range(500, 5001, 500):
                    await work.write(rows, last)
                    if last % 1000 == 0:
                        await work.commit()
            await self._expect(rows)

        self.run(main())

    def test_any_value_comes_back(self) -> None:
        values = [b"", b"{}", b"\0\xff\xfe", "漢字 ü".encode(), b"x" * 100_000, b" ", b'"', b""]
        rows: list[Row] = [(None, value) for value in values]

        async def main() -> None:
            async with self._work("run-1") as work:
                await work.write(rows)
                await work.commit()
            await self._expect(rows)

        self.run(main())

    def test_keys_come_back(self) -> None:
        rows: list[Row] = [(b"k%d" % n if n % 3 else b"", b"v%d" % n) for n in range(100)]

        async def main() -> None:
            async with self._work("run-1") as work:
                await work.write(rows)
                await work.commit()
            await self._expect(rows)

        self.run(main())

    def test_a_new_job_begins_at_its_start(self) -> None:
        async def main() -> None:
            async with self._work("run-1") as work:
                found, start = work.session.resume_from, example_job(JOB).start
                assert (found.position, found.counts, found.header) == (start.position, start.counts, start.header)
                assert not found.complete
                assert [batch async for batch in work.session.standing()] == []
            await self._expect([])

        self.run(main())

    def test_a_later_session_goes_on_at_the_last_commit(self) -> None:
        rows = _rows(30)

        async def main() -> None:
            async with self._work("run-1") as work:
                await work.write(rows, 10)
                done = await work.commit()
            async with self._work("run-2") as work:
                found = work.session.resume_from
                for name in ("job", "position", "counts", "header", "content_hash", "generation", "settings"):
                    assert getattr(found, name) == getattr(done, name), name
                await work.write(rows, 20)
                await work.commit()
                await work.write(rows)
                await work.commit()
            await self._expect(rows)

        self.run(main())

    def test_what_was_not_committed_does_not_count(self) -> None:
        rows = _rows(60)

        async def main() -> None:
            for number, (committed, lost) in enumerate([(0, 7), (10, 25), (10, 12), (40, 60), (40, 41)]):
                with suppress(Crash):
                    async with self._work(f"run-{number}") as work:
                        await work.write(rows, committed)
                        await work.commit()
                        await work.write(rows, lost)
                        raise Crash
            async with self._work("last") as work:
                await work.write(rows)
                await work.commit()
            await self._expect(rows)

        self.run(main())

    def test_sessions_of_one_run_follow_each_other(self) -> None:
        rows = _rows(50)

        async def main() -> None:
            for last in range(10, 51, 10):
                with suppress(Crash):
                    async with self._work("run-1") as work:
                        await work.write(rows, last - 5)
                        await work.commit()
                        await work.write(rows, last)
                        raise Crash
            async with self._work("run-1") as work:
                await work.write(rows)
                await work.commit()
            await self._expect(rows)

        self.run(main())

    def test_a_commit_that_the_store_never_learnt_of(self) -> None:
        rows = _rows(40)

        async def main() -> None:
            async with self._work("run-1") as work:
                await work.write(rows, 10)
                await work.commit()
                await work.write(rows, 25)
                await work.commit(saved=False)
            async with self._work("run-2") as work:
                assert work.session.resume_from.position.rows in (10, 25)
                await work.write(rows)
                await work.commit()
            await self._expect(rows)

        self.run(main())

    def test_a_commit_amid_what_stands_already(self) -> None:
        rows = _rows(30)

        async def main() -> None:
            with suppress(Crash):
                async with self._work("run-1") as work:
                    await work.write(rows, 10)
                    await work.commit()
                    await work.write(rows, 20)
                    raise Crash
            with suppress(Crash):
                async with self._work("run-2") as work:
                    stands = [row async for batch in work.session.standing() for row in batch.rows()]
                    work.rows += len(stands) // 2
                    await work.commit()
                    raise Crash
            async with self._work("run-3") as work:
                await work.write(rows)
                await work.commit()
            await self._expect(rows)

        self.run(main())

    def test_commits_without_rows(self) -> None:
        rows = _rows(5)

        async def main() -> None:
            async with self._work("run-1") as work:
                await work.commit()
                await work.write(rows)
                first = await work.commit()
                second = await work.commit()
                assert first.position == second.position
            async with self._work("run-2") as work:
                assert work.session.resume_from.position.rows == 5
            await self._expect(rows)

        self.run(main())

    def test_the_last_commit_says_complete(self) -> None:
        rows = _rows(5)

        async def main() -> None:
            async with self._work("run-1") as work:
                await work.write(rows)
                await work.commit()
                done = await work.commit(complete=True)
                assert done.complete
            async with self._work("run-2") as work:
                assert work.session.resume_from.complete
                assert work.session.resume_from.position.rows == 5
            await self._expect(rows)

        self.run(main())

    def test_restart_begins_anew_once_per_run(self) -> None:
        old, new = _rows(10), _rows(20, text=b"new")
        before = [] if self.restart_empties else old

        async def main() -> None:
            async with self._work("run-1") as work:
                await work.write(old)
                first = await work.commit()
            async with self._work("run-2", restart=True) as work:
                found = work.session.resume_from
                assert (found.position.rows, found.counts) == (0, Counts())
                assert found.generation > first.generation
                await work.write(new, 5)
                second = await work.commit()
            async with self._work("run-2") as work:
                found = work.session.resume_from
                assert (found.position.rows, found.generation) == (5, second.generation)
                await work.write(new)
                await work.commit()
            await self._expect(before + new)

        self.run(main())

    def test_another_writer_is_refused_or_shuts_this_one_out(self) -> None:
        """Two runs whose stores do not know each other. A refusal may be one to try again after (Doubt)."""
        rows = _rows(20)

        async def main() -> None:
            async with AsyncExitStack() as stack:
                first = await stack.enter_async_context(self._work("run-1"))
                await first.write(rows, 10)
                await first.commit()
                await first.write(rows, 12)
                try:
                    second = await stack.enter_async_context(self._work("run-2", store=await self._copied_store()))
                except (TakenOver, Doubt):
                    await first.write(rows)
                    await first.commit()
                else:
                    await second.write(rows, 15)
                    await second.commit()
                    await self._shut_out(first, rows)
                    await second.write(rows)
                    await second.commit()
            await self._expect(rows)

        self.run(main())

    def test_nothing_is_changed_where_the_check_refuses(self) -> None:
        """A sink that keeps checkpoints asks ``job.check`` first; one that keeps none may leave it to the pipeline."""
        rows = _rows(10)

        def refuse(checkpoint: Checkpoint, manifest: Manifest | None) -> None:
            raise SettingsChanged("delimiter: it was ',' and is ';'")

        async def main() -> None:
            async with self._work("run-1") as work:
                await work.write(rows)
                await work.commit()
            with suppress(SettingsChanged):
                async with self._work("run-2", check=refuse):
                    pass
            await self._expect(rows)
            async with self._work("run-3") as work:
                assert work.session.resume_from.position.rows == 10

        self.run(main())

    def test_packing_is_pure_and_any_range_can_be_packed(self) -> None:
        rows = _rows(100)
        batch = records(rows)

        async def main() -> None:
            async with self._work("run-1") as work:
                packer = work.session.packer
                with ThreadPoolExecutor(4) as threads:
                    every = list(threads.map(lambda _: _bodies(packer.pack(batch)), range(20)))
                assert all(bodies == every[0] for bodies in every)
                for first, last in ((0, 1), (1, 40), (40, 40), (40, 100)):
                    packed = packer.pack(batch, first, last)
                    assert _covered(packed) == list(range(first, last))
                    for payload in packed.payloads:
                        await work.session.write(payload)
                work.rows = 100
                await work.commit()
            await self._expect(rows)

        self.run(main())

    def test_a_row_too_large_is_refused_and_those_around_it_are_not(self) -> None:
        if self.too_large is None:
            return
        size = self.too_large
        rows: list[Row] = [(None, b"x" * (size if n in (0, 3, 4, 9) else 10)) for n in range(10)]

        async def main() -> None:
            async with self._work("run-1") as work:
                packed = work.session.packer.pack(records(rows))
                assert [index for index, _ in packed.too_large] == [0, 3, 4, 9]
                assert all(reason for _, reason in packed.too_large)
                assert _covered(packed) == list(range(10))
                limit = work.session.packer.limit
                assert limit is not None
                assert all(len(payload.body) <= limit for payload in packed.payloads)
                for payload in packed.payloads:
                    await work.session.write(payload)
                work.rows = 10
                await work.commit()
            await self._expect([row for row in rows if len(row[1]) == 10])

        self.run(main())

    def test_dead_letters_are_committed_with_the_rows_around_them(self) -> None:
        bad = [
            DeadLetter(value=value, source="x.csv", row=n, line=n + 1, byte=10 * n, reason="too many fields")
            for n, value in enumerate([b"1,2,3", b"\xff\xfe", b"", b'"a\nb",c,d'], 1)
        ]
        rows = _rows(10)

        async def main() -> None:
            if await self.dead_letters() is None:
                return
            with suppress(Crash):
                async with self._work("run-1") as work:
                    await work.write(rows, 5)
                    await work.refuse(bad[:2])
                    await work.commit()
                    await work.refuse(bad[2:])
                    raise Crash
            async with self._work("run-2") as work:
                await work.refuse(bad[2:])
                await work.write(rows)
                await work.commit()
            found = await self.dead_letters()
            assert found is not None
            assert found[:2] == [row.value for row in bad[:2]]
            assert found[-2:] == [row.value for row in bad[2:]]
            assert len(found) == 4 or self.dead_letters_can_double
            await self._expect(rows)

        self.run(main())

    @cached_property
    def _store(self) -> MemoryStore:
        return MemoryStore()

    @asynccontextmanager
    async def _work(
        self, run_id: str, *, restart: bool = False, store: MemoryStore | None = None, check: Any = None
    ) -> AsyncIterator[SessionWork]:
        """A session, opened as the pipeline opens it."""
        store = store or self._store
        job = example_job(JOB, run_id=run_id, restart=restart)
        if check is not None:
            job = evolve(job, check=check)
        async with store.lease(JOB, run_id) as lease:
            assert lease is not None
            stored = await store.load(JOB)
            async with self.make().open(job, stored, lease) as session:
                await store.save(lease, session.resume_from, job.manifest)
                work = SessionWork(
                    session=session, store=store, lease=lease, job=job, rows=session.resume_from.position.rows
                )
                yield work

    async def _copied_store(self) -> MemoryStore:
        """Another store that knows as much as this run's own."""
        copy, stored = MemoryStore(), await self._store.load(JOB)
        async with copy.lease(JOB, "copy") as lease:
            assert lease is not None
            if stored is not None:
                await copy.save(lease, stored, example_job(JOB).manifest)
        return copy

    async def _shut_out(self, work: SessionWork, rows: Sequence[Row]) -> None:
        try:
            await work.write(rows)
            await work.commit()
        except Csv2KafkaError:
            return
        raise AssertionError("two writers of one job could commit")

    async def _expect(self, rows: Sequence[Row]) -> None:
        wanted = [(key if self.keeps_keys else None, value) for key, value in rows]
        found = await self.read()
        same = next((n for n, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]), len(wanted))
        assert found == wanted, f"{len(found)} rows for {len(wanted)}, the first {same} as they should be"


@frozen(kw_only=True)
class _Body:
    first: int
    last: int
    body: bytes


def _rows(count: int, *, text: bytes = b"row") -> list[Row]:
    return [(None, b'{"n":"%d","text":"%s"}' % (n, text * (n % 5))) for n in range(count)]


def _bodies(packed: Packed) -> list[_Body]:
    return [_Body(first=p.first, last=p.last, body=bytes(p.body)) for p in packed.payloads]


def _covered(packed: Packed) -> list[int]:
    """The rows that payloads hold or that were too large, each once, payloads in order."""
    held = [row for payload in packed.payloads for row in range(payload.first, payload.last)]
    large = [index for index, _ in packed.too_large]
    assert held == sorted(held)
    return sorted([row for row in held if row not in large] + large)
