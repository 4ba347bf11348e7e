"""How a table's capture stands, for `sync-pipelines capture status` and `status`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.sql import literal, qualified
from sync_pipelines.sources.postgres.readers import Reader, may_list, readers, with_lag
from sync_pipelines.sources.postgres.reading import Kind, Reading


@dataclass(frozen=True, kw_only=True)
class CaptureStatus:
    """One table's capture.

    Args:
        configured: what the YAML says. using: what a run would use now, None where it would stop.
        installed: all triggers are on the table itself; missing: relations of its tree that lack some.
        relations: the table, its partitions and children.
        installed_at: when a trigger was last made. readers: who reads the log, how far, and what each has not read.
        log_lines: lines of this table in the log; log_bytes: size of the whole log with its index.
        warnings: what an operator should do or know; error: why a run would stop.
    """

    configured: str
    using: Kind | None
    installed: bool
    relations: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    installed_at: datetime | None = None
    readers: tuple[Reader, ...] = ()
    log_lines: int = 0
    log_bytes: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether a run can read changes without a warning."""
        return self.error is None and not self.warnings


def capture_status(reading: Reading) -> CaptureStatus:
    """Ask one snapshot of a table how its capture stands."""
    using, error = _using(reading)
    found = CaptureStatus(
        configured=reading.spec.capture,
        using=using,
        installed=False,
        error=str(error) if error else None,
        relations=tuple(relation.sql for relation in reading.info.relations),
        warnings=() if error else tuple(reading.warnings()),
    )
    state = reading.state
    if state is None:
        return found
    log = _log(reading, state.number)
    return replace(
        found,
        installed=not state.lacks(reading.info.oid),
        missing=tuple(relation.sql for relation in state.lacking),
        readers=tuple(_readers(reading, state.number)),
        log_lines=log["lines"],
        log_bytes=log["bytes"],
        installed_at=log["installed_at"],
    )


def _using(reading: Reading) -> tuple[Kind | None, RunError | None]:
    try:
        return reading.kind, None
    except RunError as error:
        return None, error


def _readers(reading: Reading, number: int) -> list[Reader]:
    session, schema = reading.session, reading.sync_schema
    if not may_list(session, schema):
        return []
    return [with_lag(session, schema, number, reader, count=True) for reader in readers(session, schema, number)]


def _log(reading: Reading, number: int) -> dict[str, Any]:
    log = qualified(reading.sync_schema, "change_log")
    return reading.session.all(
        f"SELECT (SELECT count(*) FROM {log} AS l WHERE l.table_id = {number}) AS lines, "
        f"pg_catalog.pg_total_relation_size({literal(log)}) AS bytes, "
        f"(SELECT c.installed_at FROM {qualified(reading.sync_schema, 'captured_tables')} AS c "
        f"WHERE c.id = {number}) AS installed_at"
    )[0]
