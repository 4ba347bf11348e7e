"""The change log's guard knows this server's transaction ids from those that a dump brought.

Revision ID: capture_0002
"""

from sync_pipelines.engine.sql import identifier
from sync_pipelines.migrations import execute, schema_name

revision = "capture_0002"
down_revision = "capture_0001"
branch_labels = None
depends_on = None

# A dump brings transaction ids of the server that it was made on. Those that this one has not issued yet say nothing
# of its lines, and must not hide what is deleted here. The rows are locked first: what stands in them then is older
# than the snapshot of the statement after.
_GUARD = """
CREATE OR REPLACE FUNCTION {s}.change_log_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    newest CONSTANT xid8 := greatest(pg_snapshot_xmax(pg_current_snapshot()), pg_current_xact_id_if_assigned());
BEGIN
    PERFORM FROM {s}.captured_tables AS c
    WHERE c.id IN (SELECT o.table_id FROM old_rows AS o) ORDER BY c.id FOR UPDATE;
    UPDATE {s}.captured_tables AS c SET purged_tx = d.tx
    FROM (
        SELECT DISTINCT ON (o.table_id) o.table_id, o.tx FROM old_rows AS o
        WHERE o.tx <= newest ORDER BY o.table_id, o.tx DESC
    ) AS d
    WHERE c.id = d.table_id AND (
        c.purged_tx IS NULL OR c.purged_tx < d.tx
        OR c.purged_tx > greatest(pg_snapshot_xmax(pg_current_snapshot()), newest)
    );
    RETURN NULL;
END
$body$
"""


def upgrade() -> None:
    execute(_GUARD.format(s=identifier(schema_name())))
