"""The table `review` and its rows in Delta, which tests of the way back write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from sync_pipelines.components.delta_to_postgres import DeltaToPostgres
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.run import Run
from sync_pipelines_tests.lake.house import House, back

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)

DDL = """CREATE TABLE review (id text PRIMARY KEY, stars int CHECK (stars <= 5), note text NOT NULL,
    topics text[], detail jsonb, updated_at timestamptz)"""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("stars", pa.int32()),
        ("note", pa.string()),
        ("topics", pa.list_(pa.string())),
        ("detail", pa.string()),
        ("updated_at", pa.timestamp("us", tz="UTC")),
    ]
)


def row(key: str, **more: Any) -> dict[str, Any]:
    given = {"id": key, "stars": 3, "note": "n", "topics": ["x"], "detail": '{"b":1,"a":2}', "updated_at": NOON}
    return {**given, **more}


def rows(*given: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(given), schema=SCHEMA)


def held(house: House) -> dict[str, tuple[Any, ...]]:
    return {found[0]: found[1:] for found in house.execute("SELECT * FROM review")}


def versions(house: House) -> dict[str, tuple[str, str]]:
    """Which transaction wrote each row, and where it lies: an unchanged row keeps both."""
    return {key: (xmin, place) for key, xmin, place in house.execute("SELECT id, xmin::text, ctid::text FROM review")}


def reason_of(house: House) -> str:
    return house.bind(back()).ledger.last_runs("shop", "review")[0].reason


def interrupted(house: House, table: DeltaToPostgres, monkeypatch: pytest.MonkeyPatch, *, last: bool = False) -> None:
    """A run that writes and ends as by SIGKILL: nothing of it is confirmed, and its books stay open.

    Args:
        last: just before they would be closed, when its last mark stands.
    """

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if not last:
            patch.setattr(Run, "_confirm", dies)
        patch.setattr(Ledger, "finish", dies)
        with pytest.raises(KeyboardInterrupt):
            house.sync(table)
