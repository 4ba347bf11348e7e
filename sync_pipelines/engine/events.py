"""Events of an outbox, as a consumer sees them: what was said of which entity, in which order (DESIGN.md §4).

An event says *which* entity changed and *when* in its own history; what is written is the row that the entity has
when the event is brought. So the graph and the tables can be compared row by row whatever the events' payloads say,
and an event that comes twice, late or out of order finds the same row and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from sync_pipelines.engine.keys import as_postgres, normal
from sync_pipelines.engine.model import Parent
from sync_pipelines.engine.spec import TableSpec

RETRY_MAX = 3
"""How often a target may refuse an event before it is given up, where nobody says otherwise (SYNC_RETRY_MAX)."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """A row of the outbox.

    Args:
        number: of the row. version: orders the events of one entity, and nothing else does.
        attempts: how often the target has refused it. again: it was taken before, and what came of that is not known.
        ends: of a relationship's payload, the keys of its start and end where both stand there. ends_before: those that
            it had under this id until then, where it led elsewhere.
    """

    number: int
    event_id: str
    correlation_id: str
    event_type: str
    entity_id: str
    version: int
    attempts: int = 0
    again: bool = False
    ends: tuple[str, str] | None = None
    ends_before: tuple[str, str] | None = None

    @property
    def creates(self) -> bool:
        return self.event_type.endswith("_CREATED")

    @property
    def deletes(self) -> bool:
        return self.event_type.endswith("_DELETED")

    def __str__(self) -> str:
        return f"event {self.event_id}, version {self.version}, correlation {self.correlation_id}"


@dataclass(frozen=True, kw_only=True)
class Entity:
    """The events of one entity that are brought together: the row says their net effect.

    Args:
        events: in the order of their versions.
    """

    entity_id: str
    events: Sequence[Event]

    @property
    def first(self) -> Event:
        return self.events[0]

    @property
    def last(self) -> Event:
        return self.events[-1]

    @property
    def numbers(self) -> list[int]:
        return [event.number for event in self.events]


def folded(events: Iterable[Event]) -> list[Entity]:
    """The events by entity, each entity's by version."""
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(event.entity_id, []).append(event)
    by_version = {key: sorted(some, key=lambda event: event.version) for key, some in found.items()}
    return [Entity(entity_id=key, events=some) for key, some in sorted(by_version.items())]


def record_key(entity_id: str, ends: tuple[str, str] | None, spec: TableSpec) -> str:
    """The key of the record that an event speaks of, as far as its form tells (`keys.normal`).

    A relationship whose key is made of those of its nodes is known by its ends, where the event has them; else an
    entity's id is its key: of several columns a JSON array.

    Raises:
        ValueError: it is none of this table; one clause says why.
    """
    if ends is not None and spec.ends is not None:
        values: dict[str, Any] = {}
        for columns, text in zip(spec.ends, ends, strict=True):
            values |= zip(columns, [text] if len(columns) == 1 else json.loads(normal(text, columns)), strict=True)
        if values.keys() >= set(spec.key):
            parts = [values[column] for column in spec.key]
            return parts[0] if len(parts) == 1 else as_postgres(parts)
    try:
        return normal(entity_id, spec.key)
    except ValueError as error:
        known_by_ends = spec.ends is not None and {name for end in spec.ends for name in end} >= set(spec.key)
        more = "; or publish its start and end with it" if known_by_ends and ends is None else ""
        raise ValueError(f"{error}{more}") from None


def by_record(entity: Entity, spec: TableSpec) -> dict[str, Entity]:
    """The entity's events by the record that they name: a relationship that leads elsewhere under the same id is
    another one, and the one that it was has to be looked at, too.

    An event without ends means those of the one before it; where none has any before, those of the first that has.

    Raises:
        ValueError: one of them names no record; one clause says why.
    """
    ends = next((event.ends for event in entity.events if event.ends is not None), None)
    found: dict[str, list[Event]] = {}
    for event in entity.events:
        ends = event.ends or ends
        found.setdefault(record_key(entity.entity_id, ends, spec), []).append(event)
    return {key: replace(entity, events=events) for key, events in found.items()}


def left_by(entity: Entity, spec: TableSpec) -> list[str]:
    """The records that the entity's events name no more, but named before: where a relationship of its id led."""
    found: dict[str, None] = {}
    for ends in filter(None, (event.ends_before for event in entity.events)):
        with suppress(ValueError):  # what names no record has none in the target
            found[record_key(entity.entity_id, ends, spec)] = None
    return list(found)


def key_of(event: Event, spec: TableSpec) -> str:
    """`record_key`, or the entity's id where that is none."""
    try:
        return record_key(event.entity_id, event.ends, spec)
    except ValueError:
        return event.entity_id


def pause_after(attempts: int) -> float:
    """Seconds until an event that was refused so often is tried again: 1 s, doubled each time, 5 minutes at most."""
    return min(_FIRST_PAUSE * 2 ** min(max(attempts - 1, 0), 30), _LONGEST_PAUSE)


def token(parent: Parent) -> str:
    """What an event that waits for this record notes."""
    return json.dumps([parent.constraint, *parent.values], ensure_ascii=False)


def parent_of(noted: str) -> Parent:
    """The record that such a text names."""
    constraint, *values = json.loads(noted)
    return Parent(constraint=constraint, columns=(), values=tuple(values))


@dataclass(frozen=True, kw_only=True)
class EntityNote:
    """What the ledger is told of an entity after a batch (`sync_status`).

    Args:
        record_key: of its record, or None where that is none of the table's.
        source_version: of the newest event that was taken. target_version: of the newest that the target has; None
            where the batch brought none. pending: an event of it has not arrived. tombstone: the source has it no more.
    """

    entity_id: str
    record_key: str | None = None
    source_version: int
    target_version: int | None = None
    pending: bool = False
    tombstone: bool = False


def together(notes: Iterable[EntityNote]) -> list[EntityNote]:
    """One note an entity, of those of its several records."""
    found: dict[str, EntityNote] = {}
    for note in sorted(notes, key=lambda note: note.source_version):
        before = found.get(note.entity_id)
        if before is not None:
            arrived = before if note.target_version is None else note
            note = replace(
                note,
                target_version=arrived.target_version,
                pending=before.pending or note.pending,
                tombstone=arrived.tombstone,
            )
        found[note.entity_id] = note
    return list(found.values())


@dataclass(frozen=True, kw_only=True)
class Strays:
    """Events of a type that nobody follows.

    Args:
        events: how many wait; `capped`: these were counted, and there may be more. oldest: when the oldest was
            published (UTC).
    """

    entity_type: str
    events: int
    oldest: datetime
    capped: bool = False


class RowsNow(NamedTuple):
    """The rows that some records have.

    `lost` are the keys of those that have none; `left` are to be asked for again: rows so large were enough for once.
    """

    rows: list[pa.RecordBatch]
    lost: list[str]
    left: list[str]


class Outbox(Protocol):
    """The events of one entity type in a source. Calls that write are made with the target's lock held."""

    @property
    def entity_type(self) -> str: ...

    def take(self, most: int, *, beside: Sequence[str] = ()) -> list[Event]:
        """Mark up to about so many events PROCESSING and give them: each with every lower open one of its entity.

        What cannot be taken, for a lower event of its entity stands in the way, becomes BLOCKED.

        Args:
            beside: entities that are under way; their events are left as they are.
        """
        ...

    @property
    def rows(self) -> Callable[[Sequence[str]], RowsNow]:
        """Gives the rows that records have now."""
        ...

    def complete(self, numbers: Sequence[int], *, note: str | None = None, tokens: Sequence[str] = ()) -> None:
        """The target has them: what waited behind them may go on, and what waited for the records `tokens`."""
        ...

    def refuse(self, number: int, *, error: str, retry_in: float | None) -> None:
        """Count an attempt; without `retry_in` (seconds) the event is given up."""
        ...

    def block(self, waiting: Mapping[int, tuple[str, str]]) -> None:
        """Let events wait for records: event → (token, why)."""
        ...

    def put_back(self, numbers: Sequence[int], *, afresh: bool = False) -> None:
        """They are as if nobody had taken them; `afresh`: nor ever refused."""
        ...

    def seen(self, snapshot: str, *, after: Event | None, most: int) -> list[Event]:
        """Events that are not completed and were there in a snapshot, by entity and version, behind `after`."""
        ...

    def failed(self) -> list[Event]:
        """The events that were given up."""
        ...

    def awaited(self) -> list[str]:
        """The tokens that events wait for, each once."""
        ...

    def release(self, tokens: Sequence[str]) -> int:
        """Let the events go on that wait for these; how many there were."""
        ...

    def backlog(self, *, most: int | None = ...) -> Backlog:
        """What waits now, counted up to `most`."""
        ...

    def deletions(self, *, after: str | None, most: int) -> list[Event]:
        """The newest deletion that waits of each entity, in the order of these, behind the entity `after`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What waits in an outbox of one type.

    Args:
        due: events that can be taken now, counted up to a limit. oldest: when the oldest event that is not completed
            was published, given up ones aside (UTC).
    """

    due: int = 0
    oldest: datetime | None = None
