"""Publishing in the caller's own transaction, on each kind of connection that an application has."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from psycopg2.extras import NamedTupleCursor, RealDictCursor
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from sync_pipelines.publisher import OutboxPublisher, SyncEvent, relationship
from sync_pipelines.publisher import outbox as outbox_module
from sync_pipelines_tests.publisher.conftest import Outbox, sql

PUBLISHER = OutboxPublisher()
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


class Base(orm.DeclarativeBase):
    """The application's model."""


class Concept(Base):
    """Its only table."""

    __tablename__ = "concept"
    id: orm.Mapped[str] = orm.mapped_column(primary_key=True)
    title: orm.Mapped[str | None]
    opened: orm.Mapped[int] = orm.mapped_column(default=0)


@pytest.fixture
def engine(outbox: Outbox):
    found = sa.create_engine(outbox.driver_url("psycopg2"), poolclass=sa.NullPool)
    yield found
    found.dispose()


def updated(connection: Any, key: str = "c1", **values: Any) -> Any:
    return PUBLISHER.publish_content_updated(
        connection, entity_type="concept", entity_id=key, payload={"title": "Brüche", "n": 2**40}, **values
    )


def test_on_a_psycopg2_connection_the_event_comes_and_goes_with_the_change(outbox: Outbox, connection: Any):
    sql(connection, "INSERT INTO concept VALUES ('c1', 'Fractions')")
    first = updated(connection, correlation_id="request 7")
    assert outbox.events() == []
    connection.commit()
    assert (first.entity_id, first.source_version) == ("c1", 1)
    found = outbox.events("event_id::text, correlation_id, event_type, payload, source_version, status, attempts")
    payload = {"title": "Brüche", "n": 2**40}
    assert found == [(first.event_id, "request 7", "CONTENT_UPDATED", payload, 1, "PENDING", 0)]
    updated(connection)
    connection.rollback()
    assert outbox.versions() == [1]
    assert updated(connection).source_version == 2


def test_the_readmes_example_does_what_it_says(outbox: Outbox, connection: Any):
    outbox.run("INSERT INTO concept VALUES ('c1')")
    [example] = [code for code in re.findall(r"```python\n(.*?)```", README, re.S) if "OutboxPublisher" in code]
    exec(example, {"connection": connection})
    assert outbox.run("SELECT title FROM concept") == [("Fractions",)]
    assert outbox.events() == [("c1", 1), ("c1 c2", 1)]


def test_a_savepoint_that_is_rolled_back_takes_its_event_with_it(outbox: Outbox, connection: Any):
    updated(connection)
    sql(connection, "SAVEPOINT s")
    updated(connection)
    sql(connection, "ROLLBACK TO SAVEPOINT s")
    assert updated(connection).source_version == 2
    connection.commit()
    assert outbox.versions() == [1, 2]


@pytest.mark.parametrize("factory", [None, RealDictCursor, NamedTupleCursor], ids=["plain", "dicts", "named tuples"])
def test_on_a_cursor_its_own_rows_stay_and_any_sort_of_row_will_do(outbox: Outbox, connect, factory):
    connection = connect(cursor_factory=factory)
    with closing(connection.cursor()) as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 3) AS n")
        cursor.fetchone()
        assert updated(cursor).source_version == 1
        assert len(cursor.fetchall()) == 2
    connection.commit()
    assert outbox.versions() == [1]


def test_on_an_sqlalchemy_connection(outbox: Outbox, engine: sa.Engine):
    with engine.begin() as connection:
        assert updated(connection).source_version == 1
    with engine.connect() as connection:
        updated(connection)
    assert outbox.versions() == [1]


def test_on_a_raw_connection_out_of_a_pool(outbox: Outbox, engine: sa.Engine):
    with closing(engine.raw_connection()) as connection:
        assert updated(connection).source_version == 1
        connection.commit()
    assert outbox.versions() == [1]


def test_a_sessions_changes_are_written_before_its_event(outbox: Outbox, engine: sa.Engine, connect):
    """Else the entity's row would be locked after its version, and two sessions could lock each other out."""
    outbox.run("INSERT INTO concept VALUES ('c1', 'Fractions')")
    with orm.Session(engine) as session:
        session.get_one(Concept, "c1").title = "Brüche"
        assert updated(session).source_version == 1
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            sql(connect(), "SELECT FROM concept FOR UPDATE NOWAIT")
        session.commit()
    assert outbox.versions() == [1]


def test_in_a_hook_of_the_session_and_in_a_scoped_session(outbox: Outbox, engine: sa.Engine):
    scoped = orm.scoped_session(orm.sessionmaker(engine))

    @sa.event.listens_for(scoped.session_factory, "after_flush")
    def publish(session: orm.Session, _context: object) -> None:
        for made in session.new:
            PUBLISHER.publish_content_created(scoped, entity_type="concept", entity_id=made.id, payload={})

    scoped.add(Concept(id="c1"))
    assert updated(scoped).source_version == 2
    scoped.commit()
    scoped.remove()
    assert outbox.versions() == [1, 2]


def test_a_session_that_flushes_by_itself_is_not_flushed(outbox: Outbox, engine: sa.Engine):
    with orm.Session(engine, autoflush=False) as session:
        session.add(Concept(id="c1"))
        updated(session)
        assert session.new
        session.commit()
    assert outbox.versions() == [1]


def run_async(outbox: Outbox, work: Callable[[Any], Any]) -> Any:
    async def whole() -> Any:
        engine = create_async_engine(outbox.driver_url("asyncpg"), poolclass=sa.NullPool)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    return asyncio.run(whole())


@pytest.mark.slow
def test_on_an_async_connection_each_method_gives_an_awaitable(outbox: Outbox):
    async def work(engine: Any) -> None:
        async with engine.begin() as connection:
            assert (await updated(connection)).source_version == 1
            events = [SyncEvent(event_type="USER_CREATED", entity_type="user", entity_id=key) for key in "ba"]
            published = await PUBLISHER.publish_many(connection, events)
            assert [(event.entity_id, event.source_version) for event in published] == [("b", 1), ("a", 1)]
            assert await PUBLISHER.publish_many(connection, []) == []
        async with engine.connect() as connection:
            await updated(connection)

    run_async(outbox, work)
    assert outbox.events() == [("a", 1), ("b", 1), ("c1", 1)]


def test_an_async_sessions_changes_are_written_before_its_event(outbox: Outbox, connect):
    async def work(engine: Any) -> None:
        async with AsyncSession(engine) as session:
            session.add(Concept(id="c1"))
            assert (await updated(session, source_version=2**40)).source_version == 2**40
            assert not session.new
            await session.commit()

    run_async(outbox, work)
    assert outbox.versions() == [2**40]
    assert outbox.run("SELECT id FROM concept") == [("c1",)]


def test_what_is_no_connection_is_refused_by_its_name(outbox: Outbox, engine: sa.Engine):
    import asyncpg

    async def work(later: Any) -> None:
        for maker in (later, async_sessionmaker(later)):
            with pytest.raises(TypeError, match="is no connection to publish on"):
                updated(maker)
        raw = await asyncpg.connect(outbox.application_url)
        with pytest.raises(TypeError, match=r"asyncpg.*is no connection to publish on"):
            updated(raw)
        await raw.close()

    run_async(outbox, work)
    for nothing in (engine, orm.sessionmaker(engine), "postgresql://", None):
        with pytest.raises(TypeError, match="is no connection to publish on"):
            updated(nothing)


@pytest.mark.parametrize("schema", [None, 5, b"sync"])
def test_what_is_no_schema_is_refused_with_what_is_expected(schema: Any):
    with pytest.raises(TypeError, match=r"A \w+ is no schema: give the name of the sync schema"):
        OutboxPublisher(schema)


@pytest.mark.parametrize("schema", ["", "a\0b"])
def test_a_schema_that_can_have_no_such_name_is_refused(schema: str):
    with pytest.raises(ValueError, match="is no name of a schema"):
        OutboxPublisher(schema)


def test_what_is_no_event_is_refused_by_its_name(connection: Any):
    given = SyncEvent(event_type="USER_CREATED", entity_type="user", entity_id="u").to_dict()
    with pytest.raises(TypeError, match=r"A dict is no event.*SyncEvent\.from_dict"):
        PUBLISHER.publish(connection, given)  # ty: ignore
    with pytest.raises(TypeError, match="A dict is no event"):
        PUBLISHER.publish_many(connection, [given])  # ty: ignore


def test_each_method_publishes_its_own_type(outbox: Outbox, connection: Any):
    for what in ("content_created", "content_updated", "content_deleted"):
        payload = {} if what == "content_deleted" else {"payload": {"x": 1}}
        getattr(PUBLISHER, f"publish_{what}")(connection, entity_type="concept", entity_id="c1", **payload)
    ends = relationship(start=("concept", "c1"), end=("concept", "c2"), properties={"weight": 3})
    PUBLISHER.publish_relationship_created(connection, entity_type="requires", entity_id="r1", payload=ends)
    PUBLISHER.publish_relationship_deleted(connection, entity_type="requires", entity_id="r1")
    PUBLISHER.publish_user_created(connection, entity_id=7, payload={"name": "Ann"})
    PUBLISHER.publish_user_updated(connection, entity_id=7, payload={"name": None})
    PUBLISHER.publish_user_deleted(connection, entity_id=7)
    connection.commit()
    assert outbox.events("event_type, entity_type, entity_id, payload") == [
        ("USER_CREATED", "user", "7", {"name": "Ann"}),
        ("USER_UPDATED", "user", "7", {"name": None}),
        ("USER_DELETED", "user", "7", {}),
        ("CONTENT_CREATED", "concept", "c1", {"x": 1}),
        ("CONTENT_UPDATED", "concept", "c1", {"x": 1}),
        ("CONTENT_DELETED", "concept", "c1", {}),
        ("RELATIONSHIP_CREATED", "requires", "r1", ends | {"type": "requires"}),
        ("RELATIONSHIP_DELETED", "requires", "r1", ends | {"type": "requires", "properties": {}}),
    ]


@pytest.mark.parametrize("what", ["content_created", "content_updated", "user_created", "user_updated"])
def test_what_was_made_or_changed_is_never_published_without_a_payload(connection: Any, what: str):
    method = getattr(PUBLISHER, f"publish_{what}")
    with pytest.raises(ValueError, match="no object but NoneType"):
        method(connection, entity_type="concept", entity_id="c1", payload=None)


def many(number: int, **values: Any) -> list[SyncEvent]:
    return [
        SyncEvent(event_type="CONTENT_UPDATED", entity_type="concept", entity_id=f"c{place % 300}", **values)
        for place in reversed(range(number))
    ]


def test_a_thousand_events_are_one_statement_and_come_back_in_the_order_in_which_they_were_given(
    outbox: Outbox, connection: Any
):
    given = many(1000)
    published = PUBLISHER.publish_many(connection, given)
    connection.commit()
    assert [event.event_id for event in published] == [event.event_id for event in given]
    assert len(outbox.events()) == 1000
    stored = dict(outbox.events("event_id::text, source_version"))
    assert {event.event_id: event.source_version for event in published} == stored
    of_one = [event.source_version for event in published if event.entity_id == "c7"]
    assert of_one == [1, 2, 3, 4]
    assert len({tx for (tx,) in outbox.events("tx::text")}) == 1


def test_more_than_one_statement_holds_is_published_in_several(outbox: Outbox, connection: Any, monkeypatch):
    monkeypatch.setattr(outbox_module, "_MOST_EVENTS", 7)
    monkeypatch.setattr(outbox_module, "_MOST_CHARACTERS", 20)
    published = PUBLISHER.publish_many(connection, many(30, payload={"title": "a title"}))
    connection.commit()
    assert sorted(outbox.events()) == sorted((event.entity_id, event.source_version) for event in published)
    assert len(published) == 30


def test_one_bad_event_of_many_leaves_none(outbox: Outbox, connection: Any):
    events = [*many(5), SyncEvent(event_type="RELATIONSHIP_CREATED", entity_type="requires", entity_id="r1")]
    with pytest.raises(ValueError, match="requires 'r1'"):
        PUBLISHER.publish_many(connection, events)
    connection.rollback()
    assert outbox.events() == []


def test_a_payload_of_a_megabyte_arrives_whole(outbox: Outbox, connection: Any):
    payload = {"text": "الصبر " * 100_000, "list": list(range(10_000))}
    assert len(json.dumps(payload, ensure_ascii=False).encode()) > 1024 * 1024
    PUBLISHER.publish_content_created(connection, entity_type="concept", entity_id="c1", payload=payload)
    connection.commit()
    assert outbox.events("payload") == [(payload,)]


def test_another_schema_of_any_name_is_published_to(outbox: Outbox, connection: Any, engine: sa.Engine):
    from sync_pipelines import migrations

    odd = 'my "schema" :x 50%s'
    migrations.upgrade(outbox.url, branch="capture", schema=odd)
    publisher = OutboxPublisher(odd)
    raw = psycopg2.connect(outbox.plain_url)
    with closing(raw):
        assert publisher.publish_user_deleted(raw, entity_id=1).source_version == 1
        raw.commit()
    with sa.create_engine(outbox.url, poolclass=sa.NullPool).begin() as owner:
        assert publisher.publish_user_deleted(owner, entity_id=1).source_version == 2
    assert outbox.events() == []
