"""Every way in which rows change arrives by trigger capture."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import pytest

from sync_pipelines.engine.model import Scope
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.sources.postgres.continuity import TRUNCATED
from sync_pipelines_tests.sources.helpers import Connection, make_item, reader, spec_of


@pytest.fixture(autouse=True)
def _item(db: Connection) -> None:
    make_item(db)


def test_the_first_run_reads_everything_and_says_so(url: str) -> None:
    found = reader(url).sync()
    assert (sorted(found.upserts), found.full, found.reason) == (["1", "2", "3"], True, "first run")


def test_a_run_brings_just_what_was_inserted_updated_and_deleted(url: str, db: Connection) -> None:
    target = reader(url)
    target.sync()
    db.run(
        "INSERT INTO item VALUES (4, 'four')",
        "UPDATE item SET amount = 7 WHERE id = 2",
        "DELETE FROM item WHERE id = 3",
    )
    found = target.sync()
    assert (found.upserts, found.deletes, found.full) == (["2", "4"], ["3"], False)
    assert target.rows["2"]["amount"] == 7
    assert set(target.rows) == {"1", "2", "4"}


def test_a_quiet_table_brings_nothing(url: str) -> None:
    target = reader(url)
    target.sync()
    assert not target.source.pending(target.watermark)
    found = target.sync()
    assert (found.upserts, found.deletes, found.full) == ([], [], False)


def test_a_row_committed_after_the_read_began_arrives_with_the_next_run(
    url: str, connect: Callable[..., Connection]
) -> None:
    late = connect(autocommit=False)
    target = reader(url)
    late.run("UPDATE item SET name = 'late' WHERE id = 1")
    target.sync()
    connect().run("UPDATE item SET name = 'early' WHERE id = 2")
    assert target.sync().upserts == ["2"]
    late.commit()
    assert target.sync().upserts == ["1"]
    assert target.sync().upserts == []


def test_a_change_of_key_deletes_the_old_and_brings_the_new(url: str, db: Connection) -> None:
    target = reader(url)
    target.sync()
    db.run("UPDATE item SET id = 30 WHERE id = 3")
    found = target.sync()
    assert (found.upserts, found.deletes) == (["30"], ["3"])


def test_a_key_deleted_and_inserted_again_is_an_upsert(url: str, db: Connection) -> None:
    target = reader(url)
    target.sync()
    db.run("DELETE FROM item WHERE id = 1", "INSERT INTO item VALUES (1, 'again')")
    found = target.sync()
    assert (found.upserts, found.deletes) == (["1"], [])


def test_insert_on_conflict_logs_the_new_and_the_updated(url: str, db: Connection) -> None:
    target = reader(url)
    target.sync()
    db.run(
        "INSERT INTO item (id, name) VALUES (2, 'x'), (9, 'x') "
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name || ' conflict'"
    )
    assert target.sync().upserts == ["2", "9"]
    assert target.rows["2"]["name"] == "x conflict"


def test_merge_and_copy_arrive(url: str, db: Connection) -> None:
    target = reader(url)
    target.sync()
    db.run(
        "MERGE INTO item USING (VALUES (1), (50)) AS v(id) ON item.id = v.id "
        "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, 'merged')"
    )
    with db.raw.cursor() as cursor:
        cursor.copy_expert("COPY item (id, name) FROM STDIN", StringIO("60\tcopied\n61\tcopied\n"))
    found = target.sync()
    assert (found.upserts, found.deletes) == (["50", "60", "61"], ["1"])


def test_a_truncate_makes_the_next_run_full(url: str, db: Connection) -> None:
    target = reader(url)
    target.sync()
    db.run("TRUNCATE item", "INSERT INTO item VALUES (7, 'seven')")
    assert target.source.pending(target.watermark).full_reason == TRUNCATED
    found = target.sync()
    assert (found.full, found.reason, found.upserts) == (True, TRUNCATED, ["7"])
    assert not target.sync().full


def test_an_emptied_source_is_reported_as_empty(url: str, db: Connection) -> None:
    target = reader(url)
    target.sync()
    db.run("DELETE FROM item")
    with target.source.changes(Scope(), since=target.watermark) as changes:
        assert changes.source_empty
    db.run("INSERT INTO item VALUES (1)")
    with target.source.changes(Scope(), since=target.watermark) as changes:
        assert not changes.source_empty


def test_a_cascade_from_another_table_is_captured(url: str, db: Connection) -> None:
    db.run(
        "CREATE TABLE part (id int PRIMARY KEY, item int REFERENCES item ON DELETE CASCADE)",
        "INSERT INTO part SELECT g, g FROM generate_series(1, 3) AS g",
    )
    target = reader(url, spec_of(name="part", table="part", columns=("item",)))
    target.sync()
    db.run("DELETE FROM item WHERE id < 3")
    assert target.sync().deletes == ["1", "2"]


def test_replica_mode_does_not_silence_the_triggers(url: str, db: Connection) -> None:
    target = reader(url)
    target.sync()
    db.run("SET session_replication_role = replica", "UPDATE item SET amount = 1 WHERE id = 1", "TRUNCATE item")
    assert target.sync().reason == TRUNCATED


def test_rolled_back_work_brings_nothing(url: str, connect: Callable[..., Connection]) -> None:
    target = reader(url)
    target.sync()
    writer = connect(autocommit=False)
    writer.run("UPDATE item SET amount = 5 WHERE id = 1", "SAVEPOINT a", "DELETE FROM item WHERE id = 2")
    writer.run("ROLLBACK TO SAVEPOINT a")
    writer.commit()
    writer.run("DELETE FROM item")
    writer.rollback()
    found = target.sync()
    assert (found.upserts, found.deletes) == (["1"], [])


def test_an_update_logs_each_key_once_and_one_of_no_rows_takes_no_transaction_id(
    url: str, connect: Callable[..., Connection], db: Connection
) -> None:
    install(url, spec_of())
    writer = connect(autocommit=False)
    writer.run("UPDATE item SET amount = 1 WHERE id = 99", "DELETE FROM item WHERE id = 99")
    assert writer.one("SELECT pg_current_xact_id_if_assigned()") is None
    writer.run("UPDATE item SET amount = 1")
    writer.commit()
    assert db.all("SELECT key, count(*) FROM sync.change_log GROUP BY 1 ORDER BY 1") == [("1", 1), ("2", 1), ("3", 1)]


def test_a_composite_key_is_one_text_of_json(url: str, db: Connection) -> None:
    db.run(
        "CREATE TABLE pair (a int, b text, note text, PRIMARY KEY (a, b))",
        "INSERT INTO pair VALUES (1, 'x', ''), (1, 'y \"quoted\"', ''), (2, 'x', '')",
    )
    target = reader(url, spec_of(name="pair", table="pair", key=("a", "b"), columns=("note",)))
    assert sorted(target.sync().upserts) == ['["1", "x"]', '["1", "y \\"quoted\\""]', '["2", "x"]']
    db.run("UPDATE pair SET note = 'n' WHERE a = 1", "UPDATE pair SET b = 'z' WHERE a = 2")
    found = target.sync()
    assert found.upserts == ['["1", "x"]', '["1", "y \\"quoted\\""]', '["2", "z"]']
    assert found.deletes == ['["2", "x"]']


def test_named_keys_are_read_alone_and_missing_ones_are_deletes(url: str) -> None:
    target = reader(url)
    target.sync()
    found = target.sync(Scope(keys=("2", "77")))
    assert (found.upserts, found.deletes) == (["2"], ["77"])
    with target.source.changes(Scope(keys=("2",)), since=None) as changes:
        assert changes.watermark is None


def test_named_keys_that_are_no_values_of_the_keys_type_are_deletes_not_errors(url: str) -> None:
    found = reader(url).sync(Scope(keys=("2", "not a number")))
    assert (found.upserts, found.deletes) == (["2"], ["not a number"])


def test_equal_values_with_other_texts_are_other_keys(url: str, db: Connection) -> None:
    db.run("CREATE TABLE price (id numeric PRIMARY KEY, note text)", "INSERT INTO price VALUES (1.0, ''), (2.0, '')")
    target = reader(url, spec_of(name="price", table="price", columns=("note",)))
    target.sync()
    db.run("UPDATE price SET id = 1.00 WHERE id = 1")
    found = target.sync()
    assert (found.upserts, found.deletes) == (["1.00"], ["1.0"])


def test_a_row_without_a_key_comes_as_a_problem_and_goes_when_it_is_mended(url: str, db: Connection) -> None:
    db.run("CREATE TABLE loose (id int UNIQUE, note text)", "INSERT INTO loose VALUES (1, 'a'), (NULL, 'b')")
    target = reader(url, spec_of(name="loose", table="loose", columns=("note",)))
    target.sync()
    assert target.problems == {"(null key)": "key column 'id' is NULL"}
    assert target.source.count() == 1
    assert sum(digest.count for digest in target.source.digests().values()) == 1
    db.run("INSERT INTO loose VALUES (NULL, 'c')")
    assert target.sync().upserts == ["(null key)", "(null key)"]
    db.run("UPDATE loose SET id = 5 WHERE note = 'b'", "DELETE FROM loose WHERE note = 'c'")
    found = target.sync()
    assert (found.upserts, found.deletes) == (["5"], ["(null key)"])


def test_a_null_in_a_composite_key_is_a_problem_too(url: str, db: Connection) -> None:
    db.run("CREATE TABLE loose (a int, b int, note text, UNIQUE (a, b))", "INSERT INTO loose VALUES (1, NULL, 'a')")
    target = reader(url, spec_of(name="loose", table="loose", key=("a", "b"), columns=("note",)))
    target.sync()
    assert target.problems == {'["1", null]': "key column 'b' is NULL"}
    db.run("UPDATE loose SET note = 'b'")
    assert target.sync().upserts == ['["1", null]']
    db.run("UPDATE loose SET b = 2")
    found = target.sync()
    assert (found.upserts, found.deletes) == (['["1", "2"]'], ['["1", null]'])
