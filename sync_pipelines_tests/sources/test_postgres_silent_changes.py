"""What changes a table's rows, values or capture without leaving a line in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest

from sync_pipelines.engine.capture import key_text, touched_keys
from sync_pipelines.engine.errors import CaptureMissingError, RunError
from sync_pipelines.engine.model import Scope
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sources.postgres import connection
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines.sources.postgres.continuity import TRUNCATED
from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import ITEM, Connection, Reader, make_item, reader, spec_of

TOUCHED = "capture was disabled, dropped or replaced for a while"
REWRITTEN = "a column that is read was rewritten (ALTER TABLE … USING or SET EXPRESSION)"
DUMB = "CREATE OR REPLACE FUNCTION sync.capture_1() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$"


@pytest.fixture
def target(url: str, db: Connection) -> Reader:
    """A reader after its first run."""
    make_item(db)
    found = reader(url)
    found.sync()
    return found


def _run(server: PostgresServer, database: str, *statements: str) -> None:
    connection.pool.cache_clear()
    with closing(psycopg2.connect(server.url(database).replace("+psycopg2", ""))) as raw:
        raw.autocommit = True
        Connection(raw).run(*statements)


@pytest.mark.slow
def test_a_copy_that_took_the_databases_name_is_read_whole(
    postgres_server: PostgresServer, capture_branch: str
) -> None:
    postgres_server.create_database("original")
    _run(postgres_server, "original", capture_branch, "CREATE TABLE item (id int PRIMARY KEY, name text, amount int)")
    found = reader(postgres_server.url("original"))
    found.sync()
    names = ("original", "backup")
    cut = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname IN {names}"
    _run(postgres_server, "postgres", cut, "CREATE DATABASE backup TEMPLATE original")
    _run(postgres_server, "postgres", "DROP DATABASE original", "CREATE DATABASE original TEMPLATE backup")
    assert "its oid differs" in (found.source.pending(found.watermark).full_reason or "")
    assert found.sync().full
    assert not found.sync().full
    _run(postgres_server, "postgres", cut, *(f"DROP DATABASE {name}" for name in names))


# Rows that this role may not see


@pytest.fixture
def half_blind(target: Reader, url: str, db: Connection) -> Iterator[PostgresSource]:
    """The source as a role sees it from which a policy hides two of the three rows."""
    db.run(
        "DROP ROLE IF EXISTS half_blind",
        "CREATE ROLE half_blind LOGIN",
        "GRANT USAGE ON SCHEMA sync TO half_blind",
        "GRANT SELECT ON sync.change_log, sync.captured_tables, item TO half_blind",
        "ALTER TABLE item ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY one ON item USING (id = 1)",
    )
    source = PostgresSource(url.replace("postgres@", "half_blind@"), ITEM)
    yield source
    # The next test's role of this name is another one.
    connection.pool(source.url.sqlalchemy, 10).dispose()
    db.run("DROP OWNED BY half_blind", "DROP ROLE half_blind")


@pytest.mark.slow
@pytest.mark.parametrize("scope", [Scope(), Scope(full=True), Scope(keys=("2",))])
def test_rows_that_a_policy_hides_are_not_taken_for_deleted(
    half_blind: PostgresSource, target: Reader, db: Connection, scope: Scope
) -> None:
    db.run("UPDATE item SET amount = 1")
    with pytest.raises(RunError, match=r"row-level security.*ALTER ROLE … BYPASSRLS") as caught:
        half_blind.changes(scope, since=target.watermark)
    assert ("SELECT" in str(caught.value), caught.value.__cause__) == (False, None)
    with pytest.raises(RunError, match="BYPASSRLS"):
        half_blind.digests()


@pytest.mark.slow
def test_a_role_that_bypasses_policies_reads_every_row(
    half_blind: PostgresSource, target: Reader, db: Connection
) -> None:
    db.run("ALTER ROLE half_blind BYPASSRLS", "UPDATE item SET amount = 1")
    with half_blind.changes(Scope(), since=target.watermark) as changes:
        assert changes.rows == 3


# Capture that was out of order


def _remake(db: Connection) -> None:
    names = db.all("SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'item'::regclass")
    db.run(*(f"DROP TRIGGER {name} ON item" for name, _ in names), "UPDATE item SET amount = 7")
    for name, definition in names:
        db.run(definition, f"ALTER TABLE item ENABLE ALWAYS TRIGGER {name}")


def _disable(db: Connection) -> None:
    names = [name for (name,) in db.all("SELECT tgname FROM pg_trigger WHERE tgrelid = 'item'::regclass")]
    db.run("ALTER TABLE item DISABLE TRIGGER USER", "UPDATE item SET amount = 7")
    db.run(*(f"ALTER TABLE item ENABLE ALWAYS TRIGGER {name}" for name in names))


def _replace(db: Connection) -> None:
    definition = db.one("SELECT pg_get_functiondef('sync.capture_1'::regproc)")
    db.run(DUMB, "UPDATE item SET amount = 7", definition)


@pytest.mark.slow
@pytest.mark.parametrize("out_of_order", [_remake, _disable, _replace])
def test_capture_that_was_out_of_order_for_a_while_makes_one_run_full(
    target: Reader, url: str, db: Connection, out_of_order: Callable[[Connection], None]
) -> None:
    out_of_order(db)
    assert target.source.pending(target.watermark).full_reason == TOUCHED
    found = target.sync()
    assert (found.full, found.reason) == (True, TOUCHED)
    assert target.rows["1"]["amount"] == 7
    assert not target.source.pending(target.watermark)
    assert install(url, ITEM) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        DUMB,
        "ALTER FUNCTION sync.capture_1() RESET ALL",
        "ALTER FUNCTION sync.capture_1() SECURITY INVOKER",
    ],
)
def test_a_replaced_trigger_function_stops_runs_until_it_is_installed_again(
    target: Reader, url: str, db: Connection, statement: str
) -> None:
    db.run(statement, "UPDATE item SET amount = 7")
    with pytest.raises(CaptureMissingError, match=r"trigger function of .*capture install shop/item"):
        target.sync()
    with pytest.raises(CaptureMissingError):
        target.source.pending(target.watermark)
    assert "trigger function" in (target.source.capture_status().error or "")
    auto = PostgresSource(url, replace(ITEM, capture="auto", changed_at="changed"))
    assert any("trigger function" in text for text in auto.capture_warnings())
    install(url, ITEM)
    assert target.sync().reason == "capture was installed after the last run"
    assert target.rows["1"]["amount"] == 7
    assert target.source.capture_status().healthy


@pytest.mark.slow
@pytest.mark.parametrize(
    "other",
    [
        "AFTER UPDATE ON item REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT WHEN (false)",
        "AFTER DELETE ON item REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT",
    ],
)
def test_a_trigger_that_only_bears_the_name_counts_as_missing(
    target: Reader, url: str, db: Connection, other: str
) -> None:
    db.run(
        "DROP TRIGGER sync_capture_1_update ON item",
        f"CREATE TRIGGER sync_capture_1_update {other} EXECUTE FUNCTION sync.capture_1()",
        "ALTER TABLE item ENABLE ALWAYS TRIGGER sync_capture_1_update",
        "UPDATE item SET amount = 7",
    )
    with pytest.raises(CaptureMissingError):
        target.sync()
    install(url, ITEM)
    assert target.sync().full
    db.run("UPDATE item SET amount = 8 WHERE id = 1")
    assert target.sync().upserts == ["1"]


# Values that another definition changed

TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TYPE span AS RANGE (subtype = mood)",
    "CREATE TYPE place AS (street text, feeling mood)",
    "CREATE DOMAIN feeling AS mood",
    "CREATE TABLE entry (id int PRIMARY KEY, note text, twice text GENERATED ALWAYS AS (note || note) STORED, "
    "one mood, many feeling[], during span, where_ place)",
    "INSERT INTO entry (id, note, one, many, during, where_) "
    "VALUES (1, 'a', 'sad', '{sad}', '[sad,ok]', '(street,sad)'), (2, 'b', 'ok', '{ok}', '[ok,ok]', '(street,ok)')",
)


def _entry(url: str, db: Connection, *columns: str) -> Reader:
    db.run(*TYPES)
    found = reader(url, spec_of(name="entry", table="entry", columns=columns))
    found.sync()
    return found


@pytest.mark.slow
def test_a_column_rewritten_under_its_old_type_is_read_again(target: Reader, db: Connection) -> None:
    db.run("ALTER TABLE item ALTER COLUMN name TYPE text USING upper(name)")
    found = target.sync()
    assert (found.full, found.reason) == (True, REWRITTEN)
    assert target.rows["1"]["name"] == "ITEM 1"
    assert not target.source.pending(target.watermark)


@pytest.mark.slow
def test_a_column_of_a_partitioned_table_rewritten_is_read_again(url: str, db: Connection) -> None:
    db.run(
        "CREATE TABLE parted (id int PRIMARY KEY, note text) PARTITION BY RANGE (id)",
        "CREATE TABLE leaf PARTITION OF parted FOR VALUES FROM (0) TO (100)",
        "INSERT INTO parted VALUES (1, 'a')",
    )
    found = reader(url, spec_of(table="parted", columns=("note",)))
    found.sync()
    db.run("ALTER TABLE parted ALTER COLUMN note TYPE text USING upper(note)")
    assert found.sync().reason == REWRITTEN
    assert found.rows["1"]["note"] == "A"


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["STORED", "VIRTUAL"])
def test_a_generated_column_with_another_expression_is_read_again(url: str, db: Connection, stored: str) -> None:
    if db.raw.server_version < 180000:
        pytest.skip("SET EXPRESSION came with PostgreSQL 17, virtual columns with 18")
    db.run(f"CREATE TABLE sum (id int PRIMARY KEY, n int GENERATED ALWAYS AS (id + 1) {stored})")
    db.run("INSERT INTO sum VALUES (1)")
    found = reader(url, spec_of(table="sum", columns=("n",)))
    found.sync()
    db.run("ALTER TABLE sum ALTER COLUMN n SET EXPRESSION AS (id + 2)")
    assert found.sync().reason == REWRITTEN
    assert found.rows["1"]["n"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "VACUUM FULL item",
        "CLUSTER item USING item_pkey",
        "ALTER TABLE item ALTER COLUMN name SET DEFAULT 'x'",
        "ALTER TABLE item ALTER COLUMN name SET NOT NULL",
        "ALTER TABLE item ALTER COLUMN amount SET STATISTICS 10",
        "CREATE INDEX ON item (name)",
        "ANALYZE item",
        "VACUUM FREEZE pg_attribute",
        "VACUUM FULL pg_attribute",
        "VACUUM FULL pg_trigger",
        "VACUUM FULL pg_proc",
        "REINDEX TABLE item",
    ],
)
def test_what_leaves_values_as_they_are_is_no_reason_to_read_everything(
    target: Reader, db: Connection, statement: str
) -> None:
    db.run(statement)
    assert not target.source.pending(target.watermark)


@pytest.mark.slow
def test_a_truncate_is_told_as_one_and_read_once(target: Reader, db: Connection) -> None:
    db.run("TRUNCATE item")
    assert target.sync().reason == TRUNCATED
    assert not target.source.pending(target.watermark)


@pytest.mark.slow
@pytest.mark.parametrize(("column", "value"), [("one", "blue"), ("many", '["blue"]'), ("during", "[blue,ok]")])
def test_a_renamed_value_of_an_enum_is_read_again(url: str, db: Connection, column: str, value: str) -> None:
    found = _entry(url, db, column)
    db.run("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    read = found.sync()
    assert (read.full, read.reason) == (True, "a value of an enum that is read was renamed")
    assert found.rows["1"][column] == value
    assert not found.source.pending(found.watermark)


@pytest.mark.slow
def test_a_new_value_of_an_enum_changes_no_row(url: str, db: Connection) -> None:
    found = _entry(url, db, "one")
    db.run("ALTER TYPE mood ADD VALUE 'glad' BEFORE 'ok'")
    assert not found.source.pending(found.watermark)


@pytest.mark.slow
def test_an_enum_that_nobody_reads_may_change(url: str, db: Connection) -> None:
    found = _entry(url, db, "note")
    db.run("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    assert not found.source.pending(found.watermark)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "(street,blue)"),
        ("ALTER TYPE place ADD ATTRIBUTE number int", "(street,sad,)"),
        ("ALTER TYPE place DROP ATTRIBUTE street", "(sad)"),
    ],
)
def test_a_composite_type_that_was_redefined_is_read_again(
    url: str, db: Connection, statement: str, value: str
) -> None:
    found = _entry(url, db, "where_")
    db.run(statement)
    assert found.sync().full
    assert found.rows["1"]["where_"] == value
    assert not found.source.pending(found.watermark)


# Keys


@pytest.mark.slow
def test_a_renamed_key_column_does_not_stop_the_application(target: Reader, url: str, db: Connection) -> None:
    db.run(
        "ALTER TABLE item RENAME COLUMN id TO pk",
        "INSERT INTO item (pk) VALUES (9)",
        "UPDATE item SET amount = 1 WHERE pk = 1",
        "DELETE FROM item WHERE pk = 2",
    )
    assert db.all("SELECT DISTINCT key FROM sync.change_log") == [(None,)]
    with pytest.raises(RunError, match="has no column 'id'"):
        target.sync()
    db.run("ALTER TABLE item RENAME COLUMN pk TO id")
    assert target.sync().full
    assert set(target.rows) == {"1", "3", "9"}
    db.run("UPDATE item SET amount = 2 WHERE id = 1")
    assert target.sync().upserts == ["1"]


@pytest.mark.slow
def test_a_dropped_part_of_a_key_does_not_stop_the_application(url: str, db: Connection) -> None:
    db.run("CREATE TABLE pair (a int, b text, note text, PRIMARY KEY (a, b))", "INSERT INTO pair VALUES (1, 'x')")
    reader(url, spec_of(table="pair", key=("a", "b"), columns=("note",))).sync()
    db.run("INSERT INTO pair VALUES (2, 'y')", "ALTER TABLE pair DROP COLUMN b", "UPDATE pair SET note = 'z'")
    assert [key for (key,) in db.all("SELECT key FROM sync.change_log ORDER BY tx")] == ['["2", "y"]', None]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["found", "tg_op", "new", "gone", "k", "key", "new_rows", 'o"d d', "ctid_"])
def test_a_key_column_may_have_any_name(url: str, db: Connection, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    db.run(f"CREATE TABLE odd ({quoted} int PRIMARY KEY, note text)")
    found = reader(url, spec_of(table="odd", key=(name,), columns=("note",)))
    found.sync()
    db.run("INSERT INTO odd VALUES (1, 'a'), (2, 'b')", f"UPDATE odd SET {quoted} = 3 WHERE note = 'b'")
    assert found.sync().upserts == ["1", "3"]
    db.run("DELETE FROM odd WHERE note = 'a'")
    assert found.sync().deletes == ["1"]


@pytest.mark.slow
def test_the_text_of_a_key_is_compared_byte_by_byte_whatever_its_column_is_compared_by(db: Connection) -> None:
    """A collation that takes 'a' and 'A' for equal needs ICU, which this server may lack."""
    db.run('CREATE TABLE odd (id text COLLATE "C.utf8", part text)', "INSERT INTO odd VALUES ('a', 'b')")
    for key in (("id",), ("id", "part")):
        assert db.one(f"SELECT pg_collation_for({key_text(key, 't')}) FROM odd AS t") == '"C"'
        assert db.one(f"SELECT pg_collation_for(k.key) {touched_keys(key, 'odd')}") == '"C"'
