"""Ways of moving and of proving rows, for processes of their own: each is made ready first, then done once."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, cached_property
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from benchmarks.lake import SELECT, back_component, component
from benchmarks.stage import Place

Work = Callable[[], dict[str, Any] | None]


class _Loaded(Place):
    """A place whose resources are made once, as a run's process has them with the project's definitions."""

    @cached_property
    def resources(self) -> SimpleNamespace:
        return super().resources


@cache
def place() -> Place:
    """The database and the folder that the environment names."""
    return _Loaded(url=os.environ["DATABASE_URL"], chroma_url=os.environ["CHROMA_URL"])


_IMPORTED = (
    *("adbc_driver_postgresql.dbapi", "deltalake", "pandas", "pyarrow.csv", "pyarrow.parquet"),
    *(
        "sqlalchemy.dialects.postgresql.psycopg2",
        "sync_pipelines.definitions",
        "sync_pipelines.sources.postgres.source",
    ),
    *("sync_pipelines.sources.delta.folder", "sync_pipelines.sources.delta.source"),
    *("sync_pipelines.targets.delta.target", "sync_pipelines.targets.lake.mapping"),
    *("sync_pipelines.targets.postgres.conform", "sync_pipelines.targets.postgres.target"),
)


def _imports() -> None:
    """What a run's process has once Dagster has loaded the project, and what it imports when it reads and writes."""
    for name in _IMPORTED:
        import_module(name)
    assert place().resources  # Dagster makes a class of each when it is first asked, which takes 0.4 s


def _address() -> str:
    return place().url.replace("+psycopg2", "")


def load(*, name: str, mode: str = "full") -> Work:
    """One run of PostgreSQL → Delta by the engine: lock, ledger, snapshot, spool, write, compare, watermark."""
    _imports()
    table = component(name=name)

    def work() -> dict[str, Any]:
        done = place().run(place().bind(table), mode=mode)
        return _said(done)

    return work


def back(*, name: str, source: str, table: str, mode: str = "incremental") -> Work:
    """One run of Delta → PostgreSQL by the engine."""
    _imports()
    document = back_component(name=name, source=source, table=table)

    def work() -> dict[str, Any]:
        return _said(place().run(place().bind(document), mode=mode))

    return work


def hotels(*, mode: str = "full") -> Work:
    """One run of the hotels that ship with the project, as the environment names the API."""
    _imports()
    for name in ("httpx", "sync_pipelines.sources.rest.client", "sync_pipelines.targets.rowsets.writing"):
        import_module(name)
    from sync_pipelines.definitions import load as documents

    table = next(item for item in documents()[1] if item.path == "hotels/properties")

    def work() -> dict[str, Any]:
        return _said(place().run(place().bind(table), mode=mode))

    return work


def _said(done: Any) -> dict[str, Any]:
    counts = done.counts
    return {
        "reading": done.reading,
        "writing": done.writing,
        "upserted": counts.upserted,
        "unchanged": counts.unchanged,
        "deleted": counts.deleted,
        "quarantined": counts.quarantined,
    }


def bare_load(*, uri: str) -> Work:
    """ADBC's batches, handed to delta-rs as they come: nothing is checked, marked, sorted or kept."""
    import pyarrow as pa
    from adbc_driver_postgresql import dbapi
    from deltalake import write_deltalake

    assert pa

    def work() -> None:
        with dbapi.connect(_address()) as connection, connection.cursor() as cursor:
            cursor.execute(SELECT)
            with cursor.fetch_record_batch() as reader:
                write_deltalake(uri, reader, mode="overwrite")

    return work


def bare_back(*, uri: str, table: str) -> Work:
    """A Delta table through COPY into a temporary table, and INSERT … ON CONFLICT from there."""
    import pyarrow as pa
    from adbc_driver_postgresql import dbapi
    from deltalake import DeltaTable

    from benchmarks.lake import COLUMNS

    def work() -> None:
        columns = ", ".join(COLUMNS)
        casts = ", ".join(f"{name}::{_CASTS[name]}" if name in _CASTS else name for name in COLUMNS)
        sets = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "id")
        reader = pa.RecordBatchReader.from_stream(DeltaTable(uri).scan(columns=list(COLUMNS)))
        with dbapi.connect(_address()) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("staged", reader, mode="create", temporary=True)
            cursor.execute(
                f"INSERT INTO {table} ({columns}) SELECT {casts} FROM staged ON CONFLICT (id) DO UPDATE SET {sets}"
            )
            connection.commit()

    return work


_CASTS = {"id": "uuid", "user_id": "uuid", "metadata": "jsonb"}


def prove(*, name: str, kind: str) -> Work:
    """One proof, written down; `count`, `quick` or `deep`."""
    _imports()
    table = component(name=name)

    def work() -> dict[str, Any]:
        from sync_pipelines.engine.proof import prove_and_record

        proof = prove_and_record(place().bind(table), kind)  # ty: ignore[invalid-argument-type]
        return {"equal": proof.equal, "records": proof.target_count}

    return work


WAYS: dict[str, Callable[..., Work]] = {
    "load": load,
    "back": back,
    "hotels": hotels,
    "bare-load": bare_load,
    "bare-back": bare_back,
    "prove": prove,
}
