"""Installing and removing trigger capture, and what the application notices of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg2
import pytest

from sync_pipelines.engine.errors import CaptureMissingError, MigrationDueError, RunError, TransientError
from sync_pipelines.engine.model import Scope
from sync_pipelines.migrations import upgrade
from sync_pipelines.sources.postgres.capture import install, remove
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import ITEM, Connection, Reader, make_item, reader, spec_of


@pytest.fixture(autouse=True)
def _item(db: Connection) -> None:
    make_item(db)


def _triggers(db: Connection) -> list[str]:
    return [name for (name,) in db.all("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1")]


def _ours(db: Connection) -> list[str]:
    return [name for name in _triggers(db) if not name.startswith("change_log")]


def test_installing_twice_changes_nothing_the_second_time(url: str, db: Connection) -> None:
    assert install(url, ITEM)
    before = db.all("SELECT xmin::text, ctid::text, * FROM sync.captured_tables")
    assert install(url, ITEM) == []
    assert db.all("SELECT xmin::text, ctid::text, * FROM sync.captured_tables") == before


def test_a_dry_run_changes_nothing_and_its_statements_do_the_whole_work(url: str, db: Connection) -> None:
    statements = install(url, ITEM, dry_run=True)
    assert _ours(db) == []
    db.run("BEGIN", *statements, "COMMIT")
    assert install(url, ITEM, dry_run=True) == []
    assert PostgresSource(url, ITEM).capture_status().healthy
    removal = remove(url, ITEM, dry_run=True)
    assert len(_ours(db)) == 4
    db.run("BEGIN", *removal, "COMMIT")
    assert remove(url, ITEM, dry_run=True) == []


def test_its_statements_work_where_names_are_quoted_all_of_them(url: str, db: Connection) -> None:
    db.run("SET quote_all_identifiers = on", "BEGIN", *install(url, ITEM, dry_run=True), "COMMIT")
    assert '"pg_catalog"' in db.one("SELECT proconfig[1] FROM pg_proc WHERE proname = 'capture_1'")
    assert PostgresSource(url, ITEM).capture_status().healthy
    db.run('ALTER FUNCTION sync.capture_1() SET search_path = "pg_catalog, pg_temp"')
    assert not PostgresSource(url, ITEM).capture_status().healthy


def test_removing_leaves_nothing_behind(url: str, db: Connection) -> None:
    target = reader(url)
    target.sync()
    db.run("UPDATE item SET amount = 1")
    remove(url, ITEM)
    assert _ours(db) == []
    assert db.one("SELECT count(*) FROM pg_proc WHERE proname LIKE 'capture%'") == 0
    for table in ("change_log", "captured_tables", "capture_readers"):
        assert db.one(f"SELECT count(*) FROM sync.{table}") == 0, table
    assert remove(url, ITEM) == []


def test_two_syncs_share_one_capture_and_the_last_one_takes_it_away(url: str, db: Connection) -> None:
    install(url, ITEM)
    install(url, spec_of(sync="stock"))
    assert db.one("SELECT count(*) FROM sync.captured_tables") == 1
    assert len(_ours(db)) == 4
    remove(url, ITEM)
    assert len(_ours(db)) == 4
    assert [item.reader for item in PostgresSource(url, ITEM).capture_status().readers] == ["stock/item"]
    remove(url, spec_of(sync="stock"))
    assert _ours(db) == []


def test_a_changed_key_gets_a_capture_of_its_own_and_the_old_one_goes(url: str, db: Connection) -> None:
    db.run("ALTER TABLE item ADD UNIQUE (name)")
    target = reader(url)
    target.sync()
    by_name = spec_of(key=("name",), columns=("amount",))
    with pytest.raises(CaptureMissingError):
        PostgresSource(url, by_name).changes(Scope(), since=target.watermark)
    install(url, by_name)
    assert len(_ours(db)) == 4
    moved = Reader(PostgresSource(url, by_name), watermark=target.watermark)
    found = moved.sync()
    assert (found.full, found.reason) == (True, "the key changed from (id) to (name)")
    db.run("UPDATE item SET amount = 2 WHERE id = 1")
    assert moved.sync().upserts == ["item 1"]


def test_a_dropped_table_can_still_be_removed(url: str, db: Connection) -> None:
    install(url, ITEM)
    db.run("DROP TABLE item")
    remove(url, ITEM)
    assert db.one("SELECT count(*) FROM sync.captured_tables") == 0


def test_installing_waits_in_short_tries_while_a_long_transaction_holds_the_table(
    url: str, connect: Callable[..., Connection], db: Connection
) -> None:
    holder = connect(autocommit=False)
    holder.run("UPDATE item SET amount = 1 WHERE id = 1")
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        # Between the tries others must be able to write.
        db.run("SET lock_timeout = '1s'", "UPDATE item SET amount = amount + 1 WHERE id = 2")
        waits.append(seconds)
        if len(waits) == 3:
            holder.commit()

    assert install(url, ITEM, lock_timeout_s=0.1, tries=10, sleep=sleep)
    assert len(waits) == 3
    assert len(_ours(db)) == 4


def test_a_lock_that_is_never_free_names_its_holder(
    url: str, connect: Callable[..., Connection], db: Connection
) -> None:
    holder = connect(autocommit=False)
    holder.run("SET application_name = 'night job'", "UPDATE item SET amount = 1 WHERE id = 1")
    with pytest.raises(TransientError, match=r"2 tries of 0.05 s; it is held by pid \d+ \(night job, idle in trans"):
        install(url, ITEM, lock_timeout_s=0.05, tries=2, sleep=lambda _: None)
    assert _ours(db) == []


@pytest.mark.slow
def test_an_installation_that_waits_holds_up_no_writer_longer_than_its_timeout(
    url: str, connect: Callable[..., Connection], db: Connection
) -> None:
    holder = connect(autocommit=False)
    holder.run("UPDATE item SET amount = 1 WHERE id = 1")
    stop = threading.Event()

    def installing() -> None:
        try:
            install(url, ITEM, lock_timeout_s=0.1, tries=40, sleep=lambda _: time.sleep(0.05))
        except TransientError:
            stop.set()

    thread = threading.Thread(target=installing)
    thread.start()
    slowest = 0.0
    while thread.is_alive():
        started = time.monotonic()
        db.run("UPDATE item SET amount = amount + 1 WHERE id = 3")
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(0.005)
    thread.join()
    assert stop.is_set()
    assert slowest < 3  # all its tries together take twice as long


def test_readers_of_the_table_pass_while_triggers_are_made(
    url: str, connect: Callable[..., Connection], db: Connection
) -> None:
    report = connect(autocommit=False)
    report.all("SELECT * FROM item")
    assert install(url, ITEM, lock_timeout_s=0.2, tries=1)


def test_the_writing_role_needs_no_right_on_the_sync_schema(
    url: str, connect: Callable[..., Connection], db: Connection
) -> None:
    target = reader(url)
    target.sync()
    db.run("DROP ROLE IF EXISTS app_writer", "CREATE ROLE app_writer LOGIN", "GRANT ALL ON item TO app_writer")
    writer = connect(user="app_writer")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        writer.one("SELECT count(*) FROM sync.change_log")
    writer.run(
        "SET search_path = pg_temp",
        "INSERT INTO public.item VALUES (9, 'nine')",
        "UPDATE public.item SET amount = 1 WHERE id = 1",
        "DELETE FROM public.item WHERE id = 2",
    )
    found = target.sync()
    assert (found.upserts, found.deletes) == (["1", "9"], ["2"])
    writer.run("TRUNCATE public.item")
    assert target.sync().full
    db.run("DROP OWNED BY app_writer", "DROP ROLE app_writer")


def test_a_role_whose_triggers_could_not_write_to_the_log_installs_nothing(url: str, db: Connection) -> None:
    db.run("DROP ROLE IF EXISTS app_owner", "CREATE ROLE app_owner LOGIN", "ALTER TABLE item OWNER TO app_owner")
    owner = url.replace("postgres@", "app_owner@")
    with pytest.raises(RunError, match="'app_owner' may not write to the change log"):
        install(owner, ITEM)
    db.run("GRANT USAGE, CREATE ON SCHEMA sync TO app_owner", "GRANT SELECT ON ALL TABLES IN SCHEMA sync TO app_owner")
    with pytest.raises(RunError, match="'app_owner' may not write to the change log"):
        install(owner, ITEM)
    db.run("UPDATE item SET amount = 1")
    db.run("GRANT ALL ON ALL TABLES IN SCHEMA sync TO app_owner")
    assert install(owner, ITEM)
    db.run("SET ROLE app_owner", "UPDATE item SET amount = 2", "RESET ROLE")
    assert db.one("SELECT count(*) FROM sync.change_log") == 3
    remove(owner, ITEM)
    db.run("ALTER TABLE item OWNER TO postgres", "DROP OWNED BY app_owner", "DROP ROLE app_owner")


def test_nobody_else_may_call_the_trigger_function(
    url: str, connect: Callable[..., Connection], db: Connection
) -> None:
    install(url, ITEM)
    db.run("DROP ROLE IF EXISTS stranger", "CREATE ROLE stranger LOGIN", "CREATE SCHEMA own AUTHORIZATION stranger")
    db.run("GRANT USAGE ON SCHEMA sync TO stranger")
    stranger = connect(user="stranger")
    stranger.run("CREATE TABLE own.fake (id int)")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        stranger.run(
            "CREATE TRIGGER fake AFTER INSERT ON own.fake REFERENCING NEW TABLE AS new_rows "
            "FOR EACH STATEMENT EXECUTE FUNCTION sync.capture_1()"
        )
    db.run("DROP OWNED BY stranger CASCADE", "DROP ROLE stranger")


def test_the_text_of_a_key_does_not_depend_on_the_writers_session(url: str, db: Connection) -> None:
    db.run(
        "CREATE TABLE event (at timestamptz, kind interval, raw bytea, real float8, of regclass, note text, "
        "PRIMARY KEY (at, kind, raw, real, of))",
        # a number whose last digits a session may leave out
        "INSERT INTO event VALUES ('2024-02-29 12:00+00', '1 day 02:03', '\\x00ff', 0.30000000000000004, 'pg_class')",
    )
    spec = spec_of(name="event", table="event", key=("at", "kind", "raw", "real", "of"), columns=("note",))
    target = reader(url, spec)
    (key,) = target.sync().upserts
    db.run(
        "SET TimeZone = 'Asia/Tokyo'",
        "SET DateStyle = 'German, DMY'",
        "SET IntervalStyle = 'iso_8601'",
        "SET bytea_output = 'escape'",
        "SET extra_float_digits = -3",
        "SET quote_all_identifiers = on",
        "UPDATE event SET note = 'x'",
    )
    assert target.sync().upserts == [key]
    db.run("DELETE FROM event")
    assert target.sync().deletes == [key]


def test_two_sync_schemas_can_capture_one_table(url: str, db: Connection) -> None:
    upgrade(url, branch="capture", schema='other "sync" %')
    one = reader(url)
    install(url, ITEM, schema='other "sync" %')
    two = Reader(PostgresSource(url, ITEM, sync_schema='other "sync" %'))
    one.sync()
    two.sync()
    db.run("UPDATE item SET amount = 1 WHERE id = 1")
    assert one.sync().upserts == two.sync().upserts == ["1"]
    assert len(_ours(db)) == 8


def test_dropping_the_schema_takes_every_trigger_with_it(url: str, db: Connection) -> None:
    install(url, ITEM)
    db.run("DROP SCHEMA sync CASCADE")
    assert _triggers(db) == []
    db.run("UPDATE item SET amount = 1")
    with pytest.raises(MigrationDueError, match="db upgrade"):
        install(url, ITEM)
    with pytest.raises(CaptureMissingError, match="db upgrade`, then `sync-pipelines capture install shop/item"):
        PostgresSource(url, ITEM).changes(Scope(), since=None)
    assert remove(url, ITEM) == []


@pytest.mark.parametrize("scope", [Scope(), Scope(full=True), Scope(window=(None, None))])
def test_without_triggers_a_run_stops_and_names_the_command(url: str, scope: Scope) -> None:
    with pytest.raises(CaptureMissingError, match="capture install shop/item"):
        PostgresSource(url, ITEM).changes(scope, since=None)


def test_a_reader_without_rights_on_the_log_is_told_which(
    url: str, connect: Callable[..., Connection], db: Connection
) -> None:
    install(url, ITEM)
    db.run("DROP ROLE IF EXISTS poor_reader", "CREATE ROLE poor_reader LOGIN", "GRANT SELECT ON item TO poor_reader")
    poor = PostgresSource(url.replace("postgres@", "poor_reader@"), ITEM)
    with pytest.raises(RunError, match="GRANT USAGE ON SCHEMA sync"):
        poor.changes(Scope(), since=None)
    db.run("GRANT USAGE ON SCHEMA sync TO poor_reader")
    db.run("GRANT SELECT ON sync.change_log, sync.captured_tables TO poor_reader")
    with poor.changes(Scope(), since=None) as changes:
        assert changes.rows == 3
    assert changes.watermark is not None
    assert poor.confirmed(changes.watermark) is False
    assert not poor.pending(changes.watermark)
    db.run("GRANT SELECT, INSERT, UPDATE ON sync.capture_readers TO poor_reader")
    assert poor.confirmed(changes.watermark) is True
    db.run("DROP OWNED BY poor_reader", "DROP ROLE poor_reader")


def test_a_note_that_cannot_be_written_is_no_failure(
    url: str, db: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    install(url, ITEM)
    with PostgresSource(url, ITEM).changes(Scope(), since=None) as changes:
        assert changes.watermark is not None
    read_only = PostgresSource(url + "?options=-cdefault_transaction_read_only%3Don", ITEM)
    assert read_only.confirmed(changes.watermark) is False
    assert caplog.records == []
    db.run("ALTER TABLE sync.capture_readers ADD CONSTRAINT no_room CHECK (confirmed_at IS NULL) NOT VALID")
    assert PostgresSource(url, ITEM).confirmed(changes.watermark) is False
    assert "is not noted in the source" in caplog.text


def test_a_run_without_changes_writes_nothing_to_the_source(url: str, db: Connection) -> None:
    target = reader(url)
    target.sync()
    db.run("UPDATE item SET amount = 1")
    target.sync()
    noise = db.one("SELECT count(*) FROM sync.capture_readers WHERE snapshot IS NOT NULL")
    assert noise == 1
    assert min(_transaction_ids_of_three_idle_runs(target, db) for _ in range(5)) == 0


def _transaction_ids_of_three_idle_runs(target: Reader, db: Connection) -> int:
    # Autovacuum's ANALYZE takes ids of the same server meanwhile: the fewest of several attempts are the runs' own.
    before = db.one("SELECT pg_current_xact_id()::text::bigint")
    for _ in range(3):
        target.sync()
        target.source.pending(target.watermark)
    return db.one("SELECT pg_current_xact_id()::text::bigint") - before - 1


def test_a_table_that_receives_logical_replication_cannot_rest_on_triggers(
    url: str, db: Connection, connect: Callable[..., Connection]
) -> None:
    install(url, ITEM)
    db.run(
        "CREATE SUBSCRIPTION far CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p "
        "WITH (connect = false, slot_name = NONE)",
        "SET allow_system_table_mods = on",
        "INSERT INTO pg_subscription_rel SELECT s.oid, 'item'::regclass, 'r', NULL FROM pg_subscription AS s",
    )
    with pytest.raises(RunError, match="logical replication writes to this table"):
        PostgresSource(url, ITEM).changes(Scope(), since=None)
    auto = replace(ITEM, capture="auto", changed_at="changed")
    assert any("logical replication" in text for text in PostgresSource(url, auto).capture_warnings())
    db.run("DROP SUBSCRIPTION far")
