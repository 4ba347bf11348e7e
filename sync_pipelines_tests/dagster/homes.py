"""Folders for DAGSTER_HOME: making Dagster's databases takes most of a second, copying them a moment."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import dagster as dg
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def fresh_home(folder: Path) -> Path:
    """Make a folder a DAGSTER_HOME with the project's settings and empty databases.

    Args:
        folder: an empty one, or one that is not there yet.
    """
    if os.environ.get("DAGSTER_POSTGRES_URL"):  # where its storage stands then
        folder.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "dagster.yaml", folder)
    else:
        shutil.copytree(_template(), folder, dirs_exist_ok=True)
    return folder


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sync-tests-home-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copy(REPOSITORY / "dagster.yaml", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        with dg.DagsterInstance.get() as instance:
            instance.get_runs(limit=1)
            instance.all_instigator_state()
    return folder
