"""Publishing events in the application's own transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from sync_pipelines.publisher.connections import Statement
from sync_pipelines.publisher.events import EventType, SyncEvent

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from uuid import UUID

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

_MOST_EVENTS, _MOST_CHARACTERS = 1_000, 8 * 1024 * 1024
"""Of one statement: PostgreSQL holds the parameter several times while it works on it."""

_NEEDED = ("entity_id", "entity_type", "payload")

_ONE = {
    "event_type": "text",
    "entity_type": "text",
    "entity_id": "text",
    "payload": "jsonb",
    "source_version": "bigint",
    "correlation_id": "text",
    "event_id": "uuid",
}
"""The parameters of `publish_event`, in its order."""

_MANY = """ WITH ORDINALITY AS e(event, n), LATERAL {schema}.publish_event(
    e.event ->> 'event_type', e.event ->> 'entity_type', e.event ->> 'entity_id', e.event -> 'payload',
    CAST(e.event ->> 'source_version' AS bigint), e.event ->> 'correlation_id', CAST(e.event ->> 'event_id' AS uuid)
) AS p"""


class Numbered(TypedDict, total=False):
    """What each event may be given: its version, what it belongs to, and its id; see `SyncEvent`."""

    source_version: int | None
    correlation_id: str | None
    event_id: str | UUID | None


class OutboxPublisher:
    """Publishes events through `publish_event`, in the transaction of the connection that each call is given.

    A connection is one of psycopg2, or a cursor of it; or SQLAlchemy's Connection or Session; of an AsyncConnection or
    AsyncSession each method gives an awaitable. Nothing is committed here: the event is there when the application's
    own change is, and gone with it. Publish *after* the change of the entity's own row: then its row is locked first by
    everybody, and publishing adds no deadlock. (The changes of a Session are flushed first.)

    Args:
        schema: the sync schema (`SYNC_SCHEMA`).

    Raises:
        TypeError, ValueError: the schema is no name.
    """

    def __init__(self, schema: str = "sync") -> None:
        _require_name(schema)
        name = '"' + schema.replace('"', '""') + '"'
        one = f"SELECT CAST(source_version AS text) FROM {name}.publish_event("
        many = "SELECT CAST(json_agg(p.source_version ORDER BY e.n) AS text) FROM jsonb_array_elements("
        # planning the second one takes longer than the first one takes in all
        self._one = Statement(one, _ONE, ")", schema=schema)
        self._many = Statement(many, {"events": "jsonb"}, f"){_MANY.replace('{schema}', name)}", schema=schema)

    @overload
    def publish(self, connection: AsyncConnection | AsyncSession, event: SyncEvent) -> Awaitable[SyncEvent]: ...
    @overload
    def publish(self, connection: Any, event: SyncEvent) -> SyncEvent: ...
    def publish(self, connection: Any, event: SyncEvent) -> Any:
        """Publish one event; gives it with the version that it has.

        An event whose event_id was published before (and is still kept) is published no second time: what it was then
        stands, with the version that it had.

        Raises:
            TypeError: the connection is none, or the event is no `SyncEvent`.
            VersionConflictError: its version is not above the last one of its entity.
            EventIdConflictError: its event_id is that of an event of another entity or type.
            InvalidEventError: it is a relationship without ends.
            NotInstalledError: the database has no `publish_event`, or the role may not execute it.
        """
        return self._one.run(connection, [_values(_event(event))], lambda answers: event.published(int(answers[0])))

    @overload
    def publish_many(
        self, connection: AsyncConnection | AsyncSession, events: Iterable[SyncEvent]
    ) -> Awaitable[list[SyncEvent]]: ...
    @overload
    def publish_many(self, connection: Any, events: Iterable[SyncEvent]) -> list[SyncEvent]: ...
    def publish_many(self, connection: Any, events: Iterable[SyncEvent]) -> Any:
        """Publish several events; gives them with their versions, in the order in which they were given.

        Entities are locked in the order of their keys, so that two transactions which publish the same ones do not wait
        for each other. Those of one entity keep the order in which they were given.

        Raises: as `publish`; then none of them is published.
        """
        given = [_event(item) for item in events]
        order = sorted(range(len(given)), key=lambda place: (given[place].entity_type, given[place].entity_id))
        ordered = [given[place] for place in order]
        parse = lambda answers: _in_order(_told(ordered, answers), order)  # noqa: E731
        return self._many.run(connection, [{"events": _array(chunk)} for chunk in _chunks(ordered)], parse)

    def publish_content_created(
        self,
        connection: Any,
        *,
        entity_id: str | int | UUID,
        entity_type: str,
        payload: Mapping[str, Any],
        **more: Unpack[Numbered],
    ) -> Any:
        """Publish that an entity was made; the payload is the whole of it. See `publish`."""
        return self._publish(
            connection,
            EventType.CONTENT_CREATED,
            entity_id=entity_id,
            entity_type=entity_type,
            payload=payload,
            **more,
        )

    def publish_content_updated(
        self,
        connection: Any,
        *,
        entity_id: str | int | UUID,
        entity_type: str,
        payload: Mapping[str, Any],
        **more: Unpack[Numbered],
    ) -> Any:
        """Publish what changed of an entity: an absent property stays, null removes one. See `publish`."""
        return self._publish(
            connection,
            EventType.CONTENT_UPDATED,
            entity_id=entity_id,
            entity_type=entity_type,
            payload=payload,
            **more,
        )

    def publish_content_deleted(
        self,
        connection: Any,
        *,
        entity_id: str | int | UUID,
        entity_type: str,
        payload: Mapping[str, Any] | None = None,
        **more: Unpack[Numbered],
    ) -> Any:
        """Publish that an entity was deleted. See `publish`."""
        return self._publish(
            connection,
            EventType.CONTENT_DELETED,
            entity_id=entity_id,
            entity_type=entity_type,
            payload={} if payload is None else payload,
            **more,
        )

    def publish_relationship_created(
        self,
        connection: Any,
        *,
        entity_id: str | int | UUID,
        entity_type: str,
        payload: Mapping[str, Any],
        **more: Unpack[Numbered],
    ) -> Any:
        """Publish that a relationship was made, has other properties, or leads elsewhere now. See `publish`.

        The payload is as `relationship` makes it.
        """
        return self._publish(
            connection,
            EventType.RELATIONSHIP_CREATED,
            entity_id=entity_id,
            entity_type=entity_type,
            payload=payload,
            **more,
        )

    def publish_relationship_deleted(
        self,
        connection: Any,
        *,
        entity_id: str | int | UUID,
        entity_type: str,
        payload: Mapping[str, Any] | None = None,
        **more: Unpack[Numbered],
    ) -> Any:
        """Publish that a relationship was deleted. See `publish`.

        Its ends may be left out: they are those of the last event of this id that told them.
        """
        return self._publish(
            connection,
            EventType.RELATIONSHIP_DELETED,
            entity_id=entity_id,
            entity_type=entity_type,
            payload={} if payload is None else payload,
            **more,
        )

    def publish_user_created(
        self,
        connection: Any,
        *,
        entity_id: str | int | UUID,
        entity_type: str = "user",
        payload: Mapping[str, Any],
        **more: Unpack[Numbered],
    ) -> Any:
        """Publish that a user was made; the payload is the whole of it. See `publish`."""
        return self._publish(
            connection,
            EventType.USER_CREATED,
            entity_id=entity_id,
            entity_type=entity_type,
            payload=payload,
            **more,
        )

    def publish_user_updated(
        self,
        connection: Any,
        *,
        entity_id: str | int | UUID,
        entity_type: str = "user",
        payload: Mapping[str, Any],
        **more: Unpack[Numbered],
    ) -> Any:
        """Publish what changed of a user: an absent property stays, null removes one. See `publish`."""
        return self._publish(
            connection,
            EventType.USER_UPDATED,
            entity_id=entity_id,
            entity_type=entity_type,
            payload=payload,
            **more,
        )

    def publish_user_deleted(
        self,
        connection: Any,
        *,
        entity_id: str | int | UUID,
        entity_type: str = "user",
        payload: Mapping[str, Any] | None = None,
        **more: Unpack[Numbered],
    ) -> Any:
        """Publish that a user was deleted. See `publish`."""
        return self._publish(
            connection,
            EventType.USER_DELETED,
            entity_id=entity_id,
            entity_type=entity_type,
            payload={} if payload is None else payload,
            **more,
        )

    def _publish(self, connection: Any, event_type: EventType, **values: Any) -> Any:
        given = {name: value for name, value in values.items() if value is not None or name in _NEEDED}
        return self.publish(connection, SyncEvent(event_type=event_type, **given))


def _require_name(schema: Any) -> None:
    if not isinstance(schema, str):
        raise TypeError(
            f"A {type(schema).__name__} is no schema: give the name of the sync schema, or nothing for 'sync'; the "
            "connection is given to each call."
        )
    if not schema or "\0" in schema:
        raise ValueError(f"{schema!r} is no name of a schema: give that of the sync schema, or nothing for 'sync'.")


def _event(given: Any) -> SyncEvent:
    if isinstance(given, SyncEvent):
        return given
    raise TypeError(f"A {type(given).__name__} is no event: make a SyncEvent, of a dict by SyncEvent.from_dict.")


def _values(event: SyncEvent) -> dict[str, str | None]:
    """The parameters of `publish_event`, as texts."""
    version = event.source_version
    return {
        "event_type": event.event_type.value,
        "entity_type": event.entity_type,
        "entity_id": event.entity_id,
        "payload": event.payload_json,
        "source_version": None if version is None else str(version),
        "correlation_id": event.correlation_id,
        "event_id": event.event_id,
    }


def _array(events: Sequence[SyncEvent]) -> str:
    """The events as one array of JSON; their payloads are JSON already."""
    return f"[{', '.join(map(_object, events))}]"


def _object(event: SyncEvent) -> str:
    values = _values(event)
    payload = values.pop("payload")
    return f'{json.dumps(values, ensure_ascii=False)[:-1]}, "payload": {payload}}}'


def _chunks(events: Iterable[SyncEvent]) -> Iterator[list[SyncEvent]]:
    """Runs of events that fit into one statement each; an event that is larger has one of its own."""
    chunk: list[SyncEvent] = []
    size = 0
    for event in events:
        more = len(event.payload_json)
        if chunk and (len(chunk) == _MOST_EVENTS or size + more > _MOST_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += more
    if chunk:
        yield chunk


def _told(events: Sequence[SyncEvent], answers: Iterable[str]) -> list[SyncEvent]:
    """The events with the versions that the database answered."""
    versions = [version for answer in answers for version in json.loads(answer)]
    return [event.published(version) for event, version in zip(events, versions, strict=True)]


def _in_order(events: Sequence[SyncEvent], order: Sequence[int]) -> list[SyncEvent]:
    """`events`, which stand in the places `order`, as they were given."""
    return [event for _, event in sorted(zip(order, events, strict=True), key=lambda pair: pair[0])]
