"""`sync-pipelines sandbox …` as a person types it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipelines.sandbox import application
from sync_pipelines_tests.sandbox.helpers import CHECKOUT

PROGRAM = "from sync_pipelines.commands.sandbox import app; app()"


class Shell:
    """Runs the command in a folder of its own."""

    def __init__(self, folder: Path, **variables: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "DAGSTER_HOME")}
        self.environment = {**kept, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "80", **variables}
        self.folder = folder

    def run(self, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *words],
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def shell(folder: Path) -> Iterator[Shell]:
    """A shell in an empty folder with a name that needs quotes; what it brought up goes down."""
    place = folder / "it's a 'folder'"
    place.mkdir(mode=0o755)
    made = Shell(place, SYNC_SANDBOX_GRAPH="false")
    yield made
    made.run("down")


@pytest.mark.slow
def test_a_sandbox_from_up_to_reset(shell: Shell) -> None:
    assert shell.run("status").returncode == 1
    assert "never been started" in shell.run("env").stderr
    shell.environment.pop("SYNC_SANDBOX_GRAPH")
    up = shell.run("up")
    assert up.returncode == 0, up.stderr
    status = shell.run("status", "--json")
    assert status.returncode == 0
    assert json.loads(status.stdout)["up"] is True
    early = shell.run("analyse")
    assert early.returncode == 1
    assert "There is no Delta table 'voice/voice_submissions'" in early.stderr

    exports = shell.run("env", SYNC_DATABASE_URL="postgresql://production/ledger").stdout
    assert "export SYNC_DATABASE_URL=''" in exports
    printed = subprocess.run(
        [
            "sh",
            "-c",
            f'{exports}\nprintf "%s\\n" "$DATABASE_URL" "$CHROMA_URL" "$DAGSTER_HOME" "$NEO4J_URI" "$CUPID_BASE_URL" '
            '"$NOTION_BASE_URL"',
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert printed[0].startswith("postgresql+psycopg2://postgres@127.0.0.1:")
    assert printed[0].endswith("/app")
    assert printed[1].startswith("http://127.0.0.1:")
    assert printed[2] == str(shell.folder / ".sandbox" / "dagster_home")
    assert printed[3].startswith("bolt://127.0.0.1:")
    assert printed[4].startswith("http://127.0.0.1:")
    assert printed[5].startswith("http://127.0.0.1:")
    assert len(json.loads(shell.run("status", "--json", SYNC_SANDBOX_GRAPH="false").stdout)["servers"]) == 4

    assert "42 rows were new" in shell.run("load", "--records", "40").stdout
    with application.transaction(printed[0]) as cursor:
        cursor.execute("""SELECT count(*) FROM "KnowledgeReference" WHERE "id" LIKE 'gen\\_%%'""", ())
        assert cursor.fetchone()[0] == 40

    assert shell.run("down").returncode == 0
    assert shell.run("status").returncode == 1
    assert shell.run("reset").returncode == 0
    assert not (shell.folder / ".sandbox").exists()


@pytest.mark.slow
def test_an_expected_error_is_one_sentence_on_stderr_and_exit_code_one(shell: Shell) -> None:
    (shell.folder / ".sandbox").mkdir()
    (shell.folder / ".sandbox" / "thesis.txt").write_text("kept")
    refused = shell.run("up")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "SYNC_SANDBOX_DIR" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_generated_records_go_into_a_database_of_the_users_own_only_when_told_to(
    folder: Path, empty_database_url: str
) -> None:
    shell = Shell(folder, DATABASE_URL=empty_database_url)
    refused = shell.run("load", "--records", "20")
    assert refused.returncode == 1
    assert "--into-my-database" in refused.stderr
    assert "21 rows" in shell.run("load", "--records", "20", "--into-my-database").stdout


@pytest.mark.slow
def test_an_up_whose_output_nobody_reads_any_more_leaves_no_server(shell: Shell) -> None:
    """As `sandbox up 2>&1 | head -1`: the line that cannot be written cuts it off while others start."""
    heard, told = os.pipe()
    os.close(heard)
    try:
        up = subprocess.run(
            [sys.executable, "-c", PROGRAM, "up"], cwd=shell.folder, env=shell.environment, stdout=told, stderr=told
        )
    finally:
        os.close(told)
    assert up.returncode == 1
    states = {server["name"]: server["state"] for server in json.loads(shell.run("status", "--json").stdout)["servers"]}
    assert set(states.values()) == {"down"}, states
