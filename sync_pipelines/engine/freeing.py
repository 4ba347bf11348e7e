"""Events that stood still and may go on: their record left quarantine, or what they waited for has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sync_pipelines.engine.binding import Binding
from sync_pipelines.engine.conflicts import Awaiting
from sync_pipelines.engine.events import EntityNote, Event, Outbox, key_of, parent_of, together, token
from sync_pipelines.engine.naming import spelled_among

DROPPED = "dropped from quarantine"

_PAGE = 1000


def look_again(binding: Binding, outbox: Outbox) -> None:
    """Free what may go on; writes to the outbox alone, so it needs no lock."""
    failed = outbox.failed()
    for start in range(0, len(failed), _PAGE):
        _free(binding, outbox, failed[start : start + _PAGE])
    if isinstance(binding.target, Awaiting):
        tokens = outbox.awaited()
        for start in range(0, len(tokens), _PAGE):
            there = binding.target.there([parent_of(noted) for noted in tokens[start : start + _PAGE]])
            outbox.release([token(parent) for parent in there])


def _free(binding: Binding, outbox: Outbox, failed: Sequence[Event]) -> None:
    """One that was replayed is tried afresh; one that was dropped is left out, and lets those behind it go on."""
    ledger, place = binding.ledger, binding.place
    told = {event.number: key_of(event, binding.spec) for event in failed}
    known = ledger.quarantined_among(*place, list(told.values()))
    # the quarantine has a record's key as the table spells it, and its event may not
    spelled = spelled_among(binding.source.named, [key for key in told.values() if key not in known])
    keys = {number: spelled.get(key, key) for number, key in told.items()}
    inside = known | ledger.quarantined_among(*place, list(spelled.values()))
    dropped = ledger.excluded_among(*place, list(keys.values()))
    _leave_out(binding, outbox, {event: keys[event.number] for event in failed if keys[event.number] in dropped})
    outbox.put_back([number for number, key in keys.items() if key not in inside], afresh=True)


def _leave_out(binding: Binding, outbox: Outbox, dropped: Mapping[Event, str]) -> None:
    """Complete events whose record (by its key) was dropped: nothing of them is pending any more."""
    notes = [
        EntityNote(entity_id=event.entity_id, record_key=key, source_version=event.version)
        for event, key in dropped.items()
    ]
    binding.ledger.note_entities(*binding.place, outbox.entity_type, together(notes))
    outbox.complete([event.number for event in dropped], note=DROPPED)
