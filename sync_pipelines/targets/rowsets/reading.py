"""The stored rows and payloads of documents, in the form in which they are compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sync_pipelines.engine.keys import as_postgres
from sync_pipelines.engine.rowsets import Row, in_order
from sync_pipelines.targets.rowsets.batch import parts_of
from sync_pipelines.targets.rowsets.books import Books
from sync_pipelines.targets.rowsets.layout import Layout, SqlTable

_PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Payload:
    """A stored payload; `data_version` counts the real changes of its rows."""

    key: str
    payload: Any
    hash: str
    data_version: int


def rows(cursor: Any, statement: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The rows of a small result."""
    cursor.execute(statement, values or None)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def arrays(keys: Sequence[str], columns: int) -> list[list[str]]:
    """The keys' parts, an array a column."""
    parts = [parts_of(key, columns) for key in keys]
    return [[part[number] for part in parts] for number in range(columns)]


def key_of(row: Row, record: Sequence[str]) -> str:
    """The key of a row's document."""
    parts = [str(row[name]) for name in record]
    return parts[0] if len(parts) == 1 else as_postgres(parts)


def stored(cursor: Any, layout: Layout, keys: Sequence[str]) -> dict[str, dict[str, list[Row]]]:
    """The rows of these documents: key → table → rows, canonical and by key; nothing of a document without any."""
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: {table.name: [] for table in layout.rows})
    for table in layout.tables if keys else ():
        for row in _of(cursor, table, keys):
            found[key_of(row, table.rows.record)][table.rows.name].append(row)
    for tables in found.values():
        for table in layout.rows:
            tables[table.name] = in_order(table, tables[table.name])
    return found


def _of(cursor: Any, table: SqlTable, keys: Sequence[str]) -> Iterator[Row]:
    statement = f"SELECT {table.listed} FROM {table.sql} AS t JOIN {table.keys} ON {table.matches}"
    for row in rows(cursor, statement, arrays(keys, len(table.rows.record))):
        yield table.rows.canonical(row)


def payloads(cursor: Any, books: Books, keys: Sequence[str]) -> dict[str, Payload]:
    """The stored payloads of these keys."""
    statement = (
        f"SELECT record_key AS key, payload, hash, data_version FROM {books.payloads} "
        f"WHERE {books.mine} AND record_key = ANY (%s)"
    )
    return {row["key"]: Payload(**row) for row in rows(cursor, statement, [list(keys)])} if keys else {}


def versions(cursor: Any, books: Books, keys: Sequence[str]) -> dict[str, int]:
    """The last version of each of these keys that the history knows."""
    statement = (
        f"SELECT record_key AS key, max(data_version) AS version FROM {books.table('changes')} "
        f"WHERE {books.mine} AND record_key = ANY (%s) GROUP BY 1"
    )
    return {row["key"]: row["version"] for row in rows(cursor, statement, [list(keys)])}


def pages_of(cursor: Any, statement: str, *, size: int = _PAGE) -> Iterator[list[str]]:
    """Keys in pages, by keyset: the statement takes the last key of the page before, and a size; it orders by key."""
    last = ""
    while found := [row["key"] for row in rows(cursor, statement, [last, size])]:
        yield found
        last = found[-1]
