"""A Delta table and its table in PostgreSQL: equal after every kind of change, and nothing is written for nothing."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from sync_pipelines.engine.errors import MassDeleteError, RunError, TransientError
from sync_pipelines_tests.lake.house import House, Lake, back

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)

DDL = """CREATE TABLE review (id text PRIMARY KEY, stars int CHECK (stars <= 5), note text NOT NULL,
    topics text[], detail jsonb, updated_at timestamptz)"""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("stars", pa.int32()),
        ("note", pa.string()),
        ("topics", pa.list_(pa.string())),
        ("detail", pa.string()),
        ("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)


def row(key: str, **more: Any) -> dict[str, Any]:
    given = {"id": key, "stars": 3, "note": "n", "topics": ["x"], "detail": '{"b":1,"a":2}', "updated_at": NOON}
    return {**given, **more}


def rows(*given: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(given), schema=SCHEMA)


@pytest.fixture
def review(house: House) -> House:
    house.execute(DDL)
    return house


def held(house: House) -> dict[str, tuple[Any, ...]]:
    return {found[0]: found[1:] for found in house.execute("SELECT * FROM review")}


def versions(house: House) -> dict[str, tuple[str, str]]:
    """Which transaction wrote each row, and where it lies: an unchanged row keeps both."""
    return {key: (xmin, place) for key, xmin, place in house.execute("SELECT id, xmin::text, ctid::text FROM review")}


@pytest.fixture(params=[True, False], ids=["feed", "no feed"])
def feed(request: pytest.FixtureRequest) -> bool:
    return request.param


def test_rows_arrive_change_and_go(review: House, lake: Lake, feed: bool):
    lake.write(rows(row("a"), row("b", topics=None, detail=None), row("c", topics=[], note="")), feed=feed)
    assert review.sync(back()).upserted == 3
    assert held(review)["a"] == (3, "n", ["x"], {"a": 2, "b": 1}, NOON)
    assert held(review)["c"][1:3] == ("", [])
    lake.table.update({"stars": "5"}, predicate="id = 'a'")
    lake.table.delete("id = 'b'")
    lake.write(rows(row("d")))
    counts = review.sync(back())
    assert (counts.upserted, counts.deleted, counts.quarantined) == (2, 1, 0)
    assert held(review).keys() == {"a", "c", "d"}
    assert held(review)["a"][0] == 5
    assert review.prove(back()).equal
    assert review.prove(back(), "deep").equal


def test_a_merge_and_an_overwrite_arrive(review: House, lake: Lake, feed: bool):
    lake.write(rows(row("a"), row("b")), feed=feed)
    review.sync(back())
    lake.merge(rows(row("b", stars=1), row("c")))
    counts = review.sync(back())
    assert (counts.upserted, counts.deleted) == (2, 0)
    lake.write(rows(row("c"), row("d")), mode="overwrite")
    counts = review.sync(back())
    assert (counts.upserted, counts.deleted) == (1, 2)
    assert held(review).keys() == {"c", "d"}
    assert review.prove(back(), "deep").equal


def test_of_several_commits_on_one_key_the_last_state_counts(review: House, lake: Lake, feed: bool):
    lake.write(rows(row("a"), row("b")), feed=feed)
    review.sync(back())
    for stars in ("1", "2", "4"):
        lake.table.update({"stars": stars}, predicate="id = 'a'")
    lake.table.delete("id = 'b'")
    lake.write(rows(row("b", note="again")))
    assert review.sync(back()).upserted == 2
    assert (held(review)["a"][0], held(review)["b"][1]) == (4, "again")


def test_a_run_reads_the_feed_from_the_confirmed_version_on(review: House, lake: Lake):
    lake.write(rows(*(row(f"n{number}") for number in range(50))))
    review.sync(back())
    lake.table.update({"stars": "5"}, predicate="id = 'n7'")
    assert review.sync(back()).read == 1


def test_the_log_says_why_everything_was_read(review: House, lake: Lake):
    lake.write(rows(row("a")))
    review.sync(back())
    assert review.bind(back()).ledger.last_runs("shop", "review")[0].reason == "first run"


def test_an_optimize_is_no_change(review: House, lake: Lake):
    lake.write(rows(row("a")))
    lake.write(rows(row("b")))
    review.sync(back())
    lake.table.optimize.compact()
    binding = review.bind(back())
    assert not binding.source.pending(binding.ledger.watermark("shop", "review"))
    assert review.sync(back()).read == 0


def test_pending_changes_are_counted_by_key(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b")))
    review.sync(back())
    lake.table.update({"stars": "5"}, predicate="id = 'a'")
    lake.table.update({"stars": "4"}, predicate="id = 'a'")
    binding = review.bind(back())
    waiting = binding.source.pending(binding.ledger.watermark("shop", "review"))
    assert waiting.changes == 1
    assert waiting.oldest is not None
    assert abs(datetime.now(UTC) - waiting.oldest) < timedelta(minutes=5)


def reason_of(house: House) -> str:
    return house.bind(back()).ledger.last_runs("shop", "review")[0].reason


def test_a_restored_table_is_read_as_a_whole(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b")))
    review.sync(back())
    lake.write(rows(row("c")))
    lake.table.delete("id = 'a'")
    review.sync(back())
    lake.table.restore(0)
    review.sync(back())
    assert "restored" in reason_of(review)
    assert held(review).keys() == {"a", "b"}
    assert review.prove(back(), "deep").equal


def test_vacuumed_versions_are_no_gap(review: House, lake: Lake, feed: bool):
    lake.write(rows(row("a"), row("b")), feed=feed)
    review.sync(back())
    lake.table.delete("id = 'a'")
    lake.table.update({"stars": "1"}, predicate="id = 'b'")
    lake.table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    for file in Path(lake.place, "_change_data").glob("*"):
        file.unlink()
    counts = review.sync(back())
    assert (counts.upserted, counts.deleted) == (1, 1)
    assert "VACUUM" in reason_of(review)
    assert review.prove(back(), "deep").equal


def test_a_log_that_was_cleaned_is_no_gap(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b")))
    review.sync(back())
    lake.table.delete("id = 'a'")
    lake.table.delete("id = 'b'")
    lake.write(rows(row("c")))
    lake.table.create_checkpoint()
    Path(lake.place, "_delta_log", f"{1:020d}.json").unlink()
    review.sync(back(checks={"mass_delete": {"share": 1, "records": 100}}))
    assert "log" in reason_of(review)
    assert held(review).keys() == {"c"}


def test_another_table_in_the_same_place_is_read_as_a_whole(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b")))
    review.sync(back())
    shutil.rmtree(lake.place)
    lake.write(rows(row("b"), row("c")))
    review.sync(back())
    assert "made anew" in reason_of(review)
    assert held(review).keys() == {"b", "c"}


def test_the_feed_switched_on_later_is_not_trusted_for_what_was_before(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b")), feed=False)
    review.sync(back())
    lake.table.delete("id = 'a'")
    lake.table.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    lake.table.update({"stars": "1"}, predicate="id = 'b'")
    counts = review.sync(back())
    assert (counts.upserted, counts.deleted) == (1, 1)
    assert reason_of(review) == ""


def test_unchanged_rows_write_nothing(review: House, lake: Lake):
    lake.write(rows(*(row(f"n{number}") for number in range(200))))
    review.sync(back())
    before = versions(review)
    (start,) = review.execute("SELECT pg_current_wal_insert_lsn()::text")[0]
    (size,) = review.execute("SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'review'")[0]
    counts = review.sync(back(), mode="full")
    assert (counts.unchanged, counts.upserted) == (200, 0)
    assert versions(review) == before
    assert review.execute("SELECT n_tup_ins + n_tup_upd FROM pg_stat_user_tables WHERE relname = 'review'") == [(size,)]
    assert start


def test_a_row_that_violates_a_constraint_is_quarantined_alone(review: House, lake: Lake):
    bad = {"n7": {"stars": 9}, "n30": {"note": None}}
    lake.write(rows(*(row(f"n{number}", **bad.get(f"n{number}", {})) for number in range(60))))
    counts = review.sync(back())
    assert (counts.upserted, counts.quarantined) == (58, 2)
    found = {item.key: item.reason for item in review.bind(back()).ledger.list_quarantine("shop", "review")}
    assert found.keys() == {"n7", "n30"}
    assert "review_stars_check" in found["n7"]
    assert review.prove(back(), "deep").equal
    lake.table.update({"stars": "2"}, predicate="id = 'n7'")
    assert review.sync(back()).upserted == 1
    assert review.bind(back()).ledger.quarantined("shop", "review") == 1


def test_rows_that_exchange_a_unique_value_arrive(review: House, lake: Lake):
    review.execute("CREATE UNIQUE INDEX ON review (note)")
    lake.write(rows(row("a", note="1"), row("b", note="2")))
    review.sync(back())
    lake.write(rows(row("a", note="2"), row("b", note="3")), mode="overwrite")
    assert review.sync(back()).quarantined == 0
    assert (held(review)["a"][1], held(review)["b"][1]) == ("2", "3")


def test_a_value_that_the_column_cannot_hold_is_quarantined_alone(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b", detail="{broken"), row("c", note="nul\0"), row("d")))
    counts = review.sync(back())
    assert (counts.upserted, counts.quarantined) == (2, 2)
    found = {item.key: item.reason for item in review.bind(back()).ledger.list_quarantine("shop", "review")}
    assert "column 'detail'" in found["b"]
    assert "NUL" in found["c"]


def test_two_rows_of_one_key_are_refused_both(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b"), row("b", stars=1), row("c")))
    counts = review.sync(back())
    assert (counts.upserted, counts.quarantined) == (2, 2)
    assert held(review).keys() == {"a", "c"}
    assert review.prove(back()).equal


def test_a_row_without_a_key_is_quarantined(review: House, lake: Lake):
    lake.write(pa.Table.from_pylist([row("a"), {**row("b"), "id": None}], schema=SCHEMA))
    assert review.sync(back()).quarantined == 1
    assert review.prove(back()).equal


def test_columns_that_only_one_side_has_are_left_alone(review: House, lake: Lake):
    review.execute("ALTER TABLE review ADD COLUMN own text DEFAULT 'mine'")
    lake.write(rows(row("a")).append_column("other", pa.array(["x"])))
    review.sync(back())
    review.execute("UPDATE review SET own = 'yours'")
    lake.table.update({"stars": "1"}, predicate="id = 'a'")
    review.sync(back())
    assert review.execute("SELECT stars, own FROM review") == [(1, "yours")]
    assert review.prove(back(), "deep").equal


def test_only_the_columns_that_the_document_names_are_synced(review: House, lake: Lake):
    table = back(columns=["stars", "note"])
    lake.write(rows(row("a")))
    review.sync(table)
    assert held(review)["a"] == (3, "n", None, None, None)
    assert review.prove(table, "deep").equal


@pytest.mark.parametrize(
    ("document", "near"), [({"columns": ["strs"]}, "'stars'"), ({"source": {"key": ["idd"]}}, "'id'")]
)
def test_a_column_that_is_missing_is_one_clear_error(review: House, lake: Lake, document: dict[str, Any], near: str):
    lake.write(rows(row("a")))
    with pytest.raises(RunError, match=near):
        review.sync(back(**document))


def test_a_column_that_must_be_given_and_is_not_is_one_clear_error(review: House, lake: Lake):
    lake.write(rows(row("a")))
    with pytest.raises(RunError, match="'note' must be given"):
        review.sync(back(columns=["stars"]))


def test_types_that_no_rule_joins_are_one_clear_error(house: House, lake: Lake):
    house.execute("CREATE TABLE review (id text PRIMARY KEY, topics int)")
    lake.write(rows(row("a")))
    with pytest.raises(RunError, match="no rule leads"):
        house.sync(back())


def test_a_table_that_is_not_there_yet_waits_for_nothing(review: House, lake: Lake):
    binding = review.bind(back())
    assert not binding.source.pending(None)
    assert "yet" in binding.source.capture_warnings()[0]
    with pytest.raises(RunError, match="no Delta table"):
        review.sync(back())


def test_an_emptied_table_stops_before_it_deletes_all(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b")))
    review.sync(back())
    lake.table.delete()
    with pytest.raises(MassDeleteError):
        review.sync(back())
    assert held(review).keys() == {"a", "b"}


def test_a_rebuild_is_refused_with_what_to_do(review: House, lake: Lake):
    lake.write(rows(row("a")))
    review.sync(back())
    with pytest.raises(RunError, match="--full"):
        review.sync(back(), mode="rebuild")


def test_an_edit_in_postgresql_is_found_by_both_proofs_and_repaired(review: House, lake: Lake):
    from sync_pipelines.engine.repair import Wanted, repair
    from sync_pipelines.engine.run import Request, Scope

    lake.write(rows(*(row(f"n{number}") for number in range(20))))
    review.sync(back())
    review.execute("UPDATE review SET stars = 1 WHERE id = 'n3'; DELETE FROM review WHERE id = 'n4'")
    review.execute("INSERT INTO review (id, note) VALUES ('zz', 'x')")
    for kind in ("quick", "deep"):
        proof = review.prove(back(), kind)
        assert (proof.stale, proof.missing, proof.extra) == (1, 1, 1)
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id="r")
    done = repair(review.bind(back()), request, Wanted())
    assert done.repaired == 3
    assert review.prove(back(), "deep").equal


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


def test_a_row_whose_parent_was_deleted_goes_with_it_and_is_excluded(house: House, lake: Lake):
    house.execute(FOREIGN)
    house.execute("INSERT INTO item VALUES ('i1'), ('i2')")
    lake.write(reviews(("a", "i1", "x"), ("b", "i2", "x")))
    house.sync(back())
    house.execute("DELETE FROM item WHERE id = 'i2'")
    proof = house.prove(back())
    assert (proof.equal, proof.missing, proof.excluded) == (True, 0, 1)
    house.sync(back(), mode="full")
    proof = house.prove(back(), "deep")
    assert (proof.equal, proof.missing, proof.excluded, proof.quarantined) == (True, 0, 1, 0)
    (conflict,) = house.bind(back()).ledger.list_conflicts("shop", "review")
    assert (conflict.key, "went with" in conflict.reason) == ("b", True)
    lake.table.delete("id = 'b'")
    house.sync(back())
    assert house.bind(back()).ledger.conflict_count("shop", "review") == 0


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


def test_a_record_that_other_tables_refer_to_is_not_deleted_but_the_others_are(review: House, lake: Lake):
    lake.write(rows(*(row(f"n{number}") for number in range(20))))
    review.sync(back())
    review.execute("CREATE TABLE reply (review text REFERENCES review); INSERT INTO reply VALUES ('n3')")
    lake.table.delete("id IN ('n1', 'n3', 'n5')")
    with pytest.raises(RunError, match="reply_review_fkey"):
        review.sync(back())
    assert {"n1", "n3", "n5"} & held(review).keys() == {"n3"}


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


def test_a_trigger_that_changes_rows_is_named(review: House, lake: Lake, caplog: pytest.LogCaptureFixture):
    review.execute(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at = now(); RETURN NEW; END'; "
        "CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON review FOR EACH ROW EXECUTE FUNCTION touch()"
    )
    table = back(columns=["stars", "note", "topics", "detail"])
    lake.write(rows(row("a")))
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
        review.execute("SELECT pg_terminate_backend(%s)", self._connection.info.backend_pid)
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
