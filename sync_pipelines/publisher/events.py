"""What is published: a `SyncEvent`, which rejects nonsense when it is made.

Whatever needs the database to be judged (versions, ids that were used before, the ends of a relationship) is judged by
`sync.publish_event`, for every language alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, fields
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sync_pipelines.publisher.errors import InvalidEventError, PayloadTooLargeError

MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
"""The most bytes that a payload has as JSON."""

MAX_VERSION = 2**63 - 1

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class EventType(StrEnum):
    """What happened to an entity."""

    CONTENT_CREATED = "CONTENT_CREATED"
    CONTENT_UPDATED = "CONTENT_UPDATED"
    CONTENT_DELETED = "CONTENT_DELETED"
    RELATIONSHIP_CREATED = "RELATIONSHIP_CREATED"
    RELATIONSHIP_DELETED = "RELATIONSHIP_DELETED"
    USER_CREATED = "USER_CREATED"
    USER_UPDATED = "USER_UPDATED"
    USER_DELETED = "USER_DELETED"


@dataclass(frozen=True, kw_only=True)
class SyncEvent:
    """A change of one entity.

    Args:
        event_type: an `EventType`, or its name.
        entity_type: the sort of entity, such as `concept`; of a relationship its type.
        entity_id: the entity's key; a number or UUID is taken as its text.
        payload: an object of JSON, of which a copy is kept. CREATED: the whole entity. UPDATED: what changed; null
            removes. A relationship: see `relationship`. Date, time and datetime become ISO 8601, a UUID its text;
            every other value must be one of JSON.
        source_version: above the last one of this entity; None lets the database give the next.
        correlation_id: what the event belongs to, such as a request; the event's own id where None.
        event_id: a UUID; the same one published twice is one event. Made here where it is left out.

    Raises:
        InvalidEventError: for nonsense; the sentence names the entity.
        PayloadTooLargeError: for a payload above `MAX_PAYLOAD_BYTES`.
    """

    event_type: EventType
    entity_type: str
    entity_id: str
    payload: dict[str, Any] = field(default_factory=dict, hash=False)
    source_version: int | None = None
    correlation_id: str | None = None
    event_id: str = field(default_factory=lambda: str(uuid4()))
    payload_json: str = field(init=False, repr=False, compare=False)
    """The payload as JSON, as it is published."""

    def __post_init__(self) -> None:
        where = f"The event of {self.entity_type} {self.entity_id!r}"
        set_ = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        set_("event_type", _event_type(self.event_type, where))
        set_("entity_type", _text("entity_type", self.entity_type, where))
        set_("entity_id", _text("entity_id", _key_text(self.entity_id), where))
        if self.correlation_id is not None:
            set_("correlation_id", _text("correlation_id", _key_text(self.correlation_id), where))
        set_("event_id", _uuid(self.event_id, where))
        _check_version(self.source_version, where)
        set_("payload_json", _json_text(self.payload, where))
        set_("payload", json.loads(self.payload_json))

    def published(self, version: int) -> SyncEvent:
        """The event with the version that the database gave it."""
        found = copy(self)
        object.__setattr__(found, "source_version", version)
        return found

    def to_dict(self) -> dict[str, Any]:
        """The event as plain values of JSON."""
        found = {name: getattr(self, name) for name in _names(self)}
        return found | {"event_type": self.event_type.value, "payload": json.loads(self.payload_json)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SyncEvent:
        """The event that `to_dict` gave.

        Raises:
            InvalidEventError: for nonsense, a field that there is not, or one that is missing.
        """
        known = _names(cls)
        if unknown := sorted(set(values) - set(known)):
            raise InvalidEventError(f"An event has no field {unknown[0]!r}.", remedy=f"It has {', '.join(known)}.")
        try:
            return cls(**values)
        except TypeError as error:
            raise InvalidEventError(f"The event is not whole: {error}.") from None


def relationship(
    *,
    start: tuple[str, Any],
    end: tuple[str, Any],
    type: str | None = None,
    properties: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The payload of a relationship.

    Args:
        start, end: type and id of the two entities, such as `("concept", 7)`.
        type: the relationship's type; the event's entity_type where None.
        properties: what it holds itself.

    Raises:
        InvalidEventError: an end is no pair of type and id, or the properties are no map.
    """
    ends = {"start": _end("start", start), "end": _end("end", end)}
    if properties is not None and not isinstance(properties, Mapping):
        raise InvalidEventError(
            f"The properties of a relationship are no object but {properties.__class__.__name__}.",
            remedy="Give them by name, or leave them out.",
        )
    return ({} if type is None else {"type": type}) | ends | {"properties": dict(properties or {})}


def _end(name: str, given: Any) -> dict[str, Any]:
    """An end of the payload. A text of two letters, or a map of two names, would unpack, too: to nonsense."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InvalidEventError(
            f"The {name} of a relationship is {given!r}.",
            remedy='Give the type and the id of the entity as a pair, such as ("concept", 7).',
        )
    kind, key = given
    return {"type": kind, "id": _key_text(key)}


def _names(event: SyncEvent | type[SyncEvent]) -> list[str]:
    """The fields that an event is made of."""
    return [item.name for item in fields(event) if item.init]


def _event_type(given: Any, where: str) -> EventType:
    try:
        return EventType(given)
    except ValueError:
        remedy = f"It is one of {', '.join(EventType)}."
        raise InvalidEventError(f"{where}: its event_type {given!r} is unknown.", remedy=remedy) from None


def _key_text(value: Any) -> Any:
    """A key's text: of a whole number or UUID its own."""
    return str(value) if isinstance(value, int | UUID) and not isinstance(value, bool) else value


def _text(name: str, value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidEventError(f"{where}: its {name} is {value!r}.", remedy="Give a text that is not empty.")
    if "\0" in value or not _encodable(value):
        raise InvalidEventError(
            f"{where}: its {name} {value!r} holds a character that PostgreSQL cannot store.",
            remedy="Take out NUL characters and lone surrogates.",
        )
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _uuid(value: Any, where: str) -> str:
    try:
        return str(value if isinstance(value, UUID) else UUID(value))
    except (ValueError, AttributeError, TypeError):
        remedy = "Leave it out, or make one by uuid.uuid4(), or by uuid.uuid5() of an id of your own."
        raise InvalidEventError(f"{where}: its event_id {value!r} is no UUID.", remedy=remedy) from None


def _check_version(version: Any, where: str) -> None:
    if version is None:
        return
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MAX_VERSION:
        raise InvalidEventError(
            f"{where}: its source_version {version!r} is no whole number from 1 to 2^63 - 1.",
            remedy="Versions begin at 1; without one the next is given.",
        )


def _json_text(payload: Any, where: str) -> str:
    """The payload as JSON that jsonb takes as it is."""
    if not isinstance(payload, Mapping):
        raise InvalidEventError(
            f"{where}: its payload is no object but {type(payload).__name__}.",
            remedy="Give the properties of the entity, by name.",
        )
    try:
        text = json.dumps(dict(payload), ensure_ascii=False, allow_nan=False, default=_plain)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidEventError(
            f"{where}: its payload cannot be written as JSON: {error}.", remedy="Give values of JSON."
        ) from None
    _check_names(payload, where)
    _check_storable(text, where)
    return text


def _plain(value: Any) -> str:
    """What stands for a value that JSON does not have."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    # the value itself is not repeated: it may be anything of a user's
    raise TypeError(f"it holds a {type(value).__name__}; give a number, a text, true, false, null, a list or a map")


def _check_names(value: Any, where: str) -> None:
    """json.dumps would turn the name 1 into "1" and None into "null" without a word."""
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise InvalidEventError(
                    f"{where}: the name {name!r} in its payload is no text.", remedy="Name properties by texts."
                )
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        _check_names(item, where)


def _check_storable(text: str, where: str) -> None:
    if not _encodable(text) or ("\\u0000" in text and _NUL.search(text)):
        raise InvalidEventError(
            f"{where}: its payload holds a character that PostgreSQL cannot store.",
            remedy="Take out NUL characters and lone surrogates.",
        )
    if (size := len(text.encode())) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLargeError(
            f"{where}: its payload of {size} bytes is larger than {MAX_PAYLOAD_BYTES}.",
            remedy="Leave out what the target does not need, or publish a reference to it.",
        )
