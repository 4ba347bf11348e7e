"""A lakehouse table for assets downstream and scripts: the columns and rows that are asked for, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.frames import in_pandas
from sync_pipelines.engine.model import FINGERPRINT, KEY
from sync_pipelines.targets.lake.types import spell

KINDS = ("arrow", "pandas", "polars", "duckdb", "stream")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of a table is asked for, and as what.

    Args:
        kind: pandas, arrow, stream, polars, duckdb, or handle (delta-rs's own).
        columns: None for all but the sync's own `_key` and `_fingerprint`. where: a condition in SQL.
        window: of change time, in the column `changed_at`; half-open, None is unlimited.
    """

    kind: str = "arrow"
    columns: Sequence[str] | None = None
    where: Any = None
    changed_at: str | None = None
    window: tuple[datetime | None, datetime | None] | None = None

    def __post_init__(self) -> None:
        """Refuse what is none of the kinds: it would be read as Arrow, and fail in the hands that wanted another."""
        check_kind(self.kind, *KINDS, "handle")
        refuse_text("columns", self.columns)
        if self.columns is not None and not self.columns:
            raise ConfigurationError("columns: there is none in the list.", remedy="Leave it out for all of them.")
        if twice := sorted({name for name in self.columns or () if list(self.columns or ()).count(name) > 1}):
            raise ConfigurationError(f"columns: {', '.join(twice)} stands in the list more than once.")
        if self.kind == "handle" and (self.columns or self.where):
            raise ConfigurationError(
                "a deltalake.DeltaTable is the whole table: `columns` and `where` narrow it by nothing.",
                remedy="Leave them out, or annotate the input as pyarrow.RecordBatchReader, or a kind of frame.",
            )

    @property
    def reaches_back(self) -> bool:
        """Whether rows without a change time belong to the window: to the first one, as in a sync (`Scope.nulls`)."""
        return self.window is not None and self.window[0] is None

    def edge(self, column: str, operator: str, value: str) -> str:
        """A limit of the window as a condition; all three are spelled as the engine has them."""
        condition = f"{column} {operator} {value}"
        return f"({condition} OR {column} IS NULL)" if self.reaches_back else condition

    def chosen(self, schema: pa.Schema, table: str) -> pa.Schema:
        """The columns that are asked for, of those that a table has.

        Raises:
            ConfigurationError: no such column.
        """
        own = (KEY, FINGERPRINT)
        names = [name for name in schema.names if name not in own] if self.columns is None else self.columns
        if unknown := [name for name in names if name not in schema.names]:
            raise ConfigurationError(f"the Delta table {table!r} has no column {', '.join(unknown)}.")
        return pa.schema([schema.field(name) for name in names])

    def edges(self, schema: pa.Schema) -> list[tuple[str, Any]]:
        """The window's limits, each an operator and a value of the column's type.

        Raises:
            ConfigurationError: a window is asked for, and the column is stored as no time.
        """
        if not self.window or not self.changed_at or self.window == (None, None):
            return []
        kind = schema.field(self.changed_at).type
        if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
            raise ConfigurationError(
                f"column {self.changed_at!r} is stored as {spell(kind)}: no window of time can be chosen by it.",
                remedy="Leave the asset unpartitioned, which then reads all rows, or take the column out of `types`.",
            )
        limits = zip((">=", "<"), self.window, strict=True)
        return [(operator, _edge(moment, kind)) for operator, moment in limits if moment is not None]


def _edge(moment: datetime, kind: pa.DataType) -> Any:
    if pa.types.is_date(kind):
        return moment.date()
    return moment if kind.tz else moment.replace(tzinfo=None)


def refuse_text(name: str, value: Sequence[str] | None) -> None:
    """Stop one text where names are asked for: it would be taken letter by letter.

    Raises:
        ConfigurationError: it is one.
    """
    if isinstance(value, str):
        raise ConfigurationError(f"{name}: {value!r} is one text, not a list of names.", remedy=f"Give [{value!r}].")


def check_kind(kind: str, *kinds: str) -> None:
    """Whether rows are given as that: one of `kinds`, or of `KINDS` where none is named.

    Raises:
        ConfigurationError: no.
    """
    known = kinds or KINDS
    if kind not in known:
        raise ConfigurationError(f"kind: {kind!r} is none of {', '.join(known[:-1])} and {known[-1]}.")


def as_kind(kind: str, reader: pa.RecordBatchReader) -> Any:
    """Rows in the kind that is wanted; polars and duckdb must be installed where they are asked for."""
    check_kind(kind)
    if kind == "stream":
        return reader
    if kind == "polars":
        import polars

        return polars.DataFrame(reader.read_all()).lazy()
    if kind == "duckdb":
        import duckdb

        return duckdb.from_arrow(reader.read_all())  # of a stream, a second question to the relation finds no rows
    return in_pandas(reader.read_all()) if kind == "pandas" else reader.read_all()
