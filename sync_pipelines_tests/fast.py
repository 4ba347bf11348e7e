"""What `make test-fast` leaves out beside the slow ones: all but the first test of each file that needs servers."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

_SERVERS = frozenset({"postgres_server", "notion_server", "chroma_server"})


def mark_further(items: Iterable[pytest.Item]) -> None:
    """Mark each test that needs a server and is not the first of its file that does and is not slow.

    Args:
        items: in the order of their files; those that are slow or exhaustive are marked already.
    """
    begun: set[str] = set()
    for item in items:
        if any(item.iter_markers("slow")) or any(item.iter_markers("exhaustive")):
            continue
        if _SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            continue
        file = item.nodeid.partition("::")[0]
        if file in begun:
            item.add_marker(pytest.mark.further)
        begun.add(file)
