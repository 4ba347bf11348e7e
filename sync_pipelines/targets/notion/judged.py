"""Pages that people edit, too: what the target answers of conflicts (`engine.conflicts`, `engine.deciding`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.engine.conflicts import Base, Strategy
from sync_pipelines.engine.deciding import Dispute, Sides
from sync_pipelines.engine.errors import ConfigurationError, RecordError
from sync_pipelines.engine.merging import leaves, merge, same
from sync_pipelines.engine.model import KEY
from sync_pipelines.targets.notion.errors import GoneError
from sync_pipelines.targets.notion.judgement import (
    Case,
    Item,
    Row,
    is_told,
    judge,
    merged_plan,
    row_of,
    sides_of,
    whole_plan,
)
from sync_pipelines.targets.notion.listing import Head, Pages, head_of
from sync_pipelines.targets.notion.looking import read_page, recall
from sync_pipelines.targets.notion.places import places_of
from sync_pipelines.targets.notion.properties import state_of
from sync_pipelines.targets.notion.reading import readable
from sync_pipelines.targets.notion.records import Record, Records
from sync_pipelines.targets.notion.region import Entry, Standing

if TYPE_CHECKING:
    from sync_pipelines.targets.notion.client import Notion
    from sync_pipelines.targets.notion.writing import PageWriter


class Judged:
    """What `target.NotionTarget` has of conflicts; implements `engine.conflicts.Judging` and `Disputing`."""

    notion: Notion
    records: Records
    strategy: Strategy

    @property
    def pages(self) -> Pages:
        raise NotImplementedError

    def _writer(self, before_write: Callable[[], object] = lambda: None) -> PageWriter:
        raise NotImplementedError

    @property
    def looks(self) -> bool:
        """Always: people write on pages."""
        return True

    # Cases

    def heads(self, keys: Sequence[str], records: Mapping[str, Record]) -> dict[str, Head]:
        """The page of each of these notes: that on record, else the oldest; those that are marked as deleted, too."""
        return own(self.every_head(keys), records)

    def every_head(self, keys: Sequence[str]) -> dict[str, list[Head]]:
        """All pages of each of these notes, copies included."""
        found: dict[str, list[Head]] = {}
        for head in self.pages.named(list(keys)):
            found.setdefault(head.key, []).append(head)
        return found

    def lost(self, record: Record | None) -> Head | None:
        """A page that the listing does not have any more although it is on record: in the trash, or without its key."""
        if record is None or record.page_id is None:
            return None
        try:
            given = self.notion.page(record.page_id)
        except GoneError:
            return None
        parent = given.get("parent") or {}
        if parent.get("data_source_id") != self.source_id:
            return None
        return head_of(given, self.notion.settings.columns, at=self.notion.asked_at)

    @property
    def source_id(self) -> str:
        raise NotImplementedError

    def case(self, key: str, row: Row | None, heads: Mapping[str, Head], known: Known) -> Case:
        """A note and its page, whose blocks are read."""
        record = known.records.get(key)
        head = heads.get(key) or self.lost(record)
        if head is not None and record is not None and record.page_id not in (None, head.id):
            record = None
        seen = read_page(self.notion, head, record) if head is not None and not head.in_trash else None
        return Case(key=key, row=row, seen=seen, record=record, noted=known.conflicts.get(key))

    def decidable(self, key: str, row: Row | None, heads: Mapping[str, Head], known: Known) -> Case:
        """A note and its page, to decide by: its blocks are read only where the last look does not tell of them."""
        record = known.records.get(key)
        recalled = recall(heads[key], record) if key in heads else None
        if recalled is None:
            return self.case(key, row, heads, known)
        return Case(key=key, row=row, seen=None, record=record, noted=known.conflicts.get(key), recalled=recalled)

    def known(self, keys: Sequence[str]) -> Known:
        return Known(self.records.of(keys), self.records.conflicts(keys))

    def _cases(self, rows: Mapping[str, Row], keys: Sequence[str], *, read: bool = True) -> Iterator[Case]:
        for page in paged(keys):
            known = self.known(page)
            heads = self.heads(page, known.records)
            for key in page:
                yield (self.case if read else self.decidable)(key, rows.get(key), heads, known)

    # Judging

    def excused(self, rows: pa.RecordBatch) -> Mapping[str, str]:
        """Those of these rows that a run would not write, since the page's version stays."""
        found = rows_of(rows)
        disputes = {case.key: judge(case, self.strategy) for case in self._cases(found, list(found), read=False)}
        return {key: item.why for key, item in disputes.items() if item.decision.stays}

    def keeps(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Those of these records, which the source lacks, that a run would not delete."""
        return {item.key: item.why for item in self.disputes(keys) if item.decision.stays}

    def bases(self, keys: Sequence[str]) -> Mapping[str, Base]:
        """What the sync has last written of these records."""
        known = self.records.of(keys)
        return {key: Base(record.fingerprint) for key, record in known.items() if record.fingerprint is not None}

    def disputes(self, keys: Sequence[str]) -> Sequence[Dispute]:
        """Those of these records, which the source lacks, whose pages were edited."""
        told: list[Dispute] = []
        for page in paged(keys):
            known = self.known(page)
            heads = self.heads(page, known.records)
            for key in (key for key in page if key in heads and not heads[key].deleted):
                record = known.records.get(key)
                if record is not None and record.tells(heads[key]) and record.calm and record.left is None:
                    continue
                item = judge(self.decidable(key, None, heads, known), self.strategy)
                told += [item] if is_told(item.decision) else []
        return told

    def judged(self, rows: pa.RecordBatch | None, keys: Sequence[str]) -> Mapping[str, Dispute]:
        """What would be decided now of these records."""
        return {case.key: judge(case, self.strategy) for case in self._cases(rows_of(rows), keys, read=False)}

    def shown(self, rows: pa.RecordBatch | None, keys: Sequence[str]) -> Mapping[str, Sides]:
        """The states of these records as people may read them; of the base nothing but hashes is kept."""
        cases = self._cases(rows_of(rows), keys)
        return {case.key: readable(case, judge(case, self.strategy).sides) for case in cases}

    # What a person decides

    def give_way(self, keys: Sequence[str]) -> None:
        """Take what these pages hold now for what the sync has written, so that the note's next version wins."""
        for case in self._cases({}, keys):
            if case.seen is None:
                page = case.record.page_id if case.record else None
                self.records.keep([Record(key=case.key, page_id=page)])
                continue
            base = tuple(map(_as_it_stands, case.seen.region.everywhere()))
            record = replace(case.record or Record(key=case.key), page_id=case.seen.head.id, fingerprint="", base=base)
            state = state_of(case.seen.head.values)
            self.records.keep([replace(record, state=state, under_way=None, seen=None, left=None)])

    def stand(self, row: pa.RecordBatch) -> None:
        """Let the page's version stand against this mapped row of the source."""
        (note,) = rows_of(row).values()
        (case,) = self._cases({note.key: note}, [note.key])
        self._stand(note, case)

    def _stand(self, note: Row, case: Case) -> None:
        if case.seen is None:
            record = case.record or Record(key=note.key)
            items = _all_absent(whole_plan(case).entries())
            state = state_of(note.values)
            left = replace(record, fingerprint=note.mark, base=items, state=state, under_way=None, found=None)
            self.records.keep([left])
            return
        base = standing_for(case)
        head = self._writer().set_fingerprint(case.seen.head, note.mark)
        self.records.keep(
            [
                Record(
                    key=note.key,
                    page_id=head.id,
                    fingerprint=note.mark,
                    base=base,
                    state=state_of(note.values),
                    edited=head.edited,
                    seen=case.seen.as_of,
                    editor=self.notion.us,
                    left=case.seen.mark,
                )
            ]
        )

    def put_together(self, row: pa.RecordBatch, values: Mapping[str, Any]) -> None:
        """Write a page as a person has put it together from both sides.

        Args:
            row: the source's, mapped. values: hashes by property, of `judged`; what is left out is removed.

        Raises:
            RecordError: Notion refuses it, or the page is gone. ConfigurationError: a value is of neither side.
        """
        (note,) = rows_of(row).values()
        (case,) = self._cases({note.key: note}, [note.key])
        _require_sides(case, values)
        if case.seen is None:
            raise RecordError("its page is gone, so there is nothing to put together.", key=note.key)
        self.merge(note, case, values)

    def merge(self, note: Row, case: Case, values: Mapping[str, Any]) -> None:
        """Write what was merged, and remember how the page was left."""
        assert case.seen is not None
        self._writer().change(note, case.seen, case.record, merged_plan(case, values))
        self.remember_left(note.key)

    def remember_left(self, key: str) -> None:
        """Note what stands on a page that is otherwise than its note, with somebody's consent."""
        record = self.records.of([key])[key]
        head = self.lost(record)
        if head is not None and not head.in_trash:
            seen = read_page(self.notion, head, record)
            self.records.keep([replace(record, left=seen.mark)])


class Known:
    """What is on record of some notes: their pages, and which of them are in conflict."""

    def __init__(self, records: Mapping[str, Record], conflicts: Mapping[str, Any]) -> None:
        self.records, self.conflicts = records, conflicts


def own(pages: Mapping[str, Sequence[Head]], records: Mapping[str, Record]) -> dict[str, Head]:
    """The sync's page of each of these notes, of all that there are."""
    return {key: chosen(heads, records.get(key)) for key, heads in pages.items()}


def chosen(heads: Sequence[Head], record: Record | None) -> Head:
    """Which of several pages of one note is the sync's: that on record, else the oldest."""
    ours = [head for head in heads if record is not None and head.id == record.page_id]
    return ours[0] if ours else min(heads, key=lambda head: (head.deleted, head.created, head.id))


def rows_of(batch: pa.RecordBatch | None) -> dict[str, Row]:
    """Mapped notes, by key."""
    return {} if batch is None else {row[KEY]: row_of(row) for row in batch.to_pylist()}


def paged(keys: Sequence[str], size: int = 100) -> Iterator[list[str]]:
    """The keys, so many at a time."""
    found = list(dict.fromkeys(keys))
    for start in range(0, len(found), size):
        yield found[start : start + size]


def _require_sides(case: Case, values: Mapping[str, Any]) -> None:
    """Insist that a person has made up none of these values: hashes tell of a new one nothing."""
    sides = sides_of(case)
    states = [state or {} for state in (sides.base, sides.source, sides.target)]
    known = [leaves(state) for state in (*states, merge(*states).values)]
    made_up = [name for name, value in leaves(values).items() if not any(same(value, it.get(name)) for it in known)]
    if made_up:
        raise ConfigurationError(
            f"{case.key!r}: {', '.join(made_up)} can be given no new value here.",
            remedy="Take the note's or the page's (--property NAME=source, NAME=target), and edit the page in Notion.",
        )


def _as_it_stands(item: Standing) -> Entry:
    children = tuple(map(_as_it_stands, item.children))
    if item.is_as_left:
        return replace(item.entry, children=children)
    return Entry(id=item.live.id, mark=item.live.mark, type=item.live.type, away=item.entry.away, children=children)


def standing_for(case: Case) -> tuple[Entry, ...]:
    """The source's blocks, with the ids of the page's where they stand for them."""
    assert case.seen is not None
    places = places_of(case.seen.region)

    def entries(items: Sequence[Item], wishes: Sequence[Any]) -> tuple[Entry, ...]:
        found = []
        for item, wish in zip(items, wishes, strict=True):
            there = places.get(wish.place)
            children = entries(item.children, wish.children)
            name = there.live.id if there is not None else None
            found.append(replace(_as_named(item.entry, there), id=name, absent=name is None, children=children))
        return tuple(found)

    return entries(list(whole_plan(case).items), case.wishes)


def _as_named(entry: Entry, there: Standing | None) -> Entry:
    """An entry of the source: a file that Notion has not is named on the page still, by the block that stands there."""
    if there is None or (there.entry.mark, there.entry.sha) != (entry.mark, entry.sha):
        return entry
    return replace(entry, shown=there.entry.shown)


def _all_absent(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(replace(entry, id=None, absent=True, children=_all_absent(entry.children)) for entry in entries)
