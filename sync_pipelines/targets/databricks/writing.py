"""Writing a group of records through a warehouse: asked what is stored already, then one MERGE of the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.model import FINGERPRINT, KEY, BatchResult, Counts, Doubt
from sync_pipelines.targets.databricks import statements
from sync_pipelines.targets.databricks.settings import TableName, quoted
from sync_pipelines.targets.databricks.staging import Staging
from sync_pipelines.targets.databricks.warehouse import Parameter, Warehouse, listed
from sync_pipelines.targets.lake.contention import contend
from sync_pipelines.targets.lake.groups import Group, Layout
from sync_pipelines.targets.lake.rules import written_alone
from sync_pipelines.targets.lake.shape import Shape

_LIST = 200
"""So many values of the layout's column are listed in a predicate; more become a range."""


@dataclass(frozen=True)
class Unlike:
    """What of a group must be written.

    Args:
        keys: new ones, those that are stored otherwise or twice. doubled: the latter.
        places: values of the layout's column where the stored ones lie; None where one of them has none.
    """

    keys: frozenset[str]
    doubled: tuple[str, ...] = ()
    places: tuple[Any, ...] | None = ()


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Writes groups into one table.

    Args:
        warehouse, table, staging: where. shape, layout: how the table is to look.
        doubt: no stored fingerprint is believed. before_write: called before each commit that writes rows.
    """

    warehouse: Warehouse
    table: TableName
    staging: Staging
    shape: Shape
    layout: Layout
    doubt: Doubt | None = None
    before_write: Callable[[], object] = lambda: None

    def write(self, group: Group) -> BatchResult:
        """Bring a group's records into the table.

        Raises:
            ConflictError: other writers committed in between, again and again.
        """
        return written_alone(group, lambda part: contend(lambda: self._write(part)))

    def _write(self, group: Group) -> BatchResult:
        unlike = self._unlike(group)
        rows = group.rows.filter(pa.array([key in unlike.keys for key in group.keys], pa.bool_()))
        counts = Counts(unchanged=group.rows.num_rows - rows.num_rows, upserted=rows.num_rows)
        if rows.num_rows:
            counts.bytes = rows.nbytes
            self.before_write()
            if unlike.doubled:
                # a MERGE would bring both rows of a key to the same values, and leave both
                statement = statements.delete_keys(self.table)
                self.warehouse.run(statement, doing=f"delete from table {self.table}", keys=listed(unlike.doubled))
            self._merge(rows, unlike)
        return BatchResult(counts=counts, keys=group.keys)

    def _unlike(self, group: Group) -> Unlike:
        if self.doubt == "all":
            same, columns = "false", [KEY]
        elif self.doubt == "values":
            columns = group.rows.schema.names
            same = statements.same_values(columns)
        else:
            same, columns = statements.same_print(), [KEY, FINGERPRINT]
        with self.staging.staged(group.rows.select(columns)) as staged:
            query = statements.unlike(self.table, staged, same=same, place=self.layout.sort_by)
            found = self.warehouse.stream(query, doing=f"ask what table {self.table} holds")
            answer = self._answer()
            return _unlike(pa.Table.from_batches((batch.cast(answer) for batch in found), schema=answer))

    def _answer(self) -> pa.Schema:
        column = self.layout.sort_by
        place = self.shape.schema.field(column).type if column else pa.int32()
        return pa.schema([(KEY, pa.string()), ("held", pa.int64()), ("place", place), ("placeless", pa.int64())])

    def _merge(self, rows: pa.Table, unlike: Unlike) -> None:
        pruning, parameters = self._pruning(unlike)
        same = "false" if self.doubt == "all" else self._written(rows.schema.names)
        if self.layout.sort_by:
            rows = rows.sort_by(self.layout.sort_by)
        with self.staging.staged(rows) as staged:
            statement = statements.merge(
                self.table, staged, rows.schema.names, same=same, pruning=pruning, stamped=self.shape.stamped
            )
            self.warehouse.run(statement, doing=f"write table {self.table}", **parameters)

    def _written(self, columns: Sequence[str]) -> str:
        return statements.same_values(columns) if self.doubt else statements.same_print()

    def _pruning(self, unlike: Unlike) -> tuple[str, Mapping[str, Parameter]]:
        """Which files the MERGE must read: those that hold the changed records' current values of the sort column."""
        column, places = self.layout.sort_by, unlike.places
        if column is None or not places or any(place != place for place in places):
            return "", {}  # what is NaN stands in no order
        name, kind = f"t.{quoted(column)}", self.shape.schema.field(column).type
        edges = sorted(places) if len(places) <= _LIST else [min(places), max(places)]
        terms = [statements.bound(f"p{number}", place, kind) for number, place in enumerate(edges)]
        given = {f"p{number}": parameter for number, (_, parameter) in enumerate(terms)}
        if len(places) <= _LIST:
            return f" AND {name} IN ({', '.join(term for term, _ in terms)})", given
        return f" AND {name} BETWEEN {terms[0][0]} AND {terms[1][0]}", given


def _unlike(found: pa.Table) -> Unlike:
    rows = found.to_pylist()
    stored = [row for row in rows if row["held"]]
    placeless = any(row["placeless"] for row in stored)
    return Unlike(
        keys=frozenset(row[KEY] for row in rows),
        doubled=tuple(row[KEY] for row in stored if row["held"] > 1),
        places=None if placeless else tuple({row["place"] for row in stored}),
    )
