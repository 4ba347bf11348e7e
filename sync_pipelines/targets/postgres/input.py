"""A synced table for assets downstream: the columns that are asked for, as Arrow has them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from sync_pipelines.engine.sql import identifier
from sync_pipelines.sources.postgres.connection import bulk_connection, normalise_url
from sync_pipelines.sources.postgres.errors import reading


def read_table(url: str, table: str, columns: Sequence[str] | None) -> pa.Table:
    """All rows of a table.

    Args:
        url: the database. table: quoted as SQL has it, with its schema if need be. columns: None for all.
    """
    address = normalise_url(url)
    chosen = "*" if columns is None else ", ".join(map(identifier, columns))
    with reading(address), bulk_connection(address, types_of_today=True) as connection, connection.cursor() as cursor:
        if address.schema:
            cursor.execute(f"SET search_path = {identifier(address.schema)}")
        cursor.execute(f"SELECT {chosen} FROM {table}")
        return cursor.fetch_arrow_table()
