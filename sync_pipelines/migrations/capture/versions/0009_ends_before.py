"""An event bears the ends that its relationship had before it, where it leads elsewhere under the same id.

Revision ID: capture_0009
"""

from sync_pipelines.engine.sql import identifier, literal
from sync_pipelines.migrations import execute, schema_name

revision = "capture_0009"
down_revision = "capture_0008"
branch_labels = None
depends_on = None

# Without a deletion published before it, nothing named the relationship that the id had led to: it stayed in the graph
# until a reconciliation. It is noted with the event: the next one of the id may be published before this is brought.
_TABLE = """
ALTER TABLE {s}.sync_event_log ADD COLUMN ends_before jsonb
;;
COMMENT ON COLUMN {s}.sync_event_log.ends_before IS
    'Start and end that the relationship had until then, where this event tells of others; else null.'
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
    schema = schema_name()
    for statement in (*_TABLE.split(";;"), _PUBLISH):
        # not str.format: JSON and the function's body have braces of their own
        execute(statement.strip().replace("{s}", identifier(schema)).replace("{name}", literal(schema)))
