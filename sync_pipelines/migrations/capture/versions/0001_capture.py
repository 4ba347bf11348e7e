"""Trigger capture: the change log, the captured tables and their readers.

Revision ID: capture_0001
"""

from sync_pipelines.engine.sql import identifier
from sync_pipelines.migrations import execute, schema_name

revision = "capture_0001"
down_revision = None
branch_labels = None
depends_on = None

# Fixed settings as in engine/capture.py; a trigger function must not depend on the session of whoever writes.
_GUARD = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"

_TABLES = """
CREATE TABLE {s}.captured_tables (
    id integer PRIMARY KEY,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    relation oid NOT NULL,
    key_columns text[] NOT NULL,
    relations oid[] NOT NULL DEFAULT '{{}}',
    installed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    installed_tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
    purged_tx xid8,
    truncated_tx xid8,
    UNIQUE (relation, key_columns)
)
;;
COMMENT ON TABLE {s}.captured_tables IS 'Tables whose changes are logged by triggers; one row a table and key.'
;;
COMMENT ON COLUMN {s}.captured_tables.relations IS 'The table, its partitions and children that have the triggers.'
;;
COMMENT ON COLUMN {s}.captured_tables.installed_tx IS
    'Transaction that last made a trigger: a reader that does not see it reads the whole table.'
;;
COMMENT ON COLUMN {s}.captured_tables.purged_tx IS
    'Newest transaction whose log rows were deleted: a reader that had not confirmed it reads the whole table.'
;;
COMMENT ON COLUMN {s}.captured_tables.truncated_tx IS
    'Transaction that last truncated the log: a reader that does not see it reads the whole table.'
;;
CREATE TABLE {s}.change_log (
    tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    table_id integer NOT NULL,
    key text
)
;;
COMMENT ON TABLE {s}.change_log IS
    'Which keys were touched, and by which transaction; a NULL key is a TRUNCATE. Append-only.'
;;
CREATE INDEX change_log_table_tx ON {s}.change_log (table_id, tx)
;;
CREATE TABLE {s}.capture_readers (
    table_id integer NOT NULL REFERENCES {s}.captured_tables (id) ON DELETE CASCADE,
    reader text NOT NULL,
    snapshot pg_snapshot,
    confirmed_at timestamptz,
    PRIMARY KEY (table_id, reader)
)
;;
COMMENT ON TABLE {s}.capture_readers IS
    'Syncs that read a captured table; the log is purged below what all of them have confirmed.'
"""

# The log's rows may go only after every reader confirmed them. Whoever deletes others leaves a trace here.
_GUARDS = """
CREATE FUNCTION {s}.change_log_deleted() RETURNS trigger {guard} AS $body$
BEGIN
    UPDATE {s}.captured_tables AS c SET purged_tx = greatest(c.purged_tx, d.tx)
    FROM (SELECT DISTINCT ON (o.table_id) o.table_id, o.tx FROM old_rows AS o ORDER BY o.table_id, o.tx DESC) AS d
    WHERE c.id = d.table_id AND (c.purged_tx IS NULL OR c.purged_tx < d.tx);
    RETURN NULL;
END
$body$
;;
CREATE FUNCTION {s}.change_log_truncated() RETURNS trigger {guard} AS $body$
BEGIN
    UPDATE {s}.captured_tables SET truncated_tx = pg_current_xact_id();
    RETURN NULL;
END
$body$
;;
REVOKE ALL ON FUNCTION {s}.change_log_deleted() FROM PUBLIC
;;
REVOKE ALL ON FUNCTION {s}.change_log_truncated() FROM PUBLIC
;;
CREATE TRIGGER change_log_deleted AFTER DELETE ON {s}.change_log REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION {s}.change_log_deleted()
;;
ALTER TABLE {s}.change_log ENABLE ALWAYS TRIGGER change_log_deleted
;;
CREATE TRIGGER change_log_truncated AFTER TRUNCATE ON {s}.change_log
    FOR EACH STATEMENT EXECUTE FUNCTION {s}.change_log_truncated()
;;
ALTER TABLE {s}.change_log ENABLE ALWAYS TRIGGER change_log_truncated
"""


def _run(statements: str) -> None:
    schema = identifier(schema_name())
    for statement in statements.format(s=schema, guard=_GUARD).split(";;"):
        execute(statement.strip())


def upgrade() -> None:
    _run(_TABLES)
    _run(_GUARDS)
