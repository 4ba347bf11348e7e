"""What a consumer of the outbox needs: what a relationship waits for, and indexes that keep each reading flat.

Revision ID: capture_0006
"""

from sync_pipelines.engine.sql import identifier
from sync_pipelines.migrations import execute, schema_name

revision = "capture_0006"
down_revision = "capture_0005"
branch_labels = None
depends_on = None

# Each table reads the events of its own type alone: behind 300,000 of another one a reading took 120 ms instead of 1.
# The index without the type goes: while it is there, it is the one that is chosen.
# A node's key may be longer than an index entry, so what is waited for is found by its md5.
_STATEMENTS = """
ALTER TABLE {s}.sync_event_log ADD COLUMN waits_for text
;;
COMMENT ON COLUMN {s}.sync_event_log.waits_for IS
    'Label and key, as JSON, of the node that a BLOCKED relationship waits for; null where it waits for an event.'
;;
COMMENT ON COLUMN {s}.sync_event_log.status IS
    'PENDING, PROCESSING, COMPLETED, FAILED (it was given up) or BLOCKED (it waits for an event, or a node).'
;;
CREATE INDEX sync_event_log_due_idx ON {s}.sync_event_log (entity_type, tx, id)
    WHERE status IN ('PENDING', 'PROCESSING')
;;
DROP INDEX {s}.sync_event_log_waiting_idx
;;
CREATE INDEX sync_event_log_deletions_idx ON {s}.sync_event_log (entity_type, entity_id)
    WHERE status IN ('PENDING', 'PROCESSING')
    AND event_type IN ('CONTENT_DELETED', 'RELATIONSHIP_DELETED', 'USER_DELETED')
;;
CREATE INDEX sync_event_log_failed_idx ON {s}.sync_event_log (entity_type, id) WHERE status = 'FAILED'
;;
CREATE INDEX sync_event_log_awaited_idx ON {s}.sync_event_log (md5(waits_for)) WHERE status = 'BLOCKED'
;;
CREATE INDEX sync_event_log_awaiting_idx ON {s}.sync_event_log (entity_type, id)
    WHERE status = 'BLOCKED' AND waits_for IS NOT NULL
"""


def upgrade() -> None:
    for statement in _STATEMENTS.split(";;"):
        execute(statement.strip().replace("{s}", identifier(schema_name())))
