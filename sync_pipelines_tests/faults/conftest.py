"""The fault matrix: every test below this folder is left out of `make test-fast`."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent

# before they are imported: their assertions say what differed, as those of tests do
pytest.register_assert_rewrite(
    *(
        f"sync_pipelines_tests.faults.{name}"
        for name in ("matrix", "chroma_line", "alert_line", "lake_line", "equality")
    )
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.slow)
