"""Which records the events of an entity name, and what is noted of one that names several."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipelines.engine.events import Entity, EntityNote, Event, by_record, left_by, together
from sync_pipelines.engine.spec import TableSpec

SPEC = TableSpec(sync="s", name="t", table="t", key=("concept", "requires"), ends=(("requires",), ("concept",)))


def entity(*ends: tuple[str, str] | None) -> Entity:
    """One whose events, from version 1 on, have these ends."""
    return Entity(
        entity_id="r1",
        events=[
            Event(
                number=version,
                event_id=str(version),
                correlation_id="",
                event_type="RELATIONSHIP_CREATED",
                entity_id="r1",
                version=version,
                ends=found,
            )
            for version, found in enumerate(ends, start=1)
        ],
    )


def test_an_event_without_ends_means_those_of_the_one_before_it_or_of_the_first_that_has_some() -> None:
    found = by_record(entity(None, ("a", "b"), None, ("a", "c"), None, ("a", "b")), SPEC)
    assert {key: part.numbers for key, part in found.items()} == {'["b", "a"]': [1, 2, 3, 6], '["c", "a"]': [4, 5]}
    with pytest.raises(ValueError, match="JSON array of 2 texts; or publish its start and end"):
        by_record(entity(None), SPEC)


def test_where_a_relationship_led_before_is_a_record_unless_its_ends_name_none() -> None:
    spec, events = replace(SPEC, ends=(("requires", "part"), ("concept",))), entity(("a", "b"), ("a", "c")).events
    moved = [replace(event, ends_before=before) for event, before in zip(events, (None, ("a", "b")), strict=True)]
    assert left_by(Entity(entity_id="r1", events=moved), SPEC) == ['["b", "a"]']
    assert left_by(Entity(entity_id="r1", events=moved), spec) == []


def test_of_several_records_of_an_entity_the_newest_that_arrived_counts_and_any_that_did_not_is_pending() -> None:
    gone = EntityNote(entity_id="r1", source_version=2, target_version=2, tombstone=True)
    made = EntityNote(entity_id="r1", source_version=3, target_version=3)
    held = EntityNote(entity_id="r1", source_version=3, pending=True)
    other = EntityNote(entity_id="r2", source_version=1, target_version=1)
    assert together([made, other, gone]) == [other, made]
    expected = EntityNote(entity_id="r1", source_version=3, target_version=2, pending=True, tombstone=True)
    assert together([gone, held]) == [expected]
