"""Ids of runs that were about to write, by which a copy of the source's files from before is recognised.

Revision ID: capture_0004
"""

from sync_pipelines.engine.sql import identifier
from sync_pipelines.migrations import execute, schema_name

revision = "capture_0004"
down_revision = "capture_0003"
branch_labels = None
depends_on = None

_COLUMNS = """
ALTER TABLE {s}.capture_marks ADD COLUMN begun text, ADD COLUMN begun_before text
;;
COMMENT ON COLUMN {s}.capture_marks.begun IS
    'The newest run that was about to write to its target; it may have died, or moved no watermark.'
;;
COMMENT ON COLUMN {s}.capture_marks.begun_before IS 'The run that the target spoke of then.'
"""


def upgrade() -> None:
    for statement in _COLUMNS.format(s=identifier(schema_name())).split(";;"):
        execute(statement.strip())
