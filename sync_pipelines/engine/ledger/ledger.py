"""The ledger: what every sync has done, how far it is, and what stays out (DESIGN.md §4).

    ledger = Ledger(url)
    ledger.check()
    run = ledger.begin("knowledge", "journey_template", mode="incremental", trigger="sensor", run_id=run_id)
    ledger.finish(run, status="completed", counts=counts, watermark=watermark)

Every call is one transaction that is tried again after an outage; what a driver raises never comes out, only
the classes of `engine.errors`.
"""

from __future__ import annotations

import sqlalchemy as sa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.ledger.bases import BaseBook
from sync_pipelines.engine.ledger.conflicts import ConflictBook
from sync_pipelines.engine.ledger.credentials import CredentialBook
from sync_pipelines.engine.ledger.entities import EntityBook
from sync_pipelines.engine.ledger.history import PARTIAL_MODES, FailureStreak, RunRecord, TableState
from sync_pipelines.engine.ledger.note_ids import NoteIdBook
from sync_pipelines.engine.ledger.pages import PageBook
from sync_pipelines.engine.ledger.proofs import Findings, ProofBook, ProofRecord
from sync_pipelines.engine.ledger.quarantine import (
    QuarantineBook,
    QuarantineCounts,
    QuarantinedRecord,
    RecordEvent,
)
from sync_pipelines.engine.ledger.rates import RateBook
from sync_pipelines.engine.ledger.runs import RunBook

__all__ = [
    "PARTIAL_MODES",
    "FailureStreak",
    "Findings",
    "Ledger",
    "ProofRecord",
    "QuarantineCounts",
    "QuarantinedRecord",
    "RecordEvent",
    "RunRecord",
    "TableState",
]

_CHUNK = 10_000
"""Rows that one transaction of `clean` removes: a year's backlog must not hold the tables for minutes."""


class Ledger(
    RunBook,
    QuarantineBook,
    ProofBook,
    ConflictBook,
    BaseBook,
    EntityBook,
    RateBook,
    CredentialBook,
    NoteIdBook,
    PageBook,
):
    """All books of the ledger over one pool; see `store.Store` for the arguments."""

    def left_out(self, sync: str, table: str) -> QuarantineCounts:
        """How many records are in quarantine, and how many are left out on purpose: dropped, or kept in the target."""
        quarantined, dropped = self.quarantine_counts(sync, table)
        return QuarantineCounts(quarantined, dropped + self.conflict_count(sync, table))

    def unanswered_failures(self, sync: str, table: str) -> int:
        """Failed syncs in a row that still matter: not those before a proof that all is as they would have left it.

        What came after that proof, a new change or a new difference, is told by itself.
        """
        failures = self.failure_streak(sync, table).failures
        answered = self.last_whole(sync, table) if failures else None
        return self.failure_streak(sync, table, after=answered).failures if answered else failures

    def clean(self, days: int = 90) -> dict[str, int]:
        """Remove history that is older than so many days; rows removed, by table.

        What is needed stays, however old: open runs; of each table the newest run of each status, with and
        without records; the newest ended proof of each kind and scope, and the newest repair. Watermarks,
        quarantine, states and settings are no history and are not touched, nor are conflicts that are open. Those that
        were decided stay for good: somebody may ask who did what, and with which values, however late.

        Raises:
            ConfigurationError: for less than one day.
        """
        if days < 1:
            raise ConfigurationError(f"History cannot be kept for {days} days.", remedy="Give 1 or more.")
        return {
            table.name: self._remove(table, chosen)
            for table, chosen in (
                self._old_logs(days),
                self._old_events(days),
                self._old_proofs(days),
                self._old_conflicts(days),
            )
        }

    def _remove(self, table: sa.Table, chosen: sa.Select[tuple[int]]) -> int:
        removal = sa.delete(table).where(table.c.id.in_(chosen.limit(_CHUNK)))
        removed = 0
        while count := self._transaction(lambda connection: connection.execute(removal).rowcount):
            removed += count
        return removed

    def _old_logs(self, days: int) -> tuple[sa.Table, sa.Select[tuple[int]]]:
        logs = self._tables.logs
        wrote = logs.c.records_upserted + logs.c.records_metadata_only + logs.c.records_unchanged > 0
        kept = sa.select(sa.func.max(logs.c.id)).group_by(logs.c.sync_type, logs.c.table_name, logs.c.status, wrote)
        old = (logs.c.started_at < _before(days), logs.c.status != "running", logs.c.id.not_in(kept))
        return logs, sa.select(logs.c.id).where(*old)

    def _old_events(self, days: int) -> tuple[sa.Table, sa.Select[tuple[int]]]:
        events = self._tables.events
        return events, sa.select(events.c.id).where(events.c.occurred_at < _before(days))

    def _old_conflicts(self, days: int) -> tuple[sa.Table, sa.Select[tuple[int]]]:
        conflicts = self._tables.conflicts
        undecided = conflicts.c.method.is_(None)
        return conflicts, sa.select(conflicts.c.id).where(conflicts.c.resolved_at < _before(days), undecided)

    def _old_proofs(self, days: int) -> tuple[sa.Table, sa.Select[tuple[int]]]:
        proofs = self._tables.proofs
        ended = proofs.c.finished_at.is_not(None) & proofs.c.error.is_(None)
        # what a proof of touched keys found and one of the whole table found are two answers, and each stands
        scope = sa.case((proofs.c.kind == "repair", ""), else_=proofs.c.scope)
        one_each = (proofs.c.sync_type, proofs.c.table_name, proofs.c.kind, scope)
        kept = sa.select(sa.func.max(proofs.c.id)).where(ended).group_by(*one_each)
        old = (proofs.c.started_at < _before(days), proofs.c.id.not_in(kept))
        return proofs, sa.select(proofs.c.id).where(*old)


def _before(days: int) -> sa.ColumnElement:
    return sa.func.now() - sa.func.make_interval(0, 0, 0, days)
