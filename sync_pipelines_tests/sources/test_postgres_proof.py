"""Counts, digests and fingerprints of a source, and its one snapshot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg2
import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.model import FINGERPRINTS_SCHEMA, KEY, Digest, Scope, bucket_of
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sources.postgres import connection
from sync_pipelines.sources.postgres.connection import APPLICATION_NAME
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import ITEM, Connection, make_item, reader, spec_of


def _expected(source: PostgresSource) -> dict[int, Digest]:
    found: dict[int, Digest] = defaultdict(Digest)
    for batch in source.fingerprints():
        assert batch.schema == FINGERPRINTS_SCHEMA
        for key, mark in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            found[bucket_of(key)] = found[bucket_of(key)].add(key, mark)
    return dict(found)


def test_digests_equal_pythons(url: str, db: Connection) -> None:
    make_item(db, rows=20_000)
    source = reader(url).source
    found = source.digests()
    assert found == _expected(source)
    assert sum(digest.count for digest in found.values()) == source.count() == 20_000
    assert max(digest.total for digest in found.values()) > 2**60


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
def test_digests_equal_pythons_whatever_the_databases_encoding(postgres_server: PostgresServer, encoding: str) -> None:
    admin = psycopg2.connect(host="127.0.0.1", port=postgres_server.port, user="postgres", dbname="postgres")
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS encoded WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE encoded TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    url = postgres_server.url("encoded")
    plain = psycopg2.connect(host="127.0.0.1", port=postgres_server.port, user="postgres", dbname="encoded")
    plain.autocommit = True
    plain.set_client_encoding("UTF8")
    with plain.cursor() as cursor:
        cursor.execute("CREATE TABLE item (id text PRIMARY KEY, name text, amount int)")
        cursor.execute("INSERT INTO item VALUES ('é', 'ü', 1), ('ß', NULL, 2), ('plain', 'x', 3)")
    source = PostgresSource(url, ITEM)
    assert source.digests() == _expected(source)
    with source.changes(Scope(keys=("é", "ß", "ö")), since=None) as changes:
        (batch,) = changes.upserts
        assert sorted(batch.column(KEY).to_pylist()) == ["ß", "é"]
        assert list(changes.deletes) == [["ö"]]
    plain.close()
    with admin.cursor() as cursor:
        cursor.execute("DROP DATABASE encoded WITH (FORCE)")
    admin.close()


def test_chosen_buckets_are_listed_alone(url: str, db: Connection) -> None:
    make_item(db, rows=500)
    source = reader(url).source
    wanted = {bucket_of("1"), bucket_of("77")}
    found = [key for batch in source.fingerprints(buckets=wanted) for key in batch.column(KEY).to_pylist()]
    assert sorted(found) == sorted(str(n) for n in range(1, 501) if bucket_of(str(n)) in wanted)
    assert list(source.fingerprints(buckets=())) == []


def test_everything_is_answered_from_one_snapshot(url: str, db: Connection) -> None:
    make_item(db)
    target = reader(url)
    target.sync()
    with target.source.at_snapshot() as view:
        before = view.digests()
        db.run("UPDATE item SET amount = 1", "INSERT INTO item VALUES (9)", "DELETE FROM item WHERE id = 1")
        assert view.count() == 3
        assert view.digests() == before
        assert sum(batch.num_rows for batch in view.fingerprints()) == 3
        assert not view.pending(target.watermark)
        assert list(view.pending_keys(target.watermark)) == []
        assert [batch.column(KEY).to_pylist() for batch in view.values(["1", "9"])] == [["1"]]
    with target.source.at_snapshot() as view:
        assert view.count() == 3
        assert view.pending(target.watermark).changes == 4
        assert sorted(key for keys in view.pending_keys(target.watermark) for key in keys) == ["1", "2", "3", "9"]


def test_values_are_the_rows_that_changes_would_bring(url: str, db: Connection) -> None:
    make_item(db, rows=2500)
    target = reader(url)
    expected = {row[KEY]: row for row in target.sync().rows}
    keys = [*map(str, range(1, 2501)), "4000"]
    found = {row[KEY]: row for batch in target.source.values(keys) for row in batch.to_pylist()}
    assert found == expected


def test_pending_counts_distinct_keys_and_dates_the_oldest(url: str, db: Connection) -> None:
    make_item(db)
    target = reader(url)
    assert target.source.pending(None).full_reason == "first run"
    target.sync()
    assert not target.source.pending(target.watermark)
    db.run("UPDATE item SET amount = 1", "UPDATE item SET amount = 2", "INSERT INTO item VALUES (9)")
    waiting = target.source.pending(target.watermark)
    assert (waiting.changes, waiting.full_reason) == (4, None)
    assert waiting.oldest is not None
    assert timedelta(0) <= datetime.now(UTC) - waiting.oldest < timedelta(seconds=20)
    assert target.source.pending(target.watermark, limit=2).changes == 2


def test_a_scan_of_the_log_and_of_the_table_use_their_indexes(url: str, db: Connection) -> None:
    make_item(db, rows=50_000)
    target = reader(url)
    target.sync()
    db.run("UPDATE item SET amount = 1 WHERE id % 10 = 0")
    target.sync()
    db.run("UPDATE item SET amount = 2 WHERE id = 7", "ANALYZE")
    assert target.watermark is not None
    with target.source._small() as found:
        sql = found.sql.by_keys(found.touched(target.watermark, 1))
        plan = "\n".join(row["QUERY PLAN"] for row in found.session.all("EXPLAIN " + sql))
    assert "change_log_table_tx" in plan, plan
    assert "item_pkey" in plan, plan


def test_a_window_reads_what_is_pending_and_what_changed_in_it(url: str, db: Connection) -> None:
    make_item(db, rows=7)
    db.run(
        "ALTER TABLE item ADD at timestamp",
        "UPDATE item SET at = make_date(2024, id, 1) WHERE id < 6",
        "UPDATE item SET at = '2024-04-01' WHERE id = 7",
        "UPDATE item SET at = '2024-02-29 23:59:59.999999' WHERE id = 1",
    )
    spec = spec_of(changed_at="at")
    target = reader(url, spec)
    target.sync()
    db.run("UPDATE item SET amount = 5 WHERE id IN (3, 5)", "DELETE FROM item WHERE id = 4")

    def window(start: datetime | None, end: datetime | None, *, nulls: bool = False) -> Scope:
        return Scope(window=(start, end), nulls=nulls)

    march, april = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
    saved = target.watermark
    found = target.sync(window(march, april))
    assert (sorted(found.upserts), found.deletes, found.full) == (["3", "5"], ["4"], False)
    assert len(found.upserts) == 2
    target.watermark = saved
    assert sorted(target.sync(window(None, march)).upserts) == ["1", "2", "3", "5"]
    target.watermark = saved
    assert sorted(target.sync(window(april, None, nulls=True)).upserts) == ["3", "5", "6", "7"]
    assert sorted(target.sync(window(None, None)).upserts) == ["1", "2", "3", "5", "7"]
    assert sorted(target.sync(window(None, None, nulls=True)).upserts) == ["1", "2", "3", "5", "6", "7"]


def test_a_window_within_a_day_finds_rows_dated_by_the_day(url: str, db: Connection) -> None:
    make_item(db)
    db.run("ALTER TABLE item ADD day date", "UPDATE item SET day = '2024-03-01'")
    target = reader(url, spec_of(changed_at="day"))
    target.sync()
    midnight = datetime(2024, 3, 1, tzinfo=UTC)
    assert len(target.sync(Scope(window=(midnight, midnight + timedelta(hours=1)))).upserts) == 3
    later = midnight + timedelta(hours=5)
    assert target.sync(Scope(window=(later, later + timedelta(hours=1)))).upserts == []


def test_a_truncate_that_commits_while_we_wait_to_read_is_in_our_snapshot(
    url: str, db: Connection, connect: Callable[..., Connection]
) -> None:
    make_item(db)
    target = reader(url)
    target.sync()
    writer = connect(autocommit=False)
    writer.run("TRUNCATE item", "INSERT INTO item VALUES (9, 'after')")
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(target.source.changes, Scope(), since=target.watermark)
        db.run("SELECT pg_sleep(0.5)")
        writer.commit()
        # TRUNCATE is not MVCC-safe: a snapshot from before it would find an empty table and no reason.
        with reading.result(timeout=20) as changes:
            assert (changes.full, changes.source_empty, changes.rows) == (True, False, 1)


def test_a_table_that_stays_locked_is_transient(
    url: str, db: Connection, connect: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_item(db)
    target = reader(url)
    target.sync()
    writer = connect(autocommit=False)
    writer.run("LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
    monkeypatch.setattr(connection, "LOCK_TIMEOUT_MS", 100)
    for scope in (Scope(), Scope(full=True)):
        with pytest.raises(TransientError, match="Another session holds a lock on the table"):
            target.source.changes(scope, since=target.watermark)


@pytest.mark.parametrize("error", [OSError("the target's disk is full"), pa.ArrowTypeError("no int")])
def test_what_fails_while_a_snapshot_is_held_is_not_said_of_the_source(
    url: str, db: Connection, error: Exception
) -> None:
    make_item(db, rows=1)
    with pytest.raises(type(error)) as caught, reader(url).source.at_snapshot():
        raise error
    assert caught.value is error


def test_a_snapshot_whose_connection_breaks_is_an_outage_of_the_source(url: str, db: Connection) -> None:
    make_item(db, rows=1)
    others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
    with pytest.raises(TransientError, match="PostgreSQL"), reader(url).source.at_snapshot():
        db.run(f"{others} AND pid <> pg_backend_pid() AND application_name = '{APPLICATION_NAME}'")
