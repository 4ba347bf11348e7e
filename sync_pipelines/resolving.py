"""Conflicts from Python: whether a record has one, what its sides hold, and what somebody has decided.

resolver = ConflictResolver(strategy=ResolutionStrategy.MERGE)
if resolver.has_conflict("c1", "concept"):
    print(resolver.get_conflict("c1", "concept").clashes)
    resolver.resolve_conflict("c1", "concept", "source_wins", resolved_by="ada", resolution_notes="a typo in the graph")
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.conflicts import ResolutionStrategy, Strategy
from sync_pipelines.engine.deciding import Decision, Disputing, Outcome, Sides, decide
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.settling import Case, Resolution, judging, look, resolve

if TYPE_CHECKING:
    from sync_pipelines.registry import BoundTable

__all__ = ["ConflictResolver", "EntityConflict", "Resolution", "ResolutionStrategy"]

_SIDES = {"source": Strategy.SOURCE_WINS, "target": Strategy.TARGET_WINS}


@dataclass(frozen=True, kw_only=True)
class EntityConflict:
    """A record that source and target have both changed since it was last synced.

    Args:
        source_version, target_version: by which LAST_WRITE_WINS decides; those of its events where the records have
            none; None where there is neither.
        source_data, target_data, base_data: values by property; None where there is no such record, or (of the base)
            none are kept. Sensitive ones are shown as `***`.
        clashes: the properties that a merge could not decide.
        detected_at: when a run saw it; None where none has yet.
    """

    entity_type: str
    entity_id: str
    strategy: ResolutionStrategy
    reason: str
    source_version: Any = None
    target_version: Any = None
    source_data: Mapping[str, Any] | None = None
    target_data: Mapping[str, Any] | None = None
    base_data: Mapping[str, Any] | None = None
    clashes: Sequence[str] = ()
    detected_at: datetime | None = None
    accepted_at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "strategy": self.strategy.value}


class ConflictResolver:
    """Looks at conflicts of this project's tables, and settles them.

    Args:
        strategy: how `resolve_conflict` decides where it is told no method.
        sync: where to look for an entity type; everywhere if left out.

    Raises:
        ConfigurationError: there is no such strategy, or `sync` is no text.
    """

    def __init__(
        self, strategy: ResolutionStrategy | str = ResolutionStrategy.LAST_WRITE_WINS, *, sync: str | None = None
    ) -> None:
        from sync_pipelines.registry import require_name

        if sync is not None:
            require_name(sync)
        self.strategy, self._sync = strategy_of(strategy), sync

    def has_conflict(self, entity_id: Any, entity_type: str) -> bool:
        """Whether source and target have both changed this entity since it was last synced, and nobody has decided.

        Args:
            entity_id: its key; one of several columns as a JSON array of texts. Or the id that its events have.
            entity_type: the table's name (`concept`, `learning/concept`), or its label or relationship type.

        Raises:
            ConfigurationError: no table has that type, or its target is the sync's own.
        """
        with self._case(entity_id, entity_type) as case:
            return case.in_conflict

    def get_conflict(self, entity_id: Any, entity_type: str) -> EntityConflict | None:
        """Its three states, and what this resolver's strategy says of them; None where it has no conflict."""
        with self._case(entity_id, entity_type) as case:
            if not case.in_conflict and case.noted is None:
                return None
            return conflict_of(case, self.strategy, entity_type=entity_type)

    def resolve_conflict(
        self,
        entity_id: Any,
        entity_type: str,
        method: ResolutionStrategy | str | None = None,
        resolved_by: str | None = None,
        resolution_notes: str | None = None,
        *,
        values: Mapping[str, Any] | None = None,
    ) -> Resolution:
        """Settle a conflict, now; who, how and why stands in `sync_conflicts` from then on.

        Args:
            method: a strategy, or `source`, `target` or `merge`; the resolver's strategy if left out.
            resolved_by: who decides; the system's user if left out. resolution_notes: why.
            values: of a merge, the values of properties that clash, or of any other.

        Raises:
            UnknownRecordError: it is in no conflict.
            ConfigurationError: the method decides nothing here: `manual_review`, or a merge of what clashes.
            LockBusyError: a writer works on the target and does not end.
        """
        wanted = self.strategy if method is None else strategy_of(method)
        with self._case(entity_id, entity_type) as case:
            return resolve(case, wanted, by=resolved_by, notes=resolution_notes, values=values, entity_type=entity_type)

    @contextmanager
    def _case(self, entity_id: Any, entity_type: str) -> Generator[Case]:
        from sync_pipelines.engine.naming import normal_key

        table, text = table_of(entity_type, self._sync), _key_text(entity_id)
        with closing(table.binding()) as binding:
            judging(binding)
            binding.ledger.check()
            known = binding.ledger.entities(*binding.place, [text]).get(text)
            own = None if known is None else known.record_key
            yield look(binding, own or normal_key(table.spec, text))


def _key_text(entity_id: Any) -> str:
    """A key's text. None and a list have one, too: that of a record which there is not."""
    if entity_id is None or isinstance(entity_id, bytes | list | tuple | dict | set):
        raise ConfigurationError(
            f"The entity_id {entity_id!r} is no key.",
            remedy='Give a text or number; one of several columns as a JSON array of texts, such as \'["a", "b"]\'.',
        )
    return str(entity_id)


def strategy_of(method: ResolutionStrategy | str) -> ResolutionStrategy:
    """A strategy by its name, or by whose version is taken.

    Raises:
        ConfigurationError: there is none of that name.
    """
    if isinstance(method, Strategy):
        return method
    name = str(method).lower()
    known = {**_SIDES, **{strategy.value: strategy for strategy in Strategy}}
    if name not in known:
        raise ConfigurationError(f"There is no strategy {method!r}.", remedy=f"There are {', '.join(known)}.")
    return known[name]


def table_of(entity_type: str, sync: str | None = None) -> BoundTable:
    """The table whose records are of this type.

    Raises:
        ConfigurationError: none is, or several are.
    """
    from sync_pipelines.registry import tables

    known = tables(sync)
    found = [table for table in known if entity_type in _names(table)]
    if not found:
        there = ", ".join(sorted(table.component.table_name if sync else table.path for table in known))
        raise ConfigurationError(f"No table has the entity type {entity_type!r}.", remedy=f"There are: {there}.")
    if len(found) > 1:
        paths = ", ".join(table.path for table in found)
        raise ConfigurationError(f"Several tables have the entity type {entity_type!r}: {paths}.", remedy="Name one.")
    return found[0]


def _names(table: BoundTable) -> list[str]:
    component = table.component
    names = (table.path, component.table_name, component.target_name(), getattr(component, "events_of", None))
    return [name for name in names if name is not None]


def conflict_of(case: Case, strategy: Strategy, *, entity_type: str) -> EntityConflict:
    """A case as it is shown."""
    noted, dispute = case.noted, case.dispute
    shown = _shown(case)
    versions = (dispute.sides.source_version, dispute.sides.target_version) if dispute is not None else (None, None)
    if versions == (None, None):
        versions = case.binding.ledger.versions(*case.binding.place, case.key)
    decision = Decision(outcome=Outcome.SAME) if dispute is None else decide(strategy, dispute.sides)
    return EntityConflict(
        entity_type=entity_type,
        entity_id=case.key,
        strategy=strategy,
        reason=dispute.why if dispute is not None else noted.reason if noted else "",
        source_version=versions[0],
        target_version=versions[1],
        source_data=shown.source,
        target_data=shown.target,
        base_data=shown.base,
        clashes=decision.clashes,
        detected_at=noted.detected_at if noted else None,
        accepted_at=noted.accepted_at if noted else None,
    )


def _shown(case: Case) -> Sides:
    target = case.binding.target
    if isinstance(target, Disputing):
        return target.shown(case.row, [case.key])[case.key]
    from sync_pipelines.engine.model import SYSTEM_FIELDS

    own = {item.name for item in SYSTEM_FIELDS}

    def plain(batches: Any) -> dict[str, Any] | None:
        row = next((row for batch in batches for row in batch.to_pylist()), None)
        return row and {name: value for name, value in row.items() if name not in own}

    source = None if case.row is None else plain([case.row])
    return Sides(source=source, target=plain(target.values([case.key])), base=None)
