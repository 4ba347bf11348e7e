"""A statement in a transaction of its own, as somebody beside the project would run it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2


def execute(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run a statement and commit; its rows, if it has any."""
    connecting = closing(psycopg2.connect(url.replace("+psycopg2", "")))
    with connecting as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []
