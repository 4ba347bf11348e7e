"""A Delta table and its table in PostgreSQL: equal after every kind of change, and nothing is written for nothing."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import ConfigurationError, MassDeleteError, RunError
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import NOON, SCHEMA, held, reason_of, row, rows, versions


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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_the_feed_is_read_by_a_key_of_any_name(house: House, lake: Lake):
    house.execute('CREATE TABLE review ("Nr" int, "a.ö""" int, PRIMARY KEY ("Nr", "a.ö"""))')
    table = back(source={"key": ["Nr", 'a.ö"']})
    lake.write([{"Nr": 1, 'a.ö"': 1}])
    house.sync(table)
    lake.write([{"Nr": 2, 'a.ö"': 2}])
    assert house.sync(table).read == 1


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_another_table_in_the_same_place_is_read_as_a_whole(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b")))
    review.sync(back())
    shutil.rmtree(lake.place)
    lake.write(rows(row("b"), row("c")))
    review.sync(back())
    assert "made anew" in reason_of(review)
    assert held(review).keys() == {"b", "c"}


@pytest.mark.slow
def test_the_feed_switched_on_later_is_not_trusted_for_what_was_before(review: House, lake: Lake):
    lake.write(rows(row("a"), row("b")), feed=False)
    review.sync(back())
    lake.table.delete("id = 'a'")
    lake.table.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    lake.table.update({"stars": "1"}, predicate="id = 'b'")
    counts = review.sync(back())
    assert (counts.upserted, counts.deleted) == (1, 1)
    assert reason_of(review) == ""


@pytest.mark.slow
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


@pytest.mark.slow
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


def declare_variant(log: Path, column: str) -> None:
    """Say in a table's first commit that a column of text is a VARIANT."""
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            features = {"readerFeatures": ["variantType"], "writerFeatures": ["variantType"]}
            action["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7, **features}
        if "metaData" in action:
            schema = json.loads(action["metaData"]["schemaString"])
            next(item for item in schema["fields"] if item["name"] == column)["type"] = "variant"
            action["metaData"]["schemaString"] = json.dumps(schema)
    log.write_text("\n".join(map(json.dumps, actions)))


def test_a_variant_of_another_engine_is_told_and_not_written_as_the_bytes_it_is_stored_in(review: House, lake: Lake):
    lake.write(pa.table({"id": ["a"], "note": ["n"], "detail": ["{}"]}))
    declare_variant(next((Path(lake.place) / "_delta_log").glob("*.json")), "detail")
    with pytest.raises(ConfigurationError, match=r"shop/review: .*VARIANT in 'detail'.*`columns`"):
        review.sync(back())
    assert review.sync(back(columns=["note"])).upserted == 1


def test_a_column_that_must_be_given_and_is_not_is_one_clear_error(review: House, lake: Lake):
    lake.write(rows(row("a")))
    with pytest.raises(RunError, match="'note' must be given"):
        review.sync(back(columns=["stars"]))


def test_a_column_that_postgresql_numbers_is_one_clear_error_before_a_row_is_written(house: House, lake: Lake):
    house.execute("CREATE TABLE review (id text PRIMARY KEY, stars int GENERATED ALWAYS AS IDENTITY, note text)")
    lake.write(rows(row("a", stars=7)))
    with pytest.raises(RunError, match=r"'stars' is GENERATED ALWAYS AS IDENTITY: no update .* Name the `columns`"):
        house.sync(back())
    assert held(house) == {}
    assert house.sync(back(columns=["note"])).upserted == 1


def test_a_key_that_postgresql_numbers_is_taken_over(house: House, lake: Lake):
    house.execute("CREATE TABLE review (stars int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)")
    lake.write(rows(row("a", stars=7)))
    keyed = back(source={"key": ["stars"]})
    assert house.sync(keyed).upserted == 1
    lake.table.update({"note": "'m'"})
    assert house.sync(keyed).upserted == 1
    assert held(house) == {7: ("m",)}


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_edit_in_postgresql_is_found_by_both_proofs_and_repaired(review: House, lake: Lake):
    from sync_pipelines.engine.model import Scope
    from sync_pipelines.engine.repair import Wanted, repair
    from sync_pipelines.engine.run import Request

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


@pytest.mark.parametrize(
    "key", ["", "PRIMARY KEY DEFERRABLE", "UNIQUE DEFERRABLE INITIALLY DEFERRED"], ids=["none", "primary", "unique"]
)
def test_a_table_whose_key_on_conflict_cannot_take_is_refused_before_anything_is_read(
    house: House, lake: Lake, key: str
):
    house.execute(f"CREATE TABLE review (id text {key}, stars int)")
    lake.write(rows(row("a")))
    with pytest.raises(RunError, match=r"no unique index that is not DEFERRABLE covers exactly the key \(id\)"):
        house.sync(back(columns=["stars"]))
