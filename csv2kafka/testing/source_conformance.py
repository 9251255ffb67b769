"""What every Source must do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from csv2kafka.errors import SourceChanged
from csv2kafka.model import SourceObject
from csv2kafka.protocols import Source

LONGEST_BLOCK_BYTES = 4 << 20
LARGE = bytes(range(256)) * 4096 * 9 + b"the end"  # 9 MiB and a little: several blocks of any allowed size


class SourceConformance:
    """Fill in ``put`` and ``make``. For what can be read only once, ``replayable = False``; for what can give only
    one object, ``several = False``."""

    replayable = True
    several = True

    def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """Place objects (name, content) where ``make``'s source finds them, in this order. A name that is there
        gets the new content. Names are like ``part-1.csv``."""
        raise NotImplementedError

    def make(self) -> Source:
        """A source over what was put, as another process would make it."""
        raise NotImplementedError

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run one test's coroutine."""
        asyncio.run(main)

    def test_satisfies_the_protocol(self) -> None:
        self.put([("part-1.csv", b"a,b\n")])
        source = self.make()
        assert isinstance(source, Source)
        assert source.uri

    def test_gives_the_objects_in_order_with_their_sizes(self) -> None:
        contents = [b"a,b\n1,2\n", b"a,b\n3,4\n5,6\n", b""][: 3 if self.several else 1]
        self.put([(f"part-{number}.csv", content) for number, content in enumerate(contents, 1)])

        async def main() -> None:
            source = self.make()
            objects = await _all(source)
            assert len({obj.uri for obj in objects}) == len(contents)
            assert [obj.size for obj in objects] == [len(content) if self.replayable else None for content in contents]
            assert all(obj.replayable is self.replayable and obj.uri and obj.version for obj in objects)
            assert [await _content(source, obj) for obj in objects] == contents

        self.run(main())

    def test_blocks_are_bounded_and_together_the_object(self) -> None:
        self.put([("part-1.csv", LARGE)])

        async def main() -> None:
            source = self.make()
            (obj,) = await _all(source)
            blocks = [block async for block in source.read(obj, 0)]
            assert all(0 < len(block) <= LONGEST_BLOCK_BYTES for block in blocks)
            assert b"".join(blocks) == LARGE

        self.run(main())

    def test_reads_from_any_offset(self) -> None:
        if not self.replayable:
            return
        self.put([("part-1.csv", LARGE)])

        async def main() -> None:
            source = self.make()
            (obj,) = await _all(source)
            size = len(LARGE)
            for offset in (0, 1, 4095, 1 << 20, size // 2, size - 7, size - 1, size):
                assert await _content(source, obj, offset) == LARGE[offset:]

        self.run(main())

    def test_two_reads_at_once_do_not_disturb_each_other(self) -> None:
        if not self.replayable:
            return
        self.put([("part-1.csv", LARGE)])

        async def main() -> None:
            source = self.make()
            (obj,) = await _all(source)
            whole, rest = await asyncio.gather(_content(source, obj), _content(source, obj, 4096))
            assert whole == LARGE
            assert rest == LARGE[4096:]

        self.run(main())

    def test_a_read_can_be_left_at_any_block(self) -> None:
        self.put([("part-1.csv", LARGE)])

        async def main() -> None:
            source = self.make()
            (obj,) = await _all(source)
            reading = source.read(obj, 0)
            first = await anext(reading)
            assert LARGE.startswith(first)
            await reading.aclose()  # type: ignore[attr-defined]  # an AsyncIterator of ours is a generator
            if self.replayable:
                assert await _content(source, obj) == LARGE

        self.run(main())

    def test_the_version_is_the_same_for_every_run(self) -> None:
        self.put([("part-1.csv", b"a,b\n1,2\n")])

        async def main() -> None:
            first, second = await _all(self.make()), await _all(self.make())
            assert (first == second) is self.replayable
            assert self.make().uri == self.make().uri

        self.run(main())

    def test_another_run_can_read_and_confirm_the_version(self) -> None:
        if not self.replayable:
            return
        self.put([("part-1.csv", LARGE)])

        async def main() -> None:
            (obj,) = await _all(self.make())
            other = self.make()  # has not pinned anything itself
            await other.confirm(obj)
            assert await _content(other, obj, 5) == LARGE[5:]

        self.run(main())

    def test_a_change_is_seen_by_confirm_and_by_read(self) -> None:
        if not self.replayable:
            return
        self.put([("part-1.csv", b"a,b\n1,2\n")])

        async def main() -> None:
            source = self.make()
            (obj,) = await _all(source)
            await source.confirm(obj)
            await asyncio.to_thread(self.put, [("part-1.csv", b"a,b\n1,3\n")])  # of the same size
            for asked in (source, self.make()):
                await _refused(asked.confirm(obj), obj)
                await _refused(_content(asked, obj), obj)
                await _refused(_content(asked, obj, 4), obj)

        self.run(main())

    def test_a_change_while_reading_is_seen_before_the_end(self) -> None:
        if not self.replayable:
            return
        self.put([("part-1.csv", LARGE)])

        async def main() -> None:
            source = self.make()
            (obj,) = await _all(source)
            reading = source.read(obj, 0)
            first = await anext(reading)
            assert LARGE.startswith(first)
            await asyncio.to_thread(self.put, [("part-1.csv", LARGE[:-1] + b"!")])

            async def rest() -> bytes:
                return b"".join([block async for block in reading])

            await _refused(rest(), obj)

        self.run(main())


async def _all(source: Source) -> list[SourceObject]:
    return [obj async for obj in source.objects()]


async def _content(source: Source, obj: SourceObject, offset: int = 0) -> bytes:
    return b"".join([block async for block in source.read(obj, offset)])


async def _refused(asked: Coroutine[Any, Any, object], obj: SourceObject) -> None:
    message = ""
    try:
        await asked
    except SourceChanged as error:
        message = error.message
    assert message, "a changed object was taken for the version that was pinned"
    assert obj.version in message, "the message names the version that was expected"
