"""Writes of one page: made, changed, marked as deleted. What may have been done is looked for before it is repeated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sync_pipelines.engine.errors import RecordError, SyncError, TransientError
from sync_pipelines.engine.merging import same_state
from sync_pipelines.targets.notion.blocks import change_of
from sync_pipelines.targets.notion.client import Notion
from sync_pipelines.targets.notion.editing import (
    Delete,
    Insert,
    Operation,
    Part,
    Update,
    late,
    new_blocks,
    page_parts,
    parts,
    script,
)
from sync_pipelines.targets.notion.errors import DoubtfulError, GoneError, RefusedError
from sync_pipelines.targets.notion.judgement import Plan, Row
from sync_pipelines.targets.notion.listing import Head, Pages, head_of
from sync_pipelines.targets.notion.looking import Seen
from sync_pipelines.targets.notion.properties import state_of
from sync_pipelines.targets.notion.records import Record, Records
from sync_pipelines.targets.notion.region import Standing
from sync_pipelines.targets.notion.uploads import OpenAttachment, Uploads

_log = logging.getLogger(__name__)

T = TypeVar("T")


FRESH = timedelta(seconds=5)
"""So long is what a listing told of a page taken for what it is; then it is looked again before it is written."""


@dataclass
class _Mine:
    """The blocks of ours below one parent: those whose ids are known, and how many others."""

    ids: set[str] = field(default_factory=set)
    nameless: int = 0


@dataclass(kw_only=True)
class PageWriter:
    """Writes pages of one data source.

    Args:
        source: the data source's id. open_attachment: see `uploads`.
    """

    notion: Notion
    source: str
    pages: Pages
    records: Records
    open_attachment: OpenAttachment | None = None
    before_write: Callable[[], object] = lambda: None

    # A new page

    def make(self, row: Row, plan: Plan) -> None:
        """Make a page. That it is under way is on record first; its fingerprint is written last.

        Raises:
            RecordError: Notion refuses it, or it would exceed the budget.
        """
        self._require_room(row.key, 1 + new_blocks([Insert("", tuple(plan.goals))]))
        self.before_write()
        uploads = self._uploads(row, plan.goals)
        at = self.notion.now
        begun = _begun(Record(key=row.key), row, plan, row.values)
        self.records.keep([begun])
        properties = self._properties(row)
        some = page_parts(plan.goals, properties)
        whole = len(some) == 1 and not any(late(goal) for goal in some[0].goals)
        mark = self.notion.settings.columns.request("fingerprint", row.mark if whole else "")
        head = self._created(row, {**properties, **mark}, some[0], uploads)
        if not whole:
            self.records.keep([replace(begun, page_id=head.id)])
            self._finish_page(head, plan, some, uploads)
            head = self._set(head, {"fingerprint": row.mark})
        self._done(row, plan, head, uploads, at=at, sole=whole)

    def _properties(self, row: Row) -> dict[str, Any]:
        values = {**row.values, "key": row.key, "deleted": False}
        columns = self.notion.settings.columns
        return columns.requests({item: value for item, value in values.items() if value is not None})

    def _created(self, row: Row, properties: Mapping[str, Any], first: Part, uploads: Uploads) -> Head:
        children = first.requests(uploads.ids)
        return self._sent_once(
            lambda: self._head(self.notion.create_page(self.source, properties, children)),
            lambda: next(iter(self.pages.named([row.key])), None),
            blocks=1 + first.size,
        )

    def _sent_once(self, send: Callable[[], T], look: Callable[[], T | None], *, blocks: int) -> T:
        """The answer to what must not be done twice: after a doubtful try it is looked for, however many looks that
        takes, before another one.

        Args:
            blocks: so many does it make. They are counted before, so that a crash counts too many rather than too few,
                and not where it is sure that none was made: a note that Notion refuses is tried again at each sync.
        """
        doubtful = False

        def action() -> T:
            nonlocal doubtful
            if doubtful and (there := look()) is not None:
                return there
            doubtful = False
            try:
                return send()
            except DoubtfulError as error:
                doubtful = True
                raise TransientError(error.message, retry_after=error.retry_after, **self.notion.where) from error

        self.records.count_blocks(blocks)
        try:
            return self.notion.settings.retry.call(action)
        except SyncError:
            if not doubtful:
                self.notion.fence()  # who has lost the right to write leaves the count to the one that has it
                self.records.count_blocks(-blocks)
            raise

    def _finish_page(self, head: Head, plan: Plan, some: Sequence[Part], uploads: Uploads) -> None:
        """What did not fit into the request that made the page."""
        if any(late(goal) for goal in some[0].goals):
            self._learn_ids(head.id, some[0])
        mine = len(some[0].goals)
        rest = tuple(goal for part in some[1:] for goal in part.goals)
        if rest:
            self._insert(Insert(head.id, rest), uploads, _Mine(nameless=mine))
        for goal in some[0].goals:
            if below := late(goal):
                assert goal.id is not None
                self._insert(Insert(goal.id, tuple(below)), uploads, _Mine(nameless=len(goal.children) - len(below)))

    def _learn_ids(self, page: str, part: Part) -> None:
        ours = [block for block in self.notion.children(page) if _author(block) == self.notion.us]
        for goal, block in zip(part.goals, ours, strict=False):
            goal.id = block["id"]

    # A page that is there

    def change(self, row: Row, seen: Seen, record: Record | None, plan: Plan) -> None:
        """Bring a page to what the plan says, by the fewest requests; its fingerprint is written last.

        Raises:
            RecordError: Notion refuses it, it would exceed the budget, or comments on what is to go cannot be read.
        """
        head = seen.head
        standing = tuple(item for item in seen.region.standing if item.live.id not in plan.released)
        operations = script(head.id, seen.region.page, standing, plan.goals, start=self.notion.can_start)
        operations += [Delete(item) for item in seen.region.astray if item.live.id not in plan.released]
        self._require_to_tell(operations)
        self._require_room(row.key, new_blocks(operations))
        self.before_write()
        uploads = self._uploads(row, [goal for item in operations if isinstance(item, Insert) for goal in item.goals])
        if operations:
            base = record if record is not None and record.page_id == head.id else Record(key=row.key)
            known = replace(base, page_id=head.id, fingerprint=head.fingerprint, base=seen.region.base, left=None)
            self.records.keep([_begun(replace(known, state=seen.base_state), row, plan, plan.values)])
        self._perform(operations, seen, uploads)
        if operations and self.notion.now - seen.at > FRESH:
            self._require_same(row.key, head)
        changes: dict[str, Any] = {
            item: value for item, value in plan.values.items() if value != seen.head.values.get(item)
        }
        if head.deleted:
            changes["deleted"] = False
        if head.key != row.key:
            changes["key"] = row.key
        head = self._set(head, {**changes, "fingerprint": row.mark})
        self._done(row, plan, head, uploads, at=seen.as_of, before=record.note if record is not None else None)

    def _require_to_tell(self, operations: Sequence[Operation]) -> None:
        """Insist on being told of comments before the first write, where blocks are to go.

        Raises:
            HiddenCommentsError: the connection may not read comments; nothing is written.
        """
        first = next((item for item in operations if isinstance(item, Delete)), None)
        if first is not None and not self.notion.reads_comments:
            self._is_discussed(first.standing)

    def _require_same(self, key: str, head: Head) -> None:
        """Look at title and properties again, where it took long to come to them.

        Raises:
            RecordError: somebody has edited them meanwhile; the next sync takes it for the edit that it is.
        """
        now = self._head(self.notion.page(head.id))
        if now.values != head.values:
            remedy = "The next sync looks at it again."
            raise RecordError("its page was edited while it was written.", key=key, remedy=remedy, **self.notion.where)

    def _perform(self, operations: Sequence[Operation], seen: Seen, uploads: Uploads) -> None:
        us = self.notion.us
        mine = {seen.head.id: _Mine({live.id for live in seen.region.page if live.author == us})}
        for live in seen.region.page:
            mine[live.id] = _Mine({child.id for child in live.children if child.author == us})
        for item in operations:
            if isinstance(item, Update):
                written = item.goal.written
                self.notion.update_block(item.id, written["type"], change_of(written))
            elif isinstance(item, Insert):
                self._insert(item, uploads, mine.setdefault(item.parent, _Mine()))
            else:
                self._delete(item)

    def _insert(self, item: Insert, uploads: Uploads, mine: _Mine) -> None:
        """Make blocks, in as few requests as may be.

        Args:
            mine: the blocks of ours below the parent before; the new ones are added.
        """
        after, first = item.after, item.first
        for part in parts(item.goals):
            place = Insert(item.parent, part.goals, after=after, first=first)
            for goal, name in zip(part.goals, self._appended(place, part, uploads, mine), strict=True):
                goal.id = name
                mine.ids.add(name)
            after, first = part.goals[-1].id, False
            for goal in part.goals:
                if below := late(goal):
                    assert goal.id is not None
                    sent = len(goal.children) - len(below)
                    self._insert(Insert(goal.id, tuple(below)), uploads, _Mine(nameless=sent))

    def _appended(self, item: Insert, part: Part, uploads: Uploads, mine: _Mine) -> list[str]:
        """The ids of the new blocks; whether they are there is looked for where no answer came."""

        def send() -> list[str]:
            made = self.notion.append(item.parent, part.requests(uploads.ids), after=item.after, first=item.first)
            return [block["id"] for block in made["results"]]

        return self._sent_once(send, lambda: self._there(item, mine), blocks=part.size)

    def _there(self, item: Insert, mine: _Mine) -> list[str] | None:
        """The ids of blocks that were made although no answer came; None where none were."""
        ours = [block["id"] for block in self.notion.children(item.parent) if _author(block) == self.notion.us]
        number = len(item.goals)
        new = [name for name in ours if name not in mine.ids]
        if len(new) < mine.nameless + number:
            return None
        if not mine.nameless:
            return new[:number]
        begin = ours.index(item.after) + 1 if item.after in ours else len(ours) - number
        return ours[begin : begin + number]

    def _delete(self, item: Delete) -> None:
        """Remove a block; one that people have written below, or discuss, stays as theirs."""
        if self.is_peoples(item.standing):
            _log.info("a block that its note lost stays on its page: people wrote below it, or discuss it")
            return
        try:
            self.notion.delete_block(item.standing.live.id)
        except (GoneError, RefusedError):
            return  # somebody has removed it, or a try before whose answer was lost

    def is_peoples(self, item: Standing) -> bool:
        """Whether a block holds what people wrote or discuss."""
        return item.holds_foreign or self._is_discussed(item)

    def _is_discussed(self, item: Standing) -> bool:
        try:
            return self.notion.has_comments(item.live.id) or any(map(self._is_discussed, item.children))
        except GoneError:
            return False

    # The end of a note

    def mark_deleted(self, head: Head) -> Head:
        """Say on the page that its note is deleted."""
        return self._set(head, {"deleted": True})

    def take_mark_off(self, head: Head) -> Head:
        """Say on the page that its note is not deleted."""
        self.before_write()
        return self._set(head, {"deleted": False})

    def trash(self, seen: Seen) -> bool:
        """Put a page into the trash, unless it holds anything of people; whether it went.

        Raises:
            HiddenCommentsError: whether people discuss it cannot be told; it stays.
        """
        if seen.region.holds_foreign or not same_state(seen.state, seen.base):
            return False
        if self.notion.settings.columns.beside(self.notion.page(seen.head.id)) or self._page_is_discussed(seen):
            return False
        self.notion.update_page(seen.head.id, in_trash=True)
        return True

    def _page_is_discussed(self, seen: Seen) -> bool:
        return self.notion.has_comments(seen.head.id) or any(map(self._comments_below, seen.region.standing))

    def _comments_below(self, item: Standing) -> bool:
        return self.notion.has_comments(item.live.id) or any(map(self._comments_below, item.children))

    def restore(self, head: Head) -> Head:
        """Take a page out of the trash."""
        return self._head(self.notion.update_page(head.id, in_trash=False))

    # What all of them need

    def set_fingerprint(self, head: Head, mark: str) -> Head:
        """Say of which note the page is as it should be."""
        return self._set(head, {"fingerprint": mark})

    def _set(self, head: Head, values: Mapping[str, Any]) -> Head:
        columns = self.notion.settings.columns
        return self._head(self.notion.update_page(head.id, properties=columns.requests(values)))

    def _head(self, answer: Mapping[str, Any]) -> Head:
        return head_of(answer, self.notion.settings.columns, at=self.notion.asked_at)

    def _uploads(self, row: Row, goals: Sequence[Any]) -> Uploads:
        uploads = Uploads(self.notion, row.key, self.open_attachment)
        uploads.make(goals)
        return uploads

    def _require_room(self, key: str, blocks: int) -> None:
        """Insist on that so many blocks may be made.

        Raises:
            RecordError: they are more than are left.
        """
        most = self.notion.settings.max_blocks
        found = self.records.database()
        made = found.blocks if found is not None else 0
        if most is not None and blocks and made + blocks > most:
            raise RecordError(
                f"its page needs {blocks} new blocks, and of the {most} that the sync may make (max_blocks) "
                f"{max(0, most - made)} are left.",
                key=key,
                remedy="Raise max_blocks, or give the workspace a plan without a limit.",
                **self.notion.where,
            )

    def _done(
        self,
        row: Row,
        plan: Plan,
        head: Head,
        uploads: Uploads,
        *,
        at: datetime,
        sole: bool = False,
        before: str | None = None,
    ) -> None:
        """Put on record what was written.

        Args:
            at: when it was last looked at, before the first of the requests. before: see `Uploads.told`.
        """
        self.records.keep(
            [
                Record(
                    key=row.key,
                    page_id=head.id,
                    fingerprint=row.mark,
                    base=plan.entries(),
                    state=state_of(row.values),
                    edited=head.edited,
                    seen=at,
                    editor=self.notion.us if not sole else head.author,
                    sole=sole,
                    note=uploads.told(row, plan.goals, before),
                )
            ]
        )


def _begun(record: Record, row: Row, plan: Plan, values: Mapping[str, Any]) -> Record:
    """What is on record of a write before it begins."""
    return replace(record, under_way=plan.entries(), next_state=state_of(values), next_fingerprint=row.mark)


def _author(block: Mapping[str, Any]) -> str:
    return (block.get("created_by") or {}).get("id") or ""
