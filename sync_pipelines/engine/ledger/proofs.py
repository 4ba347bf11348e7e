"""The ledger's books on proofs (`reconciliation_runs`) and settings (`sync_settings`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sync_pipelines.engine.compare import Difference
from sync_pipelines.engine.ledger.differences import DifferenceBook
from sync_pipelines.engine.ledger.history import at_place
from sync_pipelines.engine.ledger.store import ERROR_CHARACTERS, REASON_CHARACTERS, storable, utc, utc_or_none

Kind = Literal["count", "quick", "deep", "repair"]

TOUCHED = "touched"
"""The scope of a proof of just the keys that a run has touched; that of the whole table is empty."""

SAMPLE_KEYS = 20
"""Keys of each sort of difference that are kept; the counts are always exact."""

NUMBERS = (
    "source_count",
    "target_count",
    "missing",
    "stale",
    "extra",
    "quarantined",
    "excluded",
    "pending",
)
"""What a proof counts, by the names that it has everywhere: in the ledger, in a check's metadata, in `status`."""


class Findings(Protocol):
    """What a proof found, in records; `samples` holds keys by sort of difference, `reasons` why, by key."""

    @property
    def source_count(self) -> int | None: ...
    @property
    def target_count(self) -> int | None: ...
    @property
    def missing(self) -> int: ...
    @property
    def stale(self) -> int: ...
    @property
    def extra(self) -> int: ...
    @property
    def quarantined(self) -> int: ...
    @property
    def excluded(self) -> int: ...
    @property
    def pending(self) -> int: ...
    @property
    def samples(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def reasons(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, kw_only=True)
class ProofRecord:
    """A row of `reconciliation_runs`. Times are UTC; `trigger`: who asked for its run, where `proofs` was asked."""

    id: int
    sync: str
    table: str
    kind: str
    started_at: datetime
    finished_at: datetime | None
    scope: str = ""
    source_count: int | None = None
    target_count: int | None = None
    missing: int = 0
    stale: int = 0
    extra: int = 0
    quarantined: int = 0
    excluded: int = 0
    pending: int = 0
    repaired: int = 0
    samples: Mapping[str, Sequence[str]] = field(default_factory=dict)
    run_id: str = ""
    error: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    buckets: Mapping[str, Sequence[int]] = field(default_factory=dict)
    trigger: str = ""

    @property
    def full_sync_due(self) -> str:
        """Not kept: it is over when somebody reads this."""
        return ""

    @property
    def seconds(self) -> float:
        """How long it took; 0 for one that has not ended."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else 0.0

    @property
    def equal(self) -> bool:
        """Whether it ended and found nothing missing, stale or extra."""
        return self.finished_at is not None and self.error is None and not (self.missing + self.stale + self.extra)


class ProofBook(DifferenceBook):
    """What was compared and mended, and settings."""

    def open_repair(self, sync: str, table: str, *, started_at: datetime, run_id: str, scope: str = "") -> int:
        """Write down that a repair has begun; its row's id, for `record_proof`. One that dies leaves it open."""
        row = {"sync_type": sync, "table_name": table, "kind": "repair", "started_at": started_at}
        proofs = self._tables.proofs
        writing = insert(proofs).values(**row, run_id=run_id, scope=scope).returning(proofs.c.id)
        return self._transaction(lambda connection: connection.execute(writing).scalar_one())

    def record_proof(
        self,
        sync: str,
        table: str,
        *,
        kind: Kind,
        started_at: datetime,
        proof: Findings | None = None,
        run_id: str | None = None,
        scope: str = "",
        repaired: int = 0,
        buckets: Mapping[int, tuple[int, int]] | None = None,
        error: str | None = None,
        opened: int | None = None,
        named: Callable[[], Iterable[Sequence[Difference]]] | None = None,
    ) -> int:
        """Write down a proof or repair that has ended; its row's id.

        Args:
            kind: count, quick, deep or repair.
            started_at: with a zone.
            proof: what it found; None where it failed before it found anything.
            run_id: the Dagster run, or None for a command beside it.
            scope: what was compared; empty is the whole table.
            repaired: records that were mended; buckets: of a repair, bucket → (found, repaired).
            error: why it did not end.
            opened: the row that says that it has begun.
            named: of a deep proof, gives the keys that it names, which take the place of those before in the same
                transaction: a repair without another look goes by them.
        """
        found = {} if proof is None else {name: getattr(proof, name) for name in NUMBERS}
        samples = {} if proof is None else proof.samples
        sample = {kind: [_plain(key) for key in keys[:SAMPLE_KEYS]] for kind, keys in samples.items()}
        row = found | {
            "sync_type": sync,
            "table_name": table,
            "kind": kind,
            "started_at": started_at,
            "finished_at": sa.func.clock_timestamp(),
            "scope": scope,
            "sample": sample,
            "reasons": {} if proof is None else {_plain(key): _plain(why) for key, why in proof.reasons.items()},
            "buckets": {str(bucket): list(pair) for bucket, pair in (buckets or {}).items()},
            "repaired": repaired,
            "run_id": run_id or "",
            "error": None if error is None else storable(error, ERROR_CHARACTERS),
        }
        proofs = self._tables.proofs
        begun = insert(proofs) if opened is None else sa.update(proofs).where(proofs.c.id == opened)
        writing = begun.values(row).returning(proofs.c.id)

        def work(connection: sa.Connection) -> int:
            number = connection.execute(writing).scalar_one()
            if named is not None:
                self._replace_differences(connection, sync, table, named(), proof_id=number)
            return number

        return self._transaction(work)

    def last_proof(self, sync: str, table: str, kind: Kind | None = None, *, scope: str = "") -> ProofRecord | None:
        """The newest proof that ended, of this kind or of any but repairs; None where there is none.

        Args:
            scope: what it compared; empty is the whole table.
        """
        proofs = self._tables.proofs
        wanted = proofs.c.kind == kind if kind else proofs.c.kind != "repair"
        ended = (wanted, proofs.c.scope == scope, proofs.c.finished_at.is_not(None), proofs.c.error.is_(None))
        chosen = sa.select(proofs).where(*at_place(proofs, sync, table), *ended).order_by(proofs.c.id.desc()).limit(1)
        row = self._transaction(lambda connection: connection.execute(chosen).mappings().one_or_none())
        return None if row is None else _proof_of(row)

    def last_whole(self, sync: str, table: str) -> datetime | None:
        """When the newest proof began that compared the whole table, found it equal and nothing waiting; or None."""
        proofs = self._tables.proofs
        compared = (proofs.c.kind.in_(("quick", "deep")), proofs.c.scope == "", proofs.c.finished_at.is_not(None))
        equal = (proofs.c[name] == 0 for name in ("missing", "stale", "extra", "pending"))
        chosen = sa.select(sa.func.max(proofs.c.started_at)).where(
            *at_place(proofs, sync, table), *compared, proofs.c.error.is_(None), *equal
        )
        return utc_or_none(self._transaction(lambda connection: connection.execute(chosen).scalar_one()))

    def proof_of_run(self, sync: str, table: str, run_id: str, *, scope: str = "") -> ProofRecord | None:
        """The newest proof that this run has made, of keys and fingerprints rather than of counts alone; or None.

        Counts that agree say nothing of what the run's own look at the content found, and its checks run in the
        order of their names: `count` is written last.

        Args:
            scope: what it compared; empty is the whole table.
        """
        proofs = self._tables.proofs
        wanted = (proofs.c.run_id == run_id, proofs.c.kind != "repair", proofs.c.scope == scope)
        ended = (proofs.c.finished_at.is_not(None), proofs.c.error.is_(None))
        best_first = (proofs.c.kind == "count", proofs.c.id.desc())
        chosen = sa.select(proofs).where(*at_place(proofs, sync, table), *wanted, *ended).order_by(*best_first).limit(1)
        row = self._transaction(lambda connection: connection.execute(chosen).mappings().one_or_none())
        return None if row is None else _proof_of(row)

    def last_repair(self, sync: str, table: str, *, run_id: str | None = None) -> ProofRecord | None:
        """The newest repair that ended well, of this run or of any; None where there is none."""
        proofs = self._tables.proofs
        ended_well = (proofs.c.finished_at.is_not(None), proofs.c.error.is_(None))
        wanted = [proofs.c.kind == "repair", *ended_well, *at_place(proofs, sync, table)]
        wanted += [proofs.c.run_id == run_id] if run_id else []
        chosen = sa.select(proofs).where(*wanted).order_by(proofs.c.id.desc()).limit(1)
        row = self._transaction(lambda connection: connection.execute(chosen).mappings().one_or_none())
        return None if row is None else _proof_of(row)

    def proofs(
        self,
        sync: str | None = None,
        table: str | None = None,
        *,
        kinds: Sequence[Kind] = (),
        limit: int = 20,
        offset: int = 0,
    ) -> list[ProofRecord]:
        """Proofs and repairs, those too that failed or have not ended, the newest first.

        Args:
            kinds: just these; all where none is named.
        """
        proofs, logs = self._tables.proofs, self._tables.logs
        # of a run of several tables, and of one that was tried again, each row bears the same trigger
        asked = sa.select(sa.func.min(logs.c.trigger)).where(logs.c.run_id == proofs.c.run_id, logs.c.run_id != "")
        chosen = sa.select(proofs, asked.scalar_subquery().label("trigger")).where(*at_place(proofs, sync, table))
        if kinds:
            chosen = chosen.where(proofs.c.kind.in_(kinds))
        page = chosen.order_by(proofs.c.id.desc()).limit(limit).offset(offset)
        rows = self._transaction(lambda connection: connection.execute(page).mappings().all())
        return [replace(_proof_of(row), trigger=row["trigger"] or "") for row in rows]

    def setting(self, key: str) -> str | None:
        """A value of `sync_settings` (`<sync>.<name>`), or None."""
        return self.settings(key).get(key)

    def settings(self, prefix: str = "") -> dict[str, str]:
        """Every setting whose key begins so, by key."""
        table = self._tables.settings
        chosen = sa.select(table.c.setting_key, table.c.setting_value).order_by(table.c.setting_key)
        chosen = chosen.where(table.c.setting_key.startswith(prefix, autoescape=True))
        return self._transaction(lambda connection: dict(connection.execute(chosen).all()))

    def stored_settings(self, prefix: str = "") -> list[StoredSetting]:
        """Every setting whose key begins so, with its description and when it was stored, by key."""
        table = self._tables.settings
        chosen = sa.select(table).where(table.c.setting_key.startswith(prefix, autoescape=True))
        page = chosen.order_by(table.c.setting_key)
        rows = self._transaction(lambda connection: connection.execute(page).mappings().all())
        return [
            StoredSetting(
                key=row["setting_key"],
                value=row["setting_value"],
                description=row["description"],
                updated_at=utc(row["updated_at"]),
            )
            for row in rows
        ]

    def set_setting(self, key: str, value: str | None, *, description: str | None = None) -> None:
        """Store a setting; None removes it. A description that is not given stays as it is."""
        table = self._tables.settings
        new: dict[str, Any] = {"setting_value": value, "updated_at": sa.func.clock_timestamp()}
        if description is not None:
            new["description"] = description
        writing: sa.Executable = (
            sa.delete(table).where(table.c.setting_key == key)
            if value is None
            else insert(table)
            .values(setting_key=key, **new)
            .on_conflict_do_update(index_elements=["setting_key"], set_=new)
        )
        self._transaction(lambda connection: connection.execute(writing))


@dataclass(frozen=True, kw_only=True)
class StoredSetting:
    """A row of `sync_settings`; `updated_at` is UTC."""

    key: str
    value: str
    description: str | None
    updated_at: datetime


def _plain(text: str) -> str:
    """A stranger's key may hold what jsonb cannot."""
    return storable(text, REASON_CHARACTERS)


def _proof_of(row: Mapping[Any, Any]) -> ProofRecord:
    return ProofRecord(
        id=row["id"],
        sync=row["sync_type"],
        table=row["table_name"],
        kind=row["kind"],
        started_at=utc(row["started_at"]),
        finished_at=utc_or_none(row["finished_at"]),
        scope=row["scope"],
        **{name: row[name] for name in (*NUMBERS, "repaired", "run_id", "error")},
        samples=row["sample"],
        reasons=row["reasons"],
        buckets=row["buckets"],
    )
