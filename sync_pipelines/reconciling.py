"""Reconciliation from Python: what `sync-pipelines reconcile SYNC --deep` does, in this process and without Dagster.

found = ReconciliationJob().run_full_reconciliation(["concept", "prerequisite_of"])
assert found.equal, found.as_dict()
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError, RunError, SyncError
from sync_pipelines.engine.settings import batch_of

if TYPE_CHECKING:
    from sync_pipelines.registry import BoundTable

__all__ = ["Reconciled", "Reconciliation", "ReconciliationError", "ReconciliationJob"]

TRIGGER = "reconciliation"
"""What the ledger says of who asked for these runs."""

_NUMBERS = ("missing", "stale", "extra", "pending", "quarantined", "excluded")


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """What became of one entity type, in records.

    Args:
        entity_type: `sync/table`. audit_id: its row in `reconciliation_runs`; run_id: its runs' in `sync_logs`.
        missing, stale, extra: what was found. repaired: how many of these were mended.
        pending, quarantined, excluded: left out: a change of them is on its way, they are in quarantine, or stay as
            they are (an open review, an edit that the strategy protects, somebody's word).
        equal: whether a proof of the whole type, made afterwards, found nothing.
    """

    entity_type: str
    audit_id: int
    run_id: str
    missing: int
    stale: int
    extra: int
    repaired: int
    pending: int
    quarantined: int
    excluded: int
    equal: bool


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """What one reconciliation did, by entity type (`sync/table`)."""

    types: Mapping[str, Reconciled]

    @property
    def equal(self) -> bool:
        """Whether every type was proven equal afterwards."""
        return all(found.equal for found in self.types.values())

    @property
    def repaired(self) -> int:
        """Records that were mended, of all types."""
        return sum(found.repaired for found in self.types.values())

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "equal": self.equal,
            "repaired": self.repaired,
            "types": {path: asdict(found) for path, found in self.types.items()},
        }


class ReconciliationError(RunError):
    """Some types could not be reconciled; the others were.

    Args:
        errors: why, by type. result: what became of the others.
    """

    def __init__(self, errors: Mapping[str, SyncError], result: Reconciliation) -> None:
        self.errors, self.result = errors, result
        told = " ".join(str(error) for error in errors.values())
        number = len(errors) + len(result.types)
        super().__init__(f"{len(errors)} of {number} entity types could not be reconciled. {told}")


class ReconciliationJob:
    """Compares both sides of a sync's tables by their values, and mends what differs and nothing else.

    What is on its way, open reviews and edits that a strategy protects are left as they are. The target's lock is held,
    as by each writer, so a consumer waits for the end of each type.

    Args:
        sync: whose entity types they are. allow_mass_delete: let it delete more than the guard's share.
    """

    def __init__(self, *, sync: str = "learning", allow_mass_delete: bool = False) -> None:
        from sync_pipelines.registry import require_name

        require_name(sync)
        self._sync, self._allow = sync, allow_mass_delete

    def run_full_reconciliation(
        self,
        entity_types: Iterable[str] | None = None,
        entity_ids: Iterable[Any] | None = None,
        batch_size: int = 50,
    ) -> Reconciliation:
        """Reconcile now, nodes before relationships, and write each type's audit row.

        Args:
            entity_types: tables' names (`concept`, `learning/concept`), labels or relationship types; all of the sync
                if left out.
            entity_ids: just these records, keys of one type that is named; one of several columns as a JSON array of
                texts.
            batch_size: records a transaction.

        Raises:
            ConfigurationError: there is no such type (the sentence names those there are), ids without the one type
                that they are of, or no batch.
            UnknownRecordError: neither side has a record of one of the ids; nothing was done.
            NotConfiguredError: the sync is not in use here.
            ReconciliationError: some types could not be reconciled (a system does not answer, a guard has stopped a
                deletion, …), after all of them were tried.
        """
        batch_size = batch_of(batch_size)
        tables = _tables(self._sync, entity_types)
        keys = _keys(tables, entity_ids)
        done: dict[str, Reconciled] = {}
        errors: dict[str, SyncError] = {}
        for table in tables:
            try:
                done[table.path] = self._reconcile(table, keys, batch_size)
            except SyncError as error:
                errors[table.path] = error
        found = Reconciliation(types=done)
        if errors:
            raise ReconciliationError(errors, found)
        return found

    def _reconcile(self, table: BoundTable, keys: tuple[str, ...] | None, batch_size: int) -> Reconciled:
        from sync_pipelines.engine.dead import dead_runs
        from sync_pipelines.engine.model import Scope
        from sync_pipelines.engine.repair import Wanted, repair
        from sync_pipelines.engine.run import Request

        run_id = str(uuid.uuid4())
        request = Request(mode="repair", scope=Scope(), trigger=TRIGGER, run_id=run_id, allow_mass_delete=self._allow)
        with closing(table.binding()) as binding:
            binding.ledger.check()
            settings = table.component.run_settings(binding.ledger, batch_size=batch_size)
            dead_runs(binding)
            done = repair(replace(binding, **settings), request, Wanted(deep=True, keys=keys))
        return Reconciled(
            entity_type=table.path,
            run_id=run_id,
            **{name: getattr(done.found, name) for name in _NUMBERS},
            repaired=done.repaired,
            **_afterwards(table, run_id, deep=keys is None),
        )


def _tables(sync: str, entity_types: Iterable[str] | None) -> list[BoundTable]:
    """The tables to work on, each once, nodes first."""
    from sync_pipelines.registry import tables
    from sync_pipelines.resolving import table_of

    if isinstance(entity_types, str):
        entity_types = [entity_types]
    if entity_types is not None and (isinstance(entity_types, bytes) or not isinstance(entity_types, Iterable)):
        remedy = "Give a list of names, such as ['concept']."
        raise ConfigurationError(f"entity_types is {entity_types!r}, which is no list of types.", remedy=remedy)
    named = tables(sync) if entity_types is None else [table_of(name, sync) for name in entity_types]
    if not named:
        raise ConfigurationError("entity_types names no type.", remedy="Name at least one, or leave it out.")
    found = list({table.path: table for table in named}.values())
    if reason := found[0].not_configured():
        raise NotConfiguredError(f"{sync}: {reason}.")
    return sorted(found, key=lambda table: table.spec.ends is not None)


def _keys(tables: Sequence[BoundTable], entity_ids: Iterable[Any] | None) -> tuple[str, ...] | None:
    from sync_pipelines.engine.naming import known_keys

    if entity_ids is None:
        return None
    # the characters of a text could be keys, too: those of other records
    if isinstance(entity_ids, str | bytes) or not isinstance(entity_ids, Iterable):
        remedy = f"Give a list, such as [{entity_ids!r}]."
        raise ConfigurationError(f"entity_ids is {entity_ids!r}, which is no list of keys.", remedy=remedy)
    given = [str(entity_id) for entity_id in entity_ids]
    if not given:
        raise ConfigurationError("entity_ids names no record.", remedy="Name at least one, or leave it out.")
    if len(tables) > 1:
        names = ", ".join(table.component.table_name for table in tables)
        raise ConfigurationError("entity_ids are those of one type.", remedy=f"Name it in entity_types: {names}.")
    with closing(tables[0].binding()) as binding:
        binding.ledger.check()
        return known_keys(binding, given)


def _afterwards(table: BoundTable, run_id: str, *, deep: bool) -> dict[str, Any]:
    """The audit row, and whether both sides are equal now, which Dagster's checks are told, where it is there."""
    from sync_pipelines.launch import optional_instance
    from sync_pipelines.repairs import recheck

    with closing(table.binding()) as binding, optional_instance() as instance:
        row = binding.ledger.last_repair(*binding.place, run_id=run_id)
        assert row is not None
        proof = recheck(table.component, binding, instance, run_id=run_id, deep=deep)
        return {"audit_id": row.id, "equal": proof.equal}
