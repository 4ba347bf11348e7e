"""The ledger's tables as SQLAlchemy knows them; `migrations/ledger` makes them, a test compares the two."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

REVISION = "ledger_0011"
"""Of `migrations/ledger` that made them so."""

_AT = sa.DateTime(timezone=True)

TOTALS = {
    "read": "records_read",
    "upserted": "records_upserted",
    "metadata_only": "records_metadata_only",
    "unchanged": "records_unchanged",
    "deleted": "records_deleted",
    "quarantined": "records_quarantined",
    "embedded_texts": "embedded_texts",
    "embedded_characters": "embedded_characters",
    "embedded_tokens": "tokens",
    "bytes": "bytes",
    "bytes_read": "bytes_read",
}
"""Field of `engine.model.Counts` → column of `sync_logs`."""

USED: dict[str, Any] = {
    "cpu_seconds": sa.Double,
    "peak_memory": sa.BigInteger,
    "warehouse_seconds": sa.Double,
    "files_rewritten": sa.BigInteger,
}
"""Field of `engine.usage.Usage`, which is the column of `sync_logs`, too → its type."""

_COLUMNS: dict[str, dict[str, Any]] = {
    "sync_metadata": {
        "id": sa.BigInteger,
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "last_sync_timestamp": _AT,
        "last_sync_id": sa.Uuid,
        "records_synced": sa.BigInteger,
        "sync_status": sa.Text,
        "error_message": sa.Text,
        "sync_duration_seconds": sa.Double,
        "created_at": _AT,
        "updated_at": _AT,
    },
    "sync_logs": {
        "id": sa.BigInteger,
        "sync_id": sa.Uuid,
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "direction": sa.Text,
        "mode": sa.Text,
        "trigger": sa.Text,
        "status": sa.Text,
        "started_at": _AT,
        "completed_at": _AT,
        **dict.fromkeys(TOTALS.values(), sa.BigInteger),
        "records_failed": sa.BigInteger,
        "records_due": sa.BigInteger,
        "duration_seconds": sa.Double,
        "cost": sa.Numeric,
        **USED,
        "run_id": sa.Text,
        "reason": sa.Text,
        "error_message": sa.Text,
        "created_at": _AT,
    },
    "sync_record_events": {
        "id": sa.BigInteger,
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "record_key": sa.Text,
        "event": sa.Text,
        "stage": sa.Text,
        "reason": sa.Text,
        "run_id": sa.Text,
        "occurred_at": _AT,
    },
    "sync_watermarks": {
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "scope": sa.Text,
        "watermark": JSONB,
        "confirmed_at": _AT,
        "run_id": sa.Text,
        "previous": JSONB,
    },
    "sync_quarantine": {
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "record_key": sa.Text,
        "reason": sa.Text,
        "stage": sa.Text,
        "first_seen": _AT,
        "last_seen": _AT,
        "attempts": sa.Integer,
        "run_id": sa.Text,
        "fingerprint": sa.Text,
        "dropped_at": _AT,
        "waits_for": JSONB,
    },
    "reconciliation_runs": {
        "id": sa.BigInteger,
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "kind": sa.Text,
        "started_at": _AT,
        "finished_at": _AT,
        "scope": sa.Text,
        "source_count": sa.BigInteger,
        "target_count": sa.BigInteger,
        "missing": sa.BigInteger,
        "stale": sa.BigInteger,
        "extra": sa.BigInteger,
        "quarantined": sa.BigInteger,
        "excluded": sa.BigInteger,
        "pending": sa.BigInteger,
        "repaired": sa.BigInteger,
        "sample": JSONB,
        "run_id": sa.Text,
        "error": sa.Text,
        "reasons": JSONB,
        "buckets": JSONB,
    },
    "reconciliation_keys": {
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "record_key": sa.Text,
        "kind": sa.Text,
        "reason": sa.Text,
        "broken": sa.Boolean,
        "proof_id": sa.BigInteger,
    },
    "sync_conflicts": {
        "id": sa.BigInteger,
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "record_key": sa.Text,
        "reason": sa.Text,
        "detected_at": _AT,
        "resolved_at": _AT,
        "run_id": sa.Text,
        "source_fingerprint": sa.Text,
        "accepted_at": _AT,
        "review": sa.Boolean,
        "strategy": sa.Text,
        "method": sa.Text,
        "resolved_by": sa.Text,
        "resolution_notes": sa.Text,
        "decided_at": _AT,
        "source_version": sa.Text,
        "target_version": sa.Text,
        "source_data": JSONB(none_as_null=True),
        "target_data": JSONB(none_as_null=True),
        "base_data": JSONB(none_as_null=True),
    },
    "sync_bases": {
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "record_key": sa.Text,
        "fingerprint": sa.Text,
        "previous": sa.Text,
        "noted_at": _AT,
        "data": JSONB(none_as_null=True),
        "previous_data": JSONB(none_as_null=True),
    },
    "sync_stamps": {
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "stamp": sa.Text,
    },
    "sync_status": {
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "entity_type": sa.Text,
        "entity_id": sa.Text,
        "record_key": sa.Text,
        "source_version": sa.BigInteger,
        "target_version": sa.BigInteger,
        "base": JSONB,
        "has_pending_changes": sa.Boolean,
        "has_conflict": sa.Boolean,
        "last_synced_at": _AT,
        "tombstone": sa.Boolean,
        "updated_at": _AT,
    },
    "sync_rates": {
        "rate_name": sa.Text,
        "next_at": _AT,
        "slowdown": sa.Double,
        "slowed_at": _AT,
        "updated_at": _AT,
    },
    "sync_credentials": {
        "sync_type": sa.Text,
        "user_name": sa.Text,
        "config": JSONB,
        "secrets": sa.LargeBinary,
        "state": sa.LargeBinary,
        "created_at": _AT,
        "updated_at": _AT,
    },
    "sync_note_ids": {
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "record_key": sa.Text,
        "created_usec": sa.BigInteger,
        "node_id": sa.Text,
        "signature": JSONB,
        "last_seen": _AT,
        "gone_at": _AT,
    },
    "sync_pages": {
        "sync_type": sa.Text,
        "table_name": sa.Text,
        "record_key": sa.Text,
        "page_id": sa.Text,
        "fingerprint": sa.Text,
        "edited_time": _AT,
        "seen_at": _AT,
        "blocks": JSONB,
        "title_hash": sa.Text,
        "property_hashes": JSONB,
        "note": sa.Text,
    },
    "sync_settings": {
        "setting_key": sa.Text,
        "setting_value": sa.Text,
        "description": sa.Text,
        "updated_at": _AT,
    },
}


class Tables:
    """Every table of the ledger in one schema.

    Args:
        schema: its name, unquoted.
    """

    def __init__(self, schema: str) -> None:
        self.metadata = sa.MetaData(schema=schema)
        self.state = self._table("sync_metadata")
        self.logs = self._table("sync_logs")
        self.events = self._table("sync_record_events")
        self.watermarks = self._table("sync_watermarks")
        self.quarantine = self._table("sync_quarantine")
        self.proofs = self._table("reconciliation_runs")
        self.differences = self._table("reconciliation_keys")
        self.settings = self._table("sync_settings")
        self.rates = self._table("sync_rates")
        self.conflicts = self._table("sync_conflicts")
        self.bases = self._table("sync_bases")
        self.stamps = self._table("sync_stamps")
        self.entities = self._table("sync_status")
        self.credentials = self._table("sync_credentials")
        self.note_ids = self._table("sync_note_ids")
        self.pages = self._table("sync_pages")

    def _table(self, name: str) -> sa.Table:
        return sa.Table(name, self.metadata, *(sa.Column(column, kind) for column, kind in _COLUMNS[name].items()))


@lru_cache(maxsize=8)
def tables_of(schema: str) -> Tables:
    """The tables of one schema, made once: SQLAlchemy knows a statement again by the tables in it."""
    return Tables(schema)
