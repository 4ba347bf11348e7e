"""The pages of a database as its listing gives them; nothing else of them is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync_pipelines.engine.errors import RunError
from sync_pipelines.targets.notion import there
from sync_pipelines.targets.notion.client import Notion
from sync_pipelines.targets.notion.errors import GoneError, RefusedError, RestrictedError
from sync_pipelines.targets.notion.properties import Columns

KEYS_A_QUERY = 50
"""Conditions of one query on the key; Notion takes 100."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a listing tells of a page.

    Args:
        fingerprint: of the note that it was last made equal to; empty while that is under way.
        edited: to the minute. editor, author: ids of who last edited it, and made it.
        values: its title and properties, as `Columns.values`. at: when this was asked for, by Notion's clock; an edit
            after it is not told.
    """

    id: str
    key: str
    fingerprint: str
    deleted: bool
    in_trash: bool
    edited: datetime
    created: datetime
    editor: str
    author: str
    url: str
    values: Mapping[str, Any]
    at: datetime


def head_of(page: Mapping[str, Any], columns: Columns, *, at: datetime) -> Head:
    """A page object of an answer; `at`: when that was asked for."""
    return Head(
        id=page["id"],
        key=columns.value("key", page),
        fingerprint=columns.value("fingerprint", page),
        deleted=columns.value("deleted", page),
        in_trash=bool(page.get("in_trash") or page.get("archived")),
        edited=datetime.fromisoformat(page["last_edited_time"]),
        created=datetime.fromisoformat(page["created_time"]),
        editor=(page.get("last_edited_by") or {}).get("id") or "",
        author=(page.get("created_by") or {}).get("id") or "",
        url=page.get("url") or "",
        values=columns.values(page),
        at=at,
    )


class Pages:
    """The pages of one data source that have a key."""

    def __init__(self, notion: Notion, source: str) -> None:
        self._notion, self._source = notion, source
        self._columns = notion.settings.columns

    def all(self, *, deleted: bool = False) -> Iterator[Head]:
        """Every page, in the order of their making; also those whose note is deleted, if asked for.

        Notion ends a query at 10,000 pages: the next one begins with the minute at which that ended.
        """
        since, skip = None, set[str]()
        while True:
            minute, of_minute, cut = None, set[str](), False
            for answer in self._answers(self._filter(since, deleted=deleted)):
                cut = (answer.get("request_status") or {}).get("type") == "incomplete"
                for head in self._heads(answer):
                    if head.created != minute:
                        minute, of_minute = head.created, set()
                    of_minute.add(head.id)
                    if head.id not in skip:
                        yield head
            if not cut:
                return
            if minute is None or minute == since:
                raise RunError("Notion does not list more than 10,000 pages of one minute.", **self._notion.where)
            since, skip = minute, of_minute

    def named(self, keys: Sequence[str]) -> Iterator[Head]:
        """The pages of these notes, also those that are marked as deleted."""
        for start in range(0, len(keys), KEYS_A_QUERY):
            some = [self._columns.filter("key", equals=key) for key in keys[start : start + KEYS_A_QUERY]]
            asked = some[0] if len(some) == 1 else {"or": some}
            for answer in self._answers(asked):
                yield from self._heads(answer)

    def _filter(self, since: datetime | None, *, deleted: bool) -> dict[str, Any]:
        wanted = [self._columns.filter("key", is_not_empty=True)]
        if not deleted:
            wanted.append(self._columns.filter("deleted", equals=False))
        if since is not None:
            wanted.append({"timestamp": "created_time", "created_time": {"on_or_after": since.isoformat()}})
        return wanted[0] if len(wanted) == 1 else {"and": wanted}

    def _heads(self, answer: Mapping[str, Any]) -> Iterator[Head]:
        at = self._notion.asked_at
        pages = [page for page in answer["results"] if page.get("object") == "page"]
        if pages and not self._columns.are_all_on(pages[0]):
            # an empty property is there all the same: this one was renamed, deleted or changed for all pages at once
            there.fitting(self._notion, self._source)
        for page in pages:
            head = head_of(page, self._columns, at=at)
            if not head.in_trash:
                yield head

    def _answers(self, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        sorts = [{"timestamp": "created_time", "direction": "ascending"}]
        cursor: dict[str, str] = {}
        while True:
            answer = self._answer(filter=dict(asked), sorts=sorts, **cursor)
            yield answer
            if not answer.get("has_more") or not answer.get("next_cursor"):
                return
            cursor = {"start_cursor": answer["next_cursor"]}

    def _answer(self, **asked: Any) -> dict[str, Any]:
        try:
            return self._notion.query(self._source, **asked)
        except (GoneError, RefusedError, RestrictedError):
            there.fitting(self._notion, self._source)  # of a database that is away, this says so and what to do
            raise
