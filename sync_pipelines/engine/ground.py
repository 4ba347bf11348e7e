"""What a run stands on: whether source and target are still the ones that its watermark speaks of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import Scope, Target, Watermark
from sync_pipelines.engine.spec import TableSpec

RESTORED = "the ledger and the target do not speak of the same run (a restored database?)"
UNNOTED = "the source does not know the last run that wrote to the target (a restored database?)"
PUT_BACK = "the source no longer holds what the last run that wrote to the target had read (a copy that was put back?)"


class Noting(Protocol):
    """A source that remembers which run was about to write, or says in the target's mark what that run has read."""

    def note(self, since: Watermark, run: str, *, before: str | None) -> bool:
        """Leave the id of a run before it writes, beside that of the run that the target bears; whether it stands."""
        ...

    def knows(self, since: Watermark, run: str) -> bool:
        """Whether a run that was noted is known; True where the watermark's source can note nothing."""
        ...

    def last_read(self) -> str | None:
        """What names the state that was read last; None where the source notes runs, or has not been read."""
        ...

    def went_through(self, read: str) -> bool:
        """Whether the source has had that state, and goes on from it."""
        ...


@runtime_checkable
class Lacking(Protocol):
    """A target of which somebody can take a part of every record, which `prepare` makes anew, empty."""

    @property
    def was_lacking(self) -> str | None:
        """What `prepare` has found missing, as a reason to read everything; None where it was nothing."""
        ...


class Forgetful:
    """A source that remembers no run of ours: of an API, or a file, nothing else can be asked."""

    def mark(self, watermark: Watermark) -> Watermark:
        return watermark

    def confirmed(self, watermark: Watermark) -> bool:
        return True

    def note(self, since: Watermark, run: str, *, before: str | None) -> bool:
        return False

    def knows(self, since: Watermark, run: str) -> bool:
        return True

    def last_read(self) -> str | None:
        return None

    def went_through(self, read: str) -> bool:
        return True


class Grounded(Protocol):
    """What is asked of a binding."""

    @property
    def spec(self) -> TableSpec: ...
    @property
    def source(self) -> Noting: ...
    @property
    def target(self) -> Target: ...
    @property
    def ledger(self) -> Ledger: ...


@dataclass(frozen=True)
class Bearing:
    """The run whose mark the target bears.

    Args:
        noted: that run's id was left in the source before. read: what it had read there by then, if it says so.
    """

    run: str
    noted: bool
    read: str | None


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a run is about to build on.

    Args:
        since: the last confirmed watermark. begun: ids of the table's runs in the ledger, the newest first.
    """

    since: Watermark
    target: Target
    source: Noting
    begun: Callable[[], Iterable[str]] = field(repr=False)

    def reason(self) -> str | None:
        """Why the target's mark is not the one that it must be; None where it is."""
        return self._look()[0]

    def bears(self) -> str | None:
        """The id of the run whose mark the target bears, where that is not the confirmed one's."""
        bearing = self._look()[1]
        return None if bearing is None else bearing.run

    def _look(self) -> tuple[str | None, Bearing | None]:
        """That reason, and the run whose mark the target bears where it is not the confirmed one's."""
        mark = self.target.stamp()
        if mark == self.since.stamp:
            return None, None
        bearing = self._bearing(mark)
        if bearing is None:
            return RESTORED, None
        return self._lost(bearing), bearing

    def _lost(self, bearing: Bearing) -> str | None:
        """Why the source is not the one any more of which a run wrote into the target."""
        if bearing.noted and not self.source.knows(self.since, bearing.run):
            return UNNOTED
        return None if bearing.read is None or self.source.went_through(bearing.read) else PUT_BACK

    def _bearing(self, mark: str | None) -> Bearing | None:
        """The run begun after the confirmed one whose mark this is.

        A run marks the target before it writes: one that died, was stopped, or moves no watermark (single records, a
        repair) is still in the ledger, unless that was restored. The confirmed run's own mark from before it was
        confirmed speaks of a target that was restored from the middle of it.
        """
        found = None
        for run in self.begun() if mark is not None else ():
            read = _read(mark, run)
            unnoted = self.target.stamp_of(under_way(run))
            marks = (self.target.stamp_of(run), self.target.stamp_of(under_way(run, noted=True)), unnoted)
            if self.since.stamp in marks or _read(self.since.stamp, run) is not None:
                return found
            if found is None and (mark in marks or read is not None):
                found = Bearing(run, noted=read is None and mark != unnoted, read=read)
        # the ledger does not know the run that it calls confirmed: only one of an older version has no mark
        return found if self.since.stamp is None else None

    def begin(self, run: str, *, emptied: bool) -> None:
        """Leave a run's id in source and target, before it writes anything there, or in the target what it has read.

        A ledger that was restored does not know it, however the run ends, and whatever kind of run it is; nor does a
        source whose files are older. A mark that is not ours stays until a run has compared everything and is
        confirmed: it is the evidence.
        """
        reason, bearing = self._look()
        if reason is not None:
            return
        # the source first: a run that dies between the two has written nothing
        noted = self.source.note(self.since, run, before=bearing.run if bearing else None)
        self.target.set_stamp(EMPTIED if emptied else under_way(run, noted=noted, read=self.source.last_read()))


def ground_of(table: Grounded, since: Watermark | None) -> Ground | None:
    """What a run of a table after this watermark builds on; None before the first confirmed run."""
    if since is None:
        return None
    begun = lambda: table.ledger.sync_ids(table.spec.sync, table.spec.name)  # noqa: E731
    return Ground(since=since, target=table.target, source=table.source, begun=begun)


def due_scope(scope: Scope, ground: Ground | None, *, held: int) -> Scope:
    """What a run must read: everything, where source and target are not as the last runs have left them.

    A restored database takes its ledger back with it, by default, so that the watermark fits the source and the
    target alone is ahead of both; a restored target is behind both; and a source that is restored alone lacks what
    the target was given. The marks tell.

    Args:
        ground: None before the first confirmed run. held: records in the target now.
    """
    if scope.full or scope.keys is not None or ground is None:
        return scope
    reason = next(_reasons(ground, held), None)
    return scope if reason is None else Scope(full=True, reason=reason)


def _reasons(ground: Ground, held: int) -> Iterator[str]:
    if ground.since.target is not None and ground.since.target != ground.target.identity():
        yield "the target was dropped and made anew"
    if not held:
        yield "the target is empty"
    if isinstance(ground.target, Lacking) and ground.target.was_lacking is not None:
        yield ground.target.was_lacking
    if (reason := ground.reason()) is not None:
        yield reason


def under_way(run: str, *, noted: bool = False, read: str | None = None) -> str:
    """The mark of a run that has not confirmed what it writes.

    Args:
        noted: the source knows of it. read: what it has read there. A target that keeps marks as numbers does not
            give it back: its mark is then nobody's, and everything is compared.
    """
    if read is not None:
        return f"{run}{_HAS_READ}{read}"
    return f"{run} under way, noted" if noted else f"{run} under way"


def through(run: str, *, read: str | None) -> str:
    """The mark of a run that has written all, and is about to confirm it; see `under_way`."""
    return run if read is None else f"{run}{_READ_ALL}{read}"


_HAS_READ, _READ_ALL = " under way, has read ", ", has read "


def _read(mark: str | None, run: str) -> str | None:
    """What a run's mark says that it has read."""
    for words in (_HAS_READ, _READ_ALL):
        if mark is not None and mark.startswith(run + words):
            return mark.removeprefix(run + words)
    return None


EMPTIED = "emptied"
"""The mark, no run's, of a target that was found empty and is being filled again: until that is confirmed, each run
reads everything."""
