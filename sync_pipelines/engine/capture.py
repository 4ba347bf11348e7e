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

EVENTS = ("insert", "update", "delete", "truncate")

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
    texts = [f"{alias}.{identifier(column)}::pg_catalog.text" for column in columns]
    return texts[0] if len(texts) == 1 else f"pg_catalog.json_build_array({', '.join(texts)})::pg_catalog.text"


def key_text_never_null(columns: Sequence[str], alias: str) -> str:
    """`key_text`, with `NULL_KEY` for a NULL."""
    text = key_text(columns, alias)
    return f"coalesce({text}, {literal(NULL_KEY)})" if len(columns) == 1 else text


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
        row takes no transaction id. UNION logs an updated key once, and both keys where the key changed.
        """
        log = qualified(self.schema, "change_log")
        insert = f"INSERT INTO {log} (table_id, key) "
        old = f"SELECT {self.number}, {key_text_never_null(self.key, 'o')} FROM old_rows AS o"
        new = f"SELECT {self.number}, {key_text_never_null(self.key, 'n')} FROM new_rows AS n"
        return (
            "\nBEGIN\n"
            f"    IF TG_OP = 'INSERT' THEN {insert}{new};\n"
            f"    ELSIF TG_OP = 'UPDATE' THEN {insert}{old} UNION {new};\n"
            f"    ELSIF TG_OP = 'DELETE' THEN {insert}{old};\n"
            f"    ELSE {insert}VALUES ({self.number}, NULL);\n"
            "    END IF;\n"
            "    RETURN NULL;\n"
            "END\n"
        )

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


def unread(snapshot: str, alias: str = "l") -> str:
    """Condition on the change log: what a reader whose last confirmed snapshot is `snapshot` has not read.

    The first half is what the index serves, the second is exact: each change is read once.
    """
    prev = f"{literal(snapshot)}::pg_catalog.pg_snapshot"
    return (
        f"{alias}.tx >= pg_catalog.pg_snapshot_xmin({prev}) "
        f"AND NOT pg_catalog.pg_visible_in_snapshot({alias}.tx, {prev})"
    )
