"""Which tests begin first: one of three minutes that begins last leaves the other cores idle until it ends."""

from __future__ import annotations

from itertools import islice

import pytest

LONGEST = (
    "::test_the_heartbeat_is_pinged_by_the_schedule",
    "faults/test_killed_under_the_daemon.py",
    "::test_a_run_of_the_daemon_is_cancelled",
    "faults/test_memory.py",
    "alerts/test_daemon.py",
    "dagster/test_deployment.py",
    "alerts/test_tables.py",
    "secrets/test_commands.py",
    "secrets/test_demo.py",
    "secrets/test_failing_runs.py",
    "faults/test_sixth_table.py",
    "cli/test_processes.py",
    "targets/test_chroma_memory.py",
    "targets/test_chroma_sizes.py",
)
"""Parts of the ids of those that take half a minute and more, the longest first."""


def longest_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests so that each worker begins with its part of the longest; none is left out.

    Args:
        items: in the order of their files.
        workers: how many there are: `--dist worksteal` gives each of them one stretch of the list, all of a length.
    """
    long = sorted((item for item in items if _rank(item) < len(LONGEST)), key=_rank)
    others = iter([item for item in items if _rank(item) == len(LONGEST)])
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        own = long[worker::workers]
        length = (len(items) - len(ordered)) // (workers - worker)
        ordered += own
        ordered += islice(others, max(0, length - len(own)))
    return ordered


def _rank(item: pytest.Item) -> int:
    return next((rank for rank, part in enumerate(LONGEST) if part in item.nodeid), len(LONGEST))
