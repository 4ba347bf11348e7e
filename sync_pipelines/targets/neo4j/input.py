"""A graph for assets downstream and scripts: nodes, relationships, or the rows of a query, as a DataFrame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sync_pipelines.targets.neo4j.client import Graph
from sync_pipelines.targets.neo4j.names import KEY_NAME, OWN_PREFIX, quoted
from sync_pipelines.targets.neo4j.settings import GraphSettings

if TYPE_CHECKING:
    import pandas as pd

Window = tuple[datetime | None, datetime | None]


def query(settings: GraphSettings, cypher: str, parameters: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a query that reads, a column for each name that it returns."""
    import pandas as pd

    found = Graph(settings, sync=None, table=None).read("answer a query", cypher, **parameters)
    return pd.DataFrame([{name: native(value) for name, value in row.items()} for row in found])


def read(
    settings: GraphSettings,
    *,
    label: str | None = None,
    relationship: str | None = None,
    changed_at: str | None = None,
    window: Window | None = None,
) -> pd.DataFrame:
    """The nodes of a label, or the relationships of a type with the keys of their nodes, that a sync has written.

    Args:
        changed_at: the property that a window of change time is of; without it all are given.
    """
    import pandas as pd

    rows = _rows(Graph(settings, sync=None, table=None), label, relationship)
    wanted = window if changed_at else None
    return pd.DataFrame([row for row in rows if wanted is None or _lies_in(row.get(changed_at or ""), wanted)])


def _rows(graph: Graph, label: str | None, relationship: str | None) -> Iterator[dict[str, Any]]:
    if label is not None:
        text = f"MATCH (x:{quoted(label)}) WHERE x.{KEY_NAME} IS NOT NULL RETURN properties(x) AS properties"
    else:
        text = (
            f"MATCH (a)-[x:{quoted(relationship or '')}]->(b) WHERE x.{KEY_NAME} IS NOT NULL "
            f"RETURN properties(x) AS properties, a.{KEY_NAME} AS start_key, b.{KEY_NAME} AS end_key"
        )
    for page in graph.stream("read nodes or relationships", text):
        for record in page:
            ends = {} if label is not None else {"start": record["start_key"], "end": record["end_key"]}
            own = {name: value for name, value in record["properties"].items() if not name.startswith(OWN_PREFIX)}
            yield {**ends, **{name: native(value) for name, value in own.items()}}


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
