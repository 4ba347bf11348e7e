"""What a run holds, locks and spool and open books, and how it gives all of it back wherever it is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

from sync_pipelines.engine.cost import Prices
from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.locks import RunLock, TargetLock
from sync_pipelines.engine.model import ChangeSet, Counts
from sync_pipelines.engine.usage import Meter, Usage

if TYPE_CHECKING:
    from sync_pipelines.engine.ledger.ledger import RunRecord
    from sync_pipelines.engine.run import Binding, Request


@runtime_checkable
class Fenced(Protocol):
    """A target whose transactions can be undone until the last moment."""

    def fence(self, check: Callable[[], object]) -> None:
        """Call this at the end of each transaction that writes; what it raises undoes that."""
        ...


@dataclass(kw_only=True)
class Held:
    """The holdings of a run, a context manager.

    Made, it holds nothing yet; so whoever keeps it from then on can close it wherever an interrupt found it:
    also between two lines of `begin`, and between the asset's return and the IO manager's first line.

    Args:
        record: the run's row in the ledger, there after `begin`.
        counts, reason, usage, cost: what the row is closed with.
        facts: what a target that read the table by itself tells of it.
        changes: what the run has read and spooled, if it came so far.
        _books: `open` from just before the row is written until it is closed.
    """

    binding: Binding
    request: Request
    record: RunRecord = field(init=False)
    counts: Counts = field(default_factory=Counts)
    reason: str = ""
    meter: Meter = field(init=False)
    prices: Prices = field(default_factory=Prices)
    usage: Usage | None = None
    cost: Decimal | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    changes: ChangeSet | None = field(init=False, default=None)
    _books: Literal["none", "open", "closed"] = field(init=False, default="none")

    def __post_init__(self) -> None:
        url, run_id = self.binding.lock_url, self.request.run_id
        self.lock = TargetLock(url, self.binding.lock_name, run_id=run_id)
        self.sign_of_life = RunLock(url, run_id)

    @property
    def place(self) -> tuple[str, str]:
        return self.binding.place

    def begin(self) -> None:
        """Take the locks and open the books; see `run.begin`, which closes again what this leaves half-done."""
        self.binding.ledger.check()
        self.sign_of_life.acquire()
        self.lock.acquire(timeout_s=self.binding.lock_timeout)
        # a batch may take as long as a lock needs to get lost: it is looked at once more just before the commit
        self._fence(self.lock.check)
        self.meter = Meter(self.binding.target)  # now: who waits for a lock uses nothing
        self._books = "open"  # before they are: an interrupt can hide that the row was written
        self.record = self.binding.ledger.begin(
            *self.place, mode=self.request.mode, trigger=self.request.trigger, run_id=self.request.run_id
        )
        self.prices = self.binding.prices(self.binding.ledger)  # a wrong one ends the run before anything is read

    def close(self, error: BaseException | None = None) -> None:
        """Close the books, delete the spool, free the locks. What is done is left out, so it may come twice.

        Args:
            error: what ended the run, which goes on to the caller; by an interrupt it is cancelled.
        """
        with ExitStack() as stack:
            stack.callback(self.binding.close)
            stack.callback(self.sign_of_life.release)
            stack.callback(self.lock.release)
            stack.callback(self._fence, lambda: None)
            if self.changes is not None:
                stack.callback(self.changes.close)
            self.fail(error)

    def _fence(self, check: Callable[[], object]) -> None:
        if isinstance(self.binding.target, Fenced):
            self.binding.target.fence(check)

    def fail(self, error: BaseException | None) -> None:
        """Close the books of a run that did not complete; nothing where they are closed."""
        if self._books != "open":
            return
        cancelled = error is not None and not isinstance(error, Exception)
        try:
            self._finish("cancelled" if cancelled else "failed", _words(error))
        except Exception:
            self._books = "closed"  # the next run closes them; to wait for the database once is enough
            raise
        self._books = "closed"

    def _finish(self, status: Literal["cancelled", "failed"], words: str) -> None:
        record = self._own_record()
        if record is not None:
            self.end(record, status=status, error=words, reason=self.reason)

    def end(self, record: RunRecord, **how: Any) -> None:
        """Close the books with what the run did, used and cost; `how` is given to `Ledger.finish`."""
        usage = self.usage = self.meter.read(completed=how["status"] == "completed")
        self.cost = self.prices.cost(usage, self.counts)
        self.binding.ledger.finish(record, counts=self.counts, usage=usage, cost=self.cost, **how)

    def _own_record(self) -> RunRecord | None:
        if hasattr(self, "record"):
            return self.record
        opened = self.binding.ledger.open_runs(*self.place)
        return next((record for record in opened if record.run_id == self.request.run_id), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)


def _words(error: BaseException | None) -> str:
    if error is None:
        return "It ended before its changes were written."
    if not isinstance(error, Exception):
        return "The run was interrupted."
    return str(error) if isinstance(error, SyncError) else f"{type(error).__name__}: {error}"
