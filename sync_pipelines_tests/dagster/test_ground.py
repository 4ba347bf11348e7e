"""Whose a collection is, and whether ledger and collection speak of the same run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from sync_pipelines.engine.ground import RESTORED, UNNOTED
from sync_pipelines.sources.postgres.continuity import UNKNOWN_RUN
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.world import World

pytestmark = pytest.mark.slow

_SOURCE = ('public."Article"', "sync.change_log", "sync.capture_marks")
_SAVED = (*_SOURCE, "sync.sync_watermarks", "sync.sync_metadata", "sync.sync_logs")


@contextmanager
def restored_afterwards(world: World, tables: Sequence[str] = _SAVED) -> Iterator[None]:
    """Rows, change log and ledger as a backup of the data folder puts them back; counters of the server go on."""
    for number, table in enumerate(tables):
        world.execute(f"CREATE TABLE backup_{number} AS TABLE {table}")
    yield
    world.execute(
        "SET session_replication_role = replica;"  # no trigger sees it
        + "".join(
            f"DELETE FROM {table}; INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE backup_{number};"
            for number, table in enumerate(tables)
        )
        + "UPDATE sync.captured_tables SET purged_tx = NULL, truncated_tx = NULL"
    )


def restore(world: World) -> None:
    """Go back to two synced articles, after the collection has seen an update, an insert and a delete more."""
    world.put("a", body="before")
    world.put("b")
    world.sync()
    with restored_afterwards(world):
        world.put("a", body="after the backup")
        world.put("late")
        world.execute("""DELETE FROM "Article" WHERE id = 'b'""")
        world.sync()
    assert set(world.stored()) == {"a", "late"}


@pytest.mark.spare_where(mode="full")
@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_a_database_that_was_restored_with_its_ledger_is_recognised(world: World, mode: str):
    restore(world)
    world.sync(mode=mode)
    assert mode == "full" or world.last_run().reason == RESTORED
    assert set(world.stored()) == {"a", "b"}
    assert "before" in world.stored()["a"]
    assert world.prove().equal
    assert world.sync().read == 0
    assert world.last_run().reason == ""


def test_a_source_that_was_restored_alone_is_compared_whole_although_it_was_written_to_since(world: World):
    world.put("a", body="before")
    world.put("b")
    world.sync()
    with restored_afterwards(world, _SOURCE):
        world.put("a", body="after the backup")
        world.execute("""DELETE FROM "Article" WHERE id = 'b'""")
        world.sync()
    world.put("c")
    asked = world.sensor_tick()
    assert len(asked.run_requests) == 1
    world.sync()
    assert world.last_run().reason == UNKNOWN_RUN
    assert set(world.stored()) == {"a", "b", "c"}
    assert "before" in world.stored()["a"]
    assert world.prove().equal
    world.put("c", body="another")
    assert (world.sync().read, world.last_run().reason) == (1, "")


def test_the_sensor_asks_until_a_run_has_brought_forward_a_ledger_that_went_back(world: World):
    world.put("a")
    world.sync()
    with restored_afterwards(world):
        world.put("b")
        world.sync()
        before = world.sensor_tick()
        assert not before.run_requests
    asked = world.sensor_tick(before.cursor)
    assert len(asked.run_requests) == 1
    # the run that was asked for may fail, so it is asked for again until one has ended well
    again = world.sensor_tick(asked.cursor)
    assert len(again.run_requests) == 1
    world.sync()
    assert not world.sensor_tick(again.cursor).run_requests


def test_a_run_that_found_nothing_leaves_the_stamp(world: World):
    world.put("a")
    world.sync()
    target = world.component.build_target(world.resources.chroma)
    stamp = target.stamp()
    assert stamp is not None
    assert world.watermark().stamp == stamp
    world.sync()
    assert (target.stamp(), world.watermark().stamp) == (stamp, stamp)
    world.put("b")
    world.sync()
    assert target.stamp() == world.watermark().stamp != stamp


def interrupted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that writes and is interrupted before its watermark is confirmed."""
    from sync_pipelines.engine.ledger.ledger import Ledger

    finish = Ledger.finish

    def killed(self, run, *, status, **more):
        if status == "completed":
            raise KeyboardInterrupt
        return finish(self, run, status=status, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "finish", killed)
        world.materialize(raises=False)


def test_a_crash_before_the_watermark_costs_no_comparison_of_everything(world: World, monkeypatch):
    world.put("a")
    world.sync()
    world.put("b")
    interrupted(world, monkeypatch)
    counts = world.sync()
    assert world.last_run().reason == ""
    assert (counts.read, counts.unchanged, counts.embedded_texts) == (1, 1, 0)


def test_a_restore_after_a_run_that_confirmed_nothing_is_recognised(world: World, monkeypatch):
    world.put("a", body="before")
    world.sync()
    with restored_afterwards(world):
        world.put("a", body="after the backup")
        interrupted(world, monkeypatch)
        assert "after" in world.stored()["a"]
    world.sync()
    assert world.last_run().reason == RESTORED
    assert "before" in world.stored()["a"]


def test_a_restore_after_a_run_of_single_records_is_recognised(world: World):
    world.put("a", body="before")
    world.sync()
    with restored_afterwards(world):
        world.put("a", body="after the backup")
        world.records("a")
        assert "after" in world.stored()["a"]
    world.sync()
    assert world.last_run().reason == RESTORED
    assert "before" in world.stored()["a"]


def restored_alone(world: World, monkeypatch, kind: str) -> None:
    """Put the source's files back from before a run that confirmed nothing; its ledger stands elsewhere."""
    world.put("a", body="before")
    world.put("b")
    world.sync()
    world.put("b", body="another")
    with restored_afterwards(world, _SOURCE):
        world.put("a", body="after the copy")
        if kind == "interrupted":
            interrupted(world, monkeypatch)
        else:
            world.records("a")
        assert "after" in world.stored()["a"]


@pytest.mark.parametrize("kind", ["interrupted", "records"])
def test_a_source_put_back_from_before_a_run_that_confirmed_nothing_is_recognised(world: World, monkeypatch, kind: str):
    restored_alone(world, monkeypatch, kind)
    for _ in range(100):
        world.execute("SELECT pg_current_xact_id()")
    world.sync()
    assert world.last_run().reason == UNNOTED
    assert "before" in world.stored()["a"]
    assert world.prove().equal
    world.put("b", body="once more")
    assert world.sync().read == 1
    assert world.last_run().reason == ""


def test_the_evidence_of_a_source_that_was_put_back_stays_until_a_recovery_is_confirmed(world: World, monkeypatch):
    restored_alone(world, monkeypatch, "records")
    world.records("b")
    assert "another" in world.stored()["b"]
    world.sync()
    assert world.last_run().reason == UNNOTED
    assert world.prove().equal


def test_a_run_that_dies_before_it_marks_the_target_costs_no_comparison(world: World, monkeypatch):
    world.put("a")
    world.sync()
    world.put("a", body="of single records")
    world.records("a")
    with monkeypatch.context() as patched:
        patched.setattr(type(world.component.build_target(world.resources.chroma)), "set_stamp", _dies)
        world.put("a", body="another")
        world.materialize(raises=False)
    assert "another" not in world.stored()["a"]
    assert world.sync().read == 1
    assert world.last_run().reason == ""


def _dies(*_: Any) -> None:
    raise KeyboardInterrupt


def held_back(world: World) -> None:
    """What the collection held in the middle of a run, put back after it was confirmed."""
    for key in "bcdef":
        world.put(key)
    seen: dict[str, Any] = {}

    def keep(*_: Any) -> None:
        seen.setdefault("metadata", dict(world.collection.metadata))

    with pytest.MonkeyPatch.context() as patched:
        from sync_pipelines.targets.chroma.store import ChromaStore

        write = ChromaStore.write

        def written(self: ChromaStore, writes: Any) -> Any:
            done = write(self, writes)
            keep()
            return done

        patched.setattr(ChromaStore, "write", written)
        world.sync(batch_size=2)
    world.collection.delete(ids=["d", "e", "f"])
    world.collection.modify(metadata=seen["metadata"])


def test_a_target_restored_from_the_middle_of_a_confirmed_run_is_recognised(world: World):
    world.put("a")
    world.sync()
    held_back(world)
    world.sync()
    assert world.last_run().reason == RESTORED
    assert world.prove().equal


def test_a_recovery_that_dies_leaves_the_evidence_for_the_next_run(world: World, monkeypatch):
    restore(world)
    from sync_pipelines.engine.run import Run

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_delete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        world.materialize(raises=False)
    assert "late" in world.stored()
    world.sync()
    assert world.last_run().reason == RESTORED
    assert world.prove().equal


def test_single_records_before_the_recovery_leave_the_evidence_for_it(world: World):
    restore(world)
    world.records("a")
    world.sync()
    assert world.last_run().reason == RESTORED
    assert world.prove().equal


def test_a_guard_that_stops_a_recovery_stops_it_again(world: World):
    for number in range(3):
        world.put(f"old{number}")
    world.sync()
    with restored_afterwards(world):
        for number in range(120):
            world.put(f"new{number}")
        world.sync()
    for _ in range(2):
        assert not world.materialize(raises=False).success
        assert world.last_run().reason == RESTORED
    assert world.sync(allow_mass_delete=True).deleted == 120


def test_an_emptied_target_whose_recovery_dies_is_filled_by_the_next_run(world: World, monkeypatch):
    for key in "abcdef":
        world.put(key)
    world.sync()
    world.collection.delete(ids=list("abcdef"))
    from sync_pipelines.engine.run import Run

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_note", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        world.materialize(raises=False, batch_size=2)
    assert 0 < len(world.stored()) < 6
    world.sync()
    assert len(world.stored()) == 6


def test_a_run_of_single_records_costs_the_next_sync_no_comparison(world: World):
    world.put("a")
    world.put("b")
    world.sync()
    world.put("a", body="another")
    world.records("a")
    counts = world.sync()
    assert (counts.read, counts.unchanged) == (1, 1)
    assert world.last_run().reason == ""


def test_a_target_that_went_back_behind_a_known_run_is_recognised(world: World):
    world.put("a")
    world.sync()
    target = world.component.build_target(world.resources.chroma)
    old = target.stamp()
    world.put("b")
    world.sync()
    target.set_stamp(old)
    world.sync()
    assert world.last_run().reason == RESTORED


def test_single_records_that_are_right_already_are_left_without_a_write(world: World):
    world.put("a")
    world.sync()
    target = world.component.build_target(world.resources.chroma)
    before = target.stamp()
    world.records("a")
    assert target.stamp() == before


def test_a_watermark_of_an_older_version_has_no_stamp_and_is_continued(world: World):
    world.put("a")
    world.sync()
    world.execute("UPDATE sync.sync_watermarks SET watermark = watermark - 'stamp' - 'records'")
    metadata = {name: value for name, value in world.collection.metadata.items() if name != "sync_stamp"}
    world.collection.modify(metadata=metadata)
    world.put("b")
    assert world.sync().read == 1
    assert world.watermark().records == 2


def renamed(world: World) -> World:
    """The same world with a document of another name that names the same collection."""
    component = article(sync="store", name="copy")
    other = replace(world, component=component)
    other.install()
    return other


def test_a_collection_of_another_table_is_not_written_to_and_both_are_named(world: World):
    world.put("a")
    world.sync()
    other = renamed(world)
    for mode in ("incremental", "full"):
        said = other.failure(other.materialize(mode=mode, raises=False))
        assert said.startswith("store/copy: ")
        assert "belongs to shop/article" in said
        assert "mode: rebuild" in said
    assert world.sync(mode="full").unchanged == 1


def test_a_renamed_sync_takes_its_collection_over_by_a_rebuild(world: World):
    world.put("a")
    world.sync()
    other = renamed(world)
    assert other.sync(mode="rebuild").upserted == 1
    assert other.sync().read == 0
    assert other.prove().equal
    assert "belongs to store/copy" in world.failure(world.materialize(raises=False))


def test_a_collection_of_an_older_version_is_owned_by_the_first_that_writes(world: World):
    world.put("a")
    world.sync()
    metadata = {name: value for name, value in world.collection.metadata.items() if name != "sync_owner"}
    world.collection.modify(metadata=metadata)
    world.sync()
    assert world.collection.metadata["sync_owner"] == "shop/article"
