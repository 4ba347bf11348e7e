"""The sandbox as a whole: up, down, crashes, two at once, and what `reset` may remove."""

import os
import signal
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipelines.sandbox import application
from sync_pipelines.sandbox.environment import OWN_URL_VARIABLE, Sandbox
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import read_json, sweep, temporary_folder, write_json
from sync_pipelines.sandbox.processes import ProcessId
from sync_pipelines_tests.sandbox.helpers import (
    CHECKOUT,
    EPHEMERAL,
    comes_true,
    descendants,
    first_line,
    none_is_left,
    run_as_plain_user,
    run_python,
)

UP = """
import json, sys
from pathlib import Path
from sync_pipelines.sandbox import application
from sync_pipelines.sandbox.environment import Sandbox
sandbox = Sandbox(Path(sys.argv[1]), durable=False, graph=False, hotels=False, notes=False, prepare=application.create)
sandbox.up()
print(json.dumps({"env": sandbox.env(), **sandbox.status().as_dict()}), flush=True)
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """One sandbox for the tests that leave it whole: a fresh one takes a second and more."""
    with (
        temporary_folder() as folder,
        Sandbox(folder / "sandbox", durable=False, graph=False, hotels=False, notes=False) as made,
    ):
        yield made


@pytest.fixture
def standing(shared: Sandbox) -> Sandbox:
    """That sandbox, up, with its sample rows."""
    shared.up()
    with application.transaction(shared.env()["DATABASE_URL"]) as cursor:
        application.load_samples(cursor)
    return shared


@pytest.fixture
def sandbox(folder: Path) -> Iterator[Sandbox]:
    """A sandbox that is down, whose servers end after the test whatever happens in it."""
    made = Sandbox(folder / "sandbox", durable=False, graph=False, hotels=False, notes=False)
    yield made
    made.down()


def pids(sandbox: Sandbox) -> list[int | None]:
    return [server.pid for server in sandbox.status().servers]


def count_knowledge(url: str) -> int:
    with application.transaction(url) as cursor:
        cursor.execute('SELECT count(*) FROM "KnowledgeReference"')
        return cursor.fetchone()[0]


@pytest.mark.slow
def test_up_heals_a_crash_of_either_server_and_changes_nothing_else(standing: Sandbox) -> None:
    first, environment = pids(standing), standing.env()
    standing.up()
    assert pids(standing) == first
    standing.postgres.kill()
    standing.chroma.kill()
    assert not standing.status().up
    standing.up()
    assert standing.status().up
    assert standing.env() == environment
    assert count_knowledge(environment["DATABASE_URL"]) == len(application.sample_rows(application.KNOWLEDGE))


def test_a_deleted_sample_row_stays_deleted_at_the_next_up(standing: Sandbox) -> None:
    url = standing.env()["DATABASE_URL"]
    with application.transaction(url) as cursor:
        cursor.execute('DELETE FROM "KnowledgeReference"')
    standing.down()
    assert [server.state for server in standing.status().servers] == ["down", "down"]
    standing.up()
    assert count_knowledge(url) == 0


def test_servers_outlive_the_process_that_brought_them_up(standing: Sandbox) -> None:
    standing.down()
    program = run_python(UP, standing.folder)
    brought = first_line(program)
    assert program.wait(10) == 0
    assert standing.status().as_dict()["servers"] == tuple(brought["servers"])
    assert count_knowledge(brought["env"]["DATABASE_URL"]) > 0
    with urllib.request.urlopen(brought["env"]["CHROMA_URL"] + "/api/v2/heartbeat") as response:
        assert response.status == 200
    assert Path(brought["env"]["DAGSTER_HOME"]).is_dir()


@pytest.mark.slow
def test_it_works_as_a_plain_user(folder: Path) -> None:
    os.chmod(folder, 0o777)
    with run_as_plain_user(EPHEMERAL, env={"TMPDIR": str(folder)}) as parent:
        brought = first_line(parent)
        assert brought["up"]
        assert folder in Path(brought["folder"]).parents
        family = descendants(parent.pid)
        owner = os.geteuid() or 65534
        assert (Path(brought["folder"]) / "postgres" / "data").stat().st_uid == owner
        parent.send_signal(signal.SIGTERM)
    assert none_is_left(family)


@pytest.mark.slow
def test_two_ups_at_once_bring_up_one_sandbox(sandbox: Sandbox) -> None:
    both = [run_python(UP, sandbox.folder), run_python(UP, sandbox.folder)]
    lines = [first_line(program) for program in both]
    assert [program.wait(30) for program in both] == [0, 0]
    assert lines[0] == lines[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_ephemeral_sandbox_ends_with_its_parent(number: signal.Signals) -> None:
    parent = run_python(EPHEMERAL)
    folder = Path(first_line(parent)["folder"])
    family = descendants(parent.pid)
    # Two servers, their two watchers, and PostgreSQL's own children.
    assert len(family) > 6
    os.killpg(parent.pid, number)
    parent.wait(30)
    assert none_is_left(family)
    with temporary_folder():
        assert not folder.exists()


@pytest.mark.slow
def test_an_ephemeral_sandbox_ends_with_its_block_and_leaves_no_folder() -> None:
    before = set(Path(tempfile.gettempdir()).iterdir())
    with Sandbox.ephemeral(graph=False, hotels=False, notes=False) as sandbox:
        family = [ProcessId.of(pid) for pid in pids(sandbox) if pid is not None]
        assert count_knowledge(sandbox.env()["DATABASE_URL"]) > 0
        folder = sandbox.folder
    assert not any(process.alive() for process in family if process)
    assert not folder.exists()
    assert not {made for made in set(Path(tempfile.gettempdir()).iterdir()) - before if made in folder.parents}


def test_a_temporary_folder_of_another_container_is_left_alone() -> None:
    with temporary_folder() as folder:
        owner = {**read_json(folder / "owner.json"), "started": "over there"}
        write_json(folder / "owner.json", {**owner, "host": "another-container"})
        sweep()
        assert folder.exists()
        write_json(folder / "owner.json", owner)
        sweep()
        assert not folder.exists()


@pytest.mark.slow
def test_reset_removes_its_folder_and_nothing_else(sandbox: Sandbox, folder: Path) -> None:
    neighbour = folder / "neighbour"
    neighbour.mkdir()
    (neighbour / "precious.txt").write_text("kept")
    sandbox.up()
    (sandbox.folder / "link").symlink_to(neighbour)
    (sandbox.folder / "chroma" / "link").symlink_to(neighbour)
    family = [ProcessId.of(pid) for pid in pids(sandbox) if pid is not None]
    sandbox.reset()
    assert none_is_left([process for process in family if process], seconds=1)
    assert [entry.name for entry in folder.iterdir() if entry.name != "owner.json"] == ["neighbour"]
    assert (neighbour / "precious.txt").read_text() == "kept"
    sandbox.reset()


def test_a_folder_with_other_things_in_it_is_neither_used_nor_removed(folder: Path) -> None:
    (folder / "thesis.txt").write_text("kept")
    sandbox = Sandbox(folder)
    for verb in (sandbox.up, sandbox.reset):
        with pytest.raises(SandboxError, match="holds other things"):
            verb()
    sandbox.down()
    assert not sandbox.status().up
    assert sorted(entry.name for entry in folder.iterdir()) == ["owner.json", "thesis.txt"]
    assert (folder / "thesis.txt").read_text() == "kept"


def test_a_database_of_the_users_own_is_left_alone(folder: Path, empty_database_url: str) -> None:
    named = {"SYNC_SANDBOX_DIR": str(folder / "sandbox"), "DATABASE_URL": empty_database_url}
    variables = {**named, "SYNC_SANDBOX_GRAPH": "false"}
    sandbox = Sandbox.of_environment(variables)
    try:
        sandbox.up()
        assert [server.state for server in sandbox.status().servers] == ["yours", "up", "up", "up"]
        assert sandbox.postgres.process is None
        assert "DATABASE_URL" not in sandbox.env()
        with application.transaction(empty_database_url) as cursor:
            assert not application.has_tables(cursor)
    finally:
        sandbox.reset()


def test_a_database_url_that_an_earlier_sandbox_set_is_not_taken_for_the_users_own() -> None:
    url = "postgresql+psycopg2://postgres@127.0.0.1:1/app"
    assert Sandbox.of_environment({"DATABASE_URL": url, OWN_URL_VARIABLE: url}).database_url is None
    assert Sandbox.of_environment({"DATABASE_URL": url}).database_url == url
    assert Sandbox.of_environment({}).database_url is None


def test_a_password_of_the_users_own_database_is_never_shown(folder: Path) -> None:
    sandbox = Sandbox(
        folder / "sandbox", database_url="postgresql://u:secret@db.example/app", graph=False, hotels=False, notes=False
    )
    assert "secret" not in str(sandbox.status())
    with (
        pytest.raises(SandboxError) as raised,
        application.transaction("postgresql://u:secret@127.0.0.1:1/app"),
    ):
        pass
    assert "secret" not in str(raised.value)


def test_the_settings_of_the_checkouts_instance_come_along(
    sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.chdir(folder)
    sandbox.database_url = "postgresql://nobody@127.0.0.1:1/none"
    sandbox.up()
    assert (sandbox.dagster_home / "dagster.yaml").read_text().startswith("telemetry")


def test_the_checkouts_settings_come_along_from_any_folder(
    sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    sandbox.database_url = "postgresql://nobody@127.0.0.1:1/none"
    sandbox.up()
    assert (sandbox.dagster_home / "dagster.yaml").read_text() == (CHECKOUT / "dagster.yaml").read_text()


COMES_UP = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from sync_pipelines.sandbox.environment import Sandbox
def prepare(url):
    print("prepares", flush=True)
    time.sleep(600)
Sandbox(Path(sys.argv[1]), graph=False, hotels=False, notes=False, prepare=prepare).up()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["a server starts", "the database is prepared"])
def test_an_up_that_is_cut_off_stops_what_it_has_started(sandbox: Sandbox, number: signal.Signals, moment: str) -> None:
    program = run_python(COMES_UP, sandbox.folder)
    servers = (sandbox.chroma, sandbox.postgres)
    if moment == "a server starts":
        assert comes_true(lambda: any(server.process for server in servers), seconds=60)
    else:
        assert program.stdout is not None
        assert program.stdout.readline() == "prepares\n"
    begun = [process for server in servers if (process := server.process)]
    program.send_signal(number)
    program.send_signal(number)
    assert program.wait(60) not in (0, -signal.SIGKILL)
    assert none_is_left(begun, seconds=10)
    assert [server.state for server in sandbox.status().servers] == ["down", "down"]


@pytest.mark.slow
def test_what_was_up_before_an_up_that_is_cut_off_stays_up(folder: Path) -> None:
    sandbox = Sandbox(folder / "sandbox", graph=False, hotels=False, notes=False, prepare=lambda _: None)
    with sandbox:
        sandbox.postgres.stop()
        program = run_python(COMES_UP, sandbox.folder)
        assert program.stdout is not None
        assert program.stdout.readline() == "prepares\n"
        program.terminate()
        program.wait(60)
        assert [server.state for server in sandbox.status().servers] == ["down", "up"]


def test_the_shells_other_systems_are_named_so_that_they_can_be_set_aside(tmp_path: Path) -> None:
    shell = {
        "SYNC_DATABASE_URL": "postgresql://production/ledger",
        "KNOWLEDGE_DATABASE_URL": "postgresql://production/app",
        "POSTGRES_HOST": "production",
        "CHROMA_PATH": "/srv/chroma",
        "DAGSTER_POSTGRES_URL": "postgresql://production/dagster",
        "CHROMA_TOKEN": "",
        "SYNC_BATCH_SIZE": "7",
        "PATH": "/bin",
    }
    sandbox = Sandbox(tmp_path / "sandbox", graph=False, hotels=False, notes=False)
    made = {"DATABASE_URL": "ours", "CHROMA_URL": "ours", "DAGSTER_HOME": "ours"}
    sandbox.env = lambda: made  # ty: ignore[invalid-assignment] - it has never been up
    assert sandbox.foreign({**shell, **made}) == [
        "CHROMA_PATH",
        "DAGSTER_POSTGRES_URL",
        "KNOWLEDGE_DATABASE_URL",
        "POSTGRES_HOST",
        "SYNC_DATABASE_URL",
    ]


def test_beside_a_database_of_the_users_own_his_other_databases_are_left_alone(tmp_path: Path) -> None:
    sandbox = Sandbox(
        tmp_path / "sandbox", database_url="postgresql://mine/app", graph=False, hotels=False, notes=False
    )
    sandbox.env = lambda: {"CHROMA_URL": "ours"}  # ty: ignore[invalid-assignment] - it has never been up
    assert sandbox.foreign({"SYNC_DATABASE_URL": "postgresql://mine/ledger", "CHROMA_PATH": "/x"}) == ["CHROMA_PATH"]


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "intern.example.com"}, {"no_proxy": "*"}])
def test_what_the_demo_asks_on_this_machine_is_behind_no_proxy(monkeypatch: pytest.MonkeyPatch, given: dict[str, str]):
    from requests.utils import should_bypass_proxies

    from sync_pipelines.sandbox import demo

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, text in {"ALL_PROXY": "socks5://127.0.0.1:9", **given}.items():
        monkeypatch.setenv(name, text)
    with demo.environment({}):
        assert should_bypass_proxies("http://127.0.0.1:8000/alerts", None)
        assert should_bypass_proxies("http://intern.example.com", None) == bool(given)
        assert os.environ["ALL_PROXY"]
    assert {name: os.environ[name] for name in given} == given
    assert not set(os.environ) & {"NO_PROXY", "no_proxy"} - set(given)
