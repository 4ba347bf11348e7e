"""The rules that the database keeps, for applications in any language; and what its errors become in Python."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import psycopg2
import pytest

from sync_pipelines.publisher import (
    MAX_PAYLOAD_BYTES,
    EventIdConflictError,
    InvalidEventError,
    NotInstalledError,
    OutboxPublisher,
    PayloadTooLargeError,
    SyncEvent,
    VersionConflictError,
    relationship,
)
from sync_pipelines_tests.publisher.conftest import ROLE, Outbox, sql
from sync_pipelines_tests.publisher.test_publishing import run_async

PUBLISHER = OutboxPublisher()
ENDS: dict[str, Any] = relationship(start=("concept", "c1"), end=("concept", "c2"))


def event(**changes: Any) -> SyncEvent:
    return SyncEvent(**{"event_type": "CONTENT_UPDATED", "entity_type": "concept", "entity_id": "c1"} | changes)


def test_an_application_in_any_language_publishes_by_one_call(outbox: Outbox, connection: Any):
    call = "SELECT * FROM sync.publish_event('CONTENT_CREATED', 'concept', 'c1', '{\"title\": \"Fractions\"}')"
    [(version, event_id)] = sql(connection, call)
    named = (
        "SELECT source_version FROM sync.publish_event(event_type => 'CONTENT_DELETED', entity_type => 'concept', "
        "entity_id => 'c1', source_version => 9, correlation_id => 'night')"
    )
    assert sql(connection, named) == [(9,)]
    connection.commit()
    assert outbox.events("source_version, event_type, payload, correlation_id") == [
        (version, "CONTENT_CREATED", {"title": "Fractions"}, event_id),
        (9, "CONTENT_DELETED", {}, "night"),
    ]
    assert version == 1


FORBIDDEN = (
    "SELECT count(*) FROM sync.sync_event_log",
    "SELECT count(*) FROM sync.sync_entity_versions",
    "INSERT INTO sync.sync_entity_versions VALUES ('a', 'b', 1)",
    "UPDATE sync.sync_event_log SET status = 'FAILED'",
    "DELETE FROM sync.sync_event_log",
    "SELECT sync.refuse_event('a', 'b', 'c', 'd', 'SY001')",
    "SELECT sync.next_version('a', 'b', 1, 2)",
    "SELECT sync.published_before(NULL, 'a', 'b', 'c')",
)


def test_the_applications_role_may_publish_and_nothing_else(outbox: Outbox, connect):
    for statement in FORBIDDEN:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            sql(connect(), statement)
    assert PUBLISHER.publish(connect(), event()).source_version == 1
    granted = (
        "SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'sync'::regnamespace AND has_function_privilege"
    )
    assert outbox.run(f"{granted}('{ROLE}', p.oid, 'EXECUTE')") == [("publish_event",)]


def test_a_session_of_odd_settings_publishes_what_every_other_does(outbox: Outbox, connection: Any):
    """A function that runs with its owner's rights must not be lured by the caller's search_path or tables."""
    outbox.run("CREATE SCHEMA lure; CREATE TABLE lure.sync_event_log (id int)")
    outbox.run("CREATE FUNCTION lure.jsonb_typeof(jsonb) RETURNS text LANGUAGE sql AS $$ SELECT 'object' $$")
    outbox.run(f"GRANT USAGE ON SCHEMA lure TO {ROLE}; GRANT ALL ON ALL TABLES IN SCHEMA lure TO {ROLE}")
    sql(
        connection,
        "SET search_path = lure, pg_catalog; SET standard_conforming_strings = off; SET TimeZone = 'Asia/Tokyo'",
    )
    with pytest.raises(psycopg2.Error, match="no object but array"):
        sql(connection, "SELECT sync.publish_event('USER_CREATED', 'user', 'u', '[]')")
    connection.rollback()
    sql(connection, "SET search_path = lure, pg_catalog")
    assert PUBLISHER.publish(connection, event(payload={"x": "a\\b'c"})).source_version == 1
    connection.commit()
    assert outbox.events("payload") == [({"x": "a\\b'c"},)]


NONSENSE = {
    "an unknown type": ("'CONTENT_CHANGED', 'concept', 'c1', '{}'", "'CONTENT_CHANGED' is unknown"),
    "no type": ("NULL, 'concept', 'c1', '{}'", "NULL is unknown"),
    "no entity type": ("'USER_CREATED', NULL, 'c1', '{}'", "its entity_type is missing"),
    "no id": ("'USER_CREATED', 'user', NULL, '{}'", "entity_id is missing"),
    "an empty id": ("'USER_CREATED', 'user', '', '{}'", "entity_id is missing"),
    "an id that no index holds": ("'USER_CREATED', 'user', repeat('x', 1025), '{}'", "longer than 1024 bytes"),
    "a list": ("'USER_CREATED', 'user', 'u', '[1]'", "no object but array"),
    "a null of JSON": ("'USER_CREATED', 'user', 'u', 'null'", "no object but null"),
    "no payload": ("'USER_UPDATED', 'user', 'u'", "no object but missing"),
    "a version of 0": ("'USER_CREATED', 'user', 'u', '{}', 0", "source_version 0 is below 1"),
    "an empty correlation id": ("'USER_CREATED', 'user', 'u', '{}', NULL, ''", "correlation_id is empty"),
    "a relationship without ends": ("'RELATIONSHIP_CREATED', 'r', 'r1', '{}'", '"start" with type and id'),
    "a relationship's list": ("'RELATIONSHIP_CREATED', 'r', 'r1', '[]'", "no object but array"),
}


@pytest.mark.parametrize(("arguments", "words"), NONSENSE.values(), ids=NONSENSE)
def test_the_database_refuses_nonsense_itself(connection: Any, arguments: str, words: str):
    with pytest.raises(psycopg2.Error, match=f"The event of .* was refused: .*{words}") as caught:
        sql(connection, f"SELECT sync.publish_event({arguments})")
    assert caught.value.pgcode == "SY001"
    assert caught.value.diag.message_hint


NO_RELATIONSHIP = {
    "no end": ({"end": None}, '"end" with type'),
    "an end that is a text": ({"end": "c2"}, '"end" with type'),
    "an end without an id": ({"start": {"type": "concept"}}, '"start" with type'),
    "an end of an empty id": ({"start": {"type": "concept", "id": ""}}, '"start" with type'),
    "an end without a type": ({"start": {"id": "c1"}}, '"start" with type'),
    "an end whose id is a list": ({"start": {"type": "concept", "id": [1]}}, '"start" with type'),
    "properties beside": ({"weight": 3}, "'weight' is no part"),
    "properties that are none": ({"properties": [1]}, '"properties" are no object'),
    "a type that is no text": ({"type": 7}, '"type" is no text'),
    "an empty type": ({"type": ""}, '"type" is no text'),
}


@pytest.mark.parametrize(("changes", "words"), NO_RELATIONSHIP.values(), ids=NO_RELATIONSHIP)
def test_a_relationship_that_is_none_is_refused_where_it_is_published(connection: Any, changes: dict, words: str):
    with pytest.raises(InvalidEventError, match=f"requires 'r1'.*{words}") as caught:
        PUBLISHER.publish_relationship_created(
            connection, entity_type="requires", entity_id="r1", payload=ENDS | changes
        )
    assert "start" in caught.value.remedy


def test_a_deleted_relationship_may_leave_its_ends_out_but_not_name_half_of_one(connection: Any):
    deleted = {"entity_type": "requires", "entity_id": "r1"}
    assert PUBLISHER.publish_relationship_deleted(connection, **deleted).source_version == 1
    assert PUBLISHER.publish_relationship_deleted(connection, **deleted, payload=ENDS).source_version == 2
    with pytest.raises(InvalidEventError, match='"end"'):
        PUBLISHER.publish_relationship_deleted(connection, **deleted, payload={"end": {"type": "concept"}})


def test_a_deletion_without_ends_has_those_of_the_last_event_that_told_them(outbox: Outbox, connection: Any):
    r1 = {"entity_type": "requires", "entity_id": "r1"}
    moved = ENDS | {"end": {"type": "concept", "id": "c9"}}
    PUBLISHER.publish_relationship_created(connection, **r1, payload=ENDS)
    PUBLISHER.publish_relationship_deleted(connection, **r1)
    PUBLISHER.publish_relationship_created(connection, **r1, payload=moved)
    PUBLISHER.publish_relationship_deleted(connection, **r1, payload={"start": moved["start"]})
    other = {"start": {"type": "concept", "id": "another"}}
    PUBLISHER.publish_relationship_deleted(connection, **r1, payload=other)  # half of another one is not made whole
    PUBLISHER.publish_relationship_deleted(connection, **r1)
    connection.commit()
    ends = [{name: payload.get(name) for name in ("start", "end")} for (payload,) in outbox.events("payload")]
    first, then = ({name: payload[name] for name in ("start", "end")} for payload in (ENDS, moved))
    assert ends == [first, first, then, then, other | {"end": None}, then]
    assert outbox.events("ends_before") == [(None,), (None,), (first,), (None,), (None,), (None,)]


def test_a_version_is_above_the_last_one_or_given(outbox: Outbox, connection: Any):
    assert PUBLISHER.publish(connection, event(source_version=5)).source_version == 5
    assert PUBLISHER.publish(connection, event()).source_version == 6
    assert PUBLISHER.publish(connection, event(source_version=20)).source_version == 20
    connection.commit()
    for version in (20, 19, 1):
        with pytest.raises(VersionConflictError, match=f"concept 'c1'.*version {version} is not above 20") as caught:
            PUBLISHER.publish(connection, event(source_version=version))
        assert "without one" in caught.value.remedy
        connection.rollback()
    assert PUBLISHER.publish(connection, event(entity_id="c2")).source_version == 1
    assert PUBLISHER.publish(connection, event(entity_type="lesson")).source_version == 1


def test_after_the_last_of_all_versions_there_is_no_next_and_the_remedy_is_one(outbox: Outbox, connection: Any):
    PUBLISHER.publish(connection, event(source_version=2**63 - 1))
    connection.commit()
    for version in (None, 5, 2**63 - 1):
        with pytest.raises(VersionConflictError, match=r"concept 'c1'.*is 9223372036854775807, the highest") as caught:
            PUBLISHER.publish(connection, event(source_version=version))
        assert "lower its last_version in sync_entity_versions" in caught.value.remedy
        assert "higher version" not in caught.value.remedy
        connection.rollback()
    outbox.run("UPDATE sync.sync_entity_versions SET last_version = 7")
    assert PUBLISHER.publish(connection, event()).source_version == 8


def test_the_same_event_id_twice_is_one_event_whatever_its_version(outbox: Outbox, connection: Any):
    given = event(source_version=5, payload={"x": 1})
    PUBLISHER.publish(connection, given)
    connection.commit()
    for version in (None, 5, 3, 9):
        again = event(event_id=given.event_id, source_version=version, payload={"x": 2})
        assert PUBLISHER.publish(connection, again).source_version == 5
    assert PUBLISHER.publish(connection, event(source_version=6)).source_version == 6
    connection.commit()
    assert outbox.events("payload, source_version") == [({"x": 1}, 5), ({}, 6)]


def test_one_event_twice_among_many_is_one(outbox: Outbox, connection: Any):
    given = event()
    published = PUBLISHER.publish_many(connection, [given, event(), given])
    connection.commit()
    assert [item.source_version for item in published] == [1, 2, 1]
    assert outbox.versions() == [1, 2]


@pytest.mark.parametrize("change", [{"entity_id": "c2"}, {"entity_type": "lesson"}, {"event_type": "CONTENT_DELETED"}])
def test_an_event_id_of_another_event_is_refused(connection: Any, change: dict):
    given = event()
    PUBLISHER.publish_many(connection, [given, event(entity_id="c2"), event(entity_id="c3")])
    connection.commit()
    for values in (change, change | {"source_version": 9}):
        with pytest.raises(EventIdConflictError, match=f"{given.event_id} is that of CONTENT_UPDATED of concept 'c1'"):
            PUBLISHER.publish(connection, event(event_id=given.event_id, **values))
        connection.rollback()


def test_the_limit_of_a_payload_is_the_databases_too(connection: Any):
    fits = json.dumps({"x": "a" * (MAX_PAYLOAD_BYTES - len('{"x": ""}'))})
    call = "SELECT sync.publish_event('USER_CREATED', 'user', 'u', %s::jsonb)"
    sql(connection, call, fits)
    with pytest.raises(psycopg2.Error, match=f"larger than {MAX_PAYLOAD_BYTES}") as caught:
        sql(connection, call, fits.replace("a", "aa", 1))
    assert caught.value.pgcode == "SY004"


def test_a_number_that_only_postgresql_writes_out_is_too_large_there(connection: Any):
    with pytest.raises(PayloadTooLargeError, match="concept 'c1'"):
        PUBLISHER.publish(connection, event(payload={"x": [1e300] * 20_000}))


def test_errors_are_the_same_on_an_async_connection(outbox: Outbox):
    async def work(engine: Any) -> None:
        async with engine.connect() as connection:
            await PUBLISHER.publish(connection, event(source_version=5))
            with pytest.raises(VersionConflictError, match="version 4 is not above 5") as caught:
                await PUBLISHER.publish(connection, event(source_version=4))
            assert "higher version" in caught.value.remedy

    run_async(outbox, work)


def test_without_the_schema_or_a_right_the_remedy_is_named(outbox: Outbox, connection: Any):
    with pytest.raises(NotInstalledError, match=r"schema 'other'.*db upgrade"):
        OutboxPublisher("other").publish(connection, event())
    connection.rollback()
    outbox.run(f"REVOKE EXECUTE ON FUNCTION sync.publish_event FROM {ROLE}")
    with pytest.raises(NotInstalledError, match=r"may not publish.*GRANT USAGE ON SCHEMA sync"):
        PUBLISHER.publish(connection, event())


def test_what_is_no_refusal_stays_what_the_driver_raised(connection: Any):
    sql(connection, "SET TRANSACTION READ ONLY")
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        PUBLISHER.publish(connection, event())


def test_a_listener_is_woken_once_a_transaction(outbox: Outbox, connection: Any):
    listening = psycopg2.connect(outbox.plain_url)
    listening.autocommit = True
    sql(listening, "LISTEN sync_event_log")

    def heard() -> list[str]:
        sql(listening, "SELECT")
        listening.poll()
        found = [notice.payload for notice in listening.notifies]
        listening.notifies.clear()
        return found

    PUBLISHER.publish_many(connection, [event(entity_id=str(number)) for number in range(50)])
    assert heard() == []
    connection.commit()
    assert heard() == ["sync"]
    sql(connection, "SET LOCAL sync_pipelines.notify = off")
    PUBLISHER.publish(connection, event())
    connection.commit()
    assert heard() == []
    PUBLISHER.publish(connection, event())
    connection.commit()
    assert heard() == ["sync"]
    listening.close()


def test_an_event_without_a_correlation_belongs_to_itself(outbox: Outbox, connection: Any):
    given = event(event_id=uuid4())
    PUBLISHER.publish(connection, given)
    connection.commit()
    assert outbox.events("correlation_id") == [(given.event_id,)]


@pytest.mark.parametrize(
    "change", ["status = 'DONE'", "status = 'COMPLETED'", "attempts = -1", "completed_at = now()", "payload = '[]'"]
)
def test_the_log_holds_no_state_that_there_is_not(outbox: Outbox, connection: Any, change: str):
    PUBLISHER.publish(connection, event())
    connection.commit()
    with pytest.raises(psycopg2.errors.CheckViolation):
        outbox.run(f"UPDATE sync.sync_event_log SET {change}")


FIRST_THAT_WAIT = (
    "SELECT id FROM sync.sync_event_log WHERE entity_type = 'user' AND status IN ('PENDING', 'PROCESSING') "
    "AND tx < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY tx, id LIMIT 50"
)
LOWER_THAT_ARE_OPEN = (
    "SELECT id FROM sync.sync_event_log WHERE entity_type = 'user' AND entity_id = '7' AND source_version < 19990 "
    "AND status <> 'COMPLETED'"
)
OLD_THAT_ARE_COMPLETED = (
    "SELECT id FROM sync.sync_event_log WHERE status = 'COMPLETED' AND completed_at < now() - interval '1 day' "
    "ORDER BY completed_at LIMIT 50"
)


@pytest.mark.parametrize(
    ("query", "index"),
    [(FIRST_THAT_WAIT, "due"), (LOWER_THAT_ARE_OPEN, "open"), (OLD_THAT_ARE_COMPLETED, "completed")],
)
def test_a_reader_walks_no_event_that_it_has_done(outbox: Outbox, query: str, index: str):
    outbox.run(
        "INSERT INTO sync.sync_event_log (event_id, correlation_id, event_type, entity_type, entity_id, payload, "
        "source_version, status, completed_at) SELECT gen_random_uuid(), n, 'USER_UPDATED', 'user', n % 1000, '{}', n, "
        "CASE WHEN n < 18000 THEN 'COMPLETED' ELSE 'PENDING' END, CASE WHEN n < 18000 THEN now() END "
        "FROM generate_series(1, 20000) AS n"
    )
    outbox.run("ANALYZE sync.sync_event_log")
    # While another session of the server is older than these events none may be read, and the planner expects none.
    for _ in range(600):
        if outbox.run("SELECT max(tx) < pg_snapshot_xmin(pg_current_snapshot()) FROM sync.sync_event_log") == [(True,)]:
            break
        time.sleep(0.1)
    plan = "\n".join(line for (line,) in outbox.run(f"EXPLAIN (COSTS OFF) {query}"))
    assert f"using sync_event_log_{index}_idx" in plan
    assert "Sort" not in plan
    assert "Filter" not in plan
