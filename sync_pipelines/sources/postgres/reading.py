"""One snapshot of a source: what the table is, how it is captured, what waits in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from sync_pipelines.engine.capture import unread
from sync_pipelines.engine.errors import CaptureMissingError, RunError
from sync_pipelines.engine.model import Doubt, FullRead, Pending, Watermark
from sync_pipelines.engine.snapshots import Snapshot, parse_snapshot
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.sql import literal, qualified
from sync_pipelines.sources.postgres import cursor as cursor
from sync_pipelines.sources.postgres.catalog import Place, TableInfo, identity, inspect
from sync_pipelines.sources.postgres.connection import Session
from sync_pipelines.sources.postgres.continuity import (
    ANY,
    NONE,
    TRUNCATED,
    Facts,
    confirmed_snapshot,
    continues,
    explains,
    full_reason,
)
from sync_pipelines.sources.postgres.definition import definition
from sync_pipelines.sources.postgres.events import backlog, gated_since
from sync_pipelines.sources.postgres.marks import TABLE as MARKS
from sync_pipelines.sources.postgres.marks import carried
from sync_pipelines.sources.postgres.outbox import TABLE as OUTBOX
from sync_pipelines.sources.postgres.outbox import is_there as outbox_is_there
from sync_pipelines.sources.postgres.outbox import may_consume
from sync_pipelines.sources.postgres.readers import Reader, lagging
from sync_pipelines.sources.postgres.sql import TableSql
from sync_pipelines.sources.postgres.state import (
    Access,
    CaptureState,
    access,
    capture_state,
    receives_replication,
)

Kind = Literal["trigger", "cursor", "outbox"]

_LONG_GATED = 60.0

REPLICATION = "logical replication writes to this table, which fires no statement triggers"


@dataclass(frozen=True)
class Reading:
    """A reading transaction on one table. Everything is asked of its one snapshot, and only once.

    Args:
        session: the open transaction. spec, place: the table. sync_schema: where the change log stands.
        bound: looked up before the transaction, where the table may be read by cursor.
    """

    session: Session
    spec: TableSpec
    place: Place
    sync_schema: str
    bound: cursor.Bound | None = None

    @cached_property
    def info(self) -> TableInfo:
        return inspect(self.session, self.spec, self.place)

    @cached_property
    def sql(self) -> TableSql:
        return TableSql(self.info, self.spec)

    @cached_property
    def _moment(self) -> dict[str, Any]:
        return self.session.all(
            "SELECT pg_catalog.pg_current_snapshot()::text AS snapshot, pg_catalog.pg_is_in_recovery() AS standby, "
            "pg_catalog.clock_timestamp() AS now, "
            "pg_catalog.current_setting('server_encoding') = 'UTF8' AS utf8"
        )[0]

    @property
    def now(self) -> datetime:
        """The server's clock, UTC."""
        return self._moment["now"]

    @property
    def utf8(self) -> bool:
        """Whether the database's encoding is UTF-8."""
        return self._moment["utf8"]

    @cached_property
    def snapshot(self) -> Snapshot:
        found = parse_snapshot(self._moment["snapshot"])
        return found.on_standby() if self._moment["standby"] else found

    @cached_property
    def access(self) -> Access:
        return access(self.session, self.sync_schema)

    @cached_property
    def state(self) -> CaptureState | None:
        """How the table is captured; None where it is not, or where this role cannot see it."""
        return capture_state(self.session, self.info, self.sync_schema) if self.access == "ready" else None

    @cached_property
    def not_captured(self) -> RunError | None:
        """Why the triggers cannot be relied on, as the error that `capture: trigger` raises; None if they can."""
        if self.access == "forbidden":
            return self._error(
                RunError,
                f"this role may not read schema {self.sync_schema!r}.",
                f"GRANT USAGE ON SCHEMA {self.sync_schema} and SELECT ON its change_log and captured_tables TO it.",
            )
        if self.state is None or self.state.lacks(self.info.oid):
            return self._error(
                CaptureMissingError, f"the triggers of {self.info.sql} are not (all) installed.", self.remedy
            )
        if self.state.replaced:
            return self._error(
                CaptureMissingError,
                f"the trigger function of {self.info.sql} is not the one that this version installs.",
                self.remedy,
            )
        if receives_replication(self.session, self.info):
            return self._error(RunError, f"{REPLICATION}.", "Set source.capture to cursor.")
        return None

    def _error(self, kind: type[RunError], message: str, remedy: str) -> RunError:
        return kind(message, sync=self.spec.sync, table=self.spec.name, remedy=remedy)

    @property
    def remedy(self) -> str:
        """The sentence that says how to install the triggers."""
        upgrade = "`sync-pipelines db upgrade`, then " if self.access == "absent" else ""
        return f"Run {upgrade}`sync-pipelines capture install {self.spec.path}`."

    @cached_property
    def kind(self) -> Kind:
        """The capture in use.

        Raises:
            CaptureMissingError, RunError: `capture: trigger` (or `auto` without `changed_at`) and no triggers.
        """
        if self.spec.capture == "cursor":
            return "cursor"
        if self.spec.capture == "outbox":
            return self._outbox
        if self.not_captured is None:
            return "trigger"
        if self.spec.capture == "auto" and self.spec.changed_at:
            return "cursor"
        raise self.not_captured

    @property
    def _outbox(self) -> Literal["outbox"]:
        """`outbox`, if this database has one of this version that this role may read.

        Raises:
            CaptureMissingError, RunError: it has none, or the role may not.
        """
        log = qualified(self.sync_schema, OUTBOX)
        if not outbox_is_there(self.session, self.sync_schema):
            raise self._error(
                CaptureMissingError, f"there is no outbox {log} of this version.", "Run `sync-pipelines db upgrade`."
            )
        if self.access == "forbidden" or not may_consume(self.session, self.sync_schema):
            raise self._error(
                RunError,
                f"this role may not read and update {log}.",
                f"GRANT USAGE ON SCHEMA {self.sync_schema} and SELECT, UPDATE ON {log} TO it.",
            )
        return "outbox"

    @cached_property
    def facts(self) -> Facts:
        return Facts(
            kind=self.kind,
            identity=identity(self.session, self.place),
            definition=definition(self.session, self.info, self.spec),
            relations=self.info.relations,
            snapshot=self.snapshot,
            state=self.state if self.kind == "trigger" else None,
        )

    def full_reason(self, since: Watermark | None) -> str | None:
        """Why a run must read everything although nobody asked; a logged TRUNCATE is not looked for here."""
        reason = full_reason(self.spec, self.facts, since)
        if reason is None and self.kind == "cursor":
            assert since is not None
            reason = cursor.cursor_reason(since, self._bound, self.spec.lookback_seconds)
        return reason

    def doubt(self, since: Watermark | None) -> Doubt | None:
        """What a run that reads everything may believe of fingerprints that are equal."""
        renamed = since is not None and self.facts.definition.renames(since.position)
        return "values" if renamed else None

    def full_read(self, since: Watermark | None) -> FullRead | None:
        """What waits for the full read that the next run will make; None where it will make none, or is the first.

        A logged TRUNCATE takes records away: it explains what is extra. What came after it is in the log by key.
        """
        if since is None:
            return None
        reason = self.full_reason(since)
        explained = self._explained(since) if reason else NONE
        if self.kind == "trigger" and self.continues(since) and self._truncated(since):
            reason, explained = reason or TRUNCATED, explained | {"extra"}
        return FullRead(reason=reason, explains=explained) if reason else None

    def _explained(self, since: Watermark) -> frozenset[str]:
        if self.kind == "cursor" and self._cursor_is_lost(since):
            return ANY
        return explains(self.spec, self.facts, since, after=self.watermark())

    def _cursor_is_lost(self, since: Watermark) -> bool:
        return cursor.cursor_reason(since, self._bound, self.spec.lookback_seconds) is not None

    def continues(self, since: Watermark) -> bool:
        """Whether what is touched after this watermark can be told by key, although everything may be read."""
        lost = self.kind == "cursor" and self._cursor_is_lost(since)
        return not lost and continues(self.spec, self.facts, since)

    def _truncated(self, since: Watermark) -> bool:
        query = f"SELECT EXISTS (SELECT {self.log(since)} AND l.key IS NULL) AS found"
        return bool(self.session.all(query)[0]["found"])

    def _lasts(self, reason: str) -> bool:
        """Whether even a run of now would leave this reason to read everything."""
        return self.kind == "trigger" and full_reason(self.spec, self.facts, self.watermark()) == reason

    @property
    def _bound(self) -> cursor.Bound:
        assert self.bound is not None, "the bound of a cursor is looked up before the snapshot"
        return self.bound

    def watermark(self, since: Watermark | None = None) -> Watermark:
        """The watermark that this snapshot leads to, with what it takes over from the last one."""
        return Watermark(
            capture=self.kind,
            position={**self._position(), **self._carried(since), **self.facts.definition.as_mapping()},
            source=self.facts.identity,
            key=self.spec.key,
            mapping=self.spec.mapping_hash,
            taken_at=self.now,
        )

    def _position(self) -> dict[str, Any]:
        if self.kind == "cursor":
            return cursor.newest(self.session, self.sql, self._bound).as_mapping()
        if self.kind == "outbox":
            return {"snapshot": str(self.snapshot)}
        assert self.state is not None
        return {
            "snapshot": str(self.snapshot),
            "tree": self.facts.tree,
            "number": self.state.number,
            "triggers": self.state.mark,
        }

    def _carried(self, since: Watermark | None) -> dict[str, str]:
        return carried(since.position, self.state.runs) if since and self.kind == "trigger" and self.state else {}

    def log(self, since: Watermark) -> str:
        """FROM and WHERE of the log's lines, alias `l`, that are not read yet."""
        assert self.state is not None
        previous = confirmed_snapshot(since)
        assert previous is not None
        return (
            f"FROM {qualified(self.sync_schema, 'change_log')} AS l "
            f"WHERE l.table_id = {self.state.number} AND {unread(str(previous))}"
        )

    def count_touched(self, since: Watermark) -> tuple[int, bool]:
        """Number of distinct keys in the unread log, and whether a TRUNCATE is among them."""
        row = self.session.all(
            "SELECT count(DISTINCT l.key) AS keys, coalesce(bool_or(l.key IS NULL), false) AS truncated "
            f"{self.log(since)}"
        )[0]
        return row["keys"], row["truncated"]

    def touched(self, since: Watermark, number: int) -> str:
        """Query of the unread keys. The limit is their exact number: it tells the planner what to expect."""
        return f"SELECT DISTINCT l.key {self.log(since)} AND l.key IS NOT NULL LIMIT {number}"

    def news(self, since: Watermark) -> str:
        """Condition of cursor capture: rows that ask for a run."""
        position = cursor.position_of(since)
        assert position is not None
        return cursor.is_news(self.sql, position, self._bound)

    def reread(self, since: Watermark) -> str:
        """Condition of cursor capture: rows that the next run reads."""
        position = cursor.position_of(since)
        assert position is not None
        return cursor.to_read(self.sql, position, self.spec.lookback_seconds)

    def pending(self, since: Watermark | None, limit: int) -> Pending:
        """What waits; by trigger, the exact predicate of the next read."""
        reason = self.full_reason(since)
        if reason is not None:
            return Pending(full_reason=reason, lasting=self._lasts(reason))
        assert since is not None  # else it would be a first run
        if self.kind == "cursor":
            row = self.session.all(cursor.pending_sql(self.sql, self.news(since), limit))[0]
            return Pending(changes=row["changes"], oldest=row["oldest"])
        if self.kind == "outbox":
            waits = backlog(self.session, self.sync_schema, self.spec.entity_type, most=limit)
            return Pending(changes=waits.due, oldest=waits.oldest)
        row = self.session.all(
            "SELECT count(DISTINCT u.key) AS keys, min(u.changed_at) AS oldest, "
            "coalesce(bool_or(u.key IS NULL), false) AS truncated "
            f"FROM (SELECT l.key, l.changed_at {self.log(since)} LIMIT {limit}) AS u"
        )[0]
        return Pending(changes=row["keys"], oldest=row["oldest"], full_reason=TRUNCATED if row["truncated"] else None)

    def warnings(self) -> list[str]:
        """What an operator should know of this table's capture."""
        found = []
        if self.spec.capture == "auto" and self.kind == "cursor" and self.not_captured is not None:
            found.append(f"read by cursor: {self.not_captured.message} {self.not_captured.remedy}")
        if self.kind == "trigger":
            assert self.state is not None
            if self.state.unissued:
                found.append(self._unissued)
            if self.state.may_mark is False:
                found.append(self._unmarked)
            names = ", ".join(relation.sql for relation in self.state.lacking)
            if names:
                found.append(f"{names} lacks capture triggers, so every run reads the whole table. {self.remedy}")
            found.extend(
                self._held_back(reader) for reader in lagging(self.session, self.sync_schema, self.state.number)
            )
        elif self.kind == "outbox":
            found.extend(self._gated())
        else:
            found.extend(f"change times are trusted only after the lookback: {why}" for why in self._bound.caveats)
            if not self._bound.stats and not self._bound.caveats:
                found.append("this role does not see other roles' transactions: GRANT pg_read_all_stats TO it")
        return found

    def _gated(self) -> list[str]:
        """Events that have stood behind the gate for long."""
        since = gated_since(self.session, self.sync_schema, self.spec.entity_type)
        if since is None or (self.now - since).total_seconds() < _LONG_GATED:
            return []
        return [
            f"events that were published since {since:%Y-%m-%d %H:%M:%S} UTC wait for a transaction that is open on "
            "this server: look into pg_stat_activity (backend_xid, xact_start) and pg_prepared_xacts, and end it"
        ]

    @property
    def _unissued(self) -> str:
        captured = qualified(self.sync_schema, "captured_tables")
        return (
            f"{captured} holds transaction ids of another server (restored from a dump), and every run reads the whole "
            f"table until a run whose role may UPDATE {captured} has ended. {self.remedy}"
        )

    @property
    def _unmarked(self) -> str:
        marks = qualified(self.sync_schema, MARKS)
        return (
            "this role leaves no mark in the source, so a restored copy of its data files may pass unnoticed: run "
            f"`sync-pipelines db upgrade` (`--sql` prints it for a DBA), and GRANT SELECT, INSERT, UPDATE ON {marks}"
        )

    def _held_back(self, reader: Reader) -> str:
        days = round((reader.age_seconds or 0) / 86_400)
        readers = qualified(self.sync_schema, "capture_readers")
        return (
            f"the change log cannot be purged: {reader.reader} has not read what was logged {days} days ago. Run this "
            f"sync, or take it off with `sync-pipelines capture remove {reader.reader}` (a sync that is gone: "
            f"DELETE FROM {readers} WHERE reader = {literal(reader.reader)})."
        )
