"""Runs over unchanged hotels leave no trace in the target: no version of a row, no number of a sequence, no growth."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines.targets.rowsets.batch import Document
from sync_pipelines_tests.rest.hotels import TABLES, Hotels, documents

_CHECKED = ("property_checks", "property_requests")

_SIZES = """SELECT c.relname, pg_relation_size(c.oid) FROM pg_class AS c
LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i', 't')
  AND c.relname <> ALL (%s) AND coalesce(i.indrelid::regclass::text, '') <> ALL (%s) ORDER BY 1"""

_SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"


def numbered(hotels: Hotels) -> None:
    """Give each table of the sync a number that a sequence counts, as an application's own tables have."""
    names = [row[0] for row in hotels.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    for number, name in enumerate(names):
        kind = "bigserial" if number % 2 else "bigint GENERATED ALWAYS AS IDENTITY"
        hotels.execute(f"ALTER TABLE {name} ADD COLUMN own_number {kind}")


def traces(hotels: Hotels) -> dict[str, Any]:
    """What a write would leave: row versions, bytes, numbers."""
    left = list(_CHECKED)
    names = [row[0] for row in hotels.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    versions = "SELECT ctid::text, xmin::text, xmax::text, cmin::text FROM {} ORDER BY ctid"
    return {
        "versions": {name: hotels.execute(versions.format(name)) for name in names if name not in _CHECKED},
        "sizes": hotels.execute(_SIZES, left, left),
        "sequences": [row for row in hotels.execute(_SEQUENCES) if not row[0].startswith(_CHECKED)],
    }


def sizes(hotels: Hotels, name: str) -> tuple[int, int]:
    """Bytes of a table, and of its one index."""
    return hotels.execute(
        "SELECT pg_relation_size(indrelid), pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = %s::regclass",
        name,
    )[0]


@pytest.mark.slow
def test_runs_over_unchanged_hotels_burn_no_number_and_leave_no_row_version(hotels: Hotels) -> None:
    numbered(hotels)
    hotels.ask_for(*hotels.cupid.ids(3))
    for table in TABLES:
        hotels.sync(table)
    before = traces(hotels)
    assert len(before["sequences"]) == 12
    assert len(before["versions"]["rooms"]) > 3
    for _ in range(2):
        for table in TABLES:
            hotels.execute("UPDATE property_checks SET status = 'unfetched'")
            assert hotels.sync(table).upserted == 0
            assert hotels.sync(table, mode="full").upserted == 0
            assert hotels.sync(table, mode="reparse").upserted == 0
    assert traces(hotels) == before


@pytest.mark.slow
def test_checks_need_no_more_room_after_many_runs_than_after_the_first(hotels: Hotels) -> None:
    hotels.execute("CREATE TABLE inns (hotel_id bigint PRIMARY KEY, hotel_name text)")
    shipped = documents()["properties"].model_dump(exclude={"target", "name", "conflicts"})
    target = {"connection": "hotels", "tables": [{"name": "properties", "table": "inns"}], "books": "inn"}
    inns = RestToPostgres.model_validate({**shipped, "name": "inns", "target": target})
    for table, name in ((documents()["properties"], "property_checks"), (inns, "inn_checks")):
        store: Any = hotels.house.bind(table).target
        store.prepare()
        after = []
        with store.writer() as writer:
            for _ in range(20):
                for start in range(0, 400, 10):
                    found = {"status": "failed", "problem": "the API answers 500", "at": datetime.now(UTC)}
                    writer.write([Document(key=str(start + number), **found) for number in range(10)])
                after.append(sizes(hotels, name))
        assert hotels.execute(f"SELECT count(*), max(failures) FROM {name}") == [(400, 20)]
        # twenty times the rows came: what is dead makes room for it, though snapshots of others may keep some
        assert all(now <= 2 * first for now, first in zip(after[-1], after[0], strict=True)), (name, after)


def test_an_applications_own_table_and_its_books_keep_each_row_version_when_nothing_changed(hotels: Hotels) -> None:
    hotels.execute(
        "CREATE TABLE inns (id bigint PRIMARY KEY, title text, own_notes text, sync_status text, "
        "data_version int, last_updated timestamptz)"
    )
    hotels.ask_for(*hotels.cupid.ids(3))
    shipped = documents()["properties"].model_dump(exclude={"target", "name", "conflicts", "plausible"})
    columns = {"hotel_id": "id", "hotel_name": "title"}
    tables = [{"name": "properties", "table": "inns", "columns": columns}]
    target = {"connection": "hotels", "tables": tables, "books": "inn"}
    table = RestToPostgres.model_validate({**shipped, "name": "inns", "target": target})
    assert hotels.house.sync(table).upserted == 3
    names = ("inns", "inn_payloads", "inn_changes")

    def versions() -> list[Any]:
        return [hotels.execute(f"SELECT ctid::text, xmin::text, xmax::text FROM {name} ORDER BY 1") for name in names]

    before = versions()
    assert [len(rows) > 0 for rows in before] == [True, True, False]
    for mode in ("incremental", "full", "reparse"):
        hotels.execute("UPDATE inn_checks SET status = 'unfetched'")
        assert hotels.house.sync(table, mode=mode).unchanged == 3
    assert versions() == before
