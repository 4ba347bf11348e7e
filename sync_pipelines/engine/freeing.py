"""Events that stood still and may go on: their record left quarantine, or what they waited for has come."""

from __future__ import annotations

from collections.abc import Sequence

from sync_pipelines.engine.binding import Binding
from sync_pipelines.engine.conflicts import Awaiting
from sync_pipelines.engine.events import Event, Outbox, key_of, parent_of, token
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
    outbox.complete([number for number, key in keys.items() if key in dropped], note=DROPPED)
    outbox.put_back([number for number, key in keys.items() if key not in inside], afresh=True)
