"""The ledger's book on entities whose changes are told by events: `sync_status`, one row each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from sync_pipelines.engine.events import EntityNote
from sync_pipelines.engine.ledger.history import at_place
from sync_pipelines.engine.ledger.store import Store, utc_or_none


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
        book, now = self._tables.entities, sa.func.clock_timestamp()
        rows = [
            {
                "sync_type": sync,
                "table_name": table,
                "entity_type": entity_type,
                "entity_id": note.entity_id,
                "source_version": note.source_version,
                "target_version": note.target_version,
                "has_pending_changes": note.pending,
                "tombstone": note.tombstone,
                "last_synced_at": None if note.target_version is None else now,
                "updated_at": now,
            }
            for note in notes
        ]
        giving = insert(book).values(rows)
        new = giving.excluded
        brought = new.target_version.is_not(None)
        statement = giving.on_conflict_do_update(
            index_elements=["sync_type", "table_name", "entity_id"],
            set_={
                "entity_type": new.entity_type,
                "source_version": sa.func.greatest(book.c.source_version, new.source_version),
                "target_version": sa.func.greatest(book.c.target_version, new.target_version),
                "has_pending_changes": new.has_pending_changes,
                "tombstone": sa.case((brought, new.tombstone), else_=book.c.tombstone),
                "last_synced_at": sa.func.coalesce(new.last_synced_at, book.c.last_synced_at),
                "updated_at": new.updated_at,
            },
        )
        self._transaction(lambda connection: connection.execute(statement))

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
