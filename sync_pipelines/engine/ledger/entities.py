"""The ledger's book on entities whose changes are told by events: `sync_status`, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from sync_pipelines.engine.events import EntityNote
from sync_pipelines.engine.ledger.history import at_place
from sync_pipelines.engine.ledger.store import Store, utc_or_none
from sync_pipelines.engine.sql import qualified

# as one statement of arrays: an INSERT of so many rows took SQLAlchemy longer to write than PostgreSQL to do
_NOTE = """
INSERT INTO {entities} AS old (sync_type, table_name, entity_type, entity_id, source_version, target_version,
    has_pending_changes, tombstone, last_synced_at, updated_at)
SELECT :sync, :table, :entity_type, g.id, g.source, g.target, g.pending, g.gone,
    CASE WHEN g.target IS NOT NULL THEN clock_timestamp() END, clock_timestamp()
FROM unnest(:ids, :sources, :targets, :pending, :gone) AS g (id, source, target, pending, gone)
ON CONFLICT (sync_type, table_name, entity_id) DO UPDATE SET
    entity_type = excluded.entity_type,
    source_version = greatest(old.source_version, excluded.source_version),
    target_version = greatest(old.target_version, excluded.target_version),
    has_pending_changes = excluded.has_pending_changes,
    tombstone = CASE WHEN excluded.target_version IS NULL THEN old.tombstone ELSE excluded.tombstone END,
    last_synced_at = coalesce(excluded.last_synced_at, old.last_synced_at),
    updated_at = excluded.updated_at
"""


@dataclass(frozen=True, kw_only=True)
class EntityState:
    """Where an entity stands. Times are UTC; versions are None before the first."""

    entity_id: str
    source_version: int | None
    target_version: int | None
    has_pending_changes: bool
    has_conflict: bool
    tombstone: bool
    last_synced_at: datetime | None


class EntityBook(Store):
    """Versions on both sides; the base that conflicts are judged by, and `has_conflict`, are left as they are."""

    def note_entities(self, sync: str, table: str, entity_type: str, notes: Sequence[EntityNote]) -> None:
        """Write down what a batch of events did to each entity; versions only grow."""
        if not notes:
            return
        given: dict[str, Any] = {
            "ids": [note.entity_id for note in notes],
            "sources": [note.source_version for note in notes],
            "targets": [note.target_version for note in notes],
            "pending": [note.pending for note in notes],
            "gone": [note.tombstone for note in notes],
        }
        kinds = zip(given, (sa.Text, sa.BigInteger, sa.BigInteger, sa.Boolean, sa.Boolean), strict=True)
        quoted = qualified(self.schema, self._tables.entities.name).replace(":", "\\:")
        statement = sa.text(_NOTE.format(entities=quoted)).bindparams(
            *(sa.bindparam(name, type_=ARRAY(kind)) for name, kind in kinds)
        )
        values = {"sync": sync, "table": table, "entity_type": entity_type, **given}
        self._transaction(lambda connection: connection.execute(statement, values))

    def entities(self, sync: str, table: str, ids: Sequence[str]) -> dict[str, EntityState]:
        """Where these entities stand, by id; those of which nothing is known are left out."""
        book = self._tables.entities
        wanted = sa.cast(sa.bindparam(None, list(ids), type_=ARRAY(sa.Text), unique=True), ARRAY(sa.Text))
        chosen = sa.select(book).where(*at_place(book, sync, table), book.c.entity_id == sa.any_(wanted))
        rows = self._transaction(lambda connection: connection.execute(chosen).mappings().all())
        return {row["entity_id"]: _state_of(row) for row in rows}


def _state_of(row: Mapping[Any, Any]) -> EntityState:
    return EntityState(
        entity_id=row["entity_id"],
        source_version=row["source_version"],
        target_version=row["target_version"],
        has_pending_changes=row["has_pending_changes"],
        has_conflict=row["has_conflict"],
        tombstone=row["tombstone"],
        last_synced_at=utc_or_none(row["last_synced_at"]),
    )
