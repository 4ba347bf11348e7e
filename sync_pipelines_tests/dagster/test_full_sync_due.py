"""Differences where the next run reads everything: which of them wait for it, and which are none of its doing."""

from __future__ import annotations

import pytest

from sync_pipelines.sources.postgres.continuity import TRUNCATED
from sync_pipelines_tests.dagster.project import article
from sync_pipelines_tests.dagster.test_checks import check, synced
from sync_pipelines_tests.dagster.test_lasting_reason import LEAF
from sync_pipelines_tests.dagster.test_repair import plan
from sync_pipelines_tests.dagster.world import World

MAPPED = "the columns or their mapping changed"


def differing(world: World) -> tuple[int, int, int, int]:
    """Missing, stale, extra and pending."""
    found = world.prove()
    return found.missing, found.stale, found.extra, found.pending


@pytest.mark.slow
def test_a_changed_mapping_makes_no_record_stale_and_says_that_a_full_sync_is_due(world: World):
    synced(world, "a", "b", "c")
    world.component = article(metadata=[])
    found = check(world)["content"]
    assert found.passed
    assert found.metadata["pending"].value == 3
    assert found.metadata["full_sync_due"].value == MAPPED
    assert found.description.endswith(f"3 pending. A full sync is due, which pending ones wait for: {MAPPED}.")
    assert check(world, "check_deep")["deep"].passed
    assert plan(world).stale == 0
    world.sync()
    found = check(world)["content"]
    assert (found.passed, "full_sync_due" in found.metadata) == (True, False)


@pytest.mark.slow
def test_a_changed_mapping_explains_no_missing_and_no_extra_record(world: World):
    synced(world, "a", "b", "c")
    world.component = article(metadata=[])
    world.put("new")
    world.collection.delete(ids=["a"])
    world.collection.add(ids=["stranger"], documents=["x"], embeddings=[[0.1] * 16])
    assert differing(world) == (1, 0, 1, 3)
    said = check(world)["content"].description
    assert "1 missing, 0 stale, 1 extra" in said
    assert MAPPED in said


@pytest.mark.slow
def test_a_truncate_that_is_not_synced_makes_no_record_extra_and_no_repair_deletes_them(world: World):
    synced(world, "a", "b", "c")
    world.execute('TRUNCATE "Article"')
    world.put("d")
    found = check(world)
    assert all(found[name].passed for name in ("count", "content"))
    assert found["content"].metadata["full_sync_due"].value == TRUNCATED
    assert (plan(world).missing, plan(world).extra) == (0, 0)
    world.sync(allow_mass_delete=True)
    assert differing(world) == (0, 0, 0, 0)


@pytest.mark.slow
def test_a_full_sync_that_the_guard_has_stopped_hides_nothing_that_it_would_have_mended(world: World):
    synced(world, "a", "b", "c")
    world.execute('TRUNCATE "Article"')
    assert differing(world) == (0, 0, 0, 3)
    assert not world.materialize(raises=False).success
    assert differing(world) == (0, 0, 3, 0)
    found = check(world)["content"]
    assert (found.passed, "full_sync_due" in found.metadata) == (False, False)
    world.sync(allow_mass_delete=True)
    assert differing(world) == (0, 0, 0, 0)


@pytest.mark.slow
def test_a_truncate_before_the_mapping_changed_is_seen_too(world: World):
    synced(world, "a", "b", "c")
    world.execute("""TRUNCATE "Article" """)
    world.put("a")
    world.component = article(metadata=[])
    assert differing(world) == (0, 0, 0, 3)


@pytest.mark.slow
def test_a_truncate_explains_no_stale_record(world: World):
    synced(world, "a", "b", "c")
    world.execute("""TRUNCATE "Article" """)
    world.put("a")
    world.put("b")
    world.execute("DELETE FROM sync.change_log WHERE key = 'a'")  # as if a trigger had not told of it
    world.execute("UPDATE sync.captured_tables SET purged_tx = NULL")
    assert differing(world) == (0, 1, 0, 2)


@pytest.mark.slow
def test_changes_that_a_purged_log_may_have_named_wait_for_the_full_sync(world: World):
    synced(world, "a", "b", "c")
    world.put("new")
    world.execute("DELETE FROM sync.change_log")
    assert differing(world) == (0, 0, 0, 1)
    assert "log purged" in check(world)["content"].description


@pytest.mark.slow
@pytest.mark.parametrize("how", ["dropped", "emptied", "restored"])
def test_a_target_that_is_not_as_the_last_run_left_it_differs_whatever_is_due(world: World, how: str):
    synced(world, "a", "b", "c")
    world.component = article(metadata=[])
    world.execute("DELETE FROM sync.change_log")
    if how == "dropped":
        world.client.delete_collection("article")
    elif how == "emptied":
        world.collection.delete(ids=["a", "b", "c"])
    else:
        world.execute("""UPDATE sync.sync_watermarks SET watermark = jsonb_set(watermark, '{stamp}', '"another"')""")
    missing, stale, _, pending = differing(world)
    assert (missing + stale, pending) == (3, 0)
    assert not check(world)["content"].passed


@pytest.mark.slow
def test_what_was_never_synced_is_missing(world: World):
    world.put("a")
    assert differing(world) == (1, 0, 0, 0)
    synced(world, "b")
    world.execute("DELETE FROM sync.sync_watermarks")
    world.collection.delete(ids=["a"])
    assert differing(world) == (1, 0, 0, 0)


@pytest.mark.slow
def test_a_reason_that_no_run_ends_hides_nothing_but_what_the_log_names(world: World):
    world.execute("""CREATE TABLE parted (id int PRIMARY KEY, title jsonb, body text, stock integer,
        "updatedAt" timestamp(3) NOT NULL DEFAULT now()) PARTITION BY RANGE (id)""")
    world.execute(LEAF.format(0, 1))
    source = {"connection": "shop", "table": "parted", "key": ["id"], "changed_at": "updatedAt"}
    world.component = article(source=source)
    world.install()
    world.execute("INSERT INTO parted (id, body) SELECT g, 'text' FROM generate_series(1, 3) AS g")
    world.sync()
    world.execute(LEAF.format(1, 2))
    world.sync()
    world.execute("INSERT INTO leaf_1 (id, body) VALUES (101, 'not logged')")
    world.execute("UPDATE parted SET body = 'logged' WHERE id = 1")
    world.collection.delete(ids=["2"])
    assert differing(world) == (2, 0, 0, 1)
