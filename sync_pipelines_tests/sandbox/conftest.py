"""A folder of its own for every test of the sandbox."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipelines.sandbox.folders import temporary_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder that PostgreSQL's user can reach."""
    with temporary_folder() as made:
        yield made
