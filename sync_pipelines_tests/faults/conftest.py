"""The fault matrix: every test below this folder is left out of `make test-fast`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.faults.child import Children

_HERE = Path(__file__).parent
_LINES = ("chroma", "alert", "lake", "graph", "rest", "notes")

# before they are imported: their assertions say what differed, as those of tests do
pytest.register_assert_rewrite(
    *(f"sync_pipelines_tests.faults.{name}" for name in ("matrix", "equality", *(f"{line}_line" for line in _LINES)))
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """What starts a run in a process of its own, without the seconds of importing."""
    with (tmp_path_factory.mktemp("children") / "children.log").open("w") as log, Children(log) as made:
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DAGSTER_HOME with the project's settings, one for all."""
    return fresh_home(tmp_path_factory.mktemp("home"))
