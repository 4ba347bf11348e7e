"""What an event is, and what is refused before any database is asked."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from sync_pipelines.publisher import (
    MAX_PAYLOAD_BYTES,
    EventType,
    InvalidEventError,
    PayloadTooLargeError,
    SyncEvent,
    relationship,
)

LOADED = """
import sys
before = set(sys.modules)
import sync_pipelines.publisher
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))
print(*sorted(name for name in sys.modules if name.startswith("sync_pipelines")))
"""


def event(**changes) -> SyncEvent:
    return SyncEvent(**{"event_type": "CONTENT_CREATED", "entity_type": "concept", "entity_id": "c1"} | changes)


def test_importing_the_publisher_loads_nothing_but_itself_and_the_standard_library():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    foreign, ours = done.stdout.splitlines()
    assert foreign == "sync_pipelines"
    parts = ("", ".publisher", ".publisher.connections", ".publisher.errors", ".publisher.events", ".publisher.outbox")
    assert ours.split() == [f"sync_pipelines{part}" for part in parts]


def test_an_event_comes_back_from_its_dict_as_it_was():
    given = event(payload={"title": "Brüche", "tags": ["a", None], "deep": {"x": 1.5}}, source_version=3)
    plain = given.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert SyncEvent.from_dict(plain) == given
    assert list(plain) == [
        "event_type", "entity_type", "entity_id", "payload", "source_version", "correlation_id", "event_id",
    ]  # fmt: skip


def test_an_event_cannot_be_changed_and_keeps_a_copy_of_its_payload():
    payload = {"tags": ["a"]}
    given = event(payload=payload)
    payload["tags"].append("b")
    assert given.payload == {"tags": ["a"]}
    with pytest.raises(AttributeError):
        given.entity_id = "c2"  # type: ignore[misc]
    assert {given, given} == {given}


def test_what_json_lacks_has_a_stated_text():
    key, moment = uuid4(), datetime(2025, 3, 1, 12, tzinfo=UTC)
    given = event(entity_id=key, payload={"at": moment, "day": date(2025, 3, 1), "by": key})
    assert given.entity_id == str(key)
    assert given.payload == {"at": "2025-03-01T12:00:00+00:00", "day": "2025-03-01", "by": str(key)}
    assert event(entity_id=7).entity_id == "7"


def test_each_event_has_an_id_of_its_own_in_one_spelling():
    assert event().event_id != event().event_id
    assert event(event_id="{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}").event_id == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    assert event(event_id=UUID(int=1)).event_id == str(UUID(int=1))


def test_event_types_are_those_that_were_promised():
    assert {str(item) for item in EventType} == {
        "CONTENT_CREATED", "CONTENT_UPDATED", "CONTENT_DELETED", "RELATIONSHIP_CREATED", "RELATIONSHIP_DELETED",
        "USER_CREATED", "USER_UPDATED", "USER_DELETED",
    }  # fmt: skip


NONSENSE = {
    "an unknown type": ({"event_type": "CONTENT_CHANGED"}, r"'CONTENT_CHANGED' is unknown.*USER_DELETED"),
    "no type": ({"event_type": None}, "None is unknown"),
    "an empty id": ({"entity_id": ""}, "entity_id is ''"),
    "no id": ({"entity_id": None}, "entity_id is None"),
    "an id that is true": ({"entity_id": True}, "entity_id is True"),
    "no entity type": ({"entity_type": None}, "entity_type is None"),
    "an id with a NUL": ({"entity_id": "a\0b"}, "cannot store"),
    "a type with a lone surrogate": ({"entity_type": "\ud800"}, "cannot store"),
    "an event id that is none": ({"event_id": "seven"}, r"'seven' is no UUID.*uuid5"),
    "a version of 0": ({"source_version": 0}, "source_version 0 is no whole number"),
    "a version that is a text": ({"source_version": "3"}, "source_version '3'"),
    "a version that is true": ({"source_version": True}, "source_version True"),
    "a version beyond bigint": ({"source_version": 2**63}, "no whole number"),
    "an empty correlation id": ({"correlation_id": ""}, "correlation_id is ''"),
    "a payload that is a list": ({"payload": [1]}, "no object but list"),
    "no payload": ({"payload": None}, "no object but NoneType"),
    "NaN": ({"payload": {"x": float("nan")}}, "cannot be written as JSON"),
    "infinity, deep down": ({"payload": {"x": [{"y": float("inf")}]}}, "cannot be written as JSON"),
    "a Decimal": ({"payload": {"x": Decimal("1.5")}}, "it holds a Decimal"),
    "bytes": ({"payload": {"x": b"1"}}, "it holds a bytes"),
    "a name that is a number": ({"payload": {1: "x"}}, "name 1 in its payload is no text"),
    "a name that is null, deep down": ({"payload": {"x": [{None: 1}]}}, "name None"),
    "a NUL in a value": ({"payload": {"x": "a\0"}}, "payload holds a character"),
    "a NUL in a name": ({"payload": {"x": {"a\0": 1}}}, "payload holds a character"),
    "a lone surrogate": ({"payload": {"x": "\udfff"}}, "payload holds a character"),
}


@pytest.mark.parametrize(("changes", "words"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused_when_an_event_is_made(changes, words):
    with pytest.raises(InvalidEventError, match=f"(?s)The event of .*{words}") as caught:
        event(**changes)
    assert caught.value.remedy


def test_a_payload_that_holds_itself_is_refused():
    payload: dict = {}
    payload["x"] = payload
    with pytest.raises(InvalidEventError, match="cannot be written as JSON"):
        event(payload=payload)


def test_a_text_that_looks_like_an_escaped_nul_is_none():
    for text in ("\\u0000", "\\\\u0000", "C:\\u0000"):
        assert event(payload={"x": text}).payload == {"x": text}


def test_a_payload_is_refused_from_the_limit_on():
    size = MAX_PAYLOAD_BYTES - len('{"x": ""}')
    assert event(payload={"x": "a" * size})
    with pytest.raises(PayloadTooLargeError, match=f"larger than {MAX_PAYLOAD_BYTES}"):
        event(payload={"x": "a" * (size - 1) + "ü"})


def test_an_unknown_or_missing_field_of_a_dict_is_named():
    with pytest.raises(InvalidEventError, match=r"no field 'kind'.*event_type"):
        SyncEvent.from_dict(event().to_dict() | {"kind": "x"})
    with pytest.raises(InvalidEventError, match="entity_id"):
        SyncEvent.from_dict({"event_type": "USER_CREATED", "entity_type": "user"})


def test_a_relationships_payload_has_its_ends():
    assert relationship(start=("concept", 7), end=("concept", "c2"), type="LIKES") == {
        "type": "LIKES",
        "start": {"type": "concept", "id": "7"},
        "end": {"type": "concept", "id": "c2"},
        "properties": {},
    }


@pytest.mark.parametrize(
    "end", ["concept", "ab", ("concept",), ("concept", 7, 8), {"type": "concept", "id": 7}, None, 7]
)
@pytest.mark.parametrize("name", ["start", "end"])
def test_an_end_that_is_no_pair_of_type_and_id_is_refused_by_its_name(name: str, end: Any):
    ends = {"start": ("concept", 1), "end": ("concept", 2)} | {name: end}
    with pytest.raises(InvalidEventError, match=f"The {name} of a relationship is .*type and the id .* as a pair"):
        relationship(**ends)


def test_properties_of_a_relationship_that_are_no_map_are_refused():
    with pytest.raises(InvalidEventError, match="properties of a relationship are no object but list"):
        relationship(start=("concept", 1), end=("concept", 2), properties=["weight", 3])  # type: ignore[arg-type]
