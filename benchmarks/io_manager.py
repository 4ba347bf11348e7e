"""The IO manager's path against bare `collection.upsert` of the same items with the same embeddings.

Inside the path: binding, a look for dead runs, the lock of the run and of the target, the ledger, the unread
keys of the log, their rows in one snapshot, the spool, the mapping to documents, the question what the
collection holds already, the plan, the upserts, a look at lock and quarantine for each batch, the count, the
watermark, the reader's confirmation. Not inside: Dagster's own floor, and the model: on both sides every vector
is there already.

The two are measured in turn batch by batch: when the path asks for a batch's vectors, the bare side writes a
batch to a collection of its own, and its time is taken off the path's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.results import Result, figure, ratio
from benchmarks.stage import ROWS, Stage, component
from benchmarks.timing import Clock, Spent
from benchmarks.vectors import KnownVectors

NAME = "io-manager"
MOST = 1.10
"""An overhead of 10 %."""

Page = dict[str, Any]
"""The arguments of one `collection.upsert`."""

_COSINE: Any = {"hnsw": {"space": "cosine"}}


@dataclass
class Bare:
    """Bare upserts of ready pages into a collection of their own, one page a call, with what they take."""

    stage: Stage
    clock: Clock
    name: str
    pages: list[Page]
    spent: Spent = field(default_factory=Spent)

    def __post_init__(self) -> None:
        self._collection = self.stage.chroma().create_collection(
            self.name, embedding_function=None, configuration=_COSINE
        )
        self._waiting = iter(self.pages)

    def one(self) -> bool:
        """Write the next page; False where there is none."""
        page = next(self._waiting, None)
        if page is not None:
            self.spent += self.clock.measure(lambda: self._collection.upsert(**page))
        return page is not None

    def finish(self) -> Spent:
        """Write the rest, remove the collection, and give what all pages took."""
        while self.one():
            pass
        self.stage.chroma().delete_collection(self.name)
        return self.spent


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one run of the path took, and what the bare upserts of the same and of plainer items took meanwhile."""

    path: Spent
    bare: Spent
    plain: Spent


@dataclass
class Rounds:
    """Collections of their own for every round."""

    stage: Stage
    records: int
    batch_size: int
    vectors: KnownVectors = field(default_factory=KnownVectors)
    pages: list[Page] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        self._clock = Clock(*self.stage.server_pids)

    def prepare(self) -> None:
        """Rows beside the table, their vectors, and one whole run, from which the bare side gets its items."""
        self.stage.fill(self.records)
        self.stage.execute(f"CREATE TABLE kept AS TABLE {ROWS}")
        table = component()
        self.stage.install(table)
        self.vectors.learn(self.stage.texts(table))
        self.stage.run(self.stage.bind(table, function=self.vectors, batch_size=self.batch_size), mode="full")
        handle = self.stage.chroma().get_collection(table.target.collection, embedding_function=None)
        self.pages = list(_stored(handle, self.batch_size))
        self.stage.chroma().delete_collection(table.target.collection)

    def round(self, mode: str) -> Round:
        """One run of the path: all records but one are new in the log, or (full) new to a first run."""
        self.number += 1
        table = component(name=f"round_{self.number}")
        self._refill(table, mode)
        plainer = [{**page, "metadatas": [_users(fields) for fields in page["metadatas"]]} for page in self.pages]
        bare = Bare(self.stage, self._clock, "bare", self.pages)
        plain = Bare(self.stage, self._clock, "plain", plainer)
        sides = (bare, plain) if self.number % 2 else (plain, bare)
        self.vectors.before = lambda: [side.one() for side in sides]
        whole = self._clock.measure(lambda: self._write(table, mode))
        path = whole - bare.spent - plain.spent
        self.stage.chroma().delete_collection(table.target.collection)
        found = Round(path=path, bare=bare.finish(), plain=plain.finish())
        self.stage.say(f"{NAME} {mode}: {found.path.seconds:.1f} s, bare {found.bare.seconds:.1f} s")
        return found

    def _refill(self, table: Any, mode: str) -> None:
        self.vectors.before = lambda: None
        self.stage.execute(f"TRUNCATE {ROWS}")
        if mode == "incremental":
            # a first run over one record: an empty collection would make the next run a full one
            self.stage.execute(f"INSERT INTO {ROWS} SELECT * FROM kept ORDER BY id LIMIT 1")
            self.stage.run(self.stage.bind(table, function=self.vectors), mode="full")
        self.stage.execute(f"INSERT INTO {ROWS} SELECT * FROM kept ON CONFLICT DO NOTHING")

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
        ChromaIOManager(chroma=self.stage.resources.chroma).handle_output(dg.build_output_context(), changes)


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


def _times(rounds: list[Round], over: str, under: str, what: str = "seconds") -> float:
    return median(getattr(getattr(item, over), what) / getattr(getattr(item, under), what) for item in rounds)


def run(stage: Stage, *, quick: bool) -> Result:
    """Overhead of the whole path, lock to watermark, over the bare upserts; both in batches of one size."""
    from sync_pipelines.components.postgres_to_chroma import PostgresToChroma

    records, rounds = (2000, 2) if quick else (10_000, 3)
    size = PostgresToChroma.default_batch_size
    made = Rounds(stage, records, size)
    made.prepare()
    changed = [made.round("incremental") for _ in range(rounds)]
    first = [made.round("full") for _ in range(max(1, rounds - 1))]
    rate: Callable[[list[float]], float] = lambda seconds: records / median(seconds)  # noqa: E731
    return Result(
        name=NAME,
        compares=f"asset → handle_output of {records:,} changed records against bare collection.upsert of the same "
        f"items: 384 dimensions, batches of {size}, in turn batch by batch",
        figures=(
            ratio("path of an incremental run / bare upsert", _times(changed, "path", "bare"), at_most=MOST),
            ratio("the same in CPU seconds of all processes", _times(changed, "path", "bare", "cpu")),
            ratio("path of a first full run / bare upsert", _times(first, "path", "bare")),
            ratio("bare upsert / bare upsert without the sync's fields", _times([*changed, *first], "bare", "plain")),
            figure("bare upsert", rate([item.bare.seconds for item in changed]), "records/s"),
            figure("path of an incremental run", rate([item.path.seconds for item in changed]), "records/s"),
            figure("path of a first full run", rate([item.path.seconds for item in first]), "records/s"),
        ),
        notes=("A full run lists the whole store when it has written, to prove that it holds it; see the README.",),
    )
