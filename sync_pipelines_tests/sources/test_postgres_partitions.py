"""Partitioned and inherited tables: leaves are written directly, come and go."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.errors import CaptureMissingError, RunError
from sync_pipelines.engine.model import Scope
from sync_pipelines.sources.postgres.capture import install, remove
from sync_pipelines_tests.sources.helpers import Connection, Reader, reader, spec_of

PARTED = spec_of(name="parted", table="parted", columns=("note",))
FAMILY = spec_of(name="family", table="family", columns=("note",))


@pytest.fixture
def parted(url: str, db: Connection) -> Reader:
    """A reader of a table with two leaves, one of them partitioned again, after its first run."""
    db.run(
        "CREATE TABLE parted (id int PRIMARY KEY, note text) PARTITION BY RANGE (id)",
        "CREATE TABLE leaf_1 PARTITION OF parted FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE branch_2 PARTITION OF parted FOR VALUES FROM (100) TO (300) PARTITION BY RANGE (id)",
        "CREATE TABLE leaf_2 PARTITION OF branch_2 FOR VALUES FROM (100) TO (200)",
        "INSERT INTO parted VALUES (1, 'a'), (2, 'b'), (101, 'c')",
    )
    target = reader(url, PARTED)
    target.sync()
    return target


def _triggers(db: Connection) -> int:
    return db.one("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'sync_capture%'")


def test_writes_to_parent_branch_and_leaf_all_arrive_once(parted: Reader, db: Connection) -> None:
    db.run(
        "UPDATE parted SET note = 'parent' WHERE id = 1",
        "UPDATE branch_2 SET note = 'branch' WHERE id = 101",
        "INSERT INTO leaf_1 VALUES (3, 'leaf')",
        "DELETE FROM leaf_1 WHERE id = 2",
    )
    found = parted.sync()
    assert (found.upserts, found.deletes, found.full) == (["1", "101", "3"], ["2"], False)
    assert parted.sync().upserts == []


def test_a_row_that_moves_to_another_leaf_arrives_under_its_new_key(parted: Reader, db: Connection) -> None:
    db.run("UPDATE parted SET id = 150 WHERE id = 1")
    found = parted.sync()
    assert (found.upserts, found.deletes) == (["150"], ["1"])


def test_a_truncate_of_one_leaf_makes_the_next_run_full(parted: Reader, db: Connection) -> None:
    db.run("TRUNCATE leaf_1")
    found = parted.sync()
    assert (found.full, found.upserts) == (True, ["101"])


def test_a_new_leaf_makes_runs_full_until_capture_is_installed_on_it(parted: Reader, url: str, db: Connection) -> None:
    db.run(
        "CREATE TABLE leaf_3 (id int PRIMARY KEY, note text)",
        "INSERT INTO leaf_3 VALUES (301, 'came with it')",
        "ALTER TABLE parted ATTACH PARTITION leaf_3 FOR VALUES FROM (300) TO (400)",
    )
    pending = parted.source.pending(parted.watermark)
    assert (pending.full_reason, pending.lasting) == ('"public"."leaf_3" lacks capture triggers', True)
    due = parted.source.full_read(parted.watermark)
    assert due is not None
    assert due.explains == frozenset()
    found = parted.sync()
    assert (found.full, "301" in found.upserts) == (True, True)
    db.run("INSERT INTO leaf_3 VALUES (302, 'unlogged')")
    found = parted.sync()
    assert (found.full, found.reason) == (True, '"public"."leaf_3" lacks capture triggers')
    (warning,) = parted.source.capture_warnings()
    assert "sync-pipelines capture install shop/parted" in warning
    db.run("INSERT INTO leaf_3 VALUES (303, 'unlogged too')")
    assert install(url, PARTED)
    assert parted.source.pending(parted.watermark).lasting is False
    assert parted.sync().reason == "capture was installed after the last run"
    assert "303" in parted.rows
    db.run("INSERT INTO leaf_3 VALUES (304, 'logged')")
    found = parted.sync()
    assert (found.full, found.upserts) == (False, ["304"])
    assert parted.source.capture_warnings() == []


@pytest.mark.parametrize("how", ["ALTER TABLE parted DETACH PARTITION leaf_1", "DROP TABLE leaf_1"])
def test_a_leaf_that_went_makes_one_run_full(parted: Reader, db: Connection, how: str) -> None:
    db.run(how)
    found = parted.sync()
    assert (found.full, found.upserts) == (True, ["101"])
    assert not parted.sync().full


def test_a_leaf_detached_and_attached_again_between_runs_is_read_whole(parted: Reader, db: Connection) -> None:
    db.run("ALTER TABLE parted DETACH PARTITION leaf_1")
    assert set(parted.sync().upserts) == {"101"}
    db.run("ALTER TABLE parted ATTACH PARTITION leaf_1 FOR VALUES FROM (0) TO (100)")
    found = parted.sync()
    assert (found.full, set(found.upserts)) == (True, {"1", "2", "101"})


def test_installing_again_takes_the_triggers_off_a_detached_leaf(parted: Reader, url: str, db: Connection) -> None:
    db.run("ALTER TABLE parted DETACH PARTITION leaf_1")
    assert _triggers(db) == 16
    install(url, PARTED)
    assert _triggers(db) == 12
    assert install(url, PARTED) == []


def test_removing_takes_the_triggers_off_every_leaf(parted: Reader, url: str, db: Connection) -> None:
    remove(url, PARTED)
    assert _triggers(db) == 0
    assert db.one("SELECT count(*) FROM sync.change_log") == 0
    with pytest.raises(CaptureMissingError, match="capture install shop/parted"):
        parted.sync()


def test_a_foreign_leaf_cannot_be_captured_and_the_error_says_so(url: str, db: Connection) -> None:
    db.run(
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
        "CREATE TABLE parted (id int, note text) PARTITION BY RANGE (id)",
        "CREATE TABLE family (id int PRIMARY KEY, note text)",
        "CREATE FOREIGN TABLE far_leaf (id int NOT NULL, note text) INHERITS (family) SERVER far",
    )
    with pytest.raises(RunError, match=r"far_leaf.* is a foreign table .*capture to cursor"):
        install(url, FAMILY)


def test_writes_to_inheritance_children_arrive(url: str, db: Connection) -> None:
    db.run(
        "CREATE TABLE family (id int PRIMARY KEY, note text)",
        "CREATE TABLE child (PRIMARY KEY (id), extra text) INHERITS (family)",
        "INSERT INTO family VALUES (1, 'parent')",
        "INSERT INTO child VALUES (2, 'child', 'x')",
    )
    target = reader(url, FAMILY)
    assert sorted(target.sync().upserts) == ["1", "2"]
    db.run("UPDATE child SET note = 'direct'", "UPDATE family SET note = note || ' all'")
    assert target.sync().upserts == ["1", "2"]
    assert target.rows["2"]["note"] == "direct all"
    db.run("TRUNCATE child")
    assert set(target.sync().upserts) == {"1"}
    db.run("CREATE TABLE other (PRIMARY KEY (id)) INHERITS (family)", "INSERT INTO other VALUES (3, 'new child')")
    assert set(target.sync().upserts) == {"1", "3"}
    db.run("ALTER TABLE other NO INHERIT family")
    assert set(target.sync().upserts) == {"1"}


def test_a_window_over_a_table_without_change_times_reads_all_of_it(parted: Reader) -> None:
    found = parted.sync(Scope(window=(None, None)))
    assert (found.full, set(found.upserts)) == (False, {"1", "2", "101"})
