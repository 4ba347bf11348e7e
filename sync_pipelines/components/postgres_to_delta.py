"""The kind `PostgresToDelta`: a PostgreSQL table becomes a Delta table in a folder, an object store or Databricks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sync_pipelines.components.base import SyncComponent
from sync_pipelines.components.blocks import Block
from sync_pipelines.components.schema import field_errors
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.resources.lake import Engine, engine_of, in_databricks, not_configured

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_pipelines.engine.spec import TableSpec
    from sync_pipelines.targets.lake.mapping import LakeMapper
    from sync_pipelines.targets.lake.shape import Shape
    from sync_pipelines.targets.lake.table import LakeTarget

_REBUILT = "__rebuild"
"""`targets.lake.table.REBUILD_SUFFIX`, which is not imported at load."""

_TABLE = r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$"


class DeltaTargetBlock(Block):
    """The table, below DELTA_URI or in a schema of Databricks."""

    connection: str = "delta"
    table: str = Field(
        description="The table's name. Below DELTA_URI `/` makes folders; on Databricks the part behind the last `/` "
        "is a table of DATABRICKS_SCHEMA, or `schema.table`, or `catalog.schema.table`."
    )
    engine: Engine = Field(
        default="auto",
        description="Who writes the table: delta-rs (DELTA_URI); databricks, a SQL warehouse (DATABRICKS_HOST); or "
        "spark, the warehouse and a Spark job for full reads of large tables. auto: delta-rs where DELTA_URI is set, "
        "else databricks.",
    )
    mode: Literal["merge", "append", "overwrite"] = Field(
        default="merge",
        description="merge: a row a record, as it is now. append: a history, a row for each state that a record was "
        "seen in (columns _version and _deleted; not spark). overwrite: each run reads the whole source and replaces "
        "all rows by one commit (not spark).",
    )
    synced_at: bool = Field(default=True, description="A column that says when a row was written.")
    properties: dict[str, str] = Field(default={}, description="Table properties (delta.…), set when it is made.")

    shapes: ClassVar[dict[str, Any]] = {"table": {"pattern": _TABLE}}

    @field_validator("table")
    @classmethod
    def _no_rebuild_uses_it(cls, value: str) -> str:
        if value.lower().endswith(_REBUILT):
            raise ValueError(f"{value!r} ends with {_REBUILT}, which a rebuild uses: choose another name")
        return value


class LayoutBlock(Block):
    """How the table's files are laid out."""

    sort_by: str | None = Field(
        default=None,
        description="A column that never or seldom changes (created_at): a merge reads just the files that hold the "
        "changed records' values of it.",
    )
    z_order: list[str] = Field(
        default=[], description="The weekly upkeep writes the whole table anew, ordered by these columns."
    )
    cluster_by: list[str] = Field(
        default=[], description="Columns of the liquid clustering that the table has on Databricks."
    )
    file_mb: int = Field(default=32, ge=1, le=1024, description="The size of a file that is aimed at.")


class SparkBlock(Block):
    """The Spark job of `target.engine: spark`, which makes full reads; DATABRICKS_CLUSTER_ID names its cluster."""

    rows: int = Field(
        default=1_000_000, ge=1, description="Tables with fewer rows are read by this process, as are incremental runs."
    )
    connections: int = Field(default=8, ge=1, le=256, description="Connections to PostgreSQL at a time.")
    fetch_rows: int = Field(default=1000, ge=1, le=100_000, description="Rows that a connection holds in memory.")
    poll_seconds: float = Field(default=5.0, gt=0, description="Between two looks at the job.")
    new_cluster: dict[str, Any] | None = Field(
        default=None,
        description="A cluster for just this job, as the Jobs API describes one (spark_version, node_type_id, "
        "num_workers, …). Without it and without DATABRICKS_CLUSTER_ID the job is serverless.",
    )


class PostgresToDelta(SyncComponent):
    """Keeps a Delta table equal to a PostgreSQL table.

    Each row is one record. Every type has a stated place in Delta; a value that it cannot hold quarantines its record.
    """

    target: DeltaTargetBlock
    columns: list[str] | None = Field(
        default=None, description="The columns that are synced; all of them, later ones too, if left out."
    )
    types: dict[str, str] = Field(default={}, description="Column → Delta type, where another than its own is wanted.")
    layout: LayoutBlock = LayoutBlock()
    spark: SparkBlock = SparkBlock()
    schema_change: Literal["stop", "evolve", "rebuild"] = Field(
        default="evolve",
        description="evolve: new columns are added; whatever else changes stops the sync until it is rebuilt. "
        "stop: new columns stop it, too. rebuild: new columns are added, and for whatever else the next run builds the "
        "table anew by itself.",
    )

    default_batch_size: ClassVar[int] = 1000
    far_system: ClassVar[str] = "delta"
    writes_delta: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("postgres", "deltalake")
    io_manager_key: ClassVar[str] = "delta_io_manager"
    resource_keys: ClassVar[frozenset[str]] = frozenset({"postgres", "ledger", "delta", "databricks"})

    @field_validator("types")
    @classmethod
    def _known_types(cls, value: dict[str, str]) -> dict[str, str]:
        from sync_pipelines.targets.lake.types import parse

        for name, kind in value.items():
            with field_errors(prefix=f"{name}: "):
                parse(kind)
        return value

    def read_columns(self) -> tuple[str, ...]:
        return tuple(self.columns or ())

    @property
    def reads_every_column(self) -> bool:
        return self.columns is None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns that are stored as text although they have a type of their own: PostgreSQL writes the text."""
        return tuple(sorted(name for name, kind in self.types.items() if kind.strip().lower() == "string"))

    @cached_property
    def spec(self) -> TableSpec:
        return self.spec_with(every_column=self.reads_every_column, as_text=self.text_columns, carry="lake")

    def mapping_text(self) -> str:
        return self.mapper().signature

    def mapper(self) -> LakeMapper:
        from sync_pipelines.targets.lake.mapping import LakeMapper

        return LakeMapper(types=self.types, place=self.path)

    def target_name(self) -> str:
        return self.target.table

    def target_identity(self) -> str:
        return f"Delta table {self.target.table!r}"

    def asset_metadata(self) -> dict[str, Any]:
        return {
            "delta/table": self.target.table,
            "delta/engine": self.target.engine,
            "dagster/storage_kind": "deltalake",
            "dagster/table_name": self.target.table,
            **({"delta/changed_at": self.source.changed_at} if self.source.changed_at else {}),
        }

    def not_configured(self, resources: Any) -> str | None:
        return not_configured(self.target.engine, resources)

    def build_target(self, resources: Any) -> LakeTarget:
        """The table through its engine."""
        from sync_pipelines.targets.lake.groups import Layout

        table: dict[str, Any] = {
            "name": self.target.table,
            "shape": lambda: self._shape(resources),
            "sync": self.sync,
            "table": self.table_name,
            "layout": Layout(sort_by=self.layout.sort_by, file_bytes=self.layout.file_mb * 1024 * 1024),
            "properties": self.target.properties,
            "mapping": self.spec.mapping_hash,
            "schema_change": self.schema_change,
        }
        if in_databricks(self.target.engine, resources):
            return self._in_databricks(resources, table)
        return self._in_folder(resources, table)

    def _in_folder(self, resources: Any, table: dict[str, Any]) -> LakeTarget:
        self._refuse_layout()
        self._refuse_features()
        table |= {"settings": resources.delta.settings()}
        match self.target.mode:
            case "append":
                from sync_pipelines.targets.delta.history import DeltaHistory

                return DeltaHistory(**table)
            case "overwrite":
                from sync_pipelines.targets.delta.overwriting import DeltaOverwrite

                return DeltaOverwrite(spool=resources.postgres.spool_folder(), **table)
            case "merge":
                from sync_pipelines.targets.delta.target import DeltaTarget

                return DeltaTarget(**table)

    @model_validator(mode="after")
    def _the_mode_fits_the_rest(self) -> PostgresToDelta:
        if why := self._unfit():
            raise ValueError(why)
        return self

    def _unfit(self) -> str | None:
        """Why the document asks for two things of which one undoes the other; None where it does not."""
        if self.target.mode == "append" and self.schema_change == "rebuild":
            return "schema_change: rebuild would forget the history that target.mode: append keeps"
        if self.target.mode != "merge" and self.target.engine == "spark":
            return f"target.engine: spark merges: for target.mode: {self.target.mode} set target.engine: databricks"
        if self.target.mode != "append" and _is_on(self.target.properties, "delta.appendOnly"):
            return f"target.properties: delta.appendOnly forbids what target.mode: {self.target.mode} does"
        if self.target.mode == "overwrite" and self.layout.z_order:
            return "layout.z_order: each run of target.mode: overwrite would undo it; take sort_by or cluster_by"
        return None

    def _in_databricks(self, resources: Any, table: dict[str, Any]) -> LakeTarget:
        table |= {"settings": resources.databricks.settings(), "cluster_by": self.layout.cluster_by}
        if engine_of(self.target.engine, resources) == "databricks":
            return self._by_warehouse(table)
        from sync_pipelines.targets.spark.target import SparkTarget

        measures = {**self.spark.model_dump(), "quiet": bool(self.sensitive)}
        return SparkTarget(job=resources.databricks.job(self.source.connection).sized(**measures), **table)

    def _by_warehouse(self, table: dict[str, Any]) -> LakeTarget:
        match self.target.mode:
            case "append":
                from sync_pipelines.targets.databricks.history import DatabricksHistory

                return DatabricksHistory(**table)
            case "overwrite":
                from sync_pipelines.targets.databricks.overwriting import DatabricksOverwrite

                return DatabricksOverwrite(**table)
            case "merge":
                from sync_pipelines.targets.databricks.target import DatabricksTarget

                return DatabricksTarget(**table)

    def _refuse_layout(self) -> None:
        """Stop what delta-rs cannot do, at once or by the first upkeep."""
        where = {"sync": self.sync, "table": self.table_name}
        if self.layout.cluster_by:
            raise ConfigurationError(
                "layout.cluster_by: delta-rs cannot write a table with liquid clustering.",
                remedy="Take sort_by or z_order, or set target.engine: databricks.",
                **where,
            )
        if nested := [name for name in self.layout.z_order if "." in name]:
            raise ConfigurationError(
                f"layout.z_order: delta-rs takes {nested[0]!r} for a field within a column.",
                remedy="Take sort_by, or columns without a dot in their names, or set target.engine: databricks.",
                **where,
            )

    def _refuse_features(self) -> None:
        """Stop before a table is made that delta-rs could not write a second time (`delta.features`)."""
        wanted = self.target.properties
        found = [name for name in ("delta.enableDeletionVectors",) if _is_on(wanted, name)]
        if wanted.get("delta.columnMapping.mode", "none").strip().lower() != "none":
            found.append("delta.columnMapping.mode")
        if found:
            raise ConfigurationError(
                f"target.properties: delta-rs cannot write a table with {' and '.join(found)}.",
                sync=self.sync,
                table=self.table_name,
                remedy="Leave that out, or set target.engine: databricks.",
            )

    def _shape(self, resources: Any) -> Shape:
        """The columns as the catalog has them now, as they are to be stored."""
        from sync_pipelines.targets.lake.shape import Shape

        batches, comment = self.build_source(resources).described()
        columns = self.mapper().schema(batches)
        self._check_layout(columns)
        return Shape(
            columns=columns,
            key=self.spec.key,
            comment=comment,
            synced_at=self.target.synced_at,
            history=self.target.mode == "append",
        )

    def _check_layout(self, held: pa.Schema) -> None:
        wanted = {"sort_by": [self.layout.sort_by] if self.layout.sort_by else [], "cluster_by": self.layout.cluster_by}
        wanted["z_order"] = self.layout.z_order
        for field, columns in wanted.items():
            if unknown := [name for name in columns if name not in held.names]:
                raise ConfigurationError(
                    f"layout.{field}: the source has no column {', '.join(map(repr, unknown))}.",
                    sync=self.sync,
                    table=self.table_name,
                )
        from sync_pipelines.targets.lake.types import spell

        by = self.layout.sort_by
        if by is not None and spell(held.field(by).type).startswith("array"):
            raise ConfigurationError(
                f"layout.sort_by: column {by!r} is stored as an array, by which no files are told apart.",
                sync=self.sync,
                table=self.table_name,
                remedy="Name a column with one value, such as the time when a row was made.",
            )

    def lock_name(self, resources: Any) -> str:
        """The lock that every writer of the table takes."""
        if in_databricks(self.target.engine, resources):
            settings = resources.databricks.settings()
            return f"databricks:{settings.host}/{settings.table(self.target.table)}"
        return f"delta:{resources.delta.settings().table(self.target.table)}"

    def target_parts(self, resources: Any) -> dict[str, Any]:
        return {
            "target": self.build_target(resources),
            "mapper": self.mapper().map,
            "lock_name": self.lock_name(resources),
        }


def _is_on(properties: dict[str, str], name: str) -> bool:
    return properties.get(name, "").strip().lower() == "true"
