"""What PostgreSQL's errors mean, provoked on a real server through each of three clients."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import closing
from typing import Any

import adbc_driver_postgresql.dbapi
import psycopg2
import pytest
import sqlalchemy as sa

from sync_pipelines.engine.database import connect, driver_url, make_engine, place
from sync_pipelines.engine.errors import (
    ConfigurationError,
    MigrationDueError,
    RecordError,
    RunError,
    SyncError,
    TransientError,
)
from sync_pipelines.engine.pg_errors import classified, classify, is_database_error
from sync_pipelines_tests.engine.ledger_helpers import rows


def plain(url: str) -> str:
    return driver_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def by_psycopg2(url: str, statement: str) -> None:
    with closing(psycopg2.connect(plain(url))) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


def by_sqlalchemy(url: str, statement: str) -> None:
    with make_engine(url, pool_max=0, application_name="test").connect() as connection:
        connection.execute(sa.text(statement.replace(":", "\\:")))


def by_adbc(url: str, statement: str) -> None:
    with adbc_driver_postgresql.dbapi.connect(plain(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


CLIENTS = [by_psycopg2, by_sqlalchemy, by_adbc]
Client = Callable[[str, str], None]


def provoked(client: Client, url: str, statement: str, **how: Any) -> SyncError:
    with pytest.raises(Exception, match=r".") as caught:
        client(url, statement)
    assert is_database_error(caught.value)
    return classify(caught.value, **how)


def raising(code: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'something is wrong' USING ERRCODE = '{code}'; END $$"


TRANSIENT = ["08006", "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300", "53200", "57014", "25P03"]
RECORD = ["22003", "22P02", "22021", "23505", "23503", "23514", "54000"]
RUN = ["42501", "25006", "53100", "57P04", "0A000", "XX000", "P0001", "42P01", "42703"]
SETTING = ["28000", "28P01", "3D000"]


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, TransientError) for code in TRANSIENT),
        *((code, RecordError) for code in RECORD),
        *((code, RunError) for code in RUN),
        *((code, ConfigurationError) for code in SETTING),
    ],
)
def test_a_sqlstate_means_the_same_through_every_client(ledger_url, client, code, kind):
    error = provoked(client, ledger_url, raising(code))
    assert type(error) is kind
    assert f"something is wrong [{code}]" in str(error)


@pytest.mark.parametrize(
    ("code", "says", "remedy"),
    [
        ("55P03", "canceling statement due to lock timeout", "Another session holds a lock on the table or on a row"),
        ("42501", "query would be affected by row-level security policy", "ALTER ROLE … BYPASSRLS"),
        ("42501", "permission denied for table item", "Grant the role"),
        (
            "0A000",
            "INSERT with ON CONFLICT clause cannot be used with table that has INSERT or UPDATE rules",
            "a trigger",
        ),
    ],
)
def test_who_has_to_do_something_elsewhere_is_told_what(ledger_url: str, code: str, says: str, remedy: str):
    error = provoked(by_psycopg2, ledger_url, raising(code).replace("something is wrong", says))
    assert remedy in str(error)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("statement", ["SELECT * FROM sync.nothing", "SELECT * FROM sync_elsewhere.nothing"])
def test_what_is_missing_in_our_schema_means_that_a_migration_is_due(ledger_url, client, statement):
    schema = statement.split()[3].split(".")[0]
    error = provoked(client, ledger_url, statement, sync_schema=schema)
    assert type(error) is MigrationDueError
    assert "sync-pipelines db upgrade" in str(error)


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_missing_elsewhere_is_the_users_to_correct(ledger_url, client):
    error = provoked(client, ledger_url, 'SELECT * FROM "Nothing"', sync_schema="sync")
    assert type(error) is RunError
    assert '"Nothing" does not exist' in str(error)
    assert "Check the names" in str(error)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_column_that_is_missing_means_a_migration_where_every_table_is_ours(ledger_url, client):
    assert type(provoked(client, ledger_url, "SELECT nothing FROM sync.sync_logs", only_ours=True)) is MigrationDueError
    assert type(provoked(client, ledger_url, "SELECT nothing FROM sync.sync_logs")) is RunError


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refused_connection_is_an_outage_and_its_text_holds_no_password(unused_port_url, client):
    error = provoked(client, unused_port_url, "SELECT 1", database=place(unused_port_url))
    assert type(error) is TransientError
    assert place(unused_port_url) in str(error)
    assert "hunter2" not in repr(error)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_session_that_is_ended_in_the_middle_is_an_outage(ledger_url, client):
    end = "DO $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); END $$"
    assert type(provoked(client, ledger_url, end)) is TransientError


@pytest.mark.parametrize("client", CLIENTS)
def test_a_database_that_does_not_exist_stops_the_run(ledger_url, client):
    url = ledger_url.rpartition("/")[0] + "/nowhere"
    error = provoked(client, url, "SELECT 1")
    assert type(error) is ConfigurationError
    assert "Check the database's name" in str(error)


@pytest.mark.parametrize("client", CLIENTS)
def test_an_unknown_role_stops_the_run(ledger_url, client):
    error = provoked(client, ledger_url.replace("postgres@", "nobody-at-all:hunter2@"), "SELECT 1")
    assert type(error) is ConfigurationError
    assert "Check user and password" in str(error)
    assert "hunter2" not in repr(error)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_missing_right_stops_the_run(ledger_url, client):
    rows(ledger_url, "DROP ROLE IF EXISTS rightless; CREATE ROLE rightless LOGIN")
    error = provoked(client, ledger_url.replace("postgres@", "rightless@"), "SELECT * FROM sync.sync_logs")
    assert type(error) is RunError
    assert "permission denied" in str(error)
    assert "Grant" in str(error)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_is_full_is_an_outage(ledger_url, client):
    rows(ledger_url, "DROP ROLE IF EXISTS crowded; CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    assert type(provoked(client, ledger_url.replace("postgres@", "crowded@"), "SELECT 1")) is TransientError


@pytest.mark.parametrize("client", CLIENTS)
def test_a_host_that_does_not_exist_stops_the_run(client):
    error = provoked(client, "postgresql://ann:hunter2@no-such-host.invalid:5432/app", "SELECT 1")
    # A resolver that cannot be reached says "try again", and so do we.
    assert type(error) is ConfigurationError or "temporary failure" in str(error).lower()
    assert "hunter2" not in repr(error)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_wrong_option_of_the_url_stops_the_run_without_its_password(unused_port_url, client):
    error = provoked(client, f"{unused_port_url}?no_such_option=1", "SELECT 1")
    assert type(error) is ConfigurationError
    assert "hunter2" not in repr(error)


@pytest.mark.parametrize("dsn", ["postgresql://ann:hunter2@host:port/db", "host=x password=hunter2 =", "hunter2"])
def test_a_connection_string_that_libpq_quotes_is_not_repeated(dsn):
    with pytest.raises(psycopg2.Error) as caught:
        psycopg2.connect(dsn)
    assert "hunter2" not in repr(classify(caught.value))


AUTHENTICATION = (
    'connection to server at "10.0.0.1", port 5432 failed: FATAL:  password authentication failed for user "x"\n'
)


def test_a_wrong_password_stops_the_run():
    """The sandbox's server trusts everybody, so libpq's words are given as they are."""
    error = classify(psycopg2.OperationalError(AUTHENTICATION))
    assert type(error) is ConfigurationError
    assert "Check user and password" in str(error)


def test_a_connection_that_is_closed_already_is_an_outage(ledger_url):
    connection = connect(ledger_url, "test")
    connection.close()
    with pytest.raises(TransientError), classified():
        connection.cursor()


def test_a_pool_that_stays_empty_is_an_outage(ledger_url):
    engine = make_engine(ledger_url, pool_max=1, application_name="test")
    engine.pool._timeout = 0.1
    with engine.connect(), pytest.raises(TransientError), classified():
        engine.connect()
    engine.dispose()


def test_an_error_of_ours_and_a_fault_of_the_program_pass_as_they_are():
    with pytest.raises(RunError, match="mine") as caught, classified(database="x"):
        raise RunError("mine")
    assert str(caught.value) == "mine"
    with pytest.raises(ZeroDivisionError), classified():
        raise ZeroDivisionError


def test_a_classified_error_names_its_place(ledger_url):
    with pytest.raises(RunError) as caught, classified(database="host:1/db", sync="knowledge", table="reference"):
        by_psycopg2(ledger_url, raising("42501"))
    assert str(caught.value).startswith("knowledge/reference: PostgreSQL host:1/db: something is wrong [42501].")


@pytest.mark.parametrize("statement", ["SELECT FROM nothing WHERE x = :value", "INSERT INTO kept VALUES (1, :value)"])
def test_values_of_records_do_not_stand_in_an_errors_whole_trace(ledger_url, statement):
    engine = make_engine(ledger_url, pool_max=0, application_name="test")
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TEMP TABLE kept (id int CHECK (id > 1), x text)"))
        with pytest.raises(SyncError) as caught, classified():
            connection.execute(sa.text(statement), {"value": "a diary"})
    assert "a diary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("text", ["", "not a url", "mysql://u:hunter2@h/d", "postgresql://u:hunter2@h:port/d"])
def test_what_is_no_url_of_postgresql_is_refused_without_being_repeated(text):
    with pytest.raises(ConfigurationError) as caught:
        driver_url(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_every_spelling_of_a_url_uses_the_driver_that_is_there(scheme):
    url = driver_url(f"{scheme}://u:p%40ss@h:1/d?sslmode=verify-full&schema=app&pgbouncer=true")
    assert url.render_as_string(hide_password=False) == "postgresql+psycopg2://u:p%40ss@h:1/d?sslmode=verify-full"


def test_the_urls_own_options_win_over_ours(ledger_url):
    with closing(connect(f"{ledger_url}?application_name=mine&keepalives_idle=7", "ours")) as connection:
        parameters = connection.get_dsn_parameters()
    assert (parameters["application_name"], parameters["keepalives_idle"]) == ("mine", "7")
    assert parameters["keepalives"] == "1"


def test_the_variables_that_name_a_database_are_told_and_of_several_the_one_whose_user_is_refused():
    from sync_pipelines.engine import whence

    whence.note("there:5432/app", "DATABASE_URL", user="good")
    whence.note("there:5432/app", "SYNC_DATABASE_URL", user="nobody")
    assert whence.url_of("there:5432/app") == "DATABASE_URL and SYNC_DATABASE_URL"
    assert whence.url_of("there:5432/app", 'role "nobody" does not exist') == "SYNC_DATABASE_URL"
    assert whence.url_of("elsewhere:5432/app") == "the connection's URL"
