"""A user's Notion database as a target: a page a note, kept equal to it, with what people write there left alone.

A page that a person trashed is an edit of the target: by default it stays there while its note is as it was, and a
changed note is then a conflict for review; `source_wins`, and whoever decides for the source, takes it out of the
trash, or makes it anew where Notion has emptied that.

Nothing is imported before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import pyarrow as pa

from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines.engine.errors import RecordError, RunError
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.ledger.rates import SharedRate
from sync_pipelines.engine.model import (
    FINGERPRINT,
    FINGERPRINTS_SCHEMA,
    KEY,
    UNDELETED,
    Deletion,
    Digest,
    Rejection,
    Underived,
    bucket_of,
)
from sync_pipelines.engine.rates import RateKeeper
from sync_pipelines.targets.notion import there
from sync_pipelines.targets.notion.bringing import Bringing, is_calm
from sync_pipelines.targets.notion.client import Notion
from sync_pipelines.targets.notion.copies import Copy, copies_of, drop
from sync_pipelines.targets.notion.database import ready, require_there
from sync_pipelines.targets.notion.errors import HiddenCommentsError
from sync_pipelines.targets.notion.judged import chosen, paged
from sync_pipelines.targets.notion.listing import Head, Pages
from sync_pipelines.targets.notion.looking import Seen, read_page
from sync_pipelines.targets.notion.reading import page_text
from sync_pipelines.targets.notion.records import Record, Records
from sync_pipelines.targets.notion.settings import NotionSettings
from sync_pipelines.targets.notion.shared import SharedListing
from sync_pipelines.targets.notion.uploads import OpenAttachment
from sync_pipelines.targets.notion.writing import PageWriter

_NAMED = 5
_PAGE = pa.schema([*FINGERPRINTS_SCHEMA, pa.field("page", pa.string())])


class NotionTarget(Bringing, Underived):
    """The pages of one user; implements `engine.model.Target`. Making one connects to nothing.

    Args:
        settings: the database. sync, table: the owner, and for errors (`notes`, `pages:ann`).
        ledger: keeps what was made of each page. rate: keeps the connection's rate; the ledger if None.
        strategy: who wins where people have edited the managed region.
        open_attachment: key and name of an attachment → its bytes.

    `shared`: a listing that this target asks for once, with others, where it only reads.
    """

    at_once = 50
    """Records of whose values a deep proof asks at a time."""

    def __init__(
        self,
        *,
        settings: NotionSettings,
        sync: str,
        table: str,
        ledger: Ledger,
        rate: RateKeeper | None = None,
        strategy: Strategy = Strategy.MANUAL_REVIEW,
        open_attachment: OpenAttachment | None = None,
    ) -> None:
        self.settings, self.strategy, self._open = settings, strategy, open_attachment
        self._place: dict[str, Any] = {"sync": sync, "table": table}
        self.records = Records(ledger, (sync, table))
        self._rate = rate or SharedRate(ledger, settings.connection)
        self.notion = Notion(settings, rate=self._rate, where=self._place)
        self._source: str | None = None
        self._added: list[str] = []
        self.shared: SharedListing | None = None
        self.written = 0

    def fence(self, check: Callable[[], object]) -> None:
        """Ask this before each request that writes: who has lost the right to write learns it then."""
        self.notion.fence = check

    def close(self) -> None:
        """Close every connection to Notion."""
        self.notion.close()

    @property
    def source_id(self) -> str:
        """The id of the data source, which is there after `prepare`."""
        if self._source is None:
            found = self.records.database()
            if found is None:
                self.prepare()
                return self.source_id
            self._source = found.source
        return self._source

    @property
    def writes(self) -> int:
        """Requests that this has made to write; see `engine.listing.Listed`."""
        return self.notion.writes

    @property
    def pages(self) -> Pages:
        return Pages(self.notion, self.source_id)

    def _writer(self, before_write: Callable[[], object] = lambda: None) -> PageWriter:
        return PageWriter(
            notion=self.notion,
            source=self.source_id,
            pages=self.pages,
            records=self.records,
            open_attachment=self._open,
            before_write=before_write,
        )

    # What a listing is asked

    def _listed(self, *, deleted: bool = False) -> Iterator[Head]:
        """Every page; also those whose note is deleted, if asked for. One listing serves all who share it."""
        if self.shared is None:
            return self.pages.all(deleted=deleted)
        heads = self.shared.heads(lambda: self.pages.all(deleted=True))
        return heads if deleted else (head for head in heads if not head.deleted)

    def count(self) -> int:
        """Notes that have a page: each once, however many copies of it there are; none that is marked as deleted."""
        if self.records.database() is None:
            return 0
        return len({head.key for head in self._listed()})

    def digests(self) -> Mapping[int, Digest] | None:
        """None: they are added up where they are compared."""
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Each note's key and the fingerprint that its page bears; another one where people have edited it.

        A page that cannot have changed since the last look costs nothing beside the listing; others are read.
        """
        if self.records.database() is None:
            return
        told: set[str] = set()
        copies: dict[str, list[Head]] = {}
        for page in _grouped(self._listed(), 100):
            records = self.records.of([head.key for head in page])
            mine = []
            for head in page:
                record = records.get(head.key)
                if record is None or record.page_id not in (None, head.id):
                    copies.setdefault(head.key, []).append(head)
                elif head.key not in told:
                    told.add(head.key)
                    mine.append(head)
            yield self._prints(mine, records, buckets)
        left = [key for key in copies if key not in told]
        for some in paged(left):
            records = self.records.of(some)
            yield self._prints([chosen(copies[key], None) for key in some], records, buckets)

    def _prints(
        self, heads: Sequence[Head], records: Mapping[str, Record], buckets: Collection[int] | None
    ) -> pa.RecordBatch:
        wanted = [head for head in heads if buckets is None or bucket_of(head.key) in buckets]
        rows = [(head.key, self._print(head, records.get(head.key))) for head in wanted]
        columns = {KEY: [key for key, _ in rows], FINGERPRINT: [mark for _, mark in rows]}
        return pa.RecordBatch.from_pydict(columns, schema=FINGERPRINTS_SCHEMA)

    def _print(self, head: Head, record: Record | None) -> str | None:
        if record is not None and record.page_id not in (None, head.id):
            # a copy, whose note's own page is marked as deleted or out of sight: looking makes it no page of ours
            return _mark(head, None, calm=is_calm(read_page(self.notion, head, None), None))
        if record is not None and record.under_way is not None:
            return head.fingerprint or None  # a write that was interrupted: the next one finishes it
        if record is not None and record.tells(head):
            return _mark(head, record, calm=record.calm)
        seen = read_page(self.notion, head, record)
        return _mark(head, record, calm=self.looked(seen, record))

    def _seen(self, seen: Seen, record: Record | None) -> str | None:
        """The fingerprint of a page that was read, as `fingerprints` gives it."""
        if record is not None and record.under_way is not None:
            return seen.head.fingerprint or None
        return _mark(seen.head, record, calm=is_calm(seen, record))

    # What a target is asked

    def identity(self) -> str | None:
        """The data source's id."""
        found = self.records.database()
        return found.source if found is not None else None

    def stamp(self) -> str | None:
        """What the last run has left, which the ledger keeps: Notion has no place for it that people do not see."""
        return self.records.ledger.target_stamp(*self.records.place)

    def set_stamp(self, text: str) -> None:
        """Leave a text there, in the place of the one before."""
        self.records.ledger.set_target_stamp(*self.records.place, text)

    def stamp_of(self, text: str) -> str:
        """The text itself."""
        return text

    def prepare(self) -> None:
        """Make the database if need be, and see to it that it has all properties.

        Raises:
            RunError: it is gone, or lacks properties and is not the sync's own.
        """
        found, self._added = ready(self.notion, self.records)
        self._source = found.source

    @property
    def was_lacking(self) -> str | None:
        """The properties that `prepare` had to add; see `engine.ground.Lacking`."""
        return f"the Notion database lacked {', '.join(map(repr, self._added))}" if self._added else None

    def require_there(self) -> None:
        """Ask once whether the database is there, or can be made, for somebody who waits.

        Raises:
            RunError: it is in the trash, deleted, or not shared. TransientError: Notion does not answer.
        """
        asking = Notion(self.settings.hasty(), rate=self._rate, where=self._place)
        try:
            require_there(asking, self.records.database())
        finally:
            asking.close()

    def existing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that have a page which is not marked as deleted."""
        if self.records.database() is None or not keys:
            return []
        there = {head.key for head in self.pages.named(list(dict.fromkeys(keys))) if not head.deleted}
        return [key for key in dict.fromkeys(keys) if key in there]

    def delete(self, keys: Sequence[str]) -> Deletion:
        """Mark the pages of these notes as deleted; with `on_delete: trash` those go that hold nothing of people."""
        gone, refused = 0, []
        for page in paged(keys):
            records = self.records.of(page)
            for key, heads in self.every_head(page).items():
                left = [head for head in heads if not head.deleted]
                try:
                    self._end_all(key, left, chosen(heads, records.get(key)), records.get(key))
                    gone += bool(left)
                except RecordError as error:
                    refused.append(Rejection(key=key, reason=error.message, stage=UNDELETED))
        return Deletion(deleted=gone, refused=refused)

    def _end_all(self, key: str, left: Sequence[Head], own: Head, record: Record | None) -> None:
        """End a note's page; copies that people made of it are marked as deleted, whatever becomes of the page."""
        for head in left:
            if head.id == own.id:
                self._end(key, head, record)
            else:
                self._writer().mark_deleted(head)

    def _end(self, key: str, head: Head, record: Record | None) -> None:
        writer = self._writer()
        mine = record if record is not None and record.page_id == head.id else None
        note = mine.note if mine is not None else None
        if self.settings.on_delete == "trash":
            try:
                if writer.trash(read_page(self.notion, head, mine)):
                    self.records.ledger.forget_pages(*self.records.place, [key])
                    return
            except HiddenCommentsError as error:
                note = f"marked as deleted, and not put into the trash. {error.message} {error.remedy}"
        marked = writer.mark_deleted(head)
        if mine is not None:
            left = replace(mine, edited=marked.edited, editor=self.notion.us, seen=None, sole=False, note=note)
            self.records.keep([left])

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """What stands on the pages of these notes, as the mapper would have made it."""
        if self.records.database() is None:
            return
        for page in paged(keys, self.at_once):
            records = self.records.of(page)
            rows = []
            for key, head in self.heads(page, records).items():
                if head.deleted:
                    continue
                record = records.get(key)
                mine = record if record is not None and record.page_id in (None, head.id) else None
                seen = read_page(self.notion, head, mine)
                rows.append({KEY: key, FINGERPRINT: self._seen(seen, mine), "page": page_text(seen)})
            yield pa.RecordBatch.from_pylist(rows, schema=_PAGE)

    def doubles(self) -> dict[str, list[Copy]]:
        """The notes that have several pages, with all but the sync's own."""
        found: dict[str, list[Head]] = {}
        if self.records.database() is None:
            return {}
        for head in self._listed(deleted=True):
            found.setdefault(head.key, []).append(head)
        several = {key: heads for key, heads in found.items() if len(heads) > 1}
        records = self.records.of(list(several))
        return {key: list(copies_of(heads, records.get(key), self.notion.us)) for key, heads in several.items()}

    def surplus(self) -> int:
        """How many copies are of the sync's own making; those that people have touched since are found by `tidy`."""
        return sum(copy.ours for copies in self.doubles().values() for copy in copies)

    def tidy(self) -> int:
        """Put copies of the sync's own making into the trash, where they hold nothing of people; how many went."""
        writer = self._writer()
        return sum(drop(writer, copy) for copies in self.doubles().values() for copy in copies)

    def notes(self) -> dict[str, str]:
        """What a person should know of pages: files that were not uploaded, and why."""
        return self.records.notes()

    def warnings(self) -> list[str]:
        """The same in a sentence, which names the first ones."""
        found = self.notes()
        named = " ".join(f"{key}: {found[key]}." for key in [*found][:_NAMED])
        return [f"{len(found)} pages are not all that their notes are. {named}"] if found else []

    def holdings(self) -> dict[str, Any]:
        """Where it is, and how many blocks the sync has made for its user; nothing before the first sync."""
        found = self.records.database()
        if found is None:
            return {}
        return {"database": found.database or found.source, "blocks_made": found.blocks, "notes": len(self.notes())}

    def told(self) -> dict[str, Any]:
        """How often Notion was asked since this was made, in all and for each page that was written."""
        each = {"requests_per_page": round(self.notion.requests / self.written, 2)} if self.written else {}
        return {"requests": self.notion.requests, "pages_written": self.written, **each}

    def drift(self) -> list[str]:
        """What about it is not as it is asked for now, in words."""
        found = self.records.database()
        if found is None:
            return ["the Notion database has not been synced yet"]
        source = there.data_source(self.notion, found.source)
        missing = self.settings.columns.missing(source["properties"])
        return [f"the Notion database lacks the property {name!r}" for name in missing]

    def begin_rebuild(self) -> NoReturn:
        """Pages are people's, too: they are never built anew beside the old ones."""
        raise RunError(
            "the pages of a Notion database are not built anew beside the old ones: what people wrote there, and every "
            "link to them, would be lost.",
            remedy="Run a full sync, which compares every note.",
            **self._place,
        )

    def swap(self) -> None:
        """Follows `begin_rebuild`, which there is none of."""


def _mark(head: Head, record: Record | None, *, calm: bool) -> str | None:
    as_left = calm and (record is None or record.fingerprint != "")  # else the note is to be brought again
    return (head.fingerprint if as_left else f"{head.fingerprint} edited") or None


def _grouped(heads: Iterable[Head], size: int) -> Iterator[list[Head]]:
    found: list[Head] = []
    for head in heads:
        found.append(head)
        if len(found) == size:
            yield found
            found = []
    if found:
        yield found
