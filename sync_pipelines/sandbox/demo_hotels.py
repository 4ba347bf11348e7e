"""The demo of `hotels`: a REST API becomes tables, at its rate; what fails is named, what is gone is marked.

It asks the stand-in of Cupid, which answers as facts about the real one say, and enforces its rate itself.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

from rich.table import Table

from sync_pipelines.sandbox import application
from sync_pipelines.sandbox.cupid.control import Control
from sync_pipelines.sandbox.story import Story

PROPERTIES, REVIEWS, TRANSLATIONS = "hotels/properties", "hotels/reviews", "hotels/translations"


def tell(story: Story) -> None:
    """All hotels; then a change, a 404, a broken payload and a failure; then all is well again."""
    story.tell("hotels: Cupid REST API → PostgreSQL (properties, rooms, photos, facilities, policies, reviews, …)")
    cupid = Control.of_environment()
    ids = [row[0] for row in _rows("SELECT hotel_id FROM property_ids ORDER BY hotel_id")]
    first = story.sync("first sync", PROPERTIES)
    story.expect("hotels that arrived", first.counts.upserted, len(ids))
    for path in (REVIEWS, TRANSLATIONS):
        story.sync("first sync", path)
    again = story.sync("incremental", PROPERTIES)
    story.expect("requests within the interval", again.counts.read, 0)
    _trouble(story, cupid, ids)
    cupid.clear_faults()
    cupid.restore(ids[1])
    healed = story.sync("full, all well", PROPERTIES, full=True)
    story.expect("left in quarantine", _quarantined(), 0)
    story.expect("gone", _rows("SELECT count(*) FROM properties WHERE sync_status <> 'synced'"), [(0,)])
    story.expect("unchanged hotels written", healed.counts.upserted <= 2, True)
    _show(story)


def _trouble(story: Story, cupid: Any, ids: list[int]) -> None:
    cupid.change(ids[0], {"hotel_name": "The Renamed", "stars": 5})
    cupid.remove(ids[1])
    cupid.fault("wrong_types", key=ids[2], fields={"latitude": "north"})
    cupid.fault("500", key=ids[3])
    line = story.sync("full, with trouble", PROPERTIES, full=True)
    story.expect("hotels written", line.counts.upserted, 1)
    story.expect("hotels deleted", line.counts.deleted, 0)
    story.expect("hotels in quarantine", line.counts.quarantined, 2)
    table = Table(title="What became of each (property_status)")
    for name in ("hotel", "status", "version", "why"):
        table.add_column(name)
    for row in _rows(
        "SELECT hotel_name, sync_status, data_version, coalesce(reason, '') FROM property_status "
        "WHERE sync_status <> 'synced' OR data_version > 1 ORDER BY hotel_name"
    ):
        table.add_row(*map(str, row))
    story.console.print(table)


def _show(story: Story) -> None:
    table = Table(title="property_changes: what changed, from what to what")
    for name in ("hotel", "version", "field", "from", "to"):
        table.add_column(name)
    for row in _rows(
        "SELECT record_key, data_version, path, old #>> '{}', new #>> '{}' FROM property_changes "
        "WHERE part = 'properties' ORDER BY changed_at, path LIMIT 8"
    ):
        table.add_row(*map(str, row))
    story.console.print(table)


def _quarantined() -> int:
    from sync_pipelines.registry import tables

    bound = tables(PROPERTIES)[0]
    with closing(bound.binding()) as binding:
        return binding.ledger.quarantined(*binding.place)


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with application.transaction(os.environ["DATABASE_URL"]) as cursor:
        cursor.execute(statement)
        return cursor.fetchall()
