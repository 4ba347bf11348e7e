"""What stands in the sync schema about one captured table, and whether its triggers are whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sync_pipelines.engine.capture import EVENTS, function_name, number_of, trigger_name
from sync_pipelines.engine.sql import literal, qualified
from sync_pipelines.sources.postgres.catalog import Relation, TableInfo
from sync_pipelines.sources.postgres.connection import Session

Access = Literal["absent", "forbidden", "ready"]

TABLES = ("captured_tables", "change_log", "capture_readers")


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One of our triggers; `always` is False where somebody disabled it, if only for a time."""

    oid: int
    name: str
    number: int
    always: bool


@dataclass(frozen=True, kw_only=True)
class CaptureState:
    """A captured table.

    Args:
        number: captured_tables.id.
        installed_tx, purged_tx, truncated_tx: see the comments in the database.
        missing: the relations that lack a trigger that always fires, and the events that they lack.
        disabled: oid and event of triggers that are there, but do not always fire.
        foreign: oids of relations outside of the table's tree that still have its triggers.
    """

    number: int
    installed_tx: int
    purged_tx: int | None = None
    truncated_tx: int | None = None
    missing: tuple[tuple[Relation, tuple[str, ...]], ...] = ()
    disabled: frozenset[tuple[int, str]] = frozenset()
    foreign: tuple[int, ...] = ()

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
        "t.tgenabled = 'A' AS always "
        "FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid "
        "JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace "
        f"WHERE n.nspname = {literal(schema)} AND NOT t.tgisinternal"
    )
    return [
        Trigger(oid=row["oid"], name=row["name"], number=number, always=row["always"])
        for row in rows
        if (number := number_of(row["function"])) is not None
    ]


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
    ours = [trigger for trigger in found if trigger.number == number]
    in_tree = {relation.oid for relation in info.relations}
    return CaptureState(
        number=number,
        installed_tx=int(row["installed_tx"]),
        purged_tx=_int(row["purged_tx"]),
        truncated_tx=_int(row["truncated_tx"]),
        missing=_missing(info, schema, number, ours),
        disabled=frozenset(
            (trigger.oid, event)
            for trigger in ours
            for event in EVENTS
            if not trigger.always and trigger.name == trigger_name(schema, number, event)
        ),
        foreign=tuple(sorted({trigger.oid for trigger in ours} - in_tree)),
    )


def _row(session: Session, info: TableInfo, schema: str, numbers: set[int]) -> dict[str, Any] | None:
    key = ", ".join(literal(column.name) for column in info.key)
    ids = f"c.id = ANY (ARRAY[{', '.join(map(str, sorted(numbers)))}]::int4[])"
    rows = session.all(
        "SELECT c.id, c.installed_tx::text AS installed_tx, c.purged_tx::text AS purged_tx, "
        f"c.truncated_tx::text AS truncated_tx FROM {qualified(schema, 'captured_tables')} AS c "
        f"WHERE c.key_columns = ARRAY[{key}]::text[] AND ({ids} OR c.relation = {info.oid}) "
        f"ORDER BY {ids} DESC, c.id DESC LIMIT 1"
    )
    return rows[0] if rows else None


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)


def _missing(
    info: TableInfo, schema: str, number: int, found: list[Trigger]
) -> tuple[tuple[Relation, tuple[str, ...]], ...]:
    there = {(trigger.oid, trigger.name) for trigger in found if trigger.always}
    lacking = (
        (relation, tuple(e for e in EVENTS if (relation.oid, trigger_name(schema, number, e)) not in there))
        for relation in info.relations
    )
    return tuple((relation, events) for relation, events in lacking if events)


def function_source(session: Session, schema: str, number: int) -> str | None:
    """The source of a captured table's trigger function, or None where it is gone."""
    rows = session.all(
        "SELECT p.prosrc AS source FROM pg_catalog.pg_proc AS p "
        "JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace "
        f"WHERE n.nspname = {literal(schema)} AND p.proname = {literal(function_name(number))}"
    )
    return rows[0]["source"] if rows else None


def receives_replication(session: Session, info: TableInfo) -> bool:
    """Whether logical replication writes to the table: its apply worker fires no statement triggers."""
    oids = ", ".join(str(relation.oid) for relation in info.relations)
    return bool(
        session.all(
            f"SELECT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel AS s WHERE s.srrelid IN ({oids})) AS found"
        )[0]["found"]
    )
