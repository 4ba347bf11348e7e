"""What installing and removing capture do, statement by statement, within one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from sync_pipelines.engine.capture import EVENTS, CapturedTable
from sync_pipelines.engine.errors import MigrationDueError, RunError
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.sql import literal, qualified
from sync_pipelines.sources.postgres.catalog import Place, TableInfo, find_table, inspect, relation_names
from sync_pipelines.sources.postgres.connection import NormalisedUrl, Writing, settings_sql
from sync_pipelines.sources.postgres.state import (
    CaptureState,
    access,
    capture_state,
    function,
    settle,
    triggers,
)


@dataclass
class Work:
    """One attempt: statements are collected in `done`, and run unless it is a dry run."""

    session: Writing
    url: NormalisedUrl
    spec: TableSpec
    schema: str
    dry_run: bool
    done: list[str] = field(default_factory=list)

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.done.append(statement)
            if not self.dry_run:
                self.session.execute(statement)

    def table(self, name: str) -> str:
        """One of the capture branch's tables, as SQL."""
        return qualified(self.schema, name)

    def find(self) -> Place:
        """The spec's table; to be asked before the search_path is fixed."""
        return find_table(self.session, self.spec, schema=self.spec.schema or self.url.schema)

    def require_schema(self) -> None:
        if access(self.session, self.schema) != "absent":
            return
        raise MigrationDueError(
            f"schema {self.schema!r} of {self.url.safe} does not hold the tables of trigger capture.",
            sync=self.spec.sync,
            table=self.spec.name,
            remedy="Run `sync-pipelines db upgrade`.",
        )


def _require_right_to_log(work: Work) -> None:
    """The trigger function runs as whoever makes it: without INSERT on the log, every write of the application
    would fail."""
    may = work.session.all(
        "SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_schema_privilege(n.oid, 'CREATE') "
        "AND pg_catalog.has_table_privilege(c.oid, 'INSERT') AS may, current_user::text AS role "
        "FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = {literal(work.schema)} AND c.relname = 'change_log'"
    )[0]
    if not may["may"]:
        raise RunError(
            f"role {may['role']!r} may not write to the change log, and the triggers would run as this role.",
            sync=work.spec.sync,
            table=work.spec.name,
            remedy=f"Install as the owner of schema {work.schema}, or GRANT it INSERT on all tables there, "
            "and USAGE and CREATE on the schema.",
        )


def install_steps(work: Work) -> None:
    """Bring triggers, function, catalog row and reader to what they should be."""
    work.require_schema()
    _require_right_to_log(work)
    place = work.find()
    work.session.all(settings_sql())
    if not work.dry_run:
        work.session.execute(f"LOCK TABLE {place.sql} IN SHARE ROW EXCLUSIVE MODE")
    info = inspect(work.session, work.spec, place)
    _refuse_foreign(work.spec, info)
    state = capture_state(work.session, info, work.schema) or _register_table(work, info)
    captured = CapturedTable(schema=work.schema, number=state.number, key=work.spec.key)
    if state.unissued:
        work.run(*settle(work.schema, state.number, installed="pg_current_xact_id()"))
    before = len(work.done)
    _make_function(work, captured)
    _make_triggers(work, captured, state)
    _refresh_row(work, info, state.number, made=len(work.done) > before)
    _register_reader(work, state.number)
    for other in _registered(work):
        if other != state.number:
            _release(work, other)


def _refuse_foreign(spec: TableSpec, info: TableInfo) -> None:
    foreign = [relation.sql for relation in info.relations if relation.kind == "f"]
    if foreign:
        raise RunError(
            f"{', '.join(foreign)} is a foreign table below {info.sql}: its changes fire no trigger here.",
            sync=spec.sync,
            table=spec.name,
            remedy="Set source.capture to cursor.",
        )


def _register_table(work: Work, info: TableInfo) -> CaptureState:
    """A new row of captured_tables."""
    table = work.table("captured_tables")
    if not work.dry_run:
        # Two installations at once must not choose the same number.
        work.session.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
    number = _next_number(work)
    key = ", ".join(literal(column.name) for column in info.key)
    work.run(
        f"INSERT INTO {table} (id, schema_name, table_name, relation, key_columns) "
        f"VALUES ({number}, {literal(info.schema)}, {literal(info.table)}, {info.oid}, ARRAY[{key}])"
    )
    missing = tuple((relation, EVENTS) for relation in info.relations)
    return CaptureState(number=number, installed_tx=0, missing=missing)


def _next_number(work: Work) -> int:
    """A number that no captured table has, and no line that an earlier one left in the log."""
    row = work.session.all(
        f"SELECT greatest((SELECT max(c.id) FROM {work.table('captured_tables')} AS c), "
        f"(SELECT max(l.table_id) FROM {work.table('change_log')} AS l), 0) + 1 AS number"
    )[0]
    return row["number"]


def _make_function(work: Work, captured: CapturedTable) -> None:
    made = function(work.session, work.schema, captured.number)
    if made is None or not made.logs(captured):
        work.run(*captured.create_function())


def _make_triggers(work: Work, captured: CapturedTable, state: CaptureState) -> None:
    """Missing ones are made; disabled ones were not firing for a while, so they count as missing.

    Only what somebody else put in a trigger's place is dropped here: that locks out the table's readers.
    """
    for relation, events in state.missing:
        for event in events:
            if (relation.oid, event) in state.malformed:
                work.run(captured.drop_trigger(relation.sql, event), *captured.create_trigger(relation.sql, event))
            elif (relation.oid, event) in state.disabled:
                work.run(captured.enable_trigger(relation.sql, event))
            else:
                work.run(*captured.create_trigger(relation.sql, event))
    _drop_triggers(work, captured, state.foreign)


def _drop_triggers(work: Work, captured: CapturedTable, oids: tuple[int, ...]) -> None:
    for name in relation_names(work.session, oids).values():
        work.run(*(captured.drop_trigger(name, event) for event in EVENTS))


def _refresh_row(work: Work, info: TableInfo, number: int, *, made: bool) -> None:
    """Where and what the table is; and that whoever read before this transaction must read everything."""
    oids = ", ".join(str(relation.oid) for relation in info.relations)
    values = (
        f"schema_name = {literal(info.schema)}",
        f"table_name = {literal(info.table)}",
        f"relation = {info.oid}",
        f"relations = ARRAY[{oids}]::oid[]",
    )
    row = work.table("captured_tables")
    if not made and work.session.all(f"SELECT FROM {row} WHERE id = {number} AND {' AND '.join(values)}"):
        return
    installed = ("installed_at = clock_timestamp()", "installed_tx = pg_current_xact_id()") if made else ()
    work.run(f"UPDATE {row} SET {', '.join((*values, *installed))} WHERE id = {number}")


def _register_reader(work: Work, number: int) -> None:
    if number not in _registered(work):
        work.run(
            f"INSERT INTO {work.table('capture_readers')} (table_id, reader) "
            f"VALUES ({number}, {literal(work.spec.path)})"
        )


def _registered(work: Work) -> list[int]:
    """Numbers of the captures that this sync reads."""
    rows = work.session.all(
        f"SELECT r.table_id FROM {work.table('capture_readers')} AS r WHERE r.reader = {literal(work.spec.path)} "
        "ORDER BY 1"
    )
    return [row["table_id"] for row in rows]


def remove_steps(work: Work) -> None:
    """Release what this sync reads, and captures of its table that nobody reads."""
    if access(work.session, work.schema) == "absent":
        return
    for number in sorted({*_registered(work), *_unread(work)}):
        _release(work, number)


def _unread(work: Work) -> list[int]:
    """Captures of the spec's table without any reader."""
    schema = work.spec.schema or work.url.schema
    where = f"c.schema_name = {literal(schema)}" if schema else "c.schema_name = ANY (current_schemas(false))"
    rows = work.session.all(
        f"SELECT c.id FROM {work.table('captured_tables')} AS c "
        f"WHERE c.table_name = {literal(work.spec.table)} AND {where} AND NOT EXISTS "
        f"(SELECT FROM {work.table('capture_readers')} AS r WHERE r.table_id = c.id)"
    )
    return [row["id"] for row in rows]


def _release(work: Work, number: int) -> None:
    """Take this sync off a capture, and the capture away if nobody else reads it.

    Its log lines go later, without the table's lock (`readers.delete_orphans`).
    """
    readers = work.table("capture_readers")
    me = literal(work.spec.path)
    others = work.session.all(f"SELECT FROM {readers} AS r WHERE r.table_id = {number} AND r.reader <> {me}")
    if others:
        work.run(f"DELETE FROM {readers} WHERE table_id = {number} AND reader = {me}")
        return
    captured = CapturedTable(schema=work.schema, number=number, key=work.spec.key)
    oids = {trigger.oid for trigger in triggers(work.session, work.schema) if trigger.number == number}
    _drop_triggers(work, captured, tuple(oids))
    work.run(captured.drop_function(), f"DELETE FROM {work.table('captured_tables')} WHERE id = {number}")
    if work.dry_run:
        work.done.append(f"DELETE FROM {work.table('change_log')} WHERE table_id = {number}")


def lock_holders(work: Work) -> str:
    """Who holds a lock on the table that stands in the way of installing, for a sentence."""
    rows = work.session.all(
        "SELECT DISTINCT a.pid, coalesce(a.application_name, '') AS name, coalesce(a.state, '') AS state, "
        "date_trunc('second', clock_timestamp() - a.xact_start)::text AS age "
        "FROM pg_catalog.pg_locks AS l JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid "
        f"WHERE l.relation = {work.find().oid} AND l.granted AND a.pid <> pg_backend_pid() "
        "AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')"
    )
    return ", ".join(f"pid {row['pid']} ({row['name']}, {row['state']}, for {row['age']})" for row in rows)
