"""The statements of a table, as text: identifiers quoted, values bound or spelled as literals of their type."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import pyarrow as pa

from sync_pipelines.engine.model import FINGERPRINT, KEY
from sync_pipelines.targets.databricks.settings import TableName, quoted
from sync_pipelines.targets.databricks.warehouse import Parameter, text_literal
from sync_pipelines.targets.lake.shape import SYNCED_AT
from sync_pipelines.targets.lake.types import spell

KEYS = f"(SELECT explode(from_json(:keys, 'array<string>')) AS {KEY})"
"""The keys of a parameter made by `warehouse.listed`."""

BUCKET = f"CAST(conv(substr(md5({KEY}), 1, 3), 16, 10) AS INT)"
_SHARE = f"CAST(conv(substr(md5(concat(coalesce({FINGERPRINT}, ''), ':', {KEY})), 1, 15), 16, 10) AS DECIMAL(38, 0))"


class Relation(Protocol):
    """A table or a folder of files, as it stands behind FROM."""

    @property
    def sql(self) -> str: ...


def names(columns: Iterable[str]) -> str:
    """Column names, quoted, with commas."""
    return ", ".join(map(quoted, columns))


def create_table(
    table: TableName,
    schema: pa.Schema,
    *,
    comment: str | None,
    properties: Mapping[str, str],
    cluster_by: Sequence[str],
) -> str:
    """A Delta table with the comments of the source."""
    columns = ", ".join(_column(item) for item in schema)
    return f"CREATE TABLE {table.sql} ({columns}) USING DELTA{_clauses(comment, properties, cluster_by)}"


def replace_table(
    table: TableName, query: str, *, comment: str | None, properties: Mapping[str, str], cluster_by: Sequence[str]
) -> str:
    """Other columns and rows for a table that stays the same one: grants, filters and history are kept."""
    clauses = _clauses(comment, properties, cluster_by)
    return f"CREATE OR REPLACE TABLE {table.sql} USING DELTA{clauses} AS {query}"


def _clauses(comment: str | None, properties: Mapping[str, str], cluster_by: Sequence[str]) -> str:
    clustering = f" CLUSTER BY ({names(cluster_by)})" if cluster_by else ""
    said = f" COMMENT {text_literal(comment)}" if comment else ""
    return f"{clustering}{said}{f' TBLPROPERTIES ({_properties(properties)})' if properties else ''}"


def _properties(properties: Mapping[str, str]) -> str:
    return ", ".join(f"{text_literal(name)} = {text_literal(value)}" for name, value in properties.items())


def cluster(table: TableName, columns: Iterable[str]) -> str:
    """Liquid clustering of a table that is there; OPTIMIZE brings its rows into it."""
    return f"ALTER TABLE {table.sql} CLUSTER BY ({names(columns)})"


def optimize(table: TableName, z_order: Iterable[str]) -> str:
    """Small files put together, what is clustered clustered, or all rows in an order."""
    columns = names(z_order)
    return f"OPTIMIZE {table.sql}{f' ZORDER BY ({columns})' if columns else ''}"


def set_properties(table: TableName, properties: Mapping[str, str]) -> str:
    return f"ALTER TABLE {table.sql} SET TBLPROPERTIES ({_properties(properties)})"


def add_columns(table: TableName, columns: pa.Schema) -> str:
    return f"ALTER TABLE {table.sql} ADD COLUMNS ({', '.join(_column(item) for item in columns)})"


def _column(item: pa.Field) -> str:
    comment = (item.metadata or {}).get(b"comment")
    said = f" COMMENT {text_literal(comment.decode())}" if comment else ""
    return f"{quoted(item.name)} {_kind(item.type)}{said}"


def _kind(kind: pa.DataType) -> str:
    """A type in SQL; a struct and a map are a user's own (`lakehouse`)."""
    if pa.types.is_struct(kind):
        return f"STRUCT<{', '.join(f'{quoted(part.name)}: {_kind(part.type)}' for part in kind)}>"
    if pa.types.is_map(kind):
        return f"MAP<{_kind(kind.key_type)}, {_kind(kind.item_type)}>"
    if pa.types.is_list(kind):
        return f"ARRAY<{_kind(kind.value_type)}>"
    return spell(kind).upper()


def digests(table: Relation) -> str:
    """Count and sum of the shares (`engine.model.digest_of`) of each bucket; rows without a key have no bucket."""
    return (
        f"SELECT {BUCKET} AS bucket, count(*) AS records, CAST(sum({_SHARE}) AS STRING) AS total "
        f"FROM {table.sql} GROUP BY 1"
    )


def of_keys(table: Relation, columns: Sequence[str]) -> str:
    """Rows of the keys in `:keys`."""
    return f"SELECT {names(columns)} FROM {table.sql} WHERE {KEY} IN {KEYS}"


def of_buckets(table: Relation, buckets: Collection[int] | None) -> str:
    """Keys and fingerprints of these buckets or of all; rows without a key are of every bucket."""
    chosen = "" if buckets is None else f" WHERE {KEY} IS NULL OR {BUCKET} IN ({', '.join(map(str, sorted(buckets)))})"
    return f"SELECT {KEY}, {FINGERPRINT} FROM {table.sql}{chosen}"


def unlike(table: TableName, staged: str, *, same: str, place: str | None) -> str:
    """Of staged rows those that the table has not, has twice or has otherwise: key, how often, one of the places."""
    where, without = (f"min(t.{quoted(place)})", f"t.{quoted(place)} IS NULL") if place else ("1", "false")
    return (
        f"SELECT s.{KEY} AS {KEY}, count(t.{KEY}) AS held, {where} AS place, "
        f"count_if(t.{KEY} IS NOT NULL AND {without}) AS placeless "
        f"FROM {staged} AS s LEFT JOIN {table.sql} AS t ON t.{KEY} = s.{KEY} GROUP BY s.{KEY} "
        f"HAVING count(t.{KEY}) <> 1 OR NOT bool_and({same})"
    )


def same_print() -> str:
    """The stored row is the staged one, by what was noted of it."""
    return f"(t.{FINGERPRINT} <=> s.{FINGERPRINT})"


def same_values(columns: Iterable[str]) -> str:
    """The stored row is the staged one, value by value; NaN is NaN here."""
    return "(" + " AND ".join(f"t.{quoted(name)} <=> s.{quoted(name)}" for name in columns) + ")"


def merge(table: TableName, staged: str, columns: Sequence[str], *, same: str, pruning: str, stamped: bool) -> str:
    """Staged rows into the table; a row that is there already, since an answer was lost, is left as it is."""
    assignments = [f"t.{quoted(name)} = s.{quoted(name)}" for name in columns]
    targets, values = [quoted(name) for name in columns], [f"s.{quoted(name)}" for name in columns]
    if stamped:
        assignments.append(f"t.{SYNCED_AT} = current_timestamp()")
        targets, values = [*targets, SYNCED_AT], [*values, "current_timestamp()"]
    return (
        f"MERGE INTO {table.sql} AS t USING {staged} AS s ON t.{KEY} = s.{KEY}{pruning} "
        f"WHEN MATCHED AND NOT {same} THEN UPDATE SET {', '.join(assignments)} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(targets)}) VALUES ({', '.join(values)})"
    )


def overwrite(
    table: TableName, staged: str, columns: Sequence[str], *, stamped: bool, staying: str | None, keyless: bool
) -> str:
    """Staged rows in the place of all rows, by one commit; of the old ones some stay as they are.

    Run once more, since an answer was lost, it gives the same rows.

    Args:
        staying: the relation of the keys of those that stay. keyless: rows without `_key` stay, too.
    """
    own = names([*columns, *([SYNCED_AT] if stamped else [])])
    new = f"SELECT {names(columns)}{', current_timestamp()' if stamped else ''} FROM {staged}"
    parts = [new]
    if staying is not None:
        parts.append(f"SELECT {own} FROM {table.sql} AS t LEFT SEMI JOIN {staying} AS s ON t.{KEY} = s.{KEY}")
    if keyless:
        parts.append(f"SELECT {own} FROM {table.sql} WHERE {KEY} IS NULL")
    return f"INSERT OVERWRITE {table.sql} ({own}) {' UNION ALL '.join(parts)}"


def differing(table: TableName, staged: str, *, same: str) -> str:
    """One of the staged rows that a table without copies lacks or has otherwise; the search ends with the first."""
    return (
        f"SELECT s.{KEY} FROM {staged} AS s LEFT JOIN {table.sql} AS t ON t.{KEY} = s.{KEY} "
        f"WHERE t.{KEY} IS NULL OR NOT {same} LIMIT 1"
    )


def doubled(table: TableName, staged: str) -> str:
    """The staged rows' keys that the table holds more than once."""
    return (
        f"SELECT t.{KEY} AS {KEY} FROM {table.sql} AS t LEFT SEMI JOIN {staged} AS s ON t.{KEY} = s.{KEY} "
        f"GROUP BY t.{KEY} HAVING count(*) > 1"
    )


def delete_found(table: TableName, query: str) -> str:
    """Delete the rows whose `_key` a query gives."""
    return f"MERGE INTO {table.sql} AS t USING ({query}) AS s ON t.{KEY} = s.{KEY} WHEN MATCHED THEN DELETE"


def delete_keys(table: TableName) -> str:
    """Delete the rows of `:keys`. A MERGE: Delta's DELETE takes no subquery."""
    return f"MERGE INTO {table.sql} AS t USING {KEYS} AS s ON t.{KEY} = s.{KEY} WHEN MATCHED THEN DELETE"


def bound(name: str, value: Any, kind: pa.DataType) -> tuple[str, Parameter]:
    """A value as an expression of its type, and the parameter that the expression names.

    Args:
        name: of the parameter.
    """
    if isinstance(value, bytes):
        return f"unhex(:{name})", Parameter(value.hex())
    if isinstance(value, datetime):
        value = (value.astimezone(UTC) if value.tzinfo else value).isoformat(sep=" ")
    return f"CAST(:{name} AS {spell(kind).upper()})", Parameter(None if value is None else str(value))
