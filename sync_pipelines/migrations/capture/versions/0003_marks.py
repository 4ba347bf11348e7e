"""Marks of confirmed runs in the source, by which a copy of its files from before is recognised.

Revision ID: capture_0003
"""

from sync_pipelines.engine.sql import identifier, literal
from sync_pipelines.migrations import execute, schema_name

revision = "capture_0003"
down_revision = "capture_0002"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE {s}.capture_marks (
    table_id integer NOT NULL,
    reader text NOT NULL,
    line text NOT NULL,
    mark text NOT NULL,
    previous text,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_id, reader, line),
    FOREIGN KEY (table_id, reader) REFERENCES {s}.capture_readers (table_id, reader) ON DELETE CASCADE
)
;;
COMMENT ON TABLE {s}.capture_marks IS
    'What the last confirmed run of each reader has left: a source that does not know it was restored.'
;;
COMMENT ON COLUMN {s}.capture_marks.line IS 'The ledger that the reader writes to: several may read one table.'
;;
COMMENT ON COLUMN {s}.capture_marks.mark IS 'Of the newest run, which may have died before its ledger knew it.'
;;
COMMENT ON COLUMN {s}.capture_marks.previous IS 'Of the run before, which the ledger knows then.'
"""

# Whoever may note how far it has read may leave its mark: the owner of that table too, where another one upgrades.
_RIGHTS = """
DO $rights$
DECLARE held record; owner name;
BEGIN
    SELECT pg_get_userbyid(c.relowner) INTO owner FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = {name} AND c.relname = 'capture_readers';
    IF owner <> current_user THEN
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I.capture_marks TO %I', {name}, owner);
    END IF;
    FOR held IN
        SELECT a.privilege_type AS privilege,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace CROSS JOIN aclexplode(c.relacl) AS a
        WHERE n.nspname = {name} AND c.relname = 'capture_readers' AND a.grantee <> c.relowner
        AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE')
    LOOP
        EXECUTE format('GRANT %s ON %I.capture_marks TO %s', held.privilege, {name}, held.role);
    END LOOP;
END
$rights$
"""


def upgrade() -> None:
    schema = schema_name()
    for statement in _TABLE.format(s=identifier(schema)).split(";;"):
        execute(statement.strip())
    execute(_RIGHTS.format(name=literal(schema)))
