"""What becomes of the source's objects once every row is visible."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from csv2kafka.errors import BadRow, ConfigError, Doubt, SourceChanged
from csv2kafka.model import SourceObject, Waiting
from csv2kafka.testing import FakeSource, MemorySink
from tests.pipelines import Place, csv_text, source_of, values

TEXTS = {"part-1.csv": csv_text(10), "part-2.csv": csv_text(10, first=10), "part-3.csv": csv_text(10, first=20)}


class _Deleting(FakeSource):
    """Its objects can be deleted. ``seen``: what was asked for. The first time it
    dies before ``dies_before``."""

    def __init__(self, texts: dict[str, bytes], *, sink: MemorySink, dies_before: str = "") -> None:
        super().__init__(texts)
        self.left = dict(texts)
        self.seen: list[tuple[list[str], str, int]] = []
        self._sink = sink
        self._dies_before = dies_before

    async def finish(self, objects: Sequence[SourceObject], after: str) -> None:
        self.seen.append(([obj.uri for obj in objects], after, len(self._sink.completions)))
        for obj in objects:
            if obj.uri == self._dies_before:
                self._dies_before = ""
                raise SourceChanged("the machine went away")
            self.left.pop(obj.uri, None)


def place_with(**options: str) -> tuple[Place, _Deleting]:
    sink = MemorySink()
    source = _Deleting(dict(TEXTS), sink=sink, **options)
    return Place(source, sink=sink), source


async def test_it_is_done_when_every_row_is_visible() -> None:
    place, source = place_with()
    await place.run(after="delete")
    assert source.seen == [(list(TEXTS), "delete", 1)]  # behind the completion event


async def test_it_is_not_done_where_it_is_not_asked_for_or_the_job_is_not_done() -> None:
    place, source = place_with()
    await place.run()
    assert source.seen == []
    broken = _Deleting({"part-1.csv": b"a,b\n1\n"}, sink=place.sink)
    with pytest.raises(BadRow):
        await Place(broken).run(after="delete")
    assert broken.seen == []


async def test_what_was_cut_short_is_done_by_the_next_run_of_the_complete_job() -> None:
    place, source = place_with(dies_before="part-2.csv")
    with pytest.raises(SourceChanged):
        await place.run(after="delete")
    assert list(source.left) == ["part-2.csv", "part-3.csv"]

    rest = _Deleting(dict(source.left), sink=place.sink)
    report = await place.run(source=rest, after="delete")
    assert report.already_complete
    assert rest.left == {}
    manifest = await place.store.load_manifest("job")
    assert manifest is not None
    assert [uri for uri, _, _ in manifest.objects] == list(TEXTS)

    report = await place.run(source=_Gone(), after="delete")
    assert report.already_complete
    assert place.values == values(30)


async def test_a_job_that_is_not_complete_needs_all_its_objects() -> None:
    place, _ = place_with()
    place.sink.faults.plan("commit", SourceChanged("stopped on the way"), nth=2)
    with pytest.raises(SourceChanged, match="on the way"):
        await place.run(checkpoint_rows=7)
    with pytest.raises(SourceChanged, match=r"part-1\.csv: is gone"):
        await place.run(source=_Deleting({"part-2.csv": TEXTS["part-2.csv"]}, sink=place.sink), after="delete")


async def test_a_complete_job_does_not_take_another_version_for_one_that_is_gone() -> None:
    place, _ = place_with()
    await place.run(after="delete")
    changed = _Deleting({"part-2.csv": csv_text(3)}, sink=place.sink)
    with pytest.raises(SourceChanged, match=r"part-2\.csv"):
        await place.run(source=changed, after="delete")
    assert list(changed.left) == ["part-2.csv"]


async def test_it_is_tried_again_while_there_is_only_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    place, source = place_with()
    finish, doubts = source.finish, [Doubt("no answer")]

    async def sometimes(objects: Sequence[SourceObject], after: str) -> None:
        if doubts:
            raise doubts.pop()
        await finish(objects, after)

    monkeypatch.setattr(source, "finish", sometimes)
    await place.run(after="tag")
    assert len(place.told(Waiting)) == 1
    assert [after for _, after, _ in source.seen] == ["tag"]


def test_a_source_that_cannot_is_refused() -> None:
    with pytest.raises(ConfigError, match="after: expected a source whose objects can be tagged, moved or deleted"):
        Place(source_of(csv_text(1))).pipeline(after="delete")


class _Gone(_Deleting):
    def __init__(self) -> None:
        super().__init__({}, sink=MemorySink())

    async def objects(self):  # type: ignore[no-untyped-def]
        raise ConfigError("no such object")
        yield
