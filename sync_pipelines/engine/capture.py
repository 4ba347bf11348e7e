"""The SQL text of trigger capture: keys, triggers, the change log's predicate (DESIGN.md §4, Capture).

No client here; `sources.postgres.capture` runs these statements, `sources.postgres.changes` reads the log.
A captured table has a number, `captured_tables.id`, and one function `capture_<number>` for its triggers and
those of its partitions and children: a static statement costs a single-row update 20 %, a generic function
with EXECUTE 50 % (32 → 26 and 16 thousand updates a second without fsync).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sync_pipelines.engine.sql import identifier, literal, qualified

NULL_KEY = "(null key)"
"""The key of records whose single key column is NULL: they cannot be told apart, and go to quarantine under
this one name. (In a composite key a NULL is a `null` in its JSON.)"""

NO_COLUMN = "(no such column)"
"""What the trigger function finds in place of a key column that was renamed or dropped; it logs a null key then."""

EVENTS = ("insert", "update", "delete", "truncate")

TRIGGER_TYPES = {"insert": 4, "delete": 8, "update": 16, "truncate": 32}
"""pg_trigger.tgtype of our triggers: after the statement, on this event alone."""

# The text of a key must not depend on the session of whoever writes; the same as when it is read.
_FUNCTION_SETTINGS = (
    ("search_path", "pg_catalog, pg_temp"),
    ("TimeZone", "'UTC'"),
    ("DateStyle", "'ISO, MDY'"),
    ("IntervalStyle", "'postgres'"),
    ("extra_float_digits", "'1'"),
    ("bytea_output", "'hex'"),
    ("lc_monetary", "'C'"),
    ("quote_all_identifiers", "'off'"),
)

_TRANSITIONS = {
    "insert": " REFERENCING NEW TABLE AS new_rows",
    "update": " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": " REFERENCING OLD TABLE AS old_rows",
    "truncate": "",
}

_FUNCTION = re.compile(r"^capture_(\d+)$")


def key_text(columns: Sequence[str], alias: str) -> str:
    """A record's key as one text, from its columns (unquoted); NULL only where a single key column is NULL."""
    return one_text([f"{alias}.{identifier(column)}::pg_catalog.text" for column in columns])


def one_text(texts: Sequence[str]) -> str:
    """SQL of one text out of those of the key's columns."""
    # COLLATE "C": under a collation that is not deterministic 'a' and 'A' would be one key.
    text = texts[0] if len(texts) == 1 else f"pg_catalog.json_build_array({', '.join(texts)})::pg_catalog.text"
    return f'({text} COLLATE "C")'


def key_text_never_null(columns: Sequence[str], alias: str) -> str:
    """`key_text`, with `NULL_KEY` for a NULL."""
    text = key_text(columns, alias)
    return f"coalesce({text}, {literal(NULL_KEY)})" if len(columns) == 1 else text


def touched_keys(columns: Sequence[str], rows: str) -> str:
    """Query of the keys in a transition table, which survives that a key column is renamed or dropped.

    An unqualified name is looked for in the inner query's rows first, then among the constants of the outer one:
    where the column is gone the constant is found, and the key is NULL, which stands for everything. An EXCEPTION
    block would do it too, but for a transaction id of its own for each statement of the application.
    """
    names = [identifier(column) for column in columns]
    gone = ", ".join(f"{literal(NO_COLUMN)}::pg_catalog.text AS {name}" for name in names)
    texts = [f"{name}::pg_catalog.text" for name in names]
    if len(texts) == 1:
        key = f"nullif(coalesce({one_text(texts)}, {literal(NULL_KEY)}), {literal(NO_COLUMN)})"
    else:
        key = f"CASE WHEN {literal(NO_COLUMN)} IN ({', '.join(texts)}) THEN NULL ELSE {one_text(texts)} END"
    return f"FROM (SELECT {gone}) AS gone CROSS JOIN LATERAL (SELECT {key} AS key FROM {rows}) AS k"


def function_name(number: int) -> str:
    """The name, without schema, of a captured table's trigger function."""
    return f"capture_{number}"


def number_of(function: str) -> int | None:
    """The captured table's number that a trigger function's name tells."""
    match = _FUNCTION.match(function)
    return int(match[1]) if match else None


def trigger_name(schema: str, number: int, event: str) -> str:
    """A trigger's name; another sync schema on the same table has other ones."""
    other = "" if schema == "sync" else "_" + hashlib.md5(schema.encode(), usedforsecurity=False).hexdigest()[:6]
    return f"sync_capture{other}_{number}_{event}"


@dataclass(frozen=True, kw_only=True)
class CapturedTable:
    """What the DDL of one captured table is made of; `schema` is the sync schema."""

    schema: str
    number: int
    key: tuple[str, ...]

    @property
    def function(self) -> str:
        return qualified(self.schema, function_name(self.number))

    def body(self) -> str:
        """The trigger function's source.

        An INSERT … SELECT from an empty transition table evaluates no default, so a statement that touched no
        row takes no transaction id. UNION logs an updated key once, and both keys where the key changed. A key
        column may bear the name of a variable of plpgsql (found, tg_op).
        """
        log = qualified(self.schema, "change_log")
        insert = f"INSERT INTO {log} (table_id, key) "
        old = f"SELECT {self.number}, k.key {touched_keys(self.key, 'old_rows')}"
        new = f"SELECT {self.number}, k.key {touched_keys(self.key, 'new_rows')}"
        return (
            "\n#variable_conflict use_column\nBEGIN\n"
            f"    IF TG_OP = 'INSERT' THEN {insert}{new};\n"
            f"    ELSIF TG_OP = 'UPDATE' THEN {insert}{old} UNION {new};\n"
            f"    ELSIF TG_OP = 'DELETE' THEN {insert}{old};\n"
            f"    ELSE {insert}VALUES ({self.number}, NULL);\n"
            "    END IF;\n"
            "    RETURN NULL;\n"
            "END\n"
        )

    def settings(self) -> frozenset[str]:
        """The function's settings as pg_proc.proconfig has them, in lower case."""
        return frozenset(f"{name}={value.strip(chr(39))}".lower() for name, value in _FUNCTION_SETTINGS)

    def create_function(self) -> list[str]:
        """SECURITY DEFINER: the role that writes to the table needs no right on the sync schema."""
        settings = " ".join(f"SET {name} = {value}" for name, value in _FUNCTION_SETTINGS)
        return [
            f"CREATE OR REPLACE FUNCTION {self.function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
            f"{settings} AS {literal(self.body())}",
            f"REVOKE ALL ON FUNCTION {self.function}() FROM PUBLIC",
        ]

    def drop_function(self) -> str:
        return f"DROP FUNCTION IF EXISTS {self.function}()"

    def create_trigger(self, relation: str, event: str) -> list[str]:
        """One trigger on a relation (as SQL)."""
        name = identifier(trigger_name(self.schema, self.number, event))
        return [
            f"CREATE TRIGGER {name} AFTER {event.upper()} ON {relation}{_TRANSITIONS[event]} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {self.function}()",
            self.enable_trigger(relation, event),
        ]

    def enable_trigger(self, relation: str, event: str) -> str:
        """ALWAYS: it fires also under session_replication_role = replica."""
        name = identifier(trigger_name(self.schema, self.number, event))
        return f"ALTER TABLE {relation} ENABLE ALWAYS TRIGGER {name}"

    def drop_trigger(self, relation: str, event: str) -> str:
        return f"DROP TRIGGER IF EXISTS {identifier(trigger_name(self.schema, self.number, event))} ON {relation}"


NEXT_TX = "pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())"
"""The first transaction id that no visible row of this server can bear. A dump brings ids of the server that it was
made on, which may be higher: they say nothing here."""


def issued(alias: str = "l") -> str:
    """Condition on the change log: lines that were written on this server."""
    return f"{alias}.tx < {NEXT_TX}"


def unread(snapshot: str, alias: str = "l") -> str:
    """Condition on the change log: what a reader whose last confirmed snapshot is `snapshot` has not read.

    The bounds are what the index serves, the last part is exact: each change is read once.
    """
    prev = f"{literal(snapshot)}::pg_catalog.pg_snapshot"
    return (
        f"{alias}.tx >= pg_catalog.pg_snapshot_xmin({prev}) AND {issued(alias)} "
        f"AND NOT pg_catalog.pg_visible_in_snapshot({alias}.tx, {prev})"
    )
