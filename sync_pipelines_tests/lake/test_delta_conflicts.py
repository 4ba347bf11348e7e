"""Who wins where a row was edited in PostgreSQL, too; rows that wait for others."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg2
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from sync_pipelines.engine.errors import TransientError
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import DDL, NOON, held, reason_of, row, rows


@pytest.mark.slow
def test_the_newer_row_wins_where_both_sides_changed(review: House, lake: Lake):
    table = back(conflicts={"strategy": "last_write_wins", "by": "updated_at"})
    lake.write(rows(row("old"), row("new"), row("alone")))
    review.sync(table)
    later, latest = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
    review.execute("UPDATE review SET note = 'theirs', updated_at = %s WHERE id IN ('old', 'new')", later)
    lake.merge(rows(row("old", note="ours", updated_at=NOON + timedelta(minutes=1)),
                    row("new", note="ours", updated_at=latest)))  # fmt: skip
    proof_before = review.prove(table)
    assert proof_before.equal
    counts = review.sync(table)
    assert (counts.upserted, counts.unchanged) == (1, 1)
    assert (held(review)["old"][1], held(review)["new"][1]) == ("theirs", "ours")
    proof = review.prove(table)
    assert (proof.equal, proof.excluded, proof.stale) == (True, 1, 0)
    (conflict,) = review.bind(table).ledger.list_conflicts("shop", "review")
    assert conflict.key == "old"
    review.prove(table)
    assert review.bind(table).ledger.list_conflicts("shop", "review") == [conflict], "as the run has noted it"
    review.sync(table, mode="full")
    assert held(review)["old"][1] == "theirs"
    lake.merge(rows(row("old", note="ours again", updated_at=latest)))
    review.sync(table)
    assert held(review)["old"][1] == "ours again"
    assert review.bind(table).ledger.conflict_count("shop", "review") == 0


def test_an_older_edit_in_postgresql_gives_way(review: House, lake: Lake):
    table = back(conflicts={"strategy": "last_write_wins", "by": "updated_at"})
    lake.write(rows(row("a")))
    review.sync(table)
    review.execute("UPDATE review SET note = 'theirs'")
    lake.merge(rows(row("a", note="ours", updated_at=NOON + timedelta(seconds=1))))
    review.sync(table)
    assert held(review)["a"][1] == "ours"


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "note"), [("source_wins", "ours"), ("target_wins", "theirs")])
def test_one_side_may_win_always(review: House, lake: Lake, strategy: str, note: str):
    table = back(conflicts={"strategy": strategy})
    lake.write(rows(row("a"), row("b")))
    review.sync(table)
    review.execute("UPDATE review SET note = 'theirs' WHERE id = 'a'")
    lake.merge(rows(row("a", note="ours"), row("b", note="ours")))
    review.sync(table)
    assert held(review)["a"][1] == note
    assert held(review)["b"][1] == "ours"
    assert review.prove(table).equal


@pytest.mark.slow
def test_what_was_made_or_edited_in_postgresql_is_not_deleted_under_last_write_wins(review: House, lake: Lake):
    table = back(conflicts={"strategy": "last_write_wins", "by": "updated_at"})
    lake.write(rows(row("a"), row("edited"), row("plain")))
    review.sync(table)
    review.execute(
        "INSERT INTO review (id, note) VALUES ('made', 'x'); UPDATE review SET stars = 1 WHERE id = 'edited'"
    )
    lake.table.delete("id <> 'a'")
    review.sync(table)
    assert held(review).keys() == {"a", "edited", "made"}
    review.sync(table, mode="full")
    assert held(review).keys() == {"a", "edited", "made"}
    proof = review.prove(table)
    assert (proof.equal, proof.extra, proof.excluded) == (True, 0, 2)


FOREIGN = """CREATE TABLE item (id text PRIMARY KEY);
    CREATE TABLE review (id text PRIMARY KEY, item text NOT NULL REFERENCES item (id) ON DELETE CASCADE, note text)"""
REVIEWS = pa.schema([("id", pa.string()), ("item", pa.string()), ("note", pa.string())])


def reviews(*given: tuple[str, str, str]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(REVIEWS.names, one, strict=True)) for one in given], schema=REVIEWS)


@pytest.mark.slow
def test_a_row_waits_for_its_parent_and_arrives_by_itself(house: House, lake: Lake):
    house.execute(FOREIGN)
    house.execute("INSERT INTO item VALUES ('i1')")
    lake.write(reviews(("a", "i1", "x"), ("b", "i2", "x"), ("c", "i2", "x"), ("d", "i2", "x"), ("e", "i2", "x")))
    counts = house.sync(back())
    assert (counts.upserted, counts.quarantined) == (1, 4)
    proof = house.prove(back())
    assert (proof.equal, proof.quarantined) == (True, 4)
    for _ in range(3):
        house.sync(back())
    ledger = house.bind(back()).ledger
    assert {(item.attempts, item.stage) for item in ledger.list_quarantine("shop", "review")} == {(1, "wait")}
    house.execute("INSERT INTO item VALUES ('i2')")
    assert house.sync(back()).upserted == 4
    assert ledger.quarantined("shop", "review") == 0
    assert house.prove(back(), "deep").equal


@pytest.mark.slow
def test_a_row_whose_parent_was_deleted_goes_with_it_and_is_excluded(house: House, lake: Lake):
    house.execute(FOREIGN)
    house.execute("INSERT INTO item VALUES ('i1'), ('i2')")
    lake.write(reviews(("a", "i1", "x"), ("b", "i2", "x")))
    house.sync(back())
    house.execute("DELETE FROM item WHERE id = 'i2'")
    proof = house.prove(back())
    assert (proof.equal, proof.missing, proof.excluded) == (True, 0, 1)
    (found,) = house.bind(back()).ledger.list_conflicts("shop", "review")
    assert (found.key, "went with" in found.reason) == ("b", True), "the proof names what it leaves out"
    house.sync(back(), mode="full")
    proof = house.prove(back(), "deep")
    assert (proof.equal, proof.missing, proof.excluded, proof.quarantined) == (True, 0, 1, 0)
    (conflict,) = house.bind(back()).ledger.list_conflicts("shop", "review")
    assert (conflict.key, "went with" in conflict.reason) == ("b", True)
    lake.table.delete("id = 'b'")
    house.sync(back())
    assert house.bind(back()).ledger.conflict_count("shop", "review") == 0


@pytest.mark.slow
def test_a_composite_key_and_other_spellings_of_a_uuid(house: House, lake: Lake):
    house.execute("CREATE TABLE review (id uuid, part int, note text, PRIMARY KEY (part, id))")
    first, second = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    lake.write([{"id": first, "part": 1, "note": "x"}, {"id": second, "part": 2, "note": "y"}])
    table = back(source={"key": ["part", "id"]})
    assert house.sync(table).upserted == 2
    assert house.prove(table, "deep").equal
    lake.table.delete("part = 1")
    lake.table.update({"note": "'z'"}, predicate="part = 2")
    counts = house.sync(table)
    assert (counts.upserted, counts.deleted) == (1, 1)
    assert house.prove(table, "deep").equal
    found = house.bind(table).source.named([f'["2", "{second.upper()}"]'])
    assert [(item.key, item.found) for item in found.values()] == [(f'["2", "{second}"]', True)]


def test_single_records_are_read_by_their_key(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b")))
    source = review.bind(back()).source
    assert [found["note"] for batch in source.values(["b", "zz"]) for found in batch.to_pylist()] == ["n"]


def test_structs_and_maps_become_json(house: House, lake: Lake):
    house.execute("CREATE TABLE review (id text PRIMARY KEY, mood jsonb, more json)")
    mood = pa.struct([("joy", pa.float64()), ("why", pa.list_(pa.string()))])
    lake.write(
        pa.table(
            {
                "id": ["a"],
                "mood": pa.array([{"joy": 0.5, "why": ["x"]}], mood),
                "more": pa.array([["p", "q"]], pa.list_(pa.string())),
            }
        )
    )
    house.sync(back())
    assert house.execute("SELECT mood, more FROM review") == [({"joy": 0.5, "why": ["x"]}, ["p", "q"])]
    assert house.prove(back(), "deep").equal


@pytest.mark.slow
def test_a_map_is_an_object_also_where_it_is_empty_or_within_something(house: House, lake: Lake):
    house.execute("CREATE TABLE review (id text PRIMARY KEY, marks jsonb, deep jsonb, many jsonb)")
    marks = pa.map_(pa.string(), pa.int64())
    deep = pa.struct([("marks", marks), ("list", pa.list_(pa.int64()))])
    given = pa.table(
        {
            "id": ["empty", "full", "null"],
            "marks": pa.array([[], [("a", 1), ("b", None)], None], marks),
            "deep": pa.array([{"marks": [], "list": []}, {"marks": [("a", 1)], "list": [1]}, {}], deep),
            "many": pa.array([[[], [("a", 1)]], [], [None]], pa.list_(marks)),
        }
    )
    lake.write(given)
    house.sync(back())
    assert house.execute("SELECT * FROM review ORDER BY id") == [
        ("empty", {}, {"marks": {}, "list": []}, [{}, {"a": 1}]),
        ("full", {"a": 1, "b": None}, {"marks": {"a": 1}, "list": [1]}, []),
        ("null", None, {"marks": None, "list": None}, [None]),
    ]
    assert house.prove(back(), "deep").equal
    assert house.sync(back(), mode="full").unchanged == 3


@pytest.mark.slow
def test_a_new_column_on_both_sides_makes_no_row_look_edited(review: House, lake: Lake):
    table = back(conflicts={"strategy": "target_wins"})
    lake.write(rows(row("a"), row("b")))
    review.sync(table)
    review.execute("ALTER TABLE review ADD COLUMN mood text")
    write_deltalake(
        lake.place, rows(row("a"), row("b")).append_column("mood", pa.array(["x", "y"])), mode="overwrite",
        schema_mode="overwrite",
    )  # fmt: skip
    assert review.sync(table).upserted == 2
    assert review.execute("SELECT mood FROM review ORDER BY id") == [("x",), ("y",)]
    review.execute("UPDATE review SET mood = 'theirs' WHERE id = 'a'")
    lake.table.update({"mood": "'ours'"})
    review.sync(table)
    assert review.execute("SELECT mood FROM review ORDER BY id") == [("theirs",), ("ours",)]


@pytest.mark.slow
def test_a_conflict_whose_row_is_gone_on_both_sides_is_closed_by_a_full_run(review: House, lake: Lake):
    table = back(conflicts={"strategy": "target_wins"})
    lake.write(rows(row("a"), row("b")))
    review.sync(table)
    review.execute("INSERT INTO review (id, note) VALUES ('made', 'x')")
    review.sync(table, mode="full")
    ledger = review.bind(table).ledger
    assert ledger.conflict_count("shop", "review") == 1
    review.execute("DELETE FROM review WHERE id = 'made'")
    review.sync(table, mode="full")
    assert ledger.conflict_count("shop", "review") == 0


@pytest.mark.slow
def test_a_crash_between_base_and_commit_is_no_edit(review: House, lake: Lake, monkeypatch: pytest.MonkeyPatch):
    from sync_pipelines.targets.postgres import writing

    table = back(conflicts={"strategy": "target_wins"})
    lake.write(rows(row("a"), row("b")))
    review.sync(table)
    lake.table.update({"stars": "1"})
    noted = writing.Writer._note_bases

    def dies(self: Any, *arguments: Any) -> None:
        noted(self, *arguments)
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(writing.Writer, "_note_bases", dies)
        with pytest.raises(RuntimeError):
            review.sync(table)
    assert held(review)["a"][0] == 3
    assert review.sync(table).upserted == 2
    assert review.prove(table, "deep").equal


@pytest.mark.slow
def test_a_tree_within_one_table_arrives_whatever_the_order(house: House, lake: Lake):
    house.execute("CREATE TABLE review (id text PRIMARY KEY, parent text REFERENCES review (id))")
    lake.write([{"id": "a", "parent": "b"}, {"id": "b", "parent": "c"}, {"id": "x", "parent": "y"}])
    lake.write([{"id": "y", "parent": "y"}])
    counts = house.sync(back())
    assert (counts.upserted, counts.quarantined) == (2, 2)
    lake.write([{"id": "c", "parent": "c"}])
    house.sync(back())
    assert house.execute("SELECT count(*) FROM review") == [(5,)]
    assert house.prove(back(), "deep").equal


@pytest.mark.slow
def test_a_table_that_was_made_anew_is_filled_again(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b")))
    review.sync(back())
    review.execute(f"DROP TABLE review; {DDL}; INSERT INTO review (id, note) VALUES ('b', 'x')")
    lake.write(rows(row("c")))
    review.sync(back())
    assert "made anew" in reason_of(review)
    assert held(review).keys() == {"a", "b", "c"}


def test_an_edit_that_is_committed_while_a_batch_is_judged_is_not_lost(review: House, lake: Lake):
    """The row is locked when it is compared: the edit comes before, and is seen, or after, and stays."""
    table = back(conflicts={"strategy": "target_wins"})
    lake.write(rows(row("a")))
    review.sync(table)
    lake.table.update({"stars": "1"})
    editor = psycopg2.connect(review.url.replace("+psycopg2", ""))
    editor.cursor().execute("UPDATE review SET note = 'theirs'")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(review.sync, table)
        deadline = time.monotonic() + 30
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while review.execute(waiting) == [(0,)] and time.monotonic() < deadline:
            time.sleep(0.05)
        editor.commit()
        editor.close()
        run.result()
    assert held(review)["a"][:2] == (3, "theirs")
    assert review.bind(table).ledger.conflict_count("shop", "review") == 1


@pytest.mark.slow
def test_an_edit_of_a_row_that_was_equal_when_it_was_judged_stays(
    review: House, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    from sync_pipelines.targets.postgres import writing

    table = back(conflicts={"strategy": "last_write_wins", "by": "updated_at"})
    lake.write(rows(row("a"), row("b")))
    review.sync(table)
    insert = writing.Writer._insert

    def edited_just_before(self: Any, *arguments: Any) -> Any:
        review.execute("UPDATE review SET note = 'theirs', updated_at = now() WHERE id = 'b'")
        return insert(self, *arguments)

    monkeypatch.setattr(writing.Writer, "_insert", edited_just_before)
    lake.merge(rows(row("a", note="ours", updated_at=NOON + timedelta(hours=1)), row("b")))
    review.sync(table)
    assert (held(review)["a"][1], held(review)["b"][1]) == ("ours", "theirs")
    proof = review.prove(table)
    assert (proof.equal, proof.excluded) == (True, 1)


@pytest.mark.slow
def test_a_trigger_that_changes_rows_is_named(review: House, lake: Lake, caplog: pytest.LogCaptureFixture):
    review.execute(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at = now(); RETURN NEW; END'; "
        "CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON review FOR EACH ROW EXECUTE FUNCTION touch()"
    )
    lake.write(rows(row("a")))
    with pytest.raises(TransientError, match="1 stale") as failure:
        review.sync(back())
    assert "The trigger touched may change" in str(failure.value.remedy)
    assert "leave it out of `columns`" in str(failure.value.remedy)
    table = back(columns=["stars", "note", "topics", "detail"])
    review.sync(table)
    assert "touched" in caplog.text
    assert review.sync(table, mode="full").unchanged == 1
    assert review.prove(table, "deep").equal


def test_a_connection_that_breaks_within_a_batch_leaves_nothing_half_done(
    review: House, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    from sync_pipelines.targets.postgres import writing

    lake.write(rows(*(row(f"n{number}") for number in range(30))))
    insert = writing.Writer._insert

    def broken(self: Any, *arguments: Any) -> Any:
        found = insert(self, *arguments)
        review.execute("SELECT pg_terminate_backend(%s)", self._rows("SELECT pg_backend_pid()")[0][0])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(writing.Writer, "_insert", broken)
        with pytest.raises(TransientError):
            review.sync(back())
    assert held(review) == {}
    assert review.sync(back()).upserted == 30
    assert review.bind(back()).ledger.quarantined("shop", "review") == 0


def test_no_reason_quotes_a_sensitive_value(review: House, lake: Lake):
    review.execute("ALTER TABLE review ADD COLUMN code uuid, ADD CONSTRAINT short CHECK (length(note) < 9)")
    secret = "my very own secret"
    given = rows(row("a", note=secret), row("b", detail=f'{{"{secret}'), row("c"), row("d"))
    codes = pa.array([None, None, secret, None], pa.string())
    lake.write(given.append_column("code", codes))
    table = back(sensitive=["note", "detail", "code"], columns=["stars", "note", "detail", "code"])
    assert review.sync(table).quarantined == 3
    for item in review.bind(table).ledger.list_quarantine("shop", "review"):
        assert "secret" not in item.reason
