"""How much memory a sync takes: records of 2 KB through it, in a process of its own.

`python -m benchmarks.memory RECORDS` is that process; the environment says where PostgreSQL and Chroma are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import psutil

from benchmarks.results import Result, figure, ratio
from benchmarks.stage import ROWS, Place, Stage, component
from sync_pipelines.engine.usage import peak_memory

NAME = "memory"
MOST_MB = 400.0
_MB = 1_000_000
_CHUNKING = {"max_characters": 4000}
"""One chunk a record, so that so many records are so many items."""


def run(stage: Stage, *, quick: bool) -> Result:
    """A first full sync, then one that finds nothing changed: reading, writing, the closing comparison."""
    few, many = (2000, 20_000) if quick else (20_000, 200_000)
    stage.fill(many, text_bytes=2000)
    large = _measured(stage, many)
    stage.execute(f"DELETE FROM {ROWS} WHERE id > %s", f"gen_{few:09d}")
    small = _measured(stage, few)
    growth = large["peak"] - small["peak"]
    return Result(
        name=NAME,
        compares=f"peak memory of a process that syncs {many:,} records of 2 KB twice in full (hash embedder), "
        f"above its own before the run, against {few:,}",
        figures=(
            figure(f"peak above the baseline, {many:,} records", large["above"], "MB", at_most=MOST_MB),
            ratio(f"peak above the baseline, {many:,} / {few:,} records", large["above"] / small["above"]),
            figure(f"peak above the baseline, {few:,} records", small["above"], "MB"),
            figure(f"growth of the peak for {many - few:,} records more", growth, "MB"),
            figure("baseline: definitions and clients imported, connected", large["baseline"], "MB"),
            figure(f"first full sync of {many:,} records", many / large["first"], "records/s"),
            figure(f"unchanged full sync of {many:,} records", many / large["again"], "records/s"),
        ),
        notes=("Chroma and PostgreSQL are processes of their own and do not count.",),
    )


def _measured(stage: Stage, records: int) -> dict[str, float]:
    """Run the child; what it prints."""
    stage.say(f"{NAME}: {records:,} records")
    command = [sys.executable, "-m", "benchmarks.memory", str(records)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "above": found["peak"] - found["baseline"]}


def main(records: int) -> None:
    """Sync twice and print baseline and peak (MB) and the seconds of both runs."""
    here = Place(url=os.environ["DATABASE_URL"], chroma_url=os.environ["CHROMA_URL"])
    table = component(name=f"memory_{records}", chunking=_CHUNKING)
    here.install(table)
    _connect(here.bind(table))
    baseline = psutil.Process().memory_info().rss / _MB
    first, again = (here.run(here.bind(table), mode="full") for _ in range(2))
    if (first.counts.upserted, again.counts.unchanged) != (records, records):
        raise AssertionError(f"{records} records were to be synced: {first.counts}, {again.counts}")
    print(
        json.dumps({"baseline": baseline, "peak": peak_memory() / _MB, "first": first.seconds, "again": again.seconds})
    )


def _connect(binding: Any) -> None:
    """Import every client and open its first connection: that is the process's ground, not the sync's."""
    import adbc_driver_postgresql.dbapi  # noqa: F401 - reading in bulk imports it

    import sync_pipelines.definitions  # noqa: F401 - a run's process has them

    binding.ledger.check()
    binding.target.prepare()
    binding.source.pending(None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
