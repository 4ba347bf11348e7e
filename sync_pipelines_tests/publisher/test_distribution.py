"""The publisher as a distribution of its own: built, installed and imported where nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import sync_pipelines
from sync_pipelines import publisher

FOLDER = Path(publisher.__file__).parent
UV = Path(sys.executable).parent / "uv"

STORY = """
from sync_pipelines.publisher import EventType, OutboxPublisher, SyncEvent
event = SyncEvent(event_type=EventType.USER_DELETED, entity_type="user", entity_id=7)
assert SyncEvent.from_dict(event.to_dict()) == event
OutboxPublisher()
import importlib.util
assert not any(map(importlib.util.find_spec, ("dagster", "sqlalchemy", "psycopg2", "pyarrow", "sync_pipelines.engine")))
"""


def uv(*words: object) -> None:
    done = subprocess.run([UV, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel, built from a copy: what is built leaves nothing in the checkout."""
    shutil.copytree(FOLDER, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    out = tmp_path / "dist"
    uv(
        "build",
        "--wheel",
        "--offline",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "-o",
        out,
        tmp_path / "source",
    )
    [found] = out.glob("*.whl")
    return found


@pytest.mark.slow
def test_it_is_installed_and_imported_without_the_orchestrator(wheel: Path, tmp_path: Path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    uv("pip", "install", "--offline", "--no-deps", "--python", python, wheel)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([python, "-c", STORY], cwd=tmp_path, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_it_holds_the_publisher_and_nothing_else(wheel: Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {f"sync_pipelines/publisher/{path.name}" for path in FOLDER.glob("*.py")}


def test_it_has_the_projects_version_and_python():
    own = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    whole = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert own["version"] == sync_pipelines.__version__
    assert own["requires-python"] == whole["requires-python"]
