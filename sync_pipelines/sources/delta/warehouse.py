"""A Delta table of Databricks, read through a SQL warehouse."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import RunError, TransientError
from sync_pipelines.engine.model import SourceIdentity, Watermark
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.delta.log import FEED, Commit, LostError, no_longer_holds
from sync_pipelines.sources.delta.moment import Conforming, Moment
from sync_pipelines.targets.databricks.detail import detail_of
from sync_pipelines.targets.databricks.settings import TableName, WarehouseSettings, quoted
from sync_pipelines.targets.databricks.statements import names
from sync_pipelines.targets.databricks.types import read_schema, values_of
from sync_pipelines.targets.databricks.warehouse import Warehouse, text_literal
from sync_pipelines.targets.lake.types import spell

_NEWER = 1000
"""So many commits may have come since the version was pinned, and the older ones are still found in one answer."""

_TOLD = ("operationParameters", "operationMetrics")
"""Columns of DESCRIBE HISTORY that say more of what a commit did."""

_WITHOUT_ROWS = frozenset(
    {
        "OPTIMIZE",
        "VACUUM START",
        "VACUUM END",
        "FSCK",
        "COMPUTE STATS",
        "SET TBLPROPERTIES",
        "UNSET TBLPROPERTIES",
        "ADD COLUMNS",
        "CHANGE COLUMN",
        "CHANGE COLUMNS",
        "CLUSTER BY",
        "ADD CONSTRAINT",
        "DROP CONSTRAINT",
        "UPGRADE PROTOCOL",
    }
)
"""Operations of DESCRIBE HISTORY that change no row; whatever else there is may."""


class WarehouseTable:
    """A table that may not be there yet. Making one connects to nothing.

    Args:
        settings: the warehouse. name: the table's, as `WarehouseSettings.table` takes it. spec: the table as a source.
    """

    def __init__(self, settings: WarehouseSettings, name: str, spec: TableSpec) -> None:
        self.name, self.place, self._spec = name, f"in Databricks ({settings.table(name)})", spec
        self.table = settings.table(name)
        self.warehouse = Warehouse(settings, place={"sync": spec.sync, "table": spec.name})
        self._seen: dict[str, Any] | None = None

    def is_there(self) -> bool:
        """Whether somebody has made the table."""
        self._seen = detail_of(self.warehouse, self.table)
        return self._seen is not None

    def resting(self) -> str | None:
        """Why it is not asked unless a run needs it: the warehouse sleeps. This question does not wake it."""
        state = self.warehouse.state()
        return None if state == "RUNNING" else f"the warehouse is {state}, and a question would start it"

    def now(self, conforming: Callable[[pa.Schema], Conforming]) -> WarehouseMoment:
        """The table at the version of now."""
        detail, self._seen = self._seen or detail_of(self.warehouse, self.table), None
        if detail is None:
            raise RunError(f"the Delta table {self.table} was dropped meanwhile.", **self.warehouse.place)
        (newest,) = _history(self.warehouse, self.table, 1)
        return WarehouseMoment(self.warehouse, self.table, detail, newest, self._spec, conforming)


def _history(warehouse: Warehouse, table: TableName, limit: int) -> list[dict[str, Any]]:
    """The newest commits, the newest first."""
    found = warehouse.stream(f"DESCRIBE HISTORY {table.sql} LIMIT {limit}", doing=f"read the history of {table}")
    return [row for batch in found for row in batch.select(["version", "timestamp", "operation", *_TOLD]).to_pylist()]


class WarehouseMoment(Moment):
    """A table at one version.

    Args:
        detail: what DESCRIBE DETAIL said. newest: the version's row of the history. Others: `Moment`'s.
    """

    predicates = 40  # 20,000 keys: a statement for each 500 is cheaper than a large table

    def __init__(
        self,
        warehouse: Warehouse,
        table: TableName,
        detail: dict[str, Any],
        newest: dict[str, Any],
        spec: TableSpec,
        conforming: Callable[[pa.Schema], Conforming],
    ) -> None:
        super().__init__(newest["version"], spec, conforming)
        self._warehouse, self._table, self._detail = warehouse, table, detail
        self._rows = {self.version: newest}

    def _at(self, version: int) -> str:
        return f"{self._table.sql} VERSION AS OF {int(version)}"

    @cached_property
    def _spelled(self) -> dict[str, str]:
        """The columns and their types as SQL spells them."""
        statement = f"SELECT * FROM {self._at(self.version)} LIMIT 0"
        return dict(self._warehouse.columns(statement, doing=f"look at the columns of {self._table}"))

    @cached_property
    def schema(self) -> pa.Schema:
        return read_schema(self._spelled)

    def _values(self, columns: Sequence[str]) -> str:
        return values_of(columns, self._spelled, table=self._table, place=self._warehouse.place)

    @property
    def comment(self) -> str | None:
        return self._detail.get("description")

    @cached_property
    def identity(self) -> SourceIdentity:
        place = f"{self._warehouse.settings.host}/{self._table}"
        return SourceIdentity(system_identifier=str(self._detail["id"]), timeline=0, database=place, table_oid=0)

    @cached_property
    def feed(self) -> bool:
        return self._detail["properties"].get(FEED, "").lower() == "true"

    def count(self) -> int:
        found = self._stream(f"SELECT count(*) AS records FROM {self._at(self.version)}", "count table")
        return sum(row["records"] for batch in found for row in batch.to_pylist())

    def scan(self, columns: Sequence[str], predicate: str | None = None) -> Iterator[pa.RecordBatch]:
        wanted = pa.schema([self.schema.field(name) for name in columns])
        where = f" WHERE {predicate}" if predicate else ""
        statement = f"SELECT {self._values(columns)} FROM {self._at(self.version)}{where}"
        for batch in self._stream(statement, "read table"):
            yield batch.cast(wanted)

    def _stream(self, statement: str, doing: str) -> Iterator[pa.RecordBatch]:
        yield from self._warehouse.stream(statement, doing=f"{doing} {self._table}")

    def name(self, column: str) -> str:
        return quoted(column)

    def literal(self, value: Any, kind: pa.DataType) -> str:
        if isinstance(value, datetime):
            text = value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z" if kind.tz else value.isoformat()
            return f"{'TIMESTAMP' if kind.tz else 'TIMESTAMP_NTZ'}'{text}'"
        if isinstance(value, date):
            return f"DATE'{value.isoformat()}'"
        if isinstance(value, Decimal):
            return f"CAST('{value}' AS {spell(kind).upper()})"
        return str(value) if isinstance(value, int) else text_literal(value)

    def commits(self, after: int) -> list[Commit]:
        for version in range(after + 1, self.version + 1):
            if self._row(version) is None:
                raise LostError(no_longer_holds(version))
        return [_commit(self._rows[version]) for version in range(after + 1, self.version + 1)]

    def commit_id(self, version: int) -> str | None:
        """By when it was made and what it did: the warehouse shows no more of it."""
        row = self._row(version)
        if row is None:
            return None
        told = [str(row["timestamp"]), row["operation"], *(sorted(dict(row[name] or {}).items()) for name in _TOLD)]
        return hashlib.md5(repr(told).encode(), usedforsecurity=False).hexdigest()

    def _row(self, version: int) -> dict[str, Any] | None:
        """A version's row of the history, which is asked once for all that come after it."""
        if version not in self._rows and version >= 0:
            found = _history(self._warehouse, self._table, self.version - version + 1 + _NEWER)
            self._rows |= {row["version"]: row for row in found if row["version"] < self.version}
        return self._rows.get(version)

    def touched(self, after: Watermark, made: Sequence[Commit]) -> Iterator[pa.Array]:
        if not any(commit.data for commit in made):
            return
        since = int(after.position["version"])
        if after.position.get("feed") and self.feed:
            yield from self._keys(self._fed(since), "read the change feed of table")
        else:
            yield from self._keys(self._compared(since), "compare versions of table")

    def _fed(self, after: int) -> str:
        place = text_literal(self._table.sql)
        return f"SELECT DISTINCT {names(self.spec.key)} FROM table_changes({place}, {after + 1}, {self.version})"

    def _compared(self, after: int) -> str:
        """The keys of the rows that one of the two versions has and the other has not, copies counted."""
        columns, key = self._values(self.conforming.columns), names(self.spec.key)
        one, other = (f"SELECT {columns} FROM {self._at(version)}" for version in (self.version, after))
        differing = [f"SELECT {key} FROM ({left} EXCEPT ALL {right})" for left, right in ((one, other), (other, one))]
        return f"SELECT DISTINCT {key} FROM ({' UNION ALL '.join(differing)})"

    def _keys(self, statement: str, doing: str) -> Iterator[pa.Array]:
        try:
            for batch in self._stream(statement, doing):
                yield self.named(self.as_read(batch, list(self.spec.key)))
        except TransientError:
            raise
        except RunError as error:
            raise LostError(f"what changed cannot be told (VACUUM?): {error.message}") from None


def _commit(row: dict[str, Any]) -> Commit:
    operation = str(row["operation"] or "")
    at = row["timestamp"]
    return Commit(
        version=row["version"],
        operation=operation,
        at=at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at,
        data=operation.upper() not in _WITHOUT_ROWS,
        files=(),
    )
