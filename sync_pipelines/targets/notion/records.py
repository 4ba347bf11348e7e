"""What is on record of each page (`sync_pages`), and of the database: hashes and ids, no content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sync_pipelines.engine.ledger.conflict_rows import OpenConflict
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.ledger.pages import PageRow
from sync_pipelines.targets.notion.blocks import FILES
from sync_pipelines.targets.notion.listing import Head
from sync_pipelines.targets.notion.properties import state_of
from sync_pipelines.targets.notion.region import Entry

DATABASE = ""
"""The key of the row that speaks of the database itself; no note has it."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a look has found in the managed region of a page that somebody has edited; hashes.

    Args:
        body: place → token, of those that are not as in the base; None where there is nothing.
        shown: of all that stands there (`Region.seen`).
    """

    body: Mapping[str, str | None]
    shown: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the sync last made of a page, and when it last looked.

    Args:
        page_id: None where it was to be made, and nobody knows whether it was.
        fingerprint: of the note then; None where the page was never finished; empty where it must be looked at.
        base: the blocks, as the source had them; state: title and properties, as hashes.
        edited: the page's time of editing at the last look, which was at `seen` (Notion's clock); editor: who that was.
        equal: of a page that somebody has edited, when the last look was that found no edit.
        sole: one request made all of the page, so that nobody's edit lies hidden between several of ours.
        calm: whether the page was then as the sync left it. left: of a page that was left otherwise than the source
            has it, with somebody's consent: the hash of what stood there.
        under_way: the blocks that a write was making which has not ended; next_state, next_fingerprint: what was to be
            of those; the latter None where an older version began it. note: what a person should know.
        found: what the last look has found there, where that is otherwise than `base`.
    """

    key: str
    page_id: str | None = None
    fingerprint: str | None = None
    base: tuple[Entry, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    edited: datetime | None = None
    seen: datetime | None = None
    equal: datetime | None = None
    editor: str = ""
    sole: bool = False
    calm: bool = True
    left: str | None = None
    under_way: tuple[Entry, ...] | None = None
    next_state: Mapping[str, Any] | None = None
    next_fingerprint: str | None = None
    note: str | None = None
    found: Found | None = None

    @property
    def known(self) -> bool:
        """Whether there is a base: the page was finished once."""
        return self.page_id is not None and self.fingerprint is not None

    def is_behind(self, head: Head) -> bool:
        """Whether the sync has written the page since: the ledger is of a backup, made within a write perhaps."""
        last = self.fingerprint if self.under_way is None else self.next_fingerprint
        told = bool(last and head.fingerprint) and self.left is None
        return told and head.fingerprint not in (self.fingerprint, last)

    def tells(self, head: Head) -> bool:
        """Whether the page cannot have changed since the last look, by what the listing says.

        Times are rounded to the minute: what was looked at in the minute of its last edit may have been edited after
        it. Unless one request made the page, whose author is its last editor still: then nobody else has edited it.
        """
        if self.page_id != head.id or self.edited != head.edited or self.under_way is not None:
            return False
        return self.is_of_later_minute or (self.sole and self.editor == head.editor and self.seen is not None)

    @property
    def is_of_later_minute(self) -> bool:
        """Whether the last look was in a later minute than the edit that it has found."""
        if self.edited is None or self.seen is None:
            return False
        return self.seen.replace(second=0, microsecond=0) > self.edited


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """An entry as the ledger keeps it: what is not set is left out; a file without bytes has a size and a hash, too."""
    found: dict[str, Any] = {"id": entry.id, "hash": entry.mark, "type": entry.type}
    more = {name: getattr(entry, name) for name in ("absent", "away", "shown", "sha", "mime", "size", "lost")}
    found.update({name: value for name, value in more.items() if value is not None and value is not False})
    if entry.children:
        found["children"] = [entry_to_json(child) for child in entry.children]
    return found


def entry_from_json(found: Mapping[str, Any]) -> Entry:
    """What `entry_to_json` gave; an older version left out a file's hash and size where it had no bytes."""
    bare = found["type"] in FILES and bool(found.get("shown"))
    return Entry(
        id=found["id"],
        mark=found["hash"],
        type=found["type"],
        absent=bool(found.get("absent")),
        away=bool(found.get("away")),
        shown=found.get("shown"),
        sha=found.get("sha", "" if bare else None),
        mime=found.get("mime"),
        size=found.get("size", 0 if bare else None),
        lost=bool(found.get("lost")),
        children=tuple(map(entry_from_json, found.get("children", ()))),
    )


def record_of(row: PageRow) -> Record:
    """A row of the ledger."""
    body = row.body
    under_way, found = body.get("under_way"), body.get("found")
    return Record(
        key=row.key,
        page_id=row.page_id,
        fingerprint=row.fingerprint,
        base=tuple(map(entry_from_json, body.get("blocks", ()))),
        state={**row.properties, **({"title": row.title} if row.title else {})},
        edited=row.edited_time,
        seen=row.seen_at,
        equal=datetime.fromisoformat(body["equal"]) if "equal" in body else None,
        editor=body.get("editor", ""),
        sole=bool(body.get("sole")),
        calm=not body.get("edited"),
        left=body.get("left"),
        under_way=None if under_way is None else tuple(map(entry_from_json, under_way["blocks"])),
        next_state=None if under_way is None else under_way["state"],
        next_fingerprint=None if under_way is None else under_way.get("fingerprint"),
        note=row.note,
        found=None if found is None else Found(body=found["body"], shown=found["shown"]),
    )


def row_of(record: Record) -> PageRow:
    """As the ledger keeps it."""
    body: dict[str, Any] = {"blocks": [entry_to_json(entry) for entry in record.base], "editor": record.editor}
    equal = record.equal.isoformat() if record.equal is not None else None
    flags = {"sole": record.sole, "edited": not record.calm, "left": record.left, "equal": equal}
    body.update({name: value for name, value in flags.items() if value})
    if record.under_way is not None:
        blocks = [entry_to_json(entry) for entry in record.under_way]
        state = dict(record.next_state or {})
        body["under_way"] = {"blocks": blocks, "state": state, "fingerprint": record.next_fingerprint}
    if record.found is not None:
        body["found"] = {"body": dict(record.found.body), "shown": record.found.shown}
    state = dict(record.state)
    return PageRow(
        key=record.key,
        page_id=record.page_id,
        fingerprint=record.fingerprint,
        edited_time=record.edited,
        seen_at=record.seen,
        body=body,
        title=state.pop("title", None),
        properties=state,
        note=record.note,
    )


@dataclass(frozen=True, kw_only=True)
class Database:
    """What is on record of the database.

    Args:
        source: the id of its data source. database: its own. made: whether the sync made it, below the page `parent`.
        blocks: how many blocks the sync has made there in all. properties: ours → the ids that Notion knew them by.
    """

    source: str
    database: str
    made: bool = False
    parent: str = ""
    blocks: int = 0
    properties: Mapping[str, str] = field(default_factory=dict)

    def is_named(self, name: str) -> bool:
        """Whether this is its id, or that of its data source; dashes and case are nothing."""
        return _bare(name) in (_bare(self.database), _bare(self.source))

    def is_meant(self, *, database: str | None, parent_page: str | None) -> bool:
        """Whether settings speak of it that name a database, or a page to make one in."""
        if database:
            return self.is_named(database)
        return self.made and (not self.parent or _bare(parent_page or "") == _bare(self.parent))


def _bare(name: str) -> str:
    return name.replace("-", "").lower()


class Records:
    """The part of a ledger that belongs to one user's pages."""

    def __init__(self, ledger: Ledger, place: tuple[str, str]) -> None:
        self.ledger, self.place = ledger, place

    def of(self, keys: Sequence[str]) -> dict[str, Record]:
        """What is on record of these pages."""
        found = self.ledger.pages_of(*self.place, [key for key in keys if key != DATABASE])
        return {key: record_of(row) for key, row in found.items()}

    def keep(self, records: Iterable[Record]) -> None:
        """Put these in the place of what was on record."""
        self.ledger.keep_pages(*self.place, [row_of(record) for record in records])

    def conflicts(self, keys: Sequence[str]) -> Mapping[str, OpenConflict]:
        """Those of these records that are in conflict now."""
        return self.ledger.known_bases(*self.place, list(keys))[1]

    def notes(self) -> dict[str, str]:
        """What a person should know, by key."""
        return {row.key: row.note for row in self.ledger.noted_pages(*self.place) if row.note and row.key != DATABASE}

    def database(self) -> Database | None:
        """What is on record of the database; None before the first sync."""
        row = self.ledger.pages_of(*self.place, [DATABASE]).get(DATABASE)
        if row is None or row.page_id is None:
            return None
        body = row.body
        return Database(
            source=row.page_id,
            database=body.get("database", ""),
            made=bool(body.get("made")),
            parent=body.get("parent", ""),
            blocks=int(body.get("made_blocks", 0)),
            properties=body.get("properties", {}),
        )

    def keep_database(self, found: Database) -> None:
        body = {"database": found.database, "made": found.made, "made_blocks": found.blocks, "parent": found.parent}
        body["properties"] = dict(found.properties)
        self.ledger.keep_pages(*self.place, [PageRow(key=DATABASE, page_id=found.source, body=body)])

    def others_of(self, source: str) -> list[str]:
        """Paths of other users' tables that are kept in this data source; a user who was removed keeps none."""
        places = self.ledger.places_of_page(DATABASE, source)
        users = {sync: {user.name for user in self.ledger.users(sync)} for sync, _ in places}
        return [
            f"{sync}/{table}"
            for sync, table in places
            if (sync, table) != self.place and table.rpartition(":")[2] in users[sync]
        ]

    def count_blocks(self, number: int) -> None:
        """So many blocks are about to be made; counted before, so that a crash counts too many rather than too few."""
        found = self.database()
        if found is not None and number:
            self.keep_database(replace(found, blocks=found.blocks + number))

    def emptied(self, values: Mapping[str, Any]) -> None:
        """The database has lost these properties: what a page has of them now is what the sync has left there.

        Pages that lose something by that must be looked at.
        """
        state = state_of(values)
        for row in self.ledger.every_page(*self.place):
            record = record_of(row)
            lost = [item for item in values if record.state.get(item) != state.get(item)]
            if record.known and row.key != DATABASE and lost:
                left = {item: value for item, value in record.state.items() if item not in values}
                self.keep([replace(record, fingerprint="", state={**left, **state})])

    def forget_pages(self) -> None:
        """The database is another one: nothing was made there."""
        self.ledger.forget_pages(*self.place)
