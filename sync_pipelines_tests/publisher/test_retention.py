"""What may leave the outbox: completed events below the confirmed horizon."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest

from sync_pipelines.engine.errors import MigrationDueError
from sync_pipelines.publisher import OutboxPublisher
from sync_pipelines.sources.postgres.outbox import purge_events
from sync_pipelines_tests.publisher.conftest import Outbox
from sync_pipelines_tests.sql import execute

PUBLISHER = OutboxPublisher()


def publish(connection: Any, *keys: str) -> None:
    """An event of each, in a transaction of its own."""
    for key in keys:
        PUBLISHER.publish_user_updated(connection, entity_id=key, payload={})
        connection.commit()


def complete(outbox: Outbox, *keys: str, days: int = 100, version: int = 1, status: str = "COMPLETED") -> None:
    """These events came to this end so many days ago."""
    outbox.run(
        "UPDATE sync.sync_event_log SET status = %s, completed_at = CASE %s WHEN 'COMPLETED' THEN "
        "now() - make_interval(days => %s) END WHERE entity_id = ANY (%s) AND source_version = %s",
        status, status, days, list(keys), version,
    )  # fmt: skip


def test_completed_events_go_when_they_are_old_enough(outbox: Outbox, connection: Any):
    publish(connection, "a", "b", "c")
    complete(outbox, "a", "b")
    complete(outbox, "c", days=89)
    assert purge_events(outbox.url, batch=1) == 2
    assert outbox.events() == [("c", 1)]
    assert purge_events(outbox.url, keep_days=80) == 1


@pytest.mark.parametrize("status", ["PENDING", "PROCESSING"])
def test_nothing_goes_from_the_oldest_event_on_that_has_not_arrived(outbox: Outbox, connection: Any, status: str):
    publish(connection, "a", "b", "c")
    complete(outbox, "a", "c")
    complete(outbox, "b", status=status)
    assert purge_events(outbox.url) == 1
    assert outbox.events() == [("b", 1), ("c", 1)]


def test_nothing_goes_that_an_open_transaction_may_still_come_before(outbox: Outbox, connection: Any, connect):
    late = connect()
    PUBLISHER.publish_user_updated(late, entity_id="late", payload={})
    publish(connection, "a")
    complete(outbox, "a")
    assert purge_events(outbox.url) == 0
    late.rollback()
    assert purge_events(outbox.url) == 1


@pytest.mark.parametrize("status", ["FAILED", "BLOCKED"])
def test_an_event_that_was_given_up_keeps_those_of_its_own_entity_alone(outbox: Outbox, connection: Any, status: str):
    publish(connection, "a", "a", "b")
    complete(outbox, "a", "b")
    complete(outbox, "a", version=2, status=status)
    assert purge_events(outbox.url) == 1
    assert outbox.events() == [("a", 1), ("a", 2)]


def test_versions_go_on_after_the_events_are_gone(outbox: Outbox, connection: Any):
    publish(connection, "a")
    complete(outbox, "a")
    assert purge_events(outbox.url) == 1
    publish(connection, "a")
    assert outbox.events() == [("a", 2)]


def test_events_that_a_dump_brought_from_another_server_go_too(outbox: Outbox, connection: Any):
    publish(connection, "a", "b")
    complete(outbox, "a", "b")
    outbox.run("UPDATE sync.sync_event_log SET tx = '999999999' WHERE entity_id = 'a'")
    assert purge_events(outbox.url) == 2


def test_an_older_schema_is_told_to_be_upgraded(outbox: Outbox):
    outbox.run("ALTER TABLE sync.sync_event_log RENAME TO old")
    with pytest.raises(MigrationDueError, match="db upgrade"):
        purge_events(outbox.url)


def test_a_role_that_notes_how_far_it_has_read_may_follow_events_after_the_upgrade(empty_database_url: str):
    from sync_pipelines import migrations

    url = empty_database_url
    migrations.upgrade(url, branch="capture", revision="capture_0004")
    execute(url, "DROP ROLE IF EXISTS outbox_reader; CREATE ROLE outbox_reader LOGIN")
    execute(url, "GRANT USAGE ON SCHEMA sync TO outbox_reader")
    execute(url, "GRANT SELECT, INSERT, UPDATE ON sync.capture_readers TO outbox_reader")
    migrations.upgrade(url, branch="capture")
    reader = url.replace("postgres@", "outbox_reader@")
    execute(reader, "UPDATE sync.sync_event_log SET attempts = 1")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(reader, "SELECT sync.publish_event('USER_DELETED', 'user', '1')")
    execute(url, "DROP OWNED BY outbox_reader; DROP ROLE outbox_reader")
