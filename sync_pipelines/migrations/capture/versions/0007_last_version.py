"""After the highest version that there is, publishing says so, and what to do: there is no higher one to take.

Revision ID: capture_0007
"""

from sync_pipelines.engine.sql import identifier
from sync_pipelines.migrations import execute, schema_name

revision = "capture_0007"
down_revision = "capture_0006"
branch_labels = None
depends_on = None

# With the version lowered while an event of the entity is open, the next one would stand before that, and be written
# out of order.
_STATEMENT = """
CREATE OR REPLACE FUNCTION {s}.next_version(
    entity_type text, entity_id text, last_version bigint, source_version bigint
) RETURNS bigint LANGUAGE plpgsql AS $body$
BEGIN
    IF last_version = 9223372036854775807 THEN
        PERFORM {s}.refuse_event(entity_type, entity_id,
            'its last version is 9223372036854775807, the highest there is, so that none can follow',
            'When no event of it is open any more, lower its last_version in sync_entity_versions; or publish it '
            'under another id.', 'SY002');
    ELSIF source_version <= last_version THEN
        PERFORM {s}.refuse_event(entity_type, entity_id,
            format('version %s is not above %s, the last one that was published', source_version, last_version),
            'Publish it with a higher version, or without one: then the next is given.', 'SY002');
    END IF;
    RETURN coalesce(source_version, last_version + 1);
END
$body$
"""


def upgrade() -> None:
    execute(_STATEMENT.strip().replace("{s}", identifier(schema_name())))
