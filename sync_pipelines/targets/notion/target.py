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
from sync_pipelines.engine.deciding import Dispute, Outcome
from sync_pipelines.engine.errors import RecordError, RunError
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.ledger.rates import SharedRate
from sync_pipelines.engine.merging import same_state
from sync_pipelines.engine.model import (
    FINGERPRINT,
    FINGERPRINTS_SCHEMA,
    KEY,
    UNDELETED,
    BatchResult,
    Counts,
    Deletion,
    Digest,
    Doubt,
    PlannedWrites,
    Rejection,
    Underived,
    bucket_of,
)
from sync_pipelines.engine.rates import RateKeeper
from sync_pipelines.targets.notion.client import Notion
from sync_pipelines.targets.notion.database import ready
from sync_pipelines.targets.notion.judged import Judged, Known, chosen, paged, rows_of, standing_for
from sync_pipelines.targets.notion.judgement import Case, Row, is_told, judge, merged_plan, whole_plan
from sync_pipelines.targets.notion.listing import Head, Pages
from sync_pipelines.targets.notion.looking import Seen, read_page
from sync_pipelines.targets.notion.properties import state_of
from sync_pipelines.targets.notion.reading import page_text
from sync_pipelines.targets.notion.records import Record, Records
from sync_pipelines.targets.notion.settings import NotionSettings
from sync_pipelines.targets.notion.uploads import OpenAttachment
from sync_pipelines.targets.notion.writing import PageWriter

_PAGE = pa.schema([*FINGERPRINTS_SCHEMA, pa.field("page", pa.string())])


class NotionTarget(Judged, Underived):
    """The pages of one user; implements `engine.model.Target`. Making one connects to nothing.

    Args:
        settings: the database. sync, table: the owner, and for errors (`notes`, `pages:ann`).
        ledger: keeps what was made of each page. rate: keeps the connection's rate; the ledger if None.
        strategy: who wins where people have edited the managed region.
        open_attachment: key and name of an attachment → its bytes.
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
        keeper = rate or SharedRate(ledger, settings.connection)
        self.notion = Notion(settings, rate=keeper, where=self._place)
        self._source: str | None = None
        self.written = 0

    def fence(self, check: Callable[[], object]) -> None:
        """Ask this before each request that writes: who has lost the right to write learns it then."""
        self.notion.before_write = check

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

    def count(self) -> int:
        """Notes that have a page: each once, however many copies of it there are; none that is marked as deleted."""
        if self.records.database() is None:
            return 0
        return len({head.key for head in self.pages.all()})

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
        for page in _grouped(self.pages.all(), 100):
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
            record = None
        if record is not None and record.under_way is not None:
            return head.fingerprint or None  # a write that was interrupted: the next one finishes it
        if record is not None and record.tells(head):
            calm = record.calm
        else:
            seen = read_page(self.notion, head, record)
            calm = self._looked(seen, record)
        return (head.fingerprint if calm else f"{head.fingerprint} edited") or None

    def _looked(self, seen: Seen, record: Record | None) -> bool:
        """Note what a look at a page has shown; whether it is as the sync left it."""
        accepted = record is not None and record.left is not None and record.left == seen.mark
        calm = accepted or same_state(seen.state, seen.base)
        if record is None or record.under_way is None:
            known = record or Record(key=seen.head.key, fingerprint=seen.head.fingerprint, editor=self.notion.us)
            state = dict(seen.base_state)
            looked = replace(known, page_id=seen.head.id, base=seen.region.base, state=state, calm=calm)
            self.records.keep([replace(looked, edited=seen.head.edited, seen=seen.at)])
        return calm

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
        self._source = ready(self.notion, self.records).source

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> Iterator[BatchResult]:
        """Bring pages to what their notes say, one by one; what is unchanged is told together."""
        for batch in batches:
            rows: dict[str, Row] = {}
            bad = []
            for given in batch.to_pylist():
                try:
                    rows.update(rows_of(pa.RecordBatch.from_pylist([given], schema=batch.schema)))
                except RecordError as error:
                    bad.append(_rejection(given[KEY], error))
            if bad:
                yield BatchResult(counts=Counts(quarantined=len(bad)), rejected=bad, keys=[item.key for item in bad])
            for keys in paged(list(rows)):
                yield from self._bring({key: rows[key] for key in keys}, doubt, before_write)

    def _bring(
        self, rows: Mapping[str, Row], doubt: Doubt | None, before_write: Callable[[], object]
    ) -> Iterator[BatchResult]:
        known = self.known(list(rows))
        heads = self.heads(list(rows), known.records)
        equal = [key for key, row in rows.items() if not doubt and self._is_equal(row, heads.get(key), known)]
        if equal:
            yield BatchResult(counts=Counts(unchanged=len(equal)), keys=equal)
        writer = self._writer(before_write)
        for key in (key for key in rows if key not in set(equal)):
            try:
                case = self.case(key, rows[key], heads, known)
                yield from self._written(case, writer, doubt)
            except RecordError as error:
                yield BatchResult(counts=Counts(quarantined=1), rejected=[_rejection(key, error)], keys=[key])

    def _is_equal(self, row: Row, head: Head | None, known: Known) -> bool:
        """Whether a page is as its note says, by the listing alone."""
        record = known.records.get(row.key)
        if head is None or record is None or head.deleted or row.key in known.conflicts:
            return False
        return head.fingerprint == row.mark == record.fingerprint and record.calm and record.tells(head)

    def _written(self, case: Case, writer: PageWriter, doubt: Doubt | None) -> Iterator[BatchResult]:
        row = case.row
        assert row is not None
        if case.seen is not None and self._is_at_rest(case, doubt):
            self._looked(case.seen, case.record)
            yield BatchResult(counts=Counts(unchanged=1), keys=[row.key])
            return
        dispute = judge(case, self.strategy)
        if dispute.decision.stays:
            if case.seen is not None and case.record is not None:
                self._looked(case.seen, case.record)
            told = [dispute] if is_told(dispute.decision) else []
            yield BatchResult(counts=Counts(unchanged=1), keys=[row.key], kept={row.key: dispute.why}, disputes=told)
            return
        if dispute.decision.conflict:
            yield BatchResult(counts=Counts(), keys=(), disputes=[dispute])
        changed = self._carry_out(row, case, dispute, writer)
        self.written += changed
        yield BatchResult(counts=Counts(upserted=int(changed), unchanged=int(not changed)), keys=[row.key])

    def _is_at_rest(self, case: Case, doubt: Doubt | None) -> bool:
        """Whether a page bears its note's fingerprint and stands as it was left with somebody's consent."""
        assert case.row is not None
        assert case.seen is not None
        head = case.seen.head
        same = head.fingerprint == case.row.mark and not head.deleted and not doubt and case.noted is None
        return same and case.is_as_accepted

    def _carry_out(self, row: Row, case: Case, dispute: Dispute, writer: PageWriter) -> bool:
        """Write what was decided; whether anything was to be written."""
        if case.seen is None:
            self._make(row, case, writer)
            return True
        head = case.seen.head
        if dispute.decision.outcome is Outcome.MERGED:
            writer.change(row, case.seen, case.record, merged_plan(case, dispute.decision.values or {}))
            self.remember_left(row.key)
            return True
        is_whole = dispute.decision.outcome is Outcome.SAME and not head.deleted and head.key == row.key
        if is_whole and head.fingerprint == row.mark:
            self._note_same(row, case)
            return False
        writer.change(row, case.seen, case.record, whole_plan(case))
        return True

    def _make(self, row: Row, case: Case, writer: PageWriter) -> None:
        """Make a page, or take the one that lies in the trash out of it."""
        lying = self.lost(case.record)
        if lying is None or not lying.in_trash:
            writer.make(row, whole_plan(replace(case, record=None)))
            return
        head = writer.restore(lying)
        again = replace(case, seen=read_page(self.notion, head, case.record))
        assert again.seen is not None
        writer.change(row, again.seen, case.record, whole_plan(again))

    def _note_same(self, row: Row, case: Case) -> None:
        """Put on record what stands on a page that is as its note says."""
        assert case.seen is not None
        note = case.record.note if case.record is not None else None
        self.records.keep(
            [
                Record(
                    key=row.key,
                    page_id=case.seen.head.id,
                    fingerprint=row.mark,
                    base=standing_for(case),
                    state=state_of(row.values),
                    edited=case.seen.head.edited,
                    seen=case.seen.at,
                    editor=self.notion.us,
                    note=note,
                )
            ]
        )

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
            known = self.known(page)
            for key, head in self.heads(page, known.records).items():
                if head.deleted:
                    continue
                try:
                    self._end(key, head, known.records.get(key))
                    gone += 1
                except RecordError as error:
                    refused.append(Rejection(key=key, reason=error.message, stage=UNDELETED))
        return Deletion(deleted=gone, refused=refused)

    def _end(self, key: str, head: Head, record: Record | None) -> None:
        writer = self._writer()
        mine = record if record is not None and record.page_id == head.id else None
        if self.settings.on_delete == "trash":
            seen = read_page(self.notion, head, mine)
            if writer.trash(seen):
                self.records.ledger.forget_pages(*self.records.place, [key])
                return
        marked = writer.mark_deleted(head)
        if mine is not None:
            self.records.keep([replace(mine, edited=marked.edited, editor=self.notion.us, seen=None, sole=False)])

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
                rows.append({KEY: key, FINGERPRINT: head.fingerprint or None, "page": page_text(seen)})
            yield pa.RecordBatch.from_pylist(rows, schema=_PAGE)

    def doubles(self) -> dict[str, list[str]]:
        """The notes that have several pages (somebody has copied one), with the addresses of all but the sync's own."""
        found: dict[str, list[Head]] = {}
        if self.records.database() is None:
            return {}
        for head in self.pages.all(deleted=True):
            found.setdefault(head.key, []).append(head)
        several = {key: heads for key, heads in found.items() if len(heads) > 1}
        records = self.records.of(list(several))
        return {
            key: sorted(head.url or head.id for head in heads if head is not chosen(heads, records.get(key)))
            for key, heads in several.items()
        }

    def notes(self) -> dict[str, str]:
        """What a person should know of pages: files that were not uploaded, and why."""
        return self.records.notes()

    def holdings(self) -> dict[str, Any]:
        """Where it is, and how many blocks the sync has made there; nothing before the first sync."""
        found = self.records.database()
        if found is None:
            return {}
        return {"database": found.database or found.source, "blocks_made": found.blocks, "notes": len(self.notes())}

    def drift(self) -> list[str]:
        """What about it is not as it is asked for now, in words."""
        found = self.records.database()
        if found is None:
            return ["the Notion database has not been synced yet"]
        source = self.notion.ask("look at the database", lambda client: client.data_sources.retrieve(found.source))
        missing = self.settings.columns.missing(source["properties"])
        return [f"the Notion database lacks the property {name!r}" for name in missing]

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` of these batches would do; writes nothing."""
        counts = Counts()
        for batch in batches:
            rows = rows_of(batch)
            if self.records.database() is None:
                counts += Counts(upserted=len(rows))
                continue
            for keys in paged(list(rows)):
                known = self.known(keys)
                heads = self.heads(keys, known.records)
                for key in keys:
                    same = self._is_equal(rows[key], heads.get(key), known) or self._stays(rows[key], heads, known)
                    counts += Counts(unchanged=int(same), upserted=int(not same))
        return PlannedWrites(counts=counts)

    def _stays(self, row: Row, heads: Mapping[str, Head], known: Known) -> bool:
        case = self.case(row.key, row, heads, known)
        decision = judge(case, self.strategy).decision
        head = case.seen.head if case.seen is not None else None
        done = decision.outcome is Outcome.SAME and head is not None and head.fingerprint == row.mark
        return decision.stays or done

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


def _rejection(key: str, error: RecordError) -> Rejection:
    return Rejection(key=key, reason=error.message, stage="write")


def _grouped(heads: Iterable[Head], size: int) -> Iterator[list[Head]]:
    found: list[Head] = []
    for head in heads:
        found.append(head)
        if len(found) == size:
            yield found
            found = []
    if found:
        yield found
