"""The outbox: events that an application publishes in its own transactions, and the function by which it does.

Revision ID: capture_0005
"""

from sync_pipelines.engine.sql import identifier, literal
from sync_pipelines.migrations import execute, schema_name

revision = "capture_0005"
down_revision = "capture_0004"
branch_labels = None
depends_on = None

# `source_version` and nothing else orders the events of one entity: transaction ids and row ids do not.
# The reader walks sync_event_log_waiting_idx from the lowest transaction on: what is completed, failed or blocked is
# not in it. At 10 million rows the default of autovacuum would leave 2 million dead entries at its beginning.
_TABLES = """
CREATE TABLE {s}.sync_entity_versions (
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    last_version bigint NOT NULL,
    CONSTRAINT sync_entity_versions_pkey PRIMARY KEY (entity_type, entity_id)
) WITH (fillfactor = 80)
;;
CREATE TABLE {s}.sync_event_log (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT sync_event_log_pkey PRIMARY KEY,
    tx xid8 NOT NULL DEFAULT pg_current_xact_id(),
    event_id uuid NOT NULL CONSTRAINT sync_event_log_event_id_key UNIQUE,
    correlation_id text NOT NULL,
    event_type text NOT NULL,
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    payload jsonb NOT NULL,
    source_version bigint NOT NULL,
    status text NOT NULL DEFAULT 'PENDING',
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz,
    retry_at timestamptz,
    completed_at timestamptz,
    CONSTRAINT sync_event_log_event_type_check CHECK (event_type IN ('CONTENT_CREATED', 'CONTENT_UPDATED',
        'CONTENT_DELETED', 'RELATIONSHIP_CREATED', 'RELATIONSHIP_DELETED', 'USER_CREATED', 'USER_UPDATED',
        'USER_DELETED')),
    CONSTRAINT sync_event_log_status_check
        CHECK (status IN ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED', 'BLOCKED')),
    CONSTRAINT sync_event_log_completed_check CHECK ((status = 'COMPLETED') = (completed_at IS NOT NULL)),
    CONSTRAINT sync_event_log_payload_check CHECK (jsonb_typeof(payload) = 'object'),
    CONSTRAINT sync_event_log_version_check CHECK (source_version > 0),
    CONSTRAINT sync_event_log_attempts_check CHECK (attempts >= 0)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000)
;;
CREATE INDEX sync_event_log_waiting_idx ON {s}.sync_event_log (tx, id) WHERE status IN ('PENDING', 'PROCESSING')
;;
CREATE INDEX sync_event_log_open_idx ON {s}.sync_event_log (entity_type, entity_id, source_version)
    WHERE status <> 'COMPLETED'
;;
CREATE INDEX sync_event_log_completed_idx ON {s}.sync_event_log (completed_at) WHERE status = 'COMPLETED'
;;
CREATE INDEX sync_event_log_correlation_idx ON {s}.sync_event_log (correlation_id)
"""

_COMMENTS = """
COMMENT ON TABLE {s}.sync_entity_versions IS
    'The last version that was published of each entity; publishing locks its row to the end of the transaction.'
;;
COMMENT ON TABLE {s}.sync_event_log IS
    'The outbox: one row an event, written by publish_event in the transaction that changes the entity.'
;;
COMMENT ON COLUMN {s}.sync_event_log.id IS 'Row number; it orders nothing.'
;;
COMMENT ON COLUMN {s}.sync_event_log.tx IS
    'The transaction that published it; read below the oldest open one (pg_snapshot_xmin) alone.'
;;
COMMENT ON COLUMN {s}.sync_event_log.event_id IS 'Names the event; published twice it is one event.'
;;
COMMENT ON COLUMN {s}.sync_event_log.correlation_id IS 'What the event belongs to; its own id unless said otherwise.'
;;
COMMENT ON COLUMN {s}.sync_event_log.event_type IS 'What happened to the entity.'
;;
COMMENT ON COLUMN {s}.sync_event_log.entity_type IS 'The sort of entity, such as concept or prerequisite_of.'
;;
COMMENT ON COLUMN {s}.sync_event_log.entity_id IS 'The entity''s key, as text.'
;;
COMMENT ON COLUMN {s}.sync_event_log.payload IS
    'CREATED: the whole entity; UPDATED: what changed, null removes; RELATIONSHIP: type, start, end and properties.'
;;
COMMENT ON COLUMN {s}.sync_event_log.source_version IS 'Orders the events of one entity.'
;;
COMMENT ON COLUMN {s}.sync_event_log.status IS
    'PENDING, PROCESSING, COMPLETED, FAILED (it was given up) or BLOCKED (it waits for another event).'
;;
COMMENT ON COLUMN {s}.sync_event_log.attempts IS 'How often the target refused it; outages do not count.'
;;
COMMENT ON COLUMN {s}.sync_event_log.last_error IS 'Why it was refused, or what it waits for, without secrets.'
;;
COMMENT ON COLUMN {s}.sync_event_log.created_at IS 'When the application published it.'
;;
COMMENT ON COLUMN {s}.sync_event_log.updated_at IS 'When its status last changed.'
;;
COMMENT ON COLUMN {s}.sync_event_log.published_at IS 'When a consumer first took it, to bring it to the target.'
;;
COMMENT ON COLUMN {s}.sync_event_log.retry_at IS 'Not before then is it tried again; null where nothing was refused.'
;;
COMMENT ON COLUMN {s}.sync_event_log.completed_at IS 'When the target had it.'
"""

# Limits: an index entry of PostgreSQL holds 2.7 kB, and a payload is one parameter, one row and one property map.
# What is wrong comes back as words, so that one place raises it.
_RULES = """
CREATE FUNCTION {s}.relationship_problem(event_type text, payload jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $body$
DECLARE
    side text;
    stranger text;
BEGIN
    SELECT k INTO stranger FROM jsonb_object_keys(payload) AS k WHERE k NOT IN ('type', 'start', 'end', 'properties');
    IF FOUND THEN
        RETURN format('%L is no part of a relationship''s payload', left(stranger, 100));
    ELSIF coalesce(payload ->> 'type', '') = '' OR jsonb_typeof(payload -> 'type') <> 'string' THEN
        RETURN 'its "type" is no text';
    ELSIF jsonb_typeof(payload -> 'properties') <> 'object' THEN
        RETURN 'its "properties" are no object';
    END IF;
    FOREACH side IN ARRAY ARRAY['start', 'end'] LOOP
        IF event_type = 'RELATIONSHIP_DELETED' AND NOT payload ? side THEN
            CONTINUE;
        ELSIF jsonb_typeof(payload -> side) IS DISTINCT FROM 'object'
            OR jsonb_typeof(payload -> side -> 'type') IS DISTINCT FROM 'string'
            OR coalesce(jsonb_typeof(payload -> side -> 'id'), '') NOT IN ('string', 'number')
            OR payload -> side ->> 'type' = '' OR payload -> side ->> 'id' = '' THEN
            RETURN format('it has no "%s" with type and id', side);
        END IF;
    END LOOP;
    RETURN NULL;
END
$body$
;;
CREATE FUNCTION {s}.event_problem(
    event_type text, entity_type text, entity_id text, payload jsonb, source_version bigint, correlation_id text,
    OUT problem text, OUT remedy text, OUT code text
) LANGUAGE plpgsql IMMUTABLE AS $body$
DECLARE
    size integer;
    types CONSTANT text[] := ARRAY['CONTENT_CREATED', 'CONTENT_UPDATED', 'CONTENT_DELETED', 'RELATIONSHIP_CREATED',
        'RELATIONSHIP_DELETED', 'USER_CREATED', 'USER_UPDATED', 'USER_DELETED'];
BEGIN
    code := 'SY001';
    IF coalesce(entity_type, '') = '' OR octet_length(entity_type) > 256 THEN
        problem := 'its entity_type is missing or longer than 256 bytes';
        remedy := 'Name the sort of entity, such as concept.';
    ELSIF coalesce(entity_id, '') = '' OR octet_length(entity_id) > 1024 THEN
        problem := 'its entity_id is missing or longer than 1024 bytes';
        remedy := 'Give the key of the entity, as text.';
    ELSIF event_type IS NULL OR event_type <> ALL (types) THEN
        problem := format('its event_type %L is unknown', left(event_type, 100));
        remedy := format('It is one of %s.', array_to_string(types, ', '));
    ELSIF correlation_id = '' OR octet_length(correlation_id) > 256 THEN
        problem := 'its correlation_id is empty or longer than 256 bytes';
        remedy := 'Give a shorter one, or none.';
    ELSIF source_version < 1 THEN
        problem := format('its source_version %s is below 1', source_version);
        remedy := 'Versions begin at 1; without one the next is given.';
    ELSIF jsonb_typeof(payload) IS DISTINCT FROM 'object' THEN
        problem := format('its payload is no object but %s', coalesce(jsonb_typeof(payload), 'missing'));
        remedy := 'Give the properties of the entity, by name.';
    END IF;
    IF problem IS NOT NULL THEN
        RETURN;
    END IF;
    size := octet_length(payload::text);
    IF size > 4194304 THEN
        problem := format('its payload of %s bytes is larger than 4194304', size);
        remedy := 'Leave out what the target does not need, or publish a reference to it.';
        code := 'SY004';
    ELSIF event_type LIKE 'RELATIONSHIP%' THEN
        problem := {s}.relationship_problem(event_type, payload);
        remedy := 'A relationship carries type, start {"type", "id"}, end {"type", "id"} and properties.';
    END IF;
END
$body$
;;
CREATE FUNCTION {s}.refuse_event(entity_type text, entity_id text, problem text, remedy text, code text) RETURNS void
LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, HINT = remedy, MESSAGE = format('The event of %s %L was refused: %s.',
        coalesce(left(entity_type, 100), '(no entity_type)'), left(entity_id, 100), problem);
END
$body$
"""

# The lock order is: the row of sync_entity_versions, then the event. So one event published by two transactions at
# once, and two events of one entity, wait at the first and nowhere else. A first version waits at the primary key for
# another first one. Statements see what was committed while they waited (under REPEATABLE READ they fail with 40001).
# ON CONFLICT names constraints: of (event_id) the parameter would be taken.
_PUBLISH = """
CREATE FUNCTION {s}.published_before(event_id uuid, event_type text, entity_type text, entity_id text) RETURNS bigint
LANGUAGE plpgsql AS $body$
DECLARE
    known record;
BEGIN
    SELECT l.source_version, l.event_type, l.entity_type, l.entity_id INTO known
    FROM {s}.sync_event_log AS l WHERE l.event_id = published_before.event_id;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF (known.event_type, known.entity_type, known.entity_id) <> (event_type, entity_type, entity_id) THEN
        PERFORM {s}.refuse_event(entity_type, entity_id, format('its event_id %s is that of %s of %s %L',
            event_id, known.event_type, known.entity_type, left(known.entity_id, 100)),
            'Give each event an id of its own, or none.', 'SY003');
    END IF;
    RETURN known.source_version;
END
$body$
;;
CREATE FUNCTION {s}.next_version(entity_type text, entity_id text, last_version bigint, source_version bigint)
RETURNS bigint LANGUAGE plpgsql AS $body$
BEGIN
    IF last_version = 9223372036854775807 OR source_version <= last_version THEN
        PERFORM {s}.refuse_event(entity_type, entity_id,
            format('version %s is not above %s, the last one that was published',
                coalesce(source_version::text, 'next'), last_version),
            'Publish it with a higher version, or without one: then the next is given.', 'SY002');
    END IF;
    RETURN coalesce(source_version, last_version + 1);
END
$body$
;;
CREATE FUNCTION {s}.publish_event(
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
    INSERT INTO {s}.sync_entity_versions AS v (entity_type, entity_id, last_version)
    VALUES (publish_event.entity_type, publish_event.entity_id, coalesce(publish_event.source_version, 1))
    ON CONFLICT ON CONSTRAINT sync_entity_versions_pkey DO NOTHING;
    IF FOUND THEN
        source_version := coalesce(source_version, 1);
        PERFORM {s}.published_before(event_id, event_type, entity_type, entity_id);
    ELSE
        SELECT v.last_version INTO STRICT last FROM {s}.sync_entity_versions AS v
        WHERE v.entity_type = publish_event.entity_type AND v.entity_id = publish_event.entity_id FOR NO KEY UPDATE;
        known := {s}.published_before(event_id, event_type, entity_type, entity_id);
        IF known IS NOT NULL THEN
            source_version := known;
            RETURN;
        END IF;
        source_version := {s}.next_version(entity_type, entity_id, last, source_version);
        UPDATE {s}.sync_entity_versions AS v SET last_version = publish_event.source_version
        WHERE v.entity_type = publish_event.entity_type AND v.entity_id = publish_event.entity_id;
    END IF;
    INSERT INTO {s}.sync_event_log
        (event_id, correlation_id, event_type, entity_type, entity_id, payload, source_version)
    VALUES (publish_event.event_id, coalesce(publish_event.correlation_id, publish_event.event_id::text),
        publish_event.event_type, publish_event.entity_type, publish_event.entity_id, publish_event.payload,
        publish_event.source_version);
    IF coalesce(current_setting('sync_pipelines.notify', true), '') <> 'off' THEN
        PERFORM pg_notify('sync_event_log', {name});
    END IF;
END
$body$
;;
COMMENT ON FUNCTION {s}.publish_event(text, text, text, jsonb, bigint, text, uuid) IS
    'Publish an event in this transaction; gives its version and id. A role needs EXECUTE, and USAGE on the schema.'
"""

_FUNCTIONS = (
    "relationship_problem(text, jsonb)",
    "event_problem(text, text, text, jsonb, bigint, text)",
    "refuse_event(text, text, text, text, text)",
    "published_before(uuid, text, text, text)",
    "next_version(text, text, bigint, bigint)",
    "publish_event(text, text, text, jsonb, bigint, text, uuid)",
)

# Whoever may note how far it has read the change log may consume events, too: the owner of that table as well, where
# another role upgrades.
_RIGHTS = """
DO $rights$
DECLARE held record; owner name;
BEGIN
    SELECT pg_get_userbyid(c.relowner) INTO owner FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = {name} AND c.relname = 'capture_readers';
    IF owner <> current_user THEN
        EXECUTE format('GRANT SELECT, UPDATE, DELETE ON %I.sync_event_log TO %I', {name}, owner);
        EXECUTE format('GRANT SELECT ON %I.sync_entity_versions TO %I', {name}, owner);
    END IF;
    FOR held IN
        SELECT a.privilege_type AS privilege,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace CROSS JOIN aclexplode(c.relacl) AS a
        WHERE n.nspname = {name} AND c.relname = 'capture_readers' AND a.grantee NOT IN (c.relowner, 0)
        AND a.privilege_type IN ('SELECT', 'UPDATE')
    LOOP
        EXECUTE format('GRANT %s ON %I.sync_event_log TO %s', held.privilege, {name}, held.role);
    END LOOP;
END
$rights$
"""


def _run(statements: str) -> None:
    schema = schema_name()
    for statement in statements.split(";;"):
        # not str.format: JSON and the functions' bodies have braces of their own
        execute(statement.strip().replace("{s}", identifier(schema)).replace("{name}", literal(schema)))


def upgrade() -> None:
    for statements in (_TABLES, _COMMENTS, _RULES, _PUBLISH):
        _run(statements)
    for function in _FUNCTIONS:
        _run(f"REVOKE ALL ON FUNCTION {{s}}.{function} FROM PUBLIC")
    _run(_RIGHTS)
