"""Tables that each run replaces: what their tests share."""

from __future__ import annotations

import uuid
from typing import Any

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine import run as engine_run
from sync_pipelines.engine.model import Counts, Scope
from sync_pipelines.engine.run import Request
from sync_pipelines_tests.lake.house import House, document

DDL = """CREATE TABLE item (id text PRIMARY KEY, amount numeric(8,2), day date, tags text[]);
    COMMENT ON TABLE item IS 'what is sold'; COMMENT ON COLUMN item.amount IS 'in euros';
    INSERT INTO item SELECT 'k' || i, 0, '2024-01-01', ARRAY['a'] FROM generate_series(1, 300) AS i"""
LESS = "DELETE FROM item WHERE length(id) = 4 AND id > 'k150'"
"""Half of them, more than the guard lets go."""


def overwritten(**more: Any) -> PostgresToDelta:
    target = {"table": "shop/item", "mode": "overwrite", **more.pop("target", {})}
    return document(target=target, **more)


def asked(mode: str = "incremental", *, keys: tuple[str, ...] | None = None, allow: bool = False) -> Request:
    scope = Scope(full=mode != "incremental", keys=keys)
    return Request(mode=mode, scope=scope, trigger="manual", run_id=str(uuid.uuid4()), allow_mass_delete=allow)


def run(house: House, table: PostgresToDelta, request: Request) -> Counts:
    return engine_run.write(engine_run.open_run(house.bind(table), request))


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the time of writing, copies and strangers among them, in one order."""
    return sorted(({**row, "synced_at": None} for row in rows), key=str)
