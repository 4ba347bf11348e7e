"""The ends of each relationship are kept: for a deletion that leaves them out, and for one that leads elsewhere.

Revision ID: capture_0008
"""

from alembic import op

from sync_pipelines.engine.sql import identifier, literal
from sync_pipelines.migrations import execute, schema_name

revision = "capture_0008"
down_revision = "capture_0007"
branch_labels = None
depends_on = None

# An id of the application's own ("c1 c2") is no key of the table, so without its ends a deletion named no record. The
# log cannot tell them: no index leads to completed events of an entity, and they go after 90 days. And without a
# deletion published before it, nothing named the relationship that the id had led to, which stayed in the graph until
# a reconciliation: that is noted with the event, since the next one of the id may be published before it is brought.
_TABLE = """
ALTER TABLE {s}.sync_entity_versions ADD COLUMN IF NOT EXISTS ends jsonb
;;
COMMENT ON COLUMN {s}.sync_entity_versions.ends IS
    'Start and end of a relationship, by its last event that told both; null where none has.'
;;
ALTER TABLE {s}.sync_event_log ADD COLUMN IF NOT EXISTS ends_before jsonb
;;
COMMENT ON COLUMN {s}.sync_event_log.ends_before IS
    'Start and end that the relationship had until then, where this event tells of others; else null.'
"""

# A transaction a row, after the column's own: with a million events (200,000 relationships) publishers waited
# 17 s for the table. One row that is locked at a time is in nobody's way, and can be part of no deadlock.
_FILL = """
DO $fill$
DECLARE
    found record;
    before CONSTANT text := current_setting('synchronous_commit');
BEGIN
    PERFORM set_config('synchronous_commit', 'off', false);
    FOR found IN
        SELECT DISTINCT ON (l.entity_type, l.entity_id) l.entity_type, l.entity_id,
            jsonb_build_object('start', l.payload -> 'start', 'end', l.payload -> 'end') AS ends
        FROM {s}.sync_event_log AS l
        WHERE starts_with(l.event_type, 'RELATIONSHIP') AND l.payload -> 'start' IS NOT NULL
            AND l.payload -> 'end' IS NOT NULL
        ORDER BY l.entity_type, l.entity_id, l.source_version DESC
    LOOP
        UPDATE {s}.sync_entity_versions AS v SET ends = found.ends
        WHERE v.entity_type = found.entity_type AND v.entity_id = found.entity_id AND v.ends IS NULL;
        COMMIT;
    END LOOP;
    PERFORM set_config('synchronous_commit', before, false);
END
$fill$
"""

_PUBLISH = """
CREATE OR REPLACE FUNCTION {s}.publish_event(
    event_type text,
    entity_type text,
    entity_id text,
    payload jsonb DEFAULT NULL,
    INOUT source_version bigint DEFAULT NULL,
    correlation_id text DEFAULT NULL,
    INOUT event_id uuid DEFAULT NULL
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    wrong record;
    known bigint;
    last bigint;
    told jsonb;
    kept jsonb;
    elsewhere jsonb;
BEGIN
    IF payload IS NULL AND event_type LIKE '%DELETED' THEN
        payload := '{}';
    END IF;
    IF event_type LIKE 'RELATIONSHIP%' AND jsonb_typeof(payload) = 'object' THEN
        payload := jsonb_build_object('type', entity_type, 'properties', '{}'::jsonb) || payload;
    END IF;
    SELECT * INTO wrong FROM {s}.event_problem(
        event_type, entity_type, entity_id, payload, source_version, correlation_id);
    IF wrong.problem IS NOT NULL THEN
        PERFORM {s}.refuse_event(entity_type, entity_id, wrong.problem, wrong.remedy, wrong.code);
    END IF;
    event_id := coalesce(event_id, gen_random_uuid());
    IF event_type LIKE 'RELATIONSHIP%' AND payload -> 'start' IS NOT NULL AND payload -> 'end' IS NOT NULL THEN
        told := jsonb_build_object('start', payload -> 'start', 'end', payload -> 'end');
    END IF;
    INSERT INTO {s}.sync_entity_versions AS v (entity_type, entity_id, last_version, ends)
    VALUES (publish_event.entity_type, publish_event.entity_id, coalesce(publish_event.source_version, 1), told)
    ON CONFLICT ON CONSTRAINT sync_entity_versions_pkey DO NOTHING;
    IF FOUND THEN
        source_version := coalesce(source_version, 1);
        PERFORM {s}.published_before(event_id, event_type, entity_type, entity_id);
    ELSE
        SELECT v.last_version, v.ends INTO STRICT last, kept FROM {s}.sync_entity_versions AS v
        WHERE v.entity_type = publish_event.entity_type AND v.entity_id = publish_event.entity_id FOR NO KEY UPDATE;
        known := {s}.published_before(event_id, event_type, entity_type, entity_id);
        IF known IS NOT NULL THEN
            source_version := known;
            RETURN;
        END IF;
        source_version := {s}.next_version(entity_type, entity_id, last, source_version);
        UPDATE {s}.sync_entity_versions AS v
        SET last_version = publish_event.source_version, ends = coalesce(told, v.ends)
        WHERE v.entity_type = publish_event.entity_type AND v.entity_id = publish_event.entity_id;
        IF event_type = 'RELATIONSHIP_DELETED' AND told IS NULL AND kept @> (payload - 'type' - 'properties') THEN
            payload := kept || payload;
        END IF;
        IF kept <> told THEN
            elsewhere := kept;
        END IF;
    END IF;
    INSERT INTO {s}.sync_event_log
        (event_id, correlation_id, event_type, entity_type, entity_id, payload, source_version, ends_before)
    VALUES (publish_event.event_id, coalesce(publish_event.correlation_id, publish_event.event_id::text),
        publish_event.event_type, publish_event.entity_type, publish_event.entity_id, publish_event.payload,
        publish_event.source_version, elsewhere);
    IF coalesce(current_setting('sync_pipelines.notify', true), '') <> 'off' THEN
        PERFORM pg_notify('sync_event_log', {name});
    END IF;
END
$body$
"""


def upgrade() -> None:
    for statement in (*_TABLE.split(";;"), _PUBLISH):
        execute(_named(statement))
    context = op.get_context()
    with context.autocommit_block():
        # a script that a tool sends as a whole cannot commit within a statement: its rows are held to the end of them
        execute(_named(_FILL.replace("        COMMIT;\n", "") if context.as_sql else _FILL))


def _named(statement: str) -> str:
    """With the schema's name; not by str.format: JSON and the functions' bodies have braces of their own."""
    schema = schema_name()
    return statement.strip().replace("{s}", identifier(schema)).replace("{name}", literal(schema))
