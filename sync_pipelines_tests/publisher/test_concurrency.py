"""Publishers at the same time: versions without gaps, and no deadlock that the rows' own locks do not have."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest

from sync_pipelines.publisher import OutboxPublisher, SyncEvent
from sync_pipelines_tests.publisher.conftest import Outbox, sql

PUBLISHER = OutboxPublisher()


def event(key: str = "c1", **values: Any) -> SyncEvent:
    return SyncEvent(event_type="CONTENT_UPDATED", entity_type="concept", entity_id=key, **values)


@pytest.fixture
def beside():
    """Runs something beside the test, until the end of it."""
    with ThreadPoolExecutor() as threads:
        yield lambda work, *arguments: threads.submit(work, *arguments)


def publish_and_commit(connection: Any, *events: SyncEvent) -> list[int]:
    published = PUBLISHER.publish_many(connection, events)
    connection.commit()
    return [item.source_version for item in published]


def wait_until_blocked(outbox: Outbox, number: int = 1) -> list[str]:
    """What those wait in that wait for a lock."""
    waiting = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 30
    while len(found := [query for (query,) in outbox.run(waiting)]) < number:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("known", [False, True], ids=["a new entity", "a known entity"])
def test_later_publishers_of_an_entity_wait_and_get_the_next_versions(outbox: Outbox, connect, beside, known):
    before = publish_and_commit(connect(), event()) if known else []
    first = connect()
    PUBLISHER.publish(first, event())
    later = [beside(publish_and_commit, connect(), event()) for _ in range(4)]
    wait_until_blocked(outbox, 4)
    first.commit()
    following = len(before) + 2
    assert sorted(version for future in later for version in future.result(30)) == list(range(following, following + 4))
    assert outbox.versions() == list(range(1, following + 4))


@pytest.mark.parametrize("known", [False, True], ids=["a new entity", "a known entity"])
def test_where_the_first_publisher_rolls_back_its_version_is_given_again(outbox: Outbox, connect, beside, known):
    before = publish_and_commit(connect(), event()) if known else []
    first, second = connect(), connect()
    PUBLISHER.publish(first, event(source_version=7))
    later = beside(publish_and_commit, second, event())
    wait_until_blocked(outbox)
    first.rollback()
    assert later.result(30) == [len(before) + 1]
    assert outbox.versions() == list(range(1, len(before) + 2))


@pytest.mark.parametrize("version", [None, 9])
def test_one_event_by_two_publishers_at_once_is_one(outbox: Outbox, connect, beside, version):
    first, second = connect(), connect()
    given = event()
    PUBLISHER.publish(first, given)
    later = beside(publish_and_commit, second, event(event_id=given.event_id, source_version=version))
    wait_until_blocked(outbox)
    first.commit()
    assert later.result(30) == [1]
    assert publish_and_commit(second, event()) == [2]
    assert outbox.versions() == [1, 2]


def test_publishers_of_other_entities_do_not_wait(outbox: Outbox, connect):
    first, second = connect(), connect(options="-c lock_timeout=1000")
    PUBLISHER.publish(first, event("c1"))
    assert publish_and_commit(second, event("c2")) == [1]
    first.rollback()
    assert outbox.events() == [("c2", 1)]


def test_whoever_publishes_after_the_change_waits_at_the_row_and_holds_no_version(outbox: Outbox, connect, beside):
    """So everybody queues at the row, and the order of the versions' locks is that of the rows'."""
    outbox.run("INSERT INTO concept VALUES ('c1', 'Fractions'), ('c2', 'Ratios')")
    first, second, third = connect(), connect(), connect(options="-c lock_timeout=1000")

    def change(connection: Any, key: str) -> None:
        sql(connection, "UPDATE concept SET opened = opened + 1 WHERE id = %s", key)
        PUBLISHER.publish(connection, event(key))

    def change_and_commit(connection: Any, key: str) -> None:
        change(connection, key)
        connection.commit()

    change(first, "c1")
    later = beside(change_and_commit, second, "c1")
    [query] = wait_until_blocked(outbox)
    assert "UPDATE concept" in query
    change_and_commit(third, "c2")
    change(first, "c2")
    first.commit()
    later.result(30)
    assert outbox.versions("c1") == outbox.versions("c2") == [1, 2]


def test_many_are_locked_in_the_order_of_their_keys_however_they_are_given(outbox: Outbox, connect, beside):
    """While one waits for c1 it holds nothing that comes later: c2 is free for whoever holds c1."""
    first, second = connect(options="-c lock_timeout=1000"), connect()
    PUBLISHER.publish(first, event("c1"))
    later = beside(publish_and_commit, second, event("c3"), event("c2"), event("c1"))
    wait_until_blocked(outbox)
    assert PUBLISHER.publish_many(first, [event("c3"), event("c2")])[1].source_version == 1
    first.commit()
    assert later.result(30) == [2, 2, 2]


@pytest.mark.slow
def test_twenty_publishers_with_late_commits_make_no_gap_no_double_and_no_deadlock(outbox: Outbox, connect, beside):
    """Each changes some rows in the order of their keys and publishes after each change, as an application does."""
    keys = [f"c{number}" for number in range(8)]
    outbox.run("INSERT INTO concept SELECT 'c' || n FROM generate_series(0, 7) AS n")
    done: list[tuple[str, int]] = []
    lock = threading.Lock()

    def work(seed: int) -> None:
        chance, connection = random.Random(seed), connect()
        for _ in range(8):
            changed = []
            for key in sorted(chance.sample(keys, 3)):
                sql(connection, "UPDATE concept SET opened = opened + 1 WHERE id = %s", key)
                changed.append((key, PUBLISHER.publish(connection, event(key)).source_version))
            time.sleep(chance.random() * 0.01)
            if chance.random() < 0.2:
                connection.rollback()
                continue
            connection.commit()
            with lock:
                done.extend(changed)

    futures: list[Future[None]] = [beside(work, seed) for seed in range(20)]
    for future in futures:
        future.result(120)
    assert sorted(outbox.events()) == sorted(done)
    opened = dict(outbox.run("SELECT id, opened FROM concept"))
    for key in keys:
        assert outbox.versions(key) == list(range(1, opened[key] + 1))


def test_under_repeatable_read_a_late_publisher_is_told_to_try_again(
    connect: Callable[..., Any], beside, outbox: Outbox
):
    publish_and_commit(connect(), event())
    first, second = connect(), connect()
    second.set_session(isolation_level="REPEATABLE READ")
    sql(second, "SELECT count(*) FROM concept")
    publish_and_commit(first, event())
    with pytest.raises(psycopg2.errors.SerializationFailure):
        PUBLISHER.publish(second, event())
    second.rollback()
    assert publish_and_commit(second, event()) == [3]
