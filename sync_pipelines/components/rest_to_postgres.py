"""The kind `RestToPostgres`: documents of a REST API, kept equal in tables of PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from sync_pipelines.components import rest_parts as parts
from sync_pipelines.components.base import Owned, SyncComponent, snake_case
from sync_pipelines.components.fetching import SETTINGS, FetchBlock, Held, fetch_settings, like, several_like
from sync_pipelines.components.functions import named_function
from sync_pipelines.components.rest_blocks import RestSourceBlock, RowsTargetBlock
from sync_pipelines.components.rest_facts import marks, rest_facts
from sync_pipelines.engine.sql import qualified
from sync_pipelines.targets.rowsets.hiding import Hidden
from sync_pipelines.targets.rowsets.layout import Declared, Documents

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from sync_pipelines.check_results import Anew
    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.engine.model import Rejection
    from sync_pipelines.engine.spec import TableSpec
    from sync_pipelines.engine.urls import NormalisedUrl
    from sync_pipelines.sources.rest.endpoint import Endpoint, FetchSettings
    from sync_pipelines.sources.rest.source import RestSource
    from sync_pipelines.targets.rowsets.batch import RowsOf
    from sync_pipelines.targets.rowsets.books import Books
    from sync_pipelines.targets.rowsets.target import RowsetTarget


class RestToPostgres(SyncComponent):
    """Keeps the documents of a REST API in tables of PostgreSQL.

    Each document is kept whole; its rows are made from it by `columns` or by a function, and only what changed is
    written. What the API has no more is marked, and stays.
    """

    source: RestSourceBlock  # ty: ignore[incompatible-attribute-override]
    target: RowsTargetBlock
    rows: str | None = Field(
        default=None,
        description="package.module:function, payload and key → rows by table, a ValueError for what breaks the "
        "contract.",
    )
    columns: dict[str, Any] = Field(
        default={},
        description="Column → dotted path into the payload, or {path, type, required}; types: text, integer, "
        "number, numeric, boolean, timestamp, date, json.",
    )
    fetch: FetchBlock = FetchBlock()
    plausible: dict[str, list[float]] = Field(
        default={}, description="Column of the first table → the lowest and the highest value that it may have."
    )

    default_batch_size: ClassVar[int] = 10
    far_system: ClassVar[str] = "rest"
    kinds: ClassVar[tuple[str, ...]] = ("rest", "postgres")
    io_manager_key: ClassVar[str] = "postgres_io_manager"
    resource_keys: ClassVar[frozenset[str]] = frozenset({"postgres", "ledger", "rest"})
    captures_in_postgres: ClassVar[bool] = False

    @field_validator("columns")
    @classmethod
    def _are_paths(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {name: parts.column_of(name, column) for name, column in value.items()}

    @field_validator("plausible")
    @classmethod
    def _are_ranges(cls, value: dict[str, list[float]]) -> dict[str, list[float]]:
        for name, bounds in value.items():
            if len(bounds) != 2 or not bounds[0] <= bounds[1]:  # NaN is no bound
                raise ValueError(f"plausible.{name}: write the lowest and the highest value, [0, 10]")
        return value

    @model_validator(mode="after")
    def _rows_are_made_in_one_way(self) -> RestToPostgres:
        if (self.rows is None) == (not self.columns):
            raise ValueError("write rows (a function, with target.tables), or columns (with target.table)")
        if (self.rows is None) != (self.target.table is not None):
            raise ValueError("rows go with target.tables, columns with target.table")
        if self.rows is not None:
            named_function("rows", self.rows)
        parts.insist_on_columns(self)
        parts.insist_on_ranges(self)
        parts.insist_on_books(self)
        parts.insist_on_fields(self)
        return self

    # What a kind says of itself

    @cached_property
    def spec(self) -> TableSpec:
        """The key of a list is named by paths, and hidden by the names of its columns."""
        named = dict(zip(self.record, self.source.key, strict=True))
        hidden = dict.fromkeys(name for item in self.sensitive for name in (item, named.get(item, item)))
        return replace(self.spec_with(), sensitive=tuple(hidden))

    @cached_property
    def hidden(self) -> Hidden:
        """The fields of payloads that `sensitive` names: columns of one table, or paths."""
        named = dict(zip(self.record, self.source.key, strict=True))
        paths = [_path(self.columns.get(item, named.get(item, item))) for item in self.sensitive]
        return Hidden(paths=tuple(paths), keys=bool(set(self.sensitive) & set(self.record)))

    def read_columns(self) -> tuple[str, ...]:
        return ()

    @property
    def reads_every_column(self) -> bool:
        return True

    @cached_property
    def record(self) -> tuple[str, ...]:
        """The columns that hold a document's key."""
        by_path = {_path(column): name for name, column in self.columns.items()}
        return tuple(by_path.get(path, path.rpartition(".")[2]) for path in self.source.key)

    def mapping_text(self) -> str:
        if self.rows is None:
            return f"columns:{sorted(self.columns.items())!r}"
        return f"rows:{self.rows}"

    @property
    def table_name(self) -> str:
        return self.name or snake_case(self.target.table or self.target.tables[0].table or self.target.tables[0].name)

    def target_name(self) -> str:
        return self.target.table or ", ".join(table.table or table.name for table in self.target.tables)

    @property
    def pool(self) -> str:
        """One for all tables of an API: `max_concurrent` is meant for the API, and each run has its own connections."""
        return f"api/{snake_case(self.source.connection)}"

    def target_identity(self) -> str:
        first = self.target.table or self.target.tables[0].table or self.target.tables[0].name
        place = qualified(self.target.schema_name, first)
        return f"PostgreSQL table {place} of the connection {self.target.connection!r}"

    def asset_metadata(self) -> dict[str, Any]:
        first = self.target.table or self.target.tables[0].table or self.target.tables[0].name
        return {
            "postgres/connection": self.target.connection,
            "postgres/table": qualified(self.target.schema_name, first),
            "rest/path": self.source.path,
            "dagster/storage_kind": "postgres",
            "dagster/table_name": first,
        }

    def not_configured(self, resources: Any) -> str | None:
        needs_key = self.source.auth.kind != "none"
        missing = resources.rest.missing(self.source.connection, base_url=self.source.base_url, needs_key=needs_key)
        return f"not configured: {missing}" if missing else None

    def not_ready(self, resources: Any) -> str | None:
        return self.not_configured(resources) or self.not_watched(resources)

    def not_watched(self, resources: Any) -> str | None:
        if self.not_configured(resources) or self.held(resources).value("enable_auto", default=True):
            return None
        return f"switched off: sync_settings {self.sync}.enable_auto, or SYNC_ENABLE_AUTO"

    def more_checks(self) -> dict[str, Any]:
        from sync_pipelines.rest_checks import rest_checks

        return rest_checks(self)

    def known_settings(self) -> dict[str, tuple[str, Any]]:
        told = "{} of the calls of {}; the document says {}."
        ways = ((self.source.values, like), (self.source.each, several_like))
        own = {
            name: (told.format(name, self.sync, text), read(text))
            for names, read in ways
            for name, text in names.items()
        }
        return {
            **super().known_settings(),
            **{setting.name: (setting.meaning, setting.parse) for setting in SETTINGS},
            **own,
        }

    def facts(self, resources: Any, binding: Binding) -> dict[str, Any]:
        return rest_facts(self, resources, binding)

    def told_of_run(self, resources: Any, began: datetime) -> str | None:
        with closing(self.bind(resources)) as binding:
            return marks(binding, began)

    def looked_anew(self, binding: Binding) -> Anew:
        from sync_pipelines.rest_checks import fetched_anew

        return fetched_anew(binding)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Column → its lowest and highest plausible value."""
        return {name: (float(lowest), float(highest)) for name, (lowest, highest) in self.plausible.items()}

    # Its systems

    def held(self, resources: Any) -> Held:
        """The settings of now."""
        with resources.ledger.ledger() as ledger:
            stored = ledger.settings(f"{self.sync}.")
        return Held(sync=self.sync, stored=stored, environment=os.environ)

    def settings(self, resources: Any) -> FetchSettings:
        """What holds for a run that begins now."""
        return fetch_settings(self.fetch, self.held(resources))

    def url(self, resources: Any) -> NormalisedUrl:
        """The target's database."""
        from sync_pipelines.sources.postgres.connection import normalise_url

        return normalise_url(resources.postgres.connection_url(self.target.connection))

    def owned(self, resources: Any) -> Owned | None:
        if self.target.migrations is None or self.not_configured(resources):
            return None
        schema = self.schema_in(self.url(resources))
        return Owned(connection=self.target.connection, branch=self.target.migrations, schema=schema)

    def schema_in(self, url: NormalisedUrl) -> str:
        """Where the tables stand."""
        return self.target.schema_name or url.schema or "public"

    def documents(self, schema: str) -> Documents:
        """The tables, before any database is asked."""
        tables = self._one_table() if self.rows is None else self._several()
        return Documents(
            sync=self.sync,
            name=self.table_name,
            record=self.record,
            tables=tuple(tables),
            books=self.books_name,
            schema=schema,
            hidden=self.hidden,
        )

    @property
    def books_name(self) -> str:
        return self.target.books or self.target.table or self.target.tables[0].table or self.target.tables[0].name

    def _one_table(self) -> list[Declared]:
        table = self.target.table
        assert table is not None
        types = {name: _of(column, "type", "text") for name, column in self.columns.items()}
        stated = frozenset(name for name, column in self.columns.items() if _of(column, "type", None))
        own = {name: name for name in self.columns}
        return [Declared(name=table, table=table, types=types, stated=stated, columns=own)]

    def _several(self) -> list[Declared]:
        return [
            Declared(
                name=table.name,
                table=table.table or table.name,
                key=tuple(table.key),
                columns=table.columns,
                sets=frozenset(table.sets),
            )
            for table in self.target.tables
        ]

    def books(self, schema: str) -> Books:
        from sync_pipelines.targets.rowsets.books import Books

        return Books(name=self.books_name, part=self.table_name, schema=schema)

    def build_target(self, resources: Any) -> RowsetTarget:
        from sync_pipelines.targets.rowsets.target import RowsetTarget

        url = self.url(resources)
        schema = self.schema_in(url)
        return RowsetTarget(
            url,
            self.documents(schema),
            self.books(schema),
            pool_max=resources.postgres.pool_max(),
            require=partial(self._require, url, schema) if self.target.migrations else None,
        )

    def _require(self, url: NormalisedUrl, schema: str) -> None:
        from sync_pipelines import migrations

        assert self.target.migrations is not None
        migrations.check(url.sqlalchemy, self.target.migrations, schema)

    def endpoint(self, resources: Any) -> Endpoint:
        """The endpoint, its further names by the settings of now."""
        from sync_pipelines.sources.rest.endpoint import Endpoint

        source = self.source
        return Endpoint(
            path=source.path,
            key=tuple(source.key),
            params=source.params,
            values=cached(lambda: parts.texts(self, resources, source.values)),
            pagination=None if source.ids else source.pagination.spec(),
            rows_of=self.rows_of(),
            signature=self.mapping_text(),
        )

    def rows_of(self) -> RowsOf:
        """The mapping function."""
        from sync_pipelines.sources.rest.columns import ColumnRows

        if self.rows is not None:
            return named_function("rows", self.rows)
        assert self.target.table is not None
        paths = {name: _path(column) for name, column in self.columns.items() if name not in self.record}
        required = frozenset(name for name in paths if _of(self.columns[name], "required", False))
        return ColumnRows(table=self.target.table, record=self.record, paths=paths, required=required)

    def build_source(self, resources: Any, *, store: RowsetTarget | None = None) -> RestSource:
        from sync_pipelines.sources.rest.source import RestSource

        return RestSource(
            store or self.build_target(resources),
            self.spec,
            endpoint=self.endpoint(resources),
            asked=parts.asked(self, resources),
            settings=lambda: self.settings(resources),
            connect=partial(parts.connect, self, resources),
            api=self.source.connection,
            spool=resources.postgres.spool_folder(),
        )

    def target_parts(self, resources: Any) -> dict[str, Any]:
        target = self.build_target(resources)
        place = qualified(target.documents.schema, target.documents.tables[0].table)
        return {"target": target, "mapper": as_it_is, "lock_name": f"postgres:{target.url.safe}:{place}"}

    def bind(self, resources: Any, *, batch_size: int | None = None) -> Binding:
        binding = super().bind(resources, batch_size=batch_size)
        binding.target.keep_books(binding.ledger)  # ty: ignore[missing-attribute]
        binding.target.count_requests(binding.source.sent)  # ty: ignore[missing-attribute]
        return binding


def as_it_is(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
    """The target takes what the source gives: it is who notes what came of each document."""
    return batch, []


def cached(ask: Callable[[], Mapping[str, str]]) -> Callable[[], Mapping[str, str]]:
    """Ask once: a run's calls have one and the same path."""
    found: list[Mapping[str, str]] = []

    def answer() -> Mapping[str, str]:
        if not found:
            found.append(ask())
        return found[0]

    return answer


def _path(column: Any) -> str:
    return column if isinstance(column, str) else str(column.get("path", ""))


def _of(column: Any, name: str, default: Any) -> Any:
    return default if isinstance(column, str) else column.get(name, default)
