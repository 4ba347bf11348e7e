"""Outages, time-outs and secrets; and what is left of files and memory."""

from __future__ import annotations

import itertools
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import RunError, TransientError
from sync_pipelines.engine.ledger import watermarks
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.urls import normalise_url
from sync_pipelines.sources.postgres import changes, connection
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.sources.postgres.errors import classify
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import ITEM, Connection, make_item, reader

CANARY = "c4n4ry-p@ss/word"
QUOTED = "c4n4ry-p%40ss%2Fword"


def _repeat(what: Callable[[], object]) -> None:
    """Again and again, until the fault hits."""
    for _ in range(50):
        what()


def _says_no_secret(error: BaseException) -> None:
    texts = []
    found: BaseException | None = error
    while found is not None and not isinstance(found, KeyboardInterrupt):
        texts.append(str(found))
        found = found.__cause__ if isinstance(found.__cause__, TransientError | RunError) else None
    assert CANARY not in " ".join(texts)
    assert QUOTED not in " ".join(texts)


@pytest.mark.parametrize(
    ("place", "kind", "words"),
    [
        ("127.0.0.1:1/app", TransientError, "refused"),
        ("{server}/no_such_database", RunError, "no_such_database"),
        ("{server}/{database}?sslmode=verify-full&sslrootcert=/nowhere", RunError, "SSL"),
        ("{server}/{database}?nonsense=1", RunError, "nonsense"),
        ("no-such-host.invalid/app", RunError, "host"),
    ],
)
@pytest.mark.parametrize("scope", [Scope(full=True), Scope(keys=("1",))])
def test_a_connection_that_fails_is_classified_and_says_no_password(
    url: str, place: str, kind: type[Exception], words: str, scope: Scope
) -> None:
    server, _, database = url.rpartition("@")[2].rpartition("/")
    address = f"postgresql://postgres:{QUOTED}@" + place.format(server=server, database=database)
    with pytest.raises(kind, match=words) as caught:
        PostgresSource(address, ITEM).changes(scope, since=None)
    _says_no_secret(caught.value)


def test_a_password_is_blotted_out_in_whatever_form_a_client_repeats_it() -> None:
    url = normalise_url(f"postgres://me:{QUOTED}@h/db")
    found = classify(psycopg2.OperationalError(f"odd words {CANARY}, then {QUOTED}"), url=url, sync="s", table="t")
    assert "odd words ***, then ***" in str(found)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("[libpq] PQgetCopyData() failed: server closed the connection unexpectedly"), TransientError),
        (OSError("[libpq] PQgetCopyData() failed: Serververbindung unerwartet geschlossen"), TransientError),
        (OSError("ERROR:  canceling statement due to statement timeout"), TransientError),
        (OSError("[libpq] Execution error [PGRES_FATAL_ERROR]: ERROR:  division by zero"), RunError),
        (psycopg2.OperationalError("could not connect: connection refused"), TransientError),
    ],
)
def test_a_stream_that_breaks_off_is_told_from_a_statement_that_fails(error: Exception, kind: type[Exception]) -> None:
    assert type(classify(error, url=normalise_url("postgres://h/db"))) is kind


def test_a_missing_right_on_the_table_names_the_grant(
    url: str, db: Connection, connect: Callable[..., Connection]
) -> None:
    make_item(db)
    db.run("DROP ROLE IF EXISTS nobody_reads", "CREATE ROLE nobody_reads LOGIN")
    with pytest.raises(RunError, match="GRANT the role of this connection SELECT"):
        PostgresSource(url.replace("postgres@", "nobody_reads@"), ITEM).count()
    db.run("GRANT SELECT (id, name, amount) ON item TO nobody_reads")
    assert PostgresSource(url.replace("postgres@", "nobody_reads@"), ITEM).count() == 3
    db.run("DROP OWNED BY nobody_reads", "DROP ROLE nobody_reads")


@pytest.mark.parametrize("big", [True, False])
def test_a_connection_that_is_cut_while_reading_is_transient(url: str, db: Connection, big: bool) -> None:
    make_item(db, rows=50_000 if big else 10)
    db.run("UPDATE item SET name = repeat(md5(id::text), 10)") if big else None
    target = reader(url)
    stop = threading.Event()

    def cut() -> None:
        while not stop.is_set():
            db.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                f"AND application_name = 'sync_pipelines' AND query LIKE '{'COPY%FROM' if big else '%'}%'"
            )
            time.sleep(0.02 if big else 0)

    killer = threading.Thread(target=cut)
    killer.start()
    try:
        with pytest.raises(TransientError):
            _repeat(lambda: target.source.changes(Scope(full=big), since=None).close())
    finally:
        stop.set()
        killer.join()
    assert target.sync().full


def test_what_ends_a_read_under_way_comes_out_where_its_rows_are_read(
    url: str, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_item(db, rows=10)
    source = reader(url).source
    with source.changes_meanwhile(Scope(full=True), since=None) as changes:
        assert (changes.rows, sum(batch.num_rows for batch in changes.upserts)) == (10, 10)

    def breaks_off(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield batch.slice(0, 4)
        raise OSError("[libpq] PQgetCopyData() failed: server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "_slices", breaks_off)
    with source.changes_meanwhile(Scope(full=True), since=None) as changes:
        rows = iter(changes.upserts)
        assert (changes.rows, next(rows).num_rows) == (10, 4)
        with pytest.raises(TransientError, match="closed the connection"):
            next(rows)
    assert not [thread for thread in threading.enumerate() if thread.name == "reading"]


def test_what_is_closed_while_it_is_read_is_not_read_to_its_end(
    url: str, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_item(db, rows=10)
    stopped, given = threading.Event(), []

    def row_by_row(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        for number in range(batch.num_rows):
            given.append(number)
            yield batch.slice(number, 1)
            assert stopped.wait(30)

    monkeypatch.setattr(connection, "_slices", row_by_row)
    monkeypatch.setattr(changes, "Event", lambda: stopped)
    with reader(url).source.changes_meanwhile(Scope(full=True), since=None) as found:
        assert next(iter(found.upserts)).num_rows == 1
    assert given == [0, 1]


def test_the_servers_statement_timeout_is_transient_and_says_what_to_do(url: str, db: Connection) -> None:
    make_item(db, rows=100_000)
    db.run(f'ALTER DATABASE "{url.rpartition("/")[2]}" SET statement_timeout = 40')
    source = PostgresSource(url + "?application_name=timeout", ITEM)
    with pytest.raises(TransientError, match="timeout"):
        _repeat(source.digests)
    with pytest.raises(TransientError, match="timeout"):
        _repeat(lambda: list(source.fingerprints()))


def test_spooled_files_are_private_and_go_with_the_change_set(url: str, db: Connection, tmp_path: Path) -> None:
    make_item(db)
    source = reader(url, spool=tmp_path).source
    with source.changes(Scope(full=True), since=None) as changes:
        (folder,) = tmp_path.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = list(folder.glob("*.arrow"))
        assert len(files) == 2
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert sum(batch.num_rows for batch in changes.upserts) == sum(b.num_rows for b in changes.upserts) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_read_that_fails_leaves_no_file(
    url: str, db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_item(db)
    source = reader(url, spool=tmp_path).source

    def broken(*_: object) -> None:
        raise OSError("[libpq] PQgetCopyData() failed: server closed the connection unexpectedly")

    monkeypatch.setattr(connection._Bulk, "stream", broken)
    with pytest.raises(TransientError):
        source.changes(Scope(full=True), since=None)
    assert list(tmp_path.iterdir()) == []


def test_the_transaction_is_closed_before_the_change_set_is_written(url: str, db: Connection) -> None:
    make_item(db)
    with reader(url).source.changes(Scope(full=True), since=None):
        open_ones = db.one(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    assert open_ones == 0


_MEMORY = """
import json, sys, threading, time, psutil
from sync_pipelines.engine.ledger import watermarks
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.postgres.source import PostgresSource
peak, done = 0, False
def watch():
    # Not ru_maxrss, which a child inherits from whoever started it.
    global peak
    while not done:
        peak = max(peak, psutil.Process().memory_info().rss)
        time.sleep(0.01)
source = PostgresSource(sys.argv[1], TableSpec(sync="s", name="t", table=sys.argv[2], key=("id",), columns=("text",)))
since = watermarks.load(json.loads(sys.argv[3])) if len(sys.argv) > 3 else None
source.count()
watcher = threading.Thread(target=watch)
watcher.start()
with source.changes(Scope(full=since is None), since=since) as changes:
    for batch in changes.upserts: pass
if since is None:
    for batch in source.fingerprints(): pass
    source.digests()
done = True
watcher.join()
print(changes.rows, peak // 2**20)
"""


def _memory(*arguments: str) -> tuple[int, int]:
    """Rows that a process of its own read, and the most memory that it held (MB)."""
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
    )
    rows, megabytes = map(int, done.stdout.split())
    return rows, megabytes


def _wide(url: str, db: Connection, name: str, *, rows: int, size: int) -> PostgresSource:
    """A captured table of `rows` texts of `size` bytes."""
    db.run(
        f"CREATE TABLE {name} (id int PRIMARY KEY, text text)",
        f"INSERT INTO {name} SELECT g, repeat(md5(g::text), {size // 32}) FROM generate_series(1, {rows}) AS g",
    )
    spec = TableSpec(sync="s", name="t", table=name, key=("id",), columns=("text",))
    install(url, spec)
    return PostgresSource(url, spec)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(url: str, db: Connection) -> None:
    used = {}
    for name, rows in (("small", 500), ("large", 20_000)):
        _wide(url, db, name, rows=rows, size=2048)
        read, used[name] = _memory(url, name)
        assert read == rows
    assert used["large"] - used["small"] < 20, used


@pytest.mark.slow
def test_memory_does_not_grow_with_the_size_of_the_rows_that_were_touched(url: str, db: Connection) -> None:
    used = {}
    for name, size in (("narrow", 32), ("wide", 256 * 1024)):
        with _wide(url, db, name, rows=900, size=size).changes(Scope(full=True), since=None) as changes:
            assert changes.watermark is not None
            since = json.dumps(watermarks.dump(changes.watermark))
        db.run(f"UPDATE {name} SET id = id")
        read, used[name] = _memory(url, name, since)
        assert read == 900
    # 900 texts of 256 kB are 225 MB; a FETCH of 32 that nothing warned of is 8.
    assert used["wide"] - used["narrow"] < 60, used


@pytest.mark.parametrize(
    ("sizes", "fetches"),
    [
        ([10] * 100, [4, 8, 16, 32, 32, 32]),
        ([300_000] * 10, [4, 3, 3, 3]),
        ([2_000_000] * 6, [4, 1, 1, 1]),
        ([], [4]),
    ],
)
def test_a_fetch_asks_for_fewer_rows_the_larger_they_are(sizes: list[int], fetches: list[int]) -> None:
    rows, asked = iter([("x" * size, 1) for size in sizes]), []

    class Cursor:
        def fetchmany(self, number: int) -> list[tuple[str, int]]:
            asked.append(number)
            return list(itertools.islice(rows, number))

    found = list(connection._fetched(Cursor(), most=32))
    assert [size for _, size in found] == sizes
    assert asked == fetches
