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
INSERT INTO {entities} AS old (sync_type, table_name, entity_type, entity_id, record_key, source_version,
    target_version, has_pending_changes, has_conflict, tombstone, last_synced_at, updated_at)
SELECT :sync, :table, :entity_type, g.id, g.key, g.source, g.target, g.pending,
    g.key IS NOT NULL AND EXISTS (SELECT FROM {conflicts} AS c WHERE c.sync_type = :sync AND c.table_name = :table
        AND c.record_key = g.key AND c.review AND c.resolved_at IS NULL AND c.accepted_at IS NULL),
    g.gone, CASE WHEN g.target IS NOT NULL THEN clock_timestamp() END, clock_timestamp()
FROM unnest(:ids, :keys, :sources, :targets, :pending, :gone) AS g (id, key, source, target, pending, gone)
ON CONFLICT (sync_type, table_name, entity_id) DO UPDATE SET
    entity_type = excluded.entity_type,
    record_key = excluded.record_key,
    has_conflict = CASE WHEN excluded.record_key IS NULL THEN old.has_conflict ELSE excluded.has_conflict END,
    source_version = greatest(old.source_version, excluded.source_version),
    target_version = greatest(old.target_version, excluded.target_version),
    has_pending_changes = excluded.has_pending_changes,
    tombstone = CASE WHEN excluded.target_version IS NULL THEN old.tombstone ELSE excluded.tombstone END,
    last_synced_at = coalesce(excluded.last_synced_at, old.last_synced_at),
    updated_at = excluded.updated_at
"""

# A review of a record whose entity nobody knew stands under the record's key, until its first event tells.
_MERGE = """
DELETE FROM {entities} AS e WHERE e.sync_type = :sync AND e.table_name = :table AND e.entity_id = ANY (:keys)
    AND e.source_version IS NULL AND NOT e.entity_id = ANY (:ids)
"""


@dataclass(frozen=True, kw_only=True)
class EntityState:
    """Where an entity stands. Times are UTC; versions are None before the first.

    Args:
        record_key: of its record, where that is another text than its id.
    """

    entity_id: str
    record_key: str | None
    source_version: int | None
    target_version: int | None
    has_pending_changes: bool
    has_conflict: bool
    tombstone: bool
    last_synced_at: datetime | None


class EntityBook(Store):
    """Versions on both sides. `has_conflict` is left as it is, but for an entity whose record has another name."""

    def note_entities(self, sync: str, table: str, entity_type: str, notes: Sequence[EntityNote]) -> None:
        """Write down what a batch of events did to each entity; versions only grow."""
        if not notes:
            return
        given: dict[str, Any] = {
            "ids": [note.entity_id for note in notes],
            "keys": [None if note.record_key == note.entity_id else note.record_key for note in notes],
            "sources": [note.source_version for note in notes],
            "targets": [note.target_version for note in notes],
            "pending": [note.pending for note in notes],
            "gone": [note.tombstone for note in notes],
        }
        sorts = (sa.Text, sa.Text, sa.BigInteger, sa.BigInteger, sa.Boolean, sa.Boolean)
        kinds = dict(zip(given, sorts, strict=True))
        values = {"sync": sync, "table": table, "entity_type": entity_type, **given}

        def work(connection: sa.Connection) -> None:
            if any(key is not None for key in given["keys"]):
                merging = {name: values[name] for name in ("sync", "table", "keys", "ids")}
                connection.execute(self._of_arrays(_MERGE, {name: kinds[name] for name in ("keys", "ids")}), merging)
            connection.execute(self._of_arrays(_NOTE, kinds), values)

        self._transaction(work)

    def _of_arrays(self, statement: str, kinds: Mapping[str, Any]) -> sa.TextClause:
        """A statement whose parameters of these names are arrays."""
        names = {"entities": self._tables.entities.name, "conflicts": self._tables.conflicts.name}
        quoted = {name: qualified(self.schema, table).replace(":", "\\:") for name, table in names.items()}
        given = (sa.bindparam(name, type_=ARRAY(kind)) for name, kind in kinds.items())
        return sa.text(statement.format(**quoted)).bindparams(*given)

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
        record_key=row["record_key"],
        source_version=row["source_version"],
        target_version=row["target_version"],
        has_pending_changes=row["has_pending_changes"],
        has_conflict=row["has_conflict"],
        tombstone=row["tombstone"],
        last_synced_at=utc_or_none(row["last_synced_at"]),
    )
