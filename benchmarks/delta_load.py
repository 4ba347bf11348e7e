"""A full load of a PostgreSQL table into a Delta table, against dlt and against bare ADBC → delta-rs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.children import Took, ours
from benchmarks.lake import TABLE, component, fill
from benchmarks.peers import dlt
from benchmarks.results import Result, figure, ratio
from benchmarks.stage import Stage

NAME = "delta-load"
LEAST_DLT, MOST_BARE, MOST_MB = 2.0, 1.2, 400.0
_GROWTH = 1.25
"""So many times the peak of a tenth of the rows at most: then it is flat."""

BACKENDS = ("connectorx", "pyarrow")


def run(stage: Stage, *, quick: bool, peers: tuple[str, ...] = BACKENDS, rows: int | None = None) -> Result:
    """Ours, bare and each backend in turn, each load a process of its own into a table that is not there yet.

    Args:
        peers: dlt's backends that are measured. rows: another number of rows.
    """
    rows, rounds = rows or (50_000 if quick else 1_000_000), 1 if quick else 3
    stage.say(f"{NAME}: {rows // 10:,} rows, then {rows:,} …")
    fill(stage, rows // 10)
    few = load(stage, "few")
    fill(stage, rows - rows // 10, first=rows // 10)
    ways = {"ours": partial(load, stage), "bare": partial(_bare, stage)}
    ways |= {backend: partial(_dlt, stage, backend) for backend in peers}
    took: dict[str, list[Took]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in ways if number % 2 == 0 else reversed(ways):
            took[name].append(ways[name](f"{name}_{number}"))
            stage.say(f"{NAME} {name}: {took[name][-1].seconds:.1f} s, peak {took[name][-1].peak:.0f} MB")
    return _result(rows, few, took)


def load(stage: Stage, name: str) -> Took:
    """Our first full sync of the table, into a Delta table of this name."""
    stage.install(component(name=name))
    return ours("load", name=name)


def _bare(stage: Stage, name: str) -> Took:
    return ours("bare-load", uri=str(stage.lake / name))


def _dlt(stage: Stage, backend: str, name: str) -> Took:
    return dlt(stage.say, dlt_task(stage, backend, name, load="full"), data=stage.lake / "dlt")


def dlt_task(stage: Stage, backend: str, name: str, *, load: str) -> dict[str, Any]:
    """What `dlt_pipeline.py` is told."""
    return {
        "url": _with_driver(stage.url),
        "table": TABLE,
        "folder": Path(stage.lake / name).as_uri(),
        "pipeline": name,
        "backend": backend,
        "load": load,
    }


def _with_driver(url: str) -> str:
    """SQLAlchemy 2.1 takes psycopg 3 where none is named, which dlt does not bring."""
    return "postgresql+psycopg2" + url[url.index("://") :]


def _result(rows: int, few: Took, took: dict[str, list[Took]]) -> Result:
    sync, bare = took["ours"], took["bare"]
    peers = {name: took[name] for name in took if name in BACKENDS}
    best = min(peers.values(), key=lambda found: median(item.seconds for item in found), default=None)
    peak = max(item.peak for item in sync)
    return Result(
        name=NAME,
        compares=f"a first full sync of {rows:,} rows of 1 KB into a Delta table, fingerprints included, against dlt "
        f"and against ADBC's stream handed to delta-rs; {len(sync)} in turn, a process each",
        figures=(
            *([ratio("dlt's best / ours", times(best, sync), at_least=LEAST_DLT)] if best else []),
            ratio("ours / bare ADBC → delta-rs", times(sync, bare), at_most=MOST_BARE),
            figure("peak memory of our process", peak, "MB", at_most=MOST_MB),
            ratio(f"peak with {rows:,} / with {rows // 10:,} rows", peak / few.peak, at_most=_GROWTH),
            *(figure(f"{_NAMES[name]}: the work", seconds(found), "s") for name, found in took.items()),
            *(figure(f"{_NAMES[name]}: whole process", process(found), "s") for name, found in took.items()),
            *(figure(f"{_NAMES[name]}: peak", found[0].peak, "MB") for name, found in took.items()),
            figure("ours: until the snapshot is taken", median(item.told["reading"] for item in sync), "s"),
            figure("ours: reading on, writing and comparing", median(item.told["writing"] for item in sync), "s"),
            figure("ours: what the imports hold", sync[0].baseline, "MB"),
        ),
        notes=("The work is without imports for all; ours is the engine's run, dlt's is pipeline.run().",),
    )


_NAMES = {"ours": "ours", "bare": "bare", "connectorx": "dlt, connectorx", "pyarrow": "dlt, pyarrow"}


def times(over: list[Took], under: list[Took]) -> float:
    """How many times the work of `under` each round's `over` took: the median."""
    return median(a.seconds / b.seconds for a, b in zip(over, under, strict=True))


def seconds(found: list[Took]) -> float:
    """The median of the work."""
    return median(item.seconds for item in found)


def process(found: list[Took]) -> float:
    """The median of the whole process."""
    return median(item.process for item in found)
