"""The sync schema: from every revision, by every way, to the same tables."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from sync_pipelines import migrations
from sync_pipelines.engine.database import connect, driver_url
from sync_pipelines.engine.errors import ConfigurationError, LockBusyError, MigrationDueError, RunError, TransientError
from sync_pipelines.engine.ledger.tables import REVISION, Tables
from sync_pipelines.engine.locks import lock_key
from sync_pipelines.sandbox import postgres_binaries
from sync_pipelines_tests.engine.ledger_helpers import emptied, row, rows

BRANCHES = migrations.BRANCHES
ODD = 'my "schema" :x 50%s'

# All that a DBA would see: columns with types and defaults, keys, checks, indexes, triggers, functions, comments.
CATALOG = """
SELECT 'column', table_name || '.' || column_name,
    concat_ws(' ', data_type, is_nullable, column_default, is_identity, ordinal_position)
FROM information_schema.columns WHERE table_schema = %(schema)s
UNION ALL
SELECT 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = %(quoted)s::regnamespace
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = %(schema)s
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = %(quoted)s::regnamespace AND NOT tgisinternal
UNION ALL
SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid) || coalesce(proacl::text, '')
FROM pg_proc p WHERE pronamespace = %(quoted)s::regnamespace
UNION ALL
SELECT 'comment', c.relname || '.' || objsubid, description
FROM pg_description d JOIN pg_class c ON c.oid = objoid AND classoid = 'pg_class'::regclass
WHERE relnamespace = %(quoted)s::regnamespace
UNION ALL
SELECT 'rights', relname, coalesce(relacl::text, '') FROM pg_class WHERE relnamespace = %(quoted)s::regnamespace
ORDER BY 1, 2, 3
"""


def catalog(url: str, schema: str = "sync") -> list[tuple[str, ...]]:
    with closing(connect(url, "test")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(%s)", (schema,))
        cursor.execute(CATALOG, {"schema": schema, "quoted": cursor.fetchone()[0]})
        return cursor.fetchall()


def psql(url: str, script: str) -> None:
    plain = driver_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    command = [str(postgres_binaries.find() / "psql"), plain, "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run_script(url: str, script: str) -> None:
    with closing(connect(url, "test")) as connection, connection.cursor() as cursor:
        cursor.execute(script)


def steps() -> list[tuple[str, str | None]]:
    return [(branch, start) for branch in BRANCHES for start in (None, *migrations.revisions(branch))]


@pytest.fixture
def empty_database_url(postgres_server) -> str:
    """A database without any schema of ours."""
    return emptied(postgres_server, "migrations")


@pytest.fixture
def second_url(postgres_server) -> str:
    """Another one."""
    return emptied(postgres_server, "migrations_second")


@pytest.mark.slow
@pytest.mark.parametrize(("branch", "start"), steps())
def test_a_database_at_any_revision_reaches_the_newest(empty_database_url, second_url, branch, start):
    if start is not None:
        migrations.upgrade(empty_database_url, branch=branch, revision=start)
        assert migrations.current(empty_database_url, branch) == start
    migrations.upgrade(empty_database_url, branch=branch)
    migrations.check(empty_database_url, branch)
    migrations.upgrade(second_url, branch=branch)
    assert catalog(empty_database_url) == catalog(second_url)


@pytest.mark.slow
@pytest.mark.parametrize(("branch", "start"), steps())
def test_the_script_for_a_dba_makes_what_the_upgrade_makes(empty_database_url, second_url, branch, start):
    if start is not None:
        migrations.upgrade(second_url, branch=branch, revision=start)
    run_script(second_url, migrations.script(branch, start=start))
    migrations.check(second_url, branch)
    migrations.upgrade(empty_database_url, branch=branch)
    assert catalog(second_url) == catalog(empty_database_url)


@pytest.mark.slow
@pytest.mark.parametrize("branch", BRANCHES)
def test_psql_runs_the_script_for_a_schema_of_any_name(empty_database_url, second_url, branch):
    psql(second_url, migrations.script(branch, ODD))
    migrations.upgrade(empty_database_url, branch=branch, schema=ODD)
    migrations.check(second_url, branch, ODD)
    assert catalog(second_url, ODD) == catalog(empty_database_url, ODD)


@pytest.mark.parametrize("branch", BRANCHES)
def test_there_is_one_newest_revision(branch):
    assert len(migrations.heads(branch)) == 1
    assert migrations.revisions(branch)[-1] == migrations.heads(branch)[0]


def test_the_ledger_is_found_current_without_asking_alembic():
    assert migrations.heads("ledger") == (REVISION,)


def test_a_second_upgrade_changes_nothing(empty_database_url):
    for branch in BRANCHES:
        migrations.upgrade(empty_database_url, branch=branch)
    oids = "SELECT oid, relname FROM pg_class WHERE relnamespace = 'sync'::regnamespace ORDER BY 1"
    before = rows(empty_database_url, oids)
    for branch in BRANCHES:
        migrations.upgrade(empty_database_url, branch=branch)
    assert rows(empty_database_url, oids) == before


@pytest.mark.slow
def test_both_branches_stand_in_one_schema_or_apart(empty_database_url, second_url):
    migrations.upgrade(empty_database_url, branch="ledger")
    with pytest.raises(MigrationDueError, match="capture branch has not been made"):
        migrations.check(empty_database_url, "capture")
    migrations.upgrade(empty_database_url, branch="capture")
    migrations.check(empty_database_url, "ledger")
    migrations.check(empty_database_url, "capture")
    migrations.upgrade(second_url, branch="capture")
    names = {name for kind, name, _ in catalog(second_url) if kind == "rights"}
    assert "change_log" in names
    assert "sync_logs" not in names


UPGRADE = "import sys; from sync_pipelines import migrations; migrations.upgrade(sys.argv[1], branch='ledger')"


@pytest.mark.slow
def test_two_upgrades_at_once_wait_for_each_other(empty_database_url):
    """Both wait behind a lock of ours, so that they certainly meet; then one makes the tables, one finds them."""
    with closing(connect(empty_database_url, "test")) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (lock_key("migrations:sync"),))
        both = [
            subprocess.Popen([sys.executable, "-c", UPGRADE, empty_database_url], stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        _wait_for_upgrades(empty_database_url, 2)
        assert [process.poll() for process in both] == [None, None]
        assert migrations.current(empty_database_url, "ledger") is None
    errors = [process.communicate(timeout=30)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    migrations.check(empty_database_url, "ledger")


def _wait_for_upgrades(url: str, number: int) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    deadline = time.monotonic() + 30
    while row(url, waiting, "sync-pipelines migrations") != (number,):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_upgrade_does_not_wait_for_ever(empty_database_url):
    with closing(connect(empty_database_url, "test")) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (lock_key("migrations:sync"),))
        with pytest.raises(LockBusyError, match="Another upgrade of schema 'sync'"):
            migrations.upgrade(empty_database_url, branch="ledger", wait_seconds=0.2)


def test_an_upgrade_gives_its_lock_back(empty_database_url):
    migrations.upgrade(empty_database_url, branch="ledger")
    assert rows(empty_database_url, "SELECT FROM pg_locks WHERE locktype = 'advisory'") == []


@pytest.fixture
def plain_role(empty_database_url) -> Iterator[str]:
    """The URL as a role that is no superuser and has no rights yet."""
    rows(empty_database_url, "CREATE ROLE plain_migrator LOGIN")
    yield empty_database_url.replace("postgres@", "plain_migrator@")
    rows(empty_database_url, "DROP OWNED BY plain_migrator CASCADE")
    rows(empty_database_url, "DROP ROLE plain_migrator")


def database_of(url: str) -> str:
    return driver_url(url).database or ""


@pytest.mark.slow
@pytest.mark.parametrize("branch", BRANCHES)
def test_a_role_that_may_create_schemas_upgrades(empty_database_url, plain_role, branch):
    rows(empty_database_url, f"GRANT CREATE ON DATABASE {database_of(plain_role)} TO plain_migrator")
    migrations.upgrade(plain_role, branch=branch)
    migrations.check(plain_role, branch)


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_role_that_was_given_the_schema_upgrades(empty_database_url, plain_role, branch):
    """A DBA made the schema; IF NOT EXISTS alone would still ask for the right to create schemas."""
    rows(empty_database_url, "CREATE SCHEMA sync AUTHORIZATION plain_migrator")
    migrations.upgrade(plain_role, branch=branch)
    migrations.check(plain_role, branch)


def test_a_role_without_rights_is_told_so(plain_role):
    with pytest.raises(RunError, match=r"permission denied for database.*db upgrade --sql"):
        migrations.upgrade(plain_role, branch="ledger")


def test_a_role_that_does_not_own_the_schema_is_pointed_to_the_script_for_a_dba(empty_database_url, plain_role):
    migrations.upgrade(empty_database_url, branch="capture", revision="capture_0001")
    rows(empty_database_url, "GRANT ALL ON SCHEMA sync TO plain_migrator")
    rows(empty_database_url, "GRANT ALL ON ALL TABLES IN SCHEMA sync TO plain_migrator")
    with pytest.raises(RunError, match=r"must be owner.*db upgrade --sql"):
        migrations.upgrade(plain_role, branch="capture")


def test_the_ends_of_relationships_are_filled_in_while_others_publish(empty_database_url):
    """Under the lock that adds the column, they waited 17 s at a million events."""
    migrations.upgrade(empty_database_url, branch="capture", revision="capture_0007")
    ends = {name: {"type": "concept", "id": name} for name in ("start", "end")}
    for name in ("r1", "r2"):
        call = f"SELECT sync.publish_event('RELATIONSHIP_CREATED', 'requires', '{name}', '{json.dumps(ends)}')"
        rows(empty_database_url, call)
    held = "SELECT count(*) FROM pg_locks WHERE relation = 'sync.sync_entity_versions'::regclass AND mode = "
    rows(
        empty_database_url,
        "CREATE TABLE seen (held bigint, tx xid8); CREATE FUNCTION look() RETURNS "
        f"trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen SELECT ({held} 'AccessExclusiveLock'), "
        "pg_current_xact_id(); RETURN NEW; END $$; CREATE TRIGGER look BEFORE UPDATE ON sync.sync_entity_versions "
        "FOR EACH ROW EXECUTE FUNCTION look()",
    )
    migrations.upgrade(empty_database_url, branch="capture")
    assert rows(empty_database_url, "SELECT ends FROM sync.sync_entity_versions") == [(ends,), (ends,)]
    assert rows(empty_database_url, "SELECT sum(held), count(DISTINCT tx) FROM seen") == [(0, 2)]


def test_an_upgrade_that_breaks_leaves_nothing_behind(empty_database_url):
    rows(empty_database_url, "CREATE SCHEMA sync; CREATE TABLE sync.sync_settings (other int)")
    with pytest.raises(RunError, match=r"already exists .*a schema of their own by SYNC_SCHEMA"):
        migrations.upgrade(empty_database_url, branch="ledger")
    assert rows(empty_database_url, "SELECT relname FROM pg_class WHERE relnamespace = 'sync'::regnamespace") == [
        ("sync_settings",)
    ]


def test_an_application_that_has_a_table_of_hotels_is_told_what_to_do_with_it_and_keeps_it(empty_database_url):
    rows(empty_database_url, "CREATE TABLE properties (id int); INSERT INTO properties VALUES (7)")
    with pytest.raises(
        RunError, match=r'"properties" already exists .*\?schema=hotels\), or name yours in the documents'
    ):
        migrations.upgrade(empty_database_url, branch="hotels", schema="public")
    assert rows(empty_database_url, "SELECT id FROM properties") == [(7,)]
    migrations.upgrade(empty_database_url, branch="hotels", schema="hotels")
    migrations.check(empty_database_url, "hotels", "hotels")


def test_hotels_that_cupid_had_no_more_are_known_as_gone_after_an_upgrade(empty_database_url):
    migrations.upgrade(empty_database_url, branch="hotels", revision="hotels_0001")
    there = "('properties', '1', 'absent'), ('reviews', '2', 'failed')"
    rows(empty_database_url, f"INSERT INTO sync.property_checks (part, record_key, status) VALUES {there}")
    migrations.upgrade(empty_database_url, branch="hotels")
    found = "SELECT record_key, gone FROM sync.property_checks ORDER BY 1"
    assert rows(empty_database_url, found) == [("1", True), ("2", False)]


OF_HOTELS = ("properties", "rooms", "photos", "facilities", "policies", "reviews", "translations")


def test_the_tables_of_hotels_say_what_they_are_for_have_keys_and_find_what_belongs_to_a_hotel(empty_database_url):
    migrations.upgrade(empty_database_url, branch="hotels")
    made = """SELECT relname, relkind FROM pg_class
        WHERE relnamespace = 'sync'::regnamespace AND relkind IN ('r', 'v') AND relname !~ '^alembic'"""
    silent = f"{made} AND obj_description(oid, 'pg_class') IS NULL"
    primary = "SELECT FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'p'"
    keyless = f"{made} AND relkind = 'r' AND NOT EXISTS ({primary})"
    assert set(OF_HOTELS) < {name for name, _ in rows(empty_database_url, made)}
    assert rows(empty_database_url, silent) == rows(empty_database_url, keyless) == []
    # a foreign key without an index lets each deletion of a parent read the whole table
    references = """SELECT conrelid::regclass::text, confrelid::regclass::text, EXISTS (
            SELECT FROM pg_index WHERE indrelid = conrelid AND (indkey::int2[])[0:cardinality(conkey) - 1] = conkey)
        FROM pg_constraint WHERE contype = 'f' AND connamespace = 'sync'::regnamespace"""
    parts = {(f"sync.{name}", "sync.properties", True) for name in OF_HOTELS[1:]}
    assert set(rows(empty_database_url, references)) == {*parts, ("sync.photos", "sync.rooms", True)}


def test_a_missing_schema_is_named_with_database_branch_revision_and_remedy(empty_database_url):
    url = empty_database_url.replace("postgres@", "postgres:hunter2@")
    with pytest.raises(MigrationDueError) as caught:
        migrations.check(url, "ledger")
    text = str(caught.value)
    for part in (database_of(url), "127.0.0.1", "ledger", migrations.heads("ledger")[0], "sync-pipelines db upgrade"):
        assert part in text
    assert "hunter2" not in text


def test_a_database_of_a_newer_version_is_left_alone(empty_database_url):
    migrations.upgrade(empty_database_url, branch="ledger")
    rows(empty_database_url, "UPDATE sync.alembic_version_ledger SET version_num = '9999_future'")
    for act in (migrations.check, lambda url, branch: migrations.upgrade(url, branch=branch)):
        with pytest.raises(MigrationDueError, match=r"9999_future.*newer"):
            act(empty_database_url, "ledger")


def test_an_unknown_branch_is_refused(empty_database_url):
    with pytest.raises(ConfigurationError, match="no branch"):
        migrations.upgrade(empty_database_url, branch="nothing")  # type: ignore[arg-type]


def test_a_database_out_of_reach_is_an_outage():
    with pytest.raises(TransientError):
        migrations.check("postgresql://ann:hunter2@127.0.0.1:1/app", "ledger")


def types_of(table: sa.Table) -> dict[str, str]:
    dialect = postgresql.dialect()
    return {column.name: column.type.compile(dialect) for column in table.columns}


def test_the_engine_knows_the_ledger_as_the_migrations_made_it(empty_database_url):
    migrations.upgrade(empty_database_url, branch="ledger")
    engine = sa.create_engine(driver_url(empty_database_url))
    made = sa.MetaData(schema="sync")
    made.reflect(engine)
    engine.dispose()
    known = Tables("sync").metadata.tables
    assert set(known) == set(made.tables) - {"sync.alembic_version_ledger"}
    for name, table in known.items():
        assert types_of(table) == types_of(made.tables[name])


def test_every_table_and_column_of_the_ledger_says_what_it_is_for(empty_database_url):
    migrations.upgrade(empty_database_url, branch="ledger")
    silent = """
        SELECT c.relname, a.attname FROM pg_class c
        JOIN (SELECT attrelid, attname, attnum FROM pg_attribute WHERE NOT attisdropped AND attnum > 0
              UNION ALL SELECT oid, 'itself', 0 FROM pg_class) a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'sync'::regnamespace AND c.relkind = 'r' AND c.relname !~ '^alembic'
            AND col_description(c.oid, a.attnum) IS NULL AND (a.attnum > 0 OR obj_description(c.oid) IS NULL)"""
    assert rows(empty_database_url, silent) == []


def test_every_time_in_the_ledger_has_a_zone(empty_database_url):
    migrations.upgrade(empty_database_url, branch="ledger")
    zoneless = """SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'sync' AND data_type ~ '^(date|time)' AND data_type !~ 'with time zone$'"""
    assert rows(empty_database_url, zoneless) == []


METADATA = (
    "id sync_type table_name last_sync_timestamp last_sync_id records_synced sync_status error_message"
    " sync_duration_seconds created_at updated_at"
)


def test_the_state_of_a_table_has_exactly_the_columns_that_operators_were_promised(empty_database_url):
    migrations.upgrade(empty_database_url, branch="ledger")
    columns = """SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns
        WHERE table_schema = 'sync' AND table_name = 'sync_metadata'"""
    assert row(empty_database_url, columns) == (METADATA,)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("INSERT INTO sync.sync_metadata (sync_type, table_name, sync_status) VALUES ('a', 'b', 'odd')", "status"),
        (
            "INSERT INTO sync.sync_metadata (sync_type, table_name, sync_status)"
            " SELECT 'a', 'b', 'failed' FROM generate_series(1, 2)",
            "place",
        ),
    ],
)
def test_the_states_rules_hold_in_the_database(empty_database_url, statement, constraint):
    migrations.upgrade(empty_database_url, branch="ledger")
    with pytest.raises(psycopg2.IntegrityError, match=constraint):
        rows(empty_database_url, statement)
