"""Where a target may be edited too: three states of a record, the source's, the target's, and the last synced base.

Pure decisions; who reads and writes the three is the target's business (`targets.postgres`), what was decided against
the source stands in the ledger (`sync_conflicts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import pyarrow as pa

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.model import Child, Parent

KEPT = "kept"
"""The class of records in a comparison that stay in the target as they are, on purpose; a proof calls them excluded."""


class Strategy(Enum):
    """Who wins where both sides have changed a record since it was last synced."""

    SOURCE_WINS = "source_wins"
    TARGET_WINS = "target_wins"
    LAST_WRITE_WINS = "last_write_wins"
    MANUAL_REVIEW = "manual_review"
    MERGE = "merge"


ResolutionStrategy = Strategy
"""As applications call it."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a table's document says of conflicts; `by` is the column that LAST_WRITE_WINS compares."""

    strategy: Strategy = Strategy.SOURCE_WINS
    by: str | None = None

    def __post_init__(self) -> None:
        if self.strategy in (Strategy.MANUAL_REVIEW, Strategy.MERGE):
            raise ConfigurationError(f"conflicts: {self.strategy.value} is none of this kind's strategies.")
        if (self.strategy is Strategy.LAST_WRITE_WINS) != (self.by is not None):
            raise ConfigurationError("conflicts: `by` names the column of last_write_wins, which needs one.")

    @property
    def looks_at_edits(self) -> bool:
        """Whether an edit of the target can count at all."""
        return self.strategy is not Strategy.SOURCE_WINS


class Base(NamedTuple):
    """What a sync has last written of a record.

    `previous` is what it had written before: a base is noted before the target commits, and a crash in between leaves
    the target with the one before. `comparable` is False where it was taken of other columns or types than there are
    now: then it says that the sync wrote the record, and no more.
    """

    fingerprint: str
    previous: str | None = None
    comparable: bool = True


def edited(held: str | None, base: Base | None) -> bool:
    """Whether the target's record is not what the sync has written.

    Args:
        held: the fingerprint in the target now; None where its values cannot even be read as the sync reads them.
        base: None where the sync never wrote it.
    """
    if base is None or not base.comparable:
        return base is None
    return held is None or held not in (base.fingerprint, base.previous)


def may_win(policy: Policy, held: str | None, base: Base | None) -> bool:
    """Whether the target's record may be kept; where the base says nothing, the times of LAST_WRITE_WINS still do."""
    unknown = base is not None and not base.comparable
    return edited(held, base) or (unknown and policy.strategy is Strategy.LAST_WRITE_WINS)


def winner(policy: Policy, source: Mapping[str, Any], target: Mapping[str, Any]) -> Literal["source", "target"]:
    """Whose version of a record stays that was edited in the target.

    LAST_WRITE_WINS: the newer one; the source's where both are of one time. A row without a time is older than any.
    """
    if policy.strategy is Strategy.SOURCE_WINS:
        return "source"
    if policy.strategy is Strategy.TARGET_WINS:
        return "target"
    assert policy.by is not None
    here, there = source.get(policy.by), target.get(policy.by)
    if there is None:
        return "source"
    return "target" if here is None or there > here else "source"


@runtime_checkable
class Parented(Protocol):
    """A target whose records may have to wait for others: it knows whether those have come, or gone."""

    def any_there(self, parents: Sequence[Parent]) -> bool:
        """Whether a record that waits for one of these rows of other tables could be written now."""
        ...

    def any_free(self, held: Mapping[str, Child]) -> bool:
        """Whether one of these records is no longer held by what it was, so that it could be deleted now."""
        ...


@runtime_checkable
class Awaited(Protocol):
    """A target whose records others may wait for."""

    def as_parents(self, keys: Sequence[str]) -> Sequence[Parent]:
        """These records, as others call them that wait for one; none where nothing can wait for them."""
        ...


@runtime_checkable
class Awaiting(Protocol):
    """A target whose records wait for others, one by one."""

    def there(self, parents: Sequence[Parent]) -> Sequence[Parent]:
        """Those of these that need not be waited for: they are there, or nothing is tied to such a record any more."""
        ...


@runtime_checkable
class Judging(Protocol):
    """A target that others may edit: it knows what a run would leave as it is there."""

    def excused(self, rows: pa.RecordBatch) -> Mapping[str, str]:
        """Those of these mapped source rows that a run would not write, with why."""
        ...

    def keeps(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Those of these records, which the source lacks, that a run would not delete, with why."""
        ...

    def bases(self, keys: Sequence[str]) -> Mapping[str, Base]:
        """What the sync has last written of these records, where somebody's edit can count."""
        ...

    def give_way(self, keys: Sequence[str]) -> None:
        """Take what these records hold now for what the sync has written, so that the source's next version wins."""
        ...


def kept_by(target: object, keys: Sequence[str]) -> Mapping[str, str]:
    """Those of these records that a target keeps although the source lacks them, with why."""
    return target.keeps(keys) if isinstance(target, Judging) and keys else {}


def without(keys: Sequence[str], kept: Mapping[str, str]) -> list[str]:
    """Those of these keys that are not kept."""
    return [key for key in keys if key not in kept]
