"""`.env` under Dagster's own commands: what wins over what, found by running them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dagster._core.secrets.env_file import get_env_var_dict

from sync_pipelines import env_file
from sync_pipelines.sandbox.processes import free_port
from sync_pipelines.targets.chroma.client import ChromaAddress, ChromaConnection
from sync_pipelines_tests.dagster.deployment import REPOSITORY, wait_for

CODE = """
import json, os, pathlib
import dagster as dg

names = ("PLAIN", "YIELDING", "ALONE")
new = pathlib.Path(f"seen.{os.getpid()}")
new.write_text(json.dumps({name: os.environ.get(name) for name in names}))
new.rename("seen.json")

@dg.asset
def nothing() -> None: ...

defs = dg.Definitions(assets=[nothing])
"""

MATERIALIZE = ["asset", "materialize", "--select", "nothing", "-f", "code.py"]
CODE_SERVER = ["definitions", "validate", "--load-with-grpc", "-f", "code.py"]
DEV = ["dev", "-h", "127.0.0.1", "-p", "{port}", "-f", "code.py"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a code location that says what it sees, and a `.env`."""
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "home").mkdir()
    (tmp_path / ".env").write_text("PLAIN=file\nYIELDING=${YIELDING:-file}\nALONE=${ALONE:-file}\n")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("words", [MATERIALIZE, CODE_SERVER, DEV], ids=["materialize", "code server", "dev"])
def test_under_dagster_a_plain_line_wins_over_the_environment_and_a_yielding_one_does_not(
    folder: Path, words: list[str]
) -> None:
    """Should Dagster mend the first, .env.example may be written plainly."""
    program = str(Path(sys.executable).with_name("dagster"))
    given = {"PLAIN": "environment", "YIELDING": "environment", "DAGSTER_HOME": str(folder / "home")}
    port = str(free_port())
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *(word.format(port=port) for word in words)],
            cwd=folder,
            env={**os.environ, **given},
            stdout=log,
            stderr=log,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        wait_for("a word from the code", (folder / "seen.json").is_file)
    finally:
        process.terminate()
        process.wait(60)
    seen = json.loads((folder / "seen.json").read_text())
    assert seen == {"PLAIN": "file", "YIELDING": "environment", "ALONE": "file"}


def test_in_the_console_script_the_environment_wins_over_both_forms(folder: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("PLAIN", "YIELDING"):
        monkeypatch.setenv(name, "environment")
    monkeypatch.delenv("ALONE", raising=False)
    env_file.load(folder)
    seen = {name: os.environ[name] for name in ("PLAIN", "YIELDING", "ALONE")}
    monkeypatch.setenv("ALONE", "")  # so that it is taken back
    assert seen == {"PLAIN": "environment", "YIELDING": "environment", "ALONE": "file"}


def test_the_example_says_of_the_token_what_the_client_does_with_it() -> None:
    lines = (REPOSITORY / ".env.example").read_text().splitlines()
    said = lines[next(number for number, line in enumerate(lines) if line.startswith("#CHROMA_TOKEN=")) - 1]
    for url in ("http://chroma.example.com:8000", "https://api.trychroma.com"):
        connection = ChromaConnection(ChromaAddress(url=url, token="sesame"))
        ((name, value),) = connection._headers(urlsplit(url).hostname or "").items()
        assert f"{name}: {value.replace('sesame', '...')}" in said


def _dagster(folder: Path) -> dict[str, str]:
    return get_env_var_dict(str(folder))


def _console(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    env_file.load(folder, environment=found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("read", [_dagster, _console])
def test_every_line_of_the_example_yields_to_the_environment_and_alone_gives_its_value(
    read: Callable[[Path], dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = re.findall(r"^#([A-Z_]+)=(.*)$", (REPOSITORY / ".env.example").read_text(), re.M)
    (tmp_path / ".env").write_text("".join(f"{name}={text}\n" for name, text in lines))
    json_values = {"CHROMA_HEADERS", "DELTA_STORAGE_OPTIONS"}  # whose closing brace would end the form
    names = {name for name, _ in lines} - json_values
    assert len(names) > 20
    for name in names:
        monkeypatch.delenv(name, raising=False)
    alone = read(tmp_path)
    assert not [name for name, text in alone.items() if "$" in text or (name in names and "}" in text)]
    assert alone["DATABASE_URL"].startswith("postgresql://")
    assert json.loads(alone["CHROMA_HEADERS"])
    for name in names:
        monkeypatch.setenv(name, "environment")
    assert {name: read(tmp_path)[name] for name in names} == dict.fromkeys(names, "environment")
