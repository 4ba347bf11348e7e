"""The IO manager's path against bare `collection.upsert` of the same items with the same embeddings.

The IO manager is `handle_output`: the mapping to documents, the question what the collection holds already, the
plan, the upserts, a look at lock and quarantine for each batch, the count, the watermark, the reader's confirmation.
The whole path has before it: binding, a look for dead runs, the lock of the run and of the target, the ledger, the
unread keys of the log, their rows in one snapshot, the spool. Not inside: Dagster's own floor, and the model: on
both sides every vector is there already.

Path, bare upserts, and bare upserts without the sync's own fields are measured in turn, each as a whole: while
it writes one batch the path maps and plans the next, which must not fall into somebody else's time.
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


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one run of the path took, its IO manager alone, and the bare upserts of the same and of plainer items."""

    path: Spent
    manager: Spent
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
        plainer = [{**page, "metadatas": [_users(fields) for fields in page["metadatas"]]} for page in self.pages]
        ways = {
            "both": lambda: self._path(mode),
            "bare": lambda: self._bare(self.pages),
            "plain": lambda: self._bare(plainer),
        }
        order = list(ways) if self.number % 2 else list(reversed(ways))
        took: dict[str, Any] = {name: ways[name]() for name in order}
        reading, writing = took.pop("both")
        found = Round(path=reading + writing, manager=writing, **took)
        self.stage.say(
            f"{NAME} {mode}: {found.path.seconds:.2f} s, of it the IO manager {found.manager.seconds:.2f} s, "
            f"bare {found.bare.seconds:.2f} s"
        )
        return found

    def _bare(self, pages: list[Page]) -> Spent:
        """Upserts of ready pages, one page a call, into a collection of their own."""
        client = self.stage.chroma()
        collection = client.create_collection("bare", embedding_function=None, configuration=_COSINE)
        spent = self._clock.measure(lambda: [collection.upsert(**page) for page in pages])
        client.delete_collection("bare")
        return spent

    def _path(self, mode: str) -> tuple[Spent, Spent]:
        import dagster as dg

        from sync_pipelines.io_managers.chroma import ChromaIOManager

        table = component(name=f"round_{self.number}")
        self._refill(table, mode)
        context = dg.build_output_context()  # makes an instance of Dagster's own, 0.3 s: no part of the path
        opened: list[Any] = []
        reading = self._clock.measure(lambda: opened.append(self._read(table, mode)))
        manager = ChromaIOManager(chroma=self.stage.resources.chroma)
        writing = self._clock.measure(lambda: manager.handle_output(context, opened[0]))
        self.stage.chroma().delete_collection(table.target.collection)
        return reading, writing

    def _refill(self, table: Any, mode: str) -> None:
        self.stage.execute(f"TRUNCATE {ROWS}")
        if mode == "incremental":
            # a first run over one record: an empty collection would make the next run a full one
            self.stage.execute(f"INSERT INTO {ROWS} SELECT * FROM kept ORDER BY id LIMIT 1")
            self.stage.run(self.stage.bind(table, function=self.vectors), mode="full")
        self.stage.execute(f"INSERT INTO {ROWS} SELECT * FROM kept ON CONFLICT DO NOTHING")

    def _read(self, table: Any, mode: str) -> Any:
        """What the asset does before the IO manager has its changes."""
        from sync_pipelines.engine import run as engine
        from sync_pipelines.engine.dead import dead_runs
        from sync_pipelines.engine.model import Scope

        binding = self.stage.bind(table, function=self.vectors, batch_size=self.batch_size)
        dead_runs(binding)
        scope, run_id = Scope(full=mode == "full"), str(uuid.uuid4())
        return engine.open_run(binding, engine.Request(mode=mode, scope=scope, trigger="manual", run_id=run_id))


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

    records, rounds = (2000, 3) if quick else (5000, 7)
    size = PostgresToChroma.default_batch_size
    made = Rounds(stage, records, size)
    made.prepare()
    changed = [made.round("incremental") for _ in range(rounds)]
    first = [made.round("full") for _ in range(rounds // 2)]
    rate: Callable[[list[float]], float] = lambda seconds: records / median(seconds)  # noqa: E731
    return Result(
        name=NAME,
        compares=f"asset → handle_output of {records:,} changed records against bare collection.upsert of the same "
        f"items: 384 dimensions, batches of {size}, in turn",
        figures=(
            ratio("the IO manager, incremental, / bare upsert", _times(changed, "manager", "bare"), at_most=MOST),
            ratio("the same in CPU seconds of all processes", _times(changed, "manager", "bare", "cpu")),
            ratio("path of an incremental run / bare upsert", _times(changed, "path", "bare")),
            ratio("the same in CPU seconds of all processes", _times(changed, "path", "bare", "cpu")),
            ratio("path / bare upsert without the sync's own fields", _times(changed, "path", "plain")),
            ratio("path of a first full run / bare upsert", _times(first, "path", "bare")),
            ratio("bare upsert / bare upsert without the sync's fields", _times([*changed, *first], "bare", "plain")),
            figure("bare upsert", rate([item.bare.seconds for item in changed]), "records/s"),
            figure("path of an incremental run", rate([item.path.seconds for item in changed]), "records/s"),
            figure("path of a first full run", rate([item.path.seconds for item in first]), "records/s"),
        ),
        notes=("A full run lists the whole store when it has written, to prove that it holds it; see the README.",),
    )
