"""Whether a watermark may be continued, or the whole table must be read: pure decisions on facts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sync_pipelines.engine.model import SourceIdentity, Watermark
from sync_pipelines.engine.snapshots import Snapshot, parse_snapshot
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.postgres.catalog import Relation
from sync_pipelines.sources.postgres.definition import Definition
from sync_pipelines.sources.postgres.marks import is_known
from sync_pipelines.sources.postgres.state import CaptureState

ANY = frozenset({"missing", "stale", "extra"})
NONE: frozenset[str] = frozenset()

LOG_PURGED = "log purged: changes that this sync had not confirmed were deleted from the change log"
TRUNCATED = "the table was truncated, or a row was logged without its key (a key column that had another name)"
UNKNOWN_RUN = "the ledger and the source do not speak of the same run (a restored database?)"
UNISSUED = "the capture's transaction ids are those of another server (restored from a dump)"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the source is now, all from one snapshot.

    Args:
        kind: the capture in use.
        identity: server and table. definition: of the columns that are read. relations: the table's tree.
        snapshot: the current one. state: the captured table (`trigger` only).
    """

    kind: Literal["trigger", "cursor", "outbox"]
    identity: SourceIdentity
    definition: Definition
    relations: tuple[Relation, ...]
    snapshot: Snapshot
    state: CaptureState | None = None

    @property
    def tree(self) -> str:
        """Twelve hex digits that change when a partition or child table comes or goes."""
        oids = ",".join(str(oid) for oid in sorted(relation.oid for relation in self.relations))
        return hashlib.md5(oids.encode(), usedforsecurity=False).hexdigest()[:12]


def full_reason(spec: TableSpec, facts: Facts, since: Watermark | None) -> str | None:
    """Why everything must be read although nobody asked, or None where the watermark can be continued."""
    if since is None:
        return "first run"
    return next(_reasons(spec, facts, since), None)


def explains(spec: TableSpec, facts: Facts, since: Watermark, *, after: Watermark) -> frozenset[str]:
    """The kinds of differences that the reasons to read everything may be the cause of.

    Another source, key or capture, and a log that has lost lines, may be behind any difference; another mapping or
    column makes records stale, and none comes or goes for it. A reason that the next run does not end explains
    nothing: it would hide what differs for as long as it stands.

    Args:
        after: the watermark that a run of now would leave.
    """
    if next(_moves(spec, facts, since), None):
        return ANY
    lost = next(_position_reasons(facts, since), None)
    if lost is not None and full_reason(spec, facts, after) != lost:
        return ANY
    return frozenset({"stale"}) if next(_changes(spec, facts, since), None) else NONE


def continues(spec: TableSpec, facts: Facts, since: Watermark) -> bool:
    """Whether the log (the cursor) goes on from this watermark, so that it names changes by the keys of today."""
    readable = facts.kind != "trigger" or confirmed_snapshot(since) is not None
    return readable and next(_moves(spec, facts, since), None) is None


def _reasons(spec: TableSpec, facts: Facts, since: Watermark) -> Iterator[str]:
    yield from _moves(spec, facts, since)
    yield from _changes(spec, facts, since)
    yield from _position_reasons(facts, since)


def _position_reasons(facts: Facts, since: Watermark) -> Iterator[str]:
    if facts.kind == "trigger":
        yield from _log_reasons(facts, since)
    elif facts.kind == "outbox":
        yield from _order_reasons(facts, since)


def _moves(spec: TableSpec, facts: Facts, since: Watermark) -> Iterator[str]:
    if since.capture != facts.kind:
        yield f"capture changed from {since.capture} to {facts.kind}"
    yield from _other_source(facts.identity, since.source)
    if tuple(since.key) != spec.key:
        yield f"the key changed from ({', '.join(since.key)}) to ({', '.join(spec.key)})"


def _changes(spec: TableSpec, facts: Facts, since: Watermark) -> Iterator[str]:
    if since.mapping != spec.mapping_hash:
        yield "the columns or their mapping changed"
    redefined = facts.definition.differs(since.position)
    if redefined is not None:
        yield redefined


def _other_source(now: SourceIdentity, then: SourceIdentity) -> Iterator[str]:
    if now.system_identifier != then.system_identifier:
        yield "the database stands on another server (restored or replaced: the system identifier differs)"
    if now.timeline != then.timeline:
        yield f"the server failed over or was restored (timeline {then.timeline}, now {now.timeline})"
    if now.database != then.database:
        yield f"the database is another one ({then.database!r}, now {now.database!r})"
    if then.database_oid not in (None, now.database_oid):
        yield "the database is a copy that took the other one's name (its oid differs)"
    if now.table_oid != then.table_oid:
        yield "the table was made anew (dropped and created, or restored from a dump)"


def _order_reasons(facts: Facts, since: Watermark) -> Iterator[str]:
    """Why the database cannot be the one that goes on from the watermark's snapshot."""
    previous = confirmed_snapshot(since)
    if previous is None:
        yield "the watermark cannot be read"
    elif previous.xmax > facts.snapshot.xmax:
        yield "the watermark is ahead of the database (a restored copy, or a standby that lags)"


def _log_reasons(facts: Facts, since: Watermark) -> Iterator[str]:
    """Reasons that lie in the change log; the first of them ends the search, so later ones may rely on it."""
    yield from _order_reasons(facts, since)
    previous = confirmed_snapshot(since)
    if previous is None:
        return
    assert facts.state is not None
    yield from _capture_reasons(facts.state, previous)
    if not is_known(since.position, facts.state.runs):
        yield UNKNOWN_RUN
    # Before the tree: it lasts until somebody installs them, and the sensor compares it with the last run's.
    if facts.state.missing:
        names = ", ".join(relation.sql for relation in facts.state.lacking)
        yield f"{names} lacks capture triggers"
    if since.position.get("tree", facts.tree) != facts.tree:
        yield "partitions or child tables were attached, detached or dropped"
    if since.position.get("triggers", facts.state.mark) != facts.state.mark:
        yield "capture was disabled, dropped or replaced for a while"


def _capture_reasons(state: CaptureState, previous: Snapshot) -> Iterator[str]:
    if state.unissued:
        # They hide what this server notes there, so nothing can be concluded until they are gone.
        yield UNISSUED
    if not previous.sees(state.installed_tx):
        yield "capture was installed after the last run"
    # The newest purged transaction alone is known. Below xmin all was confirmed; above, one may be missing.
    if state.purged_tx is not None and state.purged_tx >= previous.xmin:
        yield LOG_PURGED
    if state.truncated_tx is not None and not previous.sees(state.truncated_tx):
        yield LOG_PURGED


def confirmed_snapshot(since: Watermark) -> Snapshot | None:
    """The snapshot of a trigger watermark, or None where it has none that can be read."""
    try:
        return parse_snapshot(str(since.position.get("snapshot", "")))
    except ValueError:
        return None
