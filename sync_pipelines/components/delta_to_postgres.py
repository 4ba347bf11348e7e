"""The kind `DeltaToPostgres`: a Delta table's rows, kept equal in a table of an application in PostgreSQL."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from sync_pipelines.components.base import SyncComponent
from sync_pipelines.components.blocks import CONNECTION, Block, ConflictsBlock, DeltaSourceBlock
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.model import PROBLEM, Rejection
from sync_pipelines.engine.sql import qualified
from sync_pipelines.resources.lake import in_databricks, not_configured

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.engine.spec import TableSpec
    from sync_pipelines.sources.delta.source import DeltaSource, Table
    from sync_pipelines.targets.postgres.conform import Conformer
    from sync_pipelines.targets.postgres.layout import PostgresTable


class PostgresTargetBlock(Block):
    """The table, which is there already: nothing about it is changed but its rows."""

    connection: str = Field(description="Named connection: <CONNECTION>_DATABASE_URL, else DATABASE_URL.")
    table: str = Field(description="The table's name exactly as PostgreSQL spells it, without quotes.")
    schema_name: str | None = Field(default=None, description="The table's schema; the connection's if left out.")

    shapes: ClassVar[dict[str, Any]] = {"connection": CONNECTION}


class DeltaToPostgres(SyncComponent):
    """Keeps a PostgreSQL table equal to a Delta table.

    PostgreSQL's column types decide what is equal. A row that a constraint refuses is quarantined alone; one whose
    foreign key has no row yet waits for it.
    """

    source: DeltaSourceBlock  # ty: ignore[incompatible-attribute-override]
    target: PostgresTargetBlock
    columns: list[str] | None = Field(
        default=None, description="The columns that are synced; all that both tables have, if left out."
    )
    conflicts: ConflictsBlock = ConflictsBlock()

    default_batch_size: ClassVar[int] = 5000
    far_system: ClassVar[str] = "delta"
    kinds: ClassVar[tuple[str, ...]] = ("deltalake", "postgres")
    io_manager_key: ClassVar[str] = "postgres_io_manager"
    resource_keys: ClassVar[frozenset[str]] = frozenset({"postgres", "ledger", "delta", "databricks"})
    captures_in_postgres: ClassVar[bool] = False

    @model_validator(mode="after")
    def _conflicts_are_decided_by_a_synced_column(self) -> DeltaToPostgres:
        by = self.conflicts.by
        if by is not None and self.columns is not None and by not in [*self.source.key, *self.columns]:
            raise ValueError(f"conflicts.by: {by!r} is none of `columns`")
        return self

    def read_columns(self) -> tuple[str, ...]:
        return tuple(self.columns or ())

    @property
    def reads_every_column(self) -> bool:
        return self.columns is None

    @cached_property
    def spec(self) -> TableSpec:
        return self.spec_with(every_column=self.reads_every_column)

    @cached_property
    def target_spec(self) -> TableSpec:
        """The table in PostgreSQL, as what reads it wants to be told."""
        from sync_pipelines.engine.spec import TableSpec

        return TableSpec(
            sync=self.sync,
            name=self.table_name,
            table=self.target.table,
            schema=self.target.schema_name,
            key=tuple(self.source.key),
            sensitive=tuple(self.sensitive),
            carry="lake",
        )

    def mapping_text(self) -> str:
        return "conformed:1"

    @property
    def table_name(self) -> str:
        from sync_pipelines.components.base import snake_case

        return self.name or snake_case(self.target.table)

    def target_name(self) -> str:
        return self.target.table

    def target_identity(self) -> str:
        place = qualified(self.target.schema_name, self.target.table)
        return f"PostgreSQL table {place} of the connection {self.target.connection!r}"

    def asset_metadata(self) -> dict[str, Any]:
        return {
            "postgres/connection": self.target.connection,
            "postgres/table": qualified(self.target.schema_name, self.target.table),
            "dagster/storage_kind": "postgres",
            "dagster/table_name": self.target.table,
        }

    def not_configured(self, resources: Any) -> str | None:
        return not_configured(self.source.engine, resources)

    def not_watched(self, resources: Any) -> str | None:
        if not in_databricks(self.source.engine, resources):
            return None
        return (
            "a table of Databricks is asked by schedules alone: a sensor's questions would keep the warehouse running"
        )

    def not_ready(self, resources: Any) -> str | None:
        """The Delta table is somebody else's: before its first rows an hourly failure would tell nobody anything.

        One that was synced and is gone is a fault, which the run tells.
        """
        if reason := self.not_configured(resources):
            return reason
        try:
            if self.build_source(resources).is_there() or self._was_synced(resources):
                return None
        except TransientError:
            return None  # the run waits an outage out, and tells it
        return f"there is no Delta table {self.source.table!r} yet"

    def _was_synced(self, resources: Any) -> bool:
        with resources.ledger.ledger() as ledger:
            return ledger.watermark(self.sync, self.table_name) is not None

    def postgres_table(self, resources: Any) -> PostgresTable:
        from sync_pipelines.sources.postgres.connection import normalise_url
        from sync_pipelines.targets.postgres.layout import PostgresTable

        return PostgresTable(
            normalise_url(resources.postgres.connection_url(self.target.connection)),
            self.target_spec,
            named=self.columns,
            pool_max=resources.postgres.pool_max(),
        )

    def build_source(self, resources: Any) -> DeltaSource:
        from sync_pipelines.sources.delta.source import DeltaSource

        return DeltaSource(
            self._source_table(resources),
            self.spec,
            conforming=lambda schema: self._conformer(resources, schema),
            spool=resources.postgres.spool_folder(),
        )

    def _source_table(self, resources: Any) -> Table:
        """The table through its engine."""
        if in_databricks(self.source.engine, resources):
            from sync_pipelines.sources.delta.warehouse import WarehouseTable

            return WarehouseTable(resources.databricks.settings(), self.source.table, self.spec)
        from sync_pipelines.sources.delta.folder import FolderTable

        return FolderTable(resources.delta.settings(), self.source.table, self.spec)

    def _conformer(self, resources: Any, schema: pa.Schema) -> Conformer:
        from sync_pipelines.targets.postgres.conform import Conformer

        table = self.postgres_table(resources)
        return Conformer(table, table.layout(schema.names), schema, changed_at=self.source.changed_at)

    def target_parts(self, resources: Any) -> dict[str, Any]:
        from sync_pipelines.targets.postgres.target import PostgresTarget

        table, source = self.postgres_table(resources), self.build_source(resources)
        target = PostgresTarget(
            table,
            columns=lambda: source.columns().names,
            policy=self.conflicts.policy(),
        )
        place = qualified(self.target.schema_name or table.url.schema, self.target.table)
        return {"target": target, "mapper": readable, "lock_name": f"postgres:{table.url.safe}:{place}"}

    def bind(self, resources: Any, *, batch_size: int | None = None) -> Binding:
        binding = super().bind(resources, batch_size=batch_size)
        binding.target.keep_books(binding.ledger)  # ty: ignore[missing-attribute]
        return binding


def readable(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
    """Conformed rows as they are written, and those with a problem, which are refused."""
    from sync_pipelines.engine.model import CHANGED_AT, FINGERPRINT, KEY

    names = [name for name in batch.schema.names if name not in (KEY, FINGERPRINT, CHANGED_AT, PROBLEM)]
    rows, problems = batch.select([KEY, FINGERPRINT, *names]), batch.column(PROBLEM)
    if problems.null_count == len(problems):
        return rows, []
    why = zip(batch.column(KEY).to_pylist(), problems.to_pylist(), strict=True)
    rejected = [Rejection(key=key, reason=reason, stage="read") for key, reason in why if reason]
    return rows.filter(problems.is_null()), rejected
