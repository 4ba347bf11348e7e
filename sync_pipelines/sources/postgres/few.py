"""The rows of a few keys, read many times a second by whoever knows already what the table is like."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipelines.engine.events import RowsNow
from sync_pipelines.engine.model import KEY
from sync_pipelines.sources.postgres.catalog import Place
from sync_pipelines.sources.postgres.changes import split_found
from sync_pipelines.sources.postgres.connection import NormalisedUrl, small_transaction
from sync_pipelines.sources.postgres.sql import TableSql, keys_query

MOST_BYTES = 16 * 1024 * 1024
"""Of rows that are held in memory at once: what goes beyond is to be asked for again."""


def few_rows(url: NormalisedUrl, place: Place, sql: TableSql, keys: Sequence[str], *, pool_max: int) -> RowsNow:
    """The rows that these keys have now, in one snapshot.

    Args:
        url: the database. place, sql: the table. keys: as many as a statement is given, none of which holds a NULL.
        pool_max: the most connections of the process's pool.
    """
    rows, lost, size = [], [], 0
    with small_transaction(url, pool_max=pool_max, locks=[place.sql] if place.lockable else []) as session:
        for batch in session.stream(sql.by_keys(keys_query(keys), ordered=False), sql.found_schema):
            found, missing = split_found(batch, sql.schema)
            rows += [found] if found.num_rows else []
            lost += missing
            size += found.nbytes
            if size > MOST_BYTES:
                break
    seen = {key for found in rows for key in found.column(KEY).to_pylist()}.union(lost)
    return RowsNow(rows, lost, [key for key in keys if key not in seen])
