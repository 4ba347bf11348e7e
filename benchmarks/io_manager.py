"""The IO manager's path against bare `collection.upsert` of the same items with the same embeddings.

Inside the path: the run's and the target's lock, the ledger, a look for dead runs, the log's unread keys, the
rows in one snapshot, the spool, the mapping to documents, the question what the collection holds already, the
plan, the upserts, the look at quarantine and lock for each batch, the count, the watermark, the reader's
confirmation. Not inside: Dagster's own floor and the model (every vector is there already, on both sides).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.results import Result, figure, ratio
from benchmarks.stage import ROWS, Stage, component
from benchmarks.timing import Work, in_turn, median, times
from benchmarks.vectors import KnownVectors

NAME = "io-manager"
MOST = 1.10
"""An overhead of 10 %."""

Page = dict[str, Any]
"""The arguments of one `collection.upsert`."""


@dataclass
class _Rounds:
    """Collections of their own for every measurement, and what was measured."""

    stage: Stage
    records: int
    batch_size: int
    vectors: KnownVectors = field(default_factory=KnownVectors)
    pages: list[Page] = field(default_factory=list)
    plain: list[Page] = field(default_factory=list)
    work: dict[str, list[float]] = field(default_factory=dict)
    number: int = 0

    def prepare(self) -> None:
        """Rows beside the table, their vectors, and one whole run, from which the bare side gets its items."""
        self.stage.fill(self.records)
        self.stage.execute(f"CREATE TABLE kept AS TABLE {ROWS}")
        table = component()
        self.stage.install(table)
        binding = self.stage.bind(table)
        with binding.source.at_snapshot() as snapshot:
            keys = [key for batch in snapshot.fingerprints() for key in batch.column(0).to_pylist()]
        for batch in binding.source.values(keys):
            self.vectors.learn(binding.mapper(batch)[0].column("document").to_pylist())
        self.path("incremental", keep=True)()

    def path(self, mode: str, *, keep: bool = False) -> Callable[[], float]:
        """The IO manager's path: all records are new in the log, or (full) new to a first run."""

        def measure() -> float:
            self.number += 1
            table = component(name=f"round_{self.number}")
            self.stage.execute(f"TRUNCATE {ROWS}")
            if mode == "incremental":
                # a first run over one record: an empty collection would make the next run a full one
                self.stage.execute(f"INSERT INTO {ROWS} SELECT * FROM kept ORDER BY id LIMIT 1")
                self.stage.run(self.stage.bind(table, function=self.vectors), mode="full")
            self.stage.execute(f"INSERT INTO {ROWS} SELECT * FROM kept ON CONFLICT DO NOTHING")
            seconds = self._measured(mode, lambda: self._write(table, mode))
            if keep:
                self._keep(table.target.collection)
            self.stage.chroma().delete_collection(table.target.collection)
            return seconds

        return measure

    def _write(self, table: Any, mode: str) -> None:
        """What the asset and the IO manager do between them."""
        import dagster as dg
        from sync_pipelines.engine import run as engine
        from sync_pipelines.engine.model import Scope
        from sync_pipelines.io_managers.chroma import ChromaIOManager

        binding = self.stage.bind(table, function=self.vectors, batch_size=self.batch_size)
        engine.dead_runs(binding)
        scope, run_id = Scope(full=mode == "full"), str(uuid.uuid4())
        changes = engine.open_run(binding, engine.Request(mode=mode, scope=scope, trigger="manual", run_id=run_id))
        manager = ChromaIOManager(chroma=self.stage.resources.chroma)
        manager.handle_output(dg.build_output_context(), changes)

    def _keep(self, collection: str) -> None:
        """The stored items, once as they are and once without the sync's own fields."""
        handle = self.stage.chroma().get_collection(collection, embedding_function=None)
        for page in _stored(handle, self.batch_size):
            self.pages.append(page)
            self.plain.append({**page, "metadatas": [_users(fields) for fields in page["metadatas"]]})

    def bare(self, name: str, pages: list[Page]) -> Callable[[], float]:
        """`collection.upsert` of these pages, and nothing else."""

        def measure() -> float:
            client = self.stage.chroma()
            collection = client.create_collection("bare", embedding_function=None, configuration=_COSINE)
            seconds = self._measured(name, lambda: [collection.upsert(**page) for page in pages])
            client.delete_collection("bare")
            return seconds

        return measure

    def _measured(self, name: str, action: Callable[[], Any]) -> float:
        work = Work(*self.stage.server_pids)
        began, own = time.perf_counter(), time.process_time()
        action()
        seconds = time.perf_counter() - began
        self.work.setdefault(name, []).append(time.process_time() - own + work.seconds())
        self.stage.say(f"{name}: {seconds:.2f} s")
        return seconds


_COSINE: Any = {"hnsw": {"space": "cosine"}}


def _stored(collection: Any, size: int) -> Iterator[Page]:
    offset = 0
    while (found := collection.get(limit=size, offset=offset, include=["metadatas", "documents", "embeddings"]))["ids"]:
        yield {
            "ids": found["ids"],
            "embeddings": list(found["embeddings"]),
            "documents": found["documents"],
            "metadatas": found["metadatas"],
        }
        offset += size


def _users(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if not name.startswith("sync_")}


def run(stage: Stage, *, quick: bool) -> Result:
    """Overhead of the whole path, lock to watermark, over the bare upserts; both in batches of one size."""
    records, rounds = (3000, 3) if quick else (10_000, 5)
    from sync_pipelines.components.base import SyncComponent

    made = _Rounds(stage, records, SyncComponent.default_batch_size)
    made.prepare()
    made.work.clear()
    path, bare, plain, first = in_turn(
        rounds,
        made.path("incremental"),
        made.bare("bare", made.pages),
        made.bare("bare, plain", made.plain),
        made.path("full"),
    )
    work = made.work
    return Result(
        name=NAME,
        compares=f"asset → handle_output of {records:,} changed records against bare collection.upsert of the same "
        f"items, 384 dimensions, batches of {made.batch_size}, {rounds} rounds in turn",
        figures=(
            ratio("incremental path / bare upsert of the same items", times(path, bare), at_most=MOST),
            ratio("the same in CPU seconds of all processes", times(work["incremental"], work["bare"])),
            ratio("first full run (lists the store to prove it) / bare upsert", times(first, bare)),
            ratio("bare upsert of the same items / of items without the sync's six fields", times(bare, plain)),
            figure("bare upsert", records / median(bare), "records/s"),
            figure("incremental path", records / median(path), "records/s"),
            figure("first full run", records / median(first), "records/s"),
        ),
        notes=((__doc__ or "").partition("\n\n")[2].replace("\n", " ").strip(),),
    )
