"""What stands in the sync schema about one captured table, and whether its triggers are whole."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sync_pipelines.engine.capture import (
    EVENTS,
    NEXT_TX,
    TRIGGER_TYPES,
    CapturedTable,
    function_name,
    number_of,
    trigger_name,
)
from sync_pipelines.engine.sql import literal, qualified
from sync_pipelines.sources.postgres.catalog import Relation, TableInfo
from sync_pipelines.sources.postgres.connection import Session
from sync_pipelines.sources.postgres.marks import TABLE as MARKS
from sync_pipelines.sources.postgres.marks import marks, may_write

Access = Literal["absent", "forbidden", "ready"]

TABLES = ("captured_tables", "change_log", "capture_readers")


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One of our triggers.

    Args:
        oid, name: its relation and its name. number: the captured table's, by the function that it calls.
        always: False where somebody disabled it, if only for a time.
        type: pg_trigger.tgtype. plain: it has no condition.
        mark: changes when it is dropped and made again, disabled or enabled.
    """

    oid: int
    name: str
    number: int
    always: bool
    type: int
    plain: bool
    mark: str

    def logs(self, event: str) -> bool:
        """Whether every statement of this kind fires it, while it is enabled."""
        return self.plain and self.type == TRIGGER_TYPES[event]


@dataclass(frozen=True, kw_only=True)
class Function:
    """A captured table's trigger function; `mark` changes whenever it is replaced or altered."""

    source: str
    definer: bool
    settings: frozenset[str]
    mark: str

    def logs(self, captured: CapturedTable) -> bool:
        """Whether it is what `capture install` makes, not what somebody put in its place."""
        return self.definer and (self.source, self.settings) == (captured.body(), captured.settings())


@dataclass(frozen=True, kw_only=True)
class CaptureState:
    """A captured table.

    Args:
        number: captured_tables.id.
        installed_tx, purged_tx, truncated_tx: see the comments in the database.
        unissued: one of them has not been issued by this server; a dump brought it from another one.
        missing: the relations that lack a trigger that always fires, and the events that they lack.
        disabled: oid and event of triggers that are there, but do not always fire.
        malformed: oid and event of triggers that bear the name, but fire on something else.
        foreign: oids of relations outside of the table's tree that still have its triggers.
        replaced: the trigger function is not what `capture install` makes.
        mark: twelve hex digits that change when a trigger or the function was touched, if only for a time.
        runs: line and mark of the confirmed runs that the source knows (see `marks`).
        may_mark: whether this role may leave marks; None on a standby, where nobody may.
    """

    number: int
    installed_tx: int
    purged_tx: int | None = None
    truncated_tx: int | None = None
    unissued: bool = False
    missing: tuple[tuple[Relation, tuple[str, ...]], ...] = ()
    disabled: frozenset[tuple[int, str]] = frozenset()
    malformed: frozenset[tuple[int, str]] = frozenset()
    foreign: tuple[int, ...] = ()
    replaced: bool = False
    mark: str = ""
    runs: frozenset[tuple[str, str]] = frozenset()
    may_mark: bool | None = True

    def lacks(self, oid: int) -> bool:
        """Whether this relation lacks a trigger."""
        return any(relation.oid == oid for relation, _ in self.missing)

    @property
    def lacking(self) -> tuple[Relation, ...]:
        return tuple(relation for relation, _ in self.missing)


def access(session: Session, schema: str) -> Access:
    """Whether the capture branch's tables are there, and may be read by this role."""
    names = ", ".join(literal(name) for name in TABLES)
    row = session.all(
        "SELECT count(*) AS tables, coalesce(bool_and(pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
        "AND (c.relname = 'capture_readers' OR pg_catalog.has_table_privilege(c.oid, 'SELECT'))), false) AS readable "
        "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = {literal(schema)} AND c.relkind = 'r' AND c.relname IN ({names})"
    )[0]
    if row["tables"] < len(TABLES):
        return "absent"
    return "ready" if row["readable"] else "forbidden"


def triggers(session: Session, schema: str) -> list[Trigger]:
    """Every trigger in the database that calls a capture function of this sync schema."""
    rows = session.all(
        "SELECT t.tgrelid::int8 AS oid, t.tgname::text AS name, p.proname::text AS function, "
        "t.tgenabled = 'A' AS always, t.tgtype::int4 AS type, "
        "t.tgqual IS NULL AND t.tgnargs = 0 AND t.tgattr::text = '' AS plain, "
        "t.oid::text || ':' || t.xmin::text AS mark "
        "FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid "
        "JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace "
        f"WHERE n.nspname = {literal(schema)} AND NOT t.tgisinternal"
    )
    numbered = [(number_of(row.pop("function")), row) for row in rows]
    return [Trigger(number=number, **row) for number, row in numbered if number is not None]


def function(session: Session, schema: str, number: int) -> Function | None:
    """A captured table's trigger function, or None where it is gone."""
    rows = session.all(
        "SELECT p.prosrc AS source, p.prosecdef AS definer, p.oid::text || ':' || p.xmin::text AS mark, "
        # a session that quotes all names has stored "pg_catalog", "pg_temp"
        "pg_catalog.regexp_replace(lower(pg_catalog.array_to_string(p.proconfig, E'\\n')), "
        "'\"([a-z_]+)\"', '\\1', 'g') AS settings "
        "FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace "
        f"WHERE n.nspname = {literal(schema)} AND p.proname = {literal(function_name(number))} AND p.pronargs = 0"
    )
    if not rows:
        return None
    settings = frozenset((rows[0].pop("settings") or "").split("\n"))
    return Function(settings=settings, **rows[0])


def capture_state(session: Session, info: TableInfo, schema: str) -> CaptureState | None:
    """How the table is captured under its key, or None where it is not.

    The triggers on the table itself say which row of captured_tables is its own: after a rename or a restore
    from a dump the names and oids that stand there are old.
    """
    found = triggers(session, schema)
    on_table = {trigger.number for trigger in found if trigger.oid == info.oid}
    row = _row(session, info, schema, on_table)
    if row is None:
        return None
    number = row["id"]
    made = function(session, schema, number)
    captured = CapturedTable(schema=schema, number=number, key=tuple(column.name for column in info.key))
    ours = [trigger for trigger in found if trigger.number == number]
    in_tree = {relation.oid for relation in info.relations}
    return CaptureState(
        number=number,
        installed_tx=int(row["installed_tx"]),
        purged_tx=_int(row["purged_tx"]),
        truncated_tx=_int(row["truncated_tx"]),
        unissued=row["unissued"],
        missing=_missing(info, schema, number, ours),
        disabled=frozenset(_events(schema, [trigger for trigger in ours if not trigger.always])),
        malformed=frozenset(
            (trigger.oid, event)
            for trigger in ours
            for _, event in _events(schema, [trigger])
            if not trigger.logs(event)
        ),
        foreign=tuple(sorted({trigger.oid for trigger in ours} - in_tree)),
        replaced=made is None or not made.logs(captured),
        mark=_mark([trigger for trigger in ours if trigger.oid in in_tree], made),
        runs=marks(session, schema, number) if row["marked"] else frozenset(),
        may_mark=row["may_mark"],
    )


def _mark(found: Sequence[Trigger], made: Function | None) -> str:
    marks = sorted(trigger.mark for trigger in found) + ([made.mark] if made else [])
    return hashlib.md5(" ".join(marks).encode(), usedforsecurity=False).hexdigest()[:12]


def _events(schema: str, found: Sequence[Trigger]) -> list[tuple[int, str]]:
    """Relation and event of triggers, by their names."""
    return [
        (trigger.oid, event)
        for trigger in found
        for event in EVENTS
        if trigger.name == trigger_name(schema, trigger.number, event)
    ]


def _row(session: Session, info: TableInfo, schema: str, numbers: set[int]) -> dict[str, Any] | None:
    key = ", ".join(literal(column.name) for column in info.key)
    ids = f"c.id = ANY (ARRAY[{', '.join(map(str, sorted(numbers)))}]::int4[])"
    rows = session.all(
        "SELECT c.id, c.installed_tx::text AS installed_tx, c.purged_tx::text AS purged_tx, "
        "c.truncated_tx::text AS truncated_tx, "
        f"greatest(c.installed_tx, c.purged_tx, c.truncated_tx) >= {NEXT_TX} AS unissued, "
        f"pg_catalog.has_table_privilege(pg_catalog.to_regclass({literal(qualified(schema, MARKS))}), 'SELECT') "
        "AS marked, "
        f"CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN {may_write(schema)} "
        "AND NOT pg_catalog.current_setting('default_transaction_read_only')::bool END AS may_mark "
        f"FROM {qualified(schema, 'captured_tables')} AS c "
        f"WHERE c.key_columns = ARRAY[{key}]::text[] AND ({ids} OR c.relation = {info.oid}) "
        f"ORDER BY {ids} DESC, c.id DESC LIMIT 1"
    )
    return rows[0] if rows else None


def settle(schema: str, number: int, *, installed: str) -> list[str]:
    """Statements that take transaction ids of another server out of a captured table's row.

    Locked first: what stands in the row then is older than the next statement's snapshot, so that what this server
    has issued meanwhile (an installation, a purge) is never taken for foreign.

    Args:
        installed: SQL of the `installed_tx` that stands in for a foreign one.
    """
    row = qualified(schema, "captured_tables")
    gone = ", ".join(f"{name} = CASE WHEN {name} < {NEXT_TX} THEN {name} END" for name in ("purged_tx", "truncated_tx"))
    return [
        f"SELECT FROM {row} WHERE id = {number} FOR UPDATE",
        f"UPDATE {row} SET {gone}, installed_tx = CASE WHEN installed_tx < {NEXT_TX} THEN installed_tx "
        f"ELSE {installed} END WHERE id = {number}",
    ]


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)


def _missing(
    info: TableInfo, schema: str, number: int, found: list[Trigger]
) -> tuple[tuple[Relation, tuple[str, ...]], ...]:
    there = {
        (trigger.oid, event)
        for trigger in found
        if trigger.always
        for _, event in _events(schema, [trigger])
        if trigger.logs(event)
    }
    lacking = ((relation, tuple(e for e in EVENTS if (relation.oid, e) not in there)) for relation in info.relations)
    return tuple((relation, events) for relation, events in lacking if events)


def receives_replication(session: Session, info: TableInfo) -> bool:
    """Whether logical replication writes to the table: its apply worker fires no statement triggers."""
    oids = ", ".join(str(relation.oid) for relation in info.relations)
    return bool(
        session.all(
            f"SELECT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel AS s WHERE s.srrelid IN ({oids})) AS found"
        )[0]["found"]
    )
