"""A graph for assets downstream and scripts: nodes, relationships, or the rows of a query, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.engine.errors import RunError
from sync_pipelines.targets.neo4j.client import Graph
from sync_pipelines.targets.neo4j.names import KEY_NAME, OWN_PREFIX, quoted
from sync_pipelines.targets.neo4j.settings import GraphSettings

if TYPE_CHECKING:
    import pandas as pd

Window = tuple[datetime | None, datetime | None]

_EXACT = 2**53
"""Up to here a float holds every whole number."""


@dataclass(frozen=True)
class Found:
    """What was read, by column; None where a row has no value."""

    columns: Mapping[str, Sequence[Any]]

    def pandas(self) -> pd.DataFrame:
        """As a DataFrame. Whole numbers stay what they are: beside a missing one pandas would make floats of them."""
        import pandas as pd

        return pd.DataFrame({name: pd.Series(values, dtype=_dtype(values)) for name, values in self.columns.items()})

    def arrow(self) -> pa.Table:
        """As an Arrow table.

        Raises:
            RunError: a column holds values of several types.
        """
        return pa.table({name: _array(name, values) for name, values in self.columns.items()})


def _dtype(values: Sequence[Any]) -> Any:
    """The type of a column in pandas; None lets it choose."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return "Int64" if None in values else None
    whole = kinds == {int, float} and any(isinstance(value, int) and abs(value) > _EXACT for value in values)
    return object if whole or not values else None


def _array(name: str, values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        kinds = ", ".join(sorted({type(value).__name__ for value in values if value is not None}))
        raise RunError(
            f"The column {name!r} holds values that no Arrow column holds together ({kinds}).",
            remedy="Let a query give them one type, or annotate the input as pandas.DataFrame.",
        ) from None


def query(settings: GraphSettings, cypher: str, parameters: Mapping[str, Any]) -> Found:
    """The rows of a query that reads, a column for each name that it returns.

    Of a result without rows Neo4j tells the names, ArcadeDB does not.
    """
    names, rows = Graph(settings, sync=None, table=None).answer("answer a query", cypher, parameters)
    return Found({name: [native(row[name]) for row in rows] for name in names})


def read(
    settings: GraphSettings,
    *,
    label: str | None = None,
    relationship: str | None = None,
    changed_at: str | None = None,
    window: Window | None = None,
) -> Found:
    """The nodes of a label, or the relationships of a type with the keys of their nodes, that a sync has written.

    The keys are `start` and `end`; where a property has that name, `sync_start` or `sync_end`, which none has.

    Args:
        changed_at: the property that a window of change time is of; without it all are given.
    """
    names = dict.fromkeys([changed_at] if changed_at else [])
    wanted = window if changed_at else None
    rows = []
    for ends, row in _rows(Graph(settings, sync=None, table=None), label, relationship):
        names.update(dict.fromkeys(row))  # a window without rows has the columns of the others
        if wanted is None or _lies_in(row.get(changed_at or ""), wanted):
            rows.append((ends, row))
    end_names = () if label is not None else ("start", "end")
    keys = {
        f"{OWN_PREFIX}{name}" if name in names else name: [ends[place] for ends, _ in rows]
        for place, name in enumerate(end_names)
    }
    return Found({**keys, **{name: [row.get(name) for _, row in rows] for name in names}})


def _rows(
    graph: Graph, label: str | None, relationship: str | None
) -> Iterator[tuple[tuple[Any, Any], dict[str, Any]]]:
    """The keys of a relationship's nodes (of a node none), and the properties that are not the sync's."""
    if label is not None:
        text = f"MATCH (x:{quoted(label)}) WHERE x.{KEY_NAME} IS NOT NULL RETURN properties(x) AS properties"
    else:
        text = (
            f"MATCH (a)-[x:{quoted(relationship or '')}]->(b) WHERE x.{KEY_NAME} IS NOT NULL "
            f"RETURN properties(x) AS properties, a.{KEY_NAME} AS start_key, b.{KEY_NAME} AS end_key"
        )
    for page in graph.stream("read nodes or relationships", text):
        for record in page:
            own = {name: value for name, value in record["properties"].items() if not name.startswith(OWN_PREFIX)}
            ends = (record.get("start_key"), record.get("end_key"))
            yield ends, {name: native(value) for name, value in own.items()}


def native(value: Any) -> Any:
    """A value as Python and pandas know it; times in UTC."""
    if isinstance(value, list):
        return [native(item) for item in value]
    found = value.to_native() if hasattr(value, "to_native") else value
    return found.astimezone(UTC) if isinstance(found, datetime) and found.tzinfo else found


def _lies_in(value: Any, window: Window) -> bool:
    moment = _moment(value)
    start, end = window
    if moment is None:
        return start is None
    return (start is None or moment >= start) and (end is None or moment < end)


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else None
