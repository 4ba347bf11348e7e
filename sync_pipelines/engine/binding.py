"""What a run is given: the table, its source, its target and its ledger, and what it is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from sync_pipelines.engine.cost import Prices
from sync_pipelines.engine.events import RETRY_MAX, Outbox
from sync_pipelines.engine.ground import Noting
from sync_pipelines.engine.guard import Guard
from sync_pipelines.engine.keys import NamedKey
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import ChangeSet, FullRead, Listing, Pending, Rejection, Scope, Target, Watermark
from sync_pipelines.engine.spec import TableSpec

Mapper = Callable[[pa.RecordBatch], tuple[pa.RecordBatch, list[Rejection]]]


class ColumnShape(Protocol):
    """A column as the source's catalog has it; `pg_type` with its modifier."""

    @property
    def name(self) -> str: ...
    @property
    def pg_type(self) -> str: ...


class TableShape(Protocol):
    """A table as the source's catalog has it."""

    @property
    def columns(self) -> Sequence[ColumnShape]: ...


class Source(Noting, Protocol):
    """What a run asks of a source."""

    def changes(self, scope: Scope, *, since: Watermark | None) -> ChangeSet: ...
    def pending(self, since: Watermark | None) -> Pending: ...
    def mark(self, watermark: Watermark) -> Watermark: ...
    def confirmed(self, watermark: Watermark) -> bool: ...
    def resting(self) -> str | None: ...
    def capture_warnings(self) -> list[str]: ...
    def inspect(self) -> TableShape: ...
    def at_snapshot(self) -> AbstractContextManager[Listing]: ...
    def full_read(self, since: Watermark | None) -> FullRead | None: ...
    def pending_keys(self, since: Watermark | None) -> Iterator[list[str]]: ...
    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]: ...
    def named(self, keys: Sequence[str]) -> Mapping[str, NamedKey]: ...


class RebuildableTarget(Target, Protocol):
    """A target that can be built anew beside the old one."""

    def begin_rebuild(self) -> Target: ...
    def swap(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A table with everything that a run of it needs.

    Args:
        spec: the table; source, target, ledger: its systems, which connect when they are first used.
        mapper: source batch → (batch for the target, rows that could not be mapped).
        guard: the mass-delete guard without any allowance.
        lock_url: the ledger's database, where locks are held; lock_name: the target's name in all the world.
        lock_timeout: seconds to wait for another writer.
        batch_size: records a batch: the unit of writing, of progress and of the look at the lock.
        prices: asked when a run begins.
        spool: where rows are put aside; the system's temporary folder if None.
        retry_max: how often the target may refuse an event before it is given up.
    """

    spec: TableSpec
    source: Source
    target: RebuildableTarget
    ledger: Ledger
    mapper: Mapper
    guard: Guard
    lock_url: str
    lock_name: str
    lock_timeout: float = 900.0
    batch_size: int = 100
    prices: Callable[[Ledger], Prices] = lambda _: Prices()
    spool: Path | None = None
    retry_max: int = RETRY_MAX

    @property
    def outbox(self) -> Outbox | None:
        """The events that say what changed; None where the source's capture does."""
        return getattr(self.source, "outbox", None)

    @property
    def place(self) -> tuple[str, str]:
        """Sync and table, as the ledger names them."""
        return self.spec.sync, self.spec.name

    def close(self) -> None:
        """Give the ledger's connections back; it connects again where it is used again."""
        self.ledger.dispose()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one run was asked to do."""

    mode: str
    scope: Scope
    trigger: str
    run_id: str
    allow_mass_delete: bool = False
