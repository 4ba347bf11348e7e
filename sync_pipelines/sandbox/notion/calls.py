"""A request of a connection, as the endpoints see it; paging."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sync_pipelines.sandbox.notion.answers import Answers
from sync_pipelines.sandbox.notion.given import Given, identity
from sync_pipelines.sandbox.notion.model import Connection, Database, DataSource, Node, Page
from sync_pipelines.sandbox.notion.refusals import Refusal, invalid, not_found, usual
from sync_pipelines.sandbox.notion.workspace import Workspace, new_id

MOST_ROWS = 100
"""In one page of results."""

MOST_RESULTS = 10_000
"""In all pages of a query."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Call:
    """One request.

    Args:
        names: the variable segments of the path.
        raw: the body where it is no JSON.
    """

    workspace: Workspace
    connection: Connection
    answers: Answers
    names: tuple[str, ...]
    query: Mapping[str, str]
    pairs: Sequence[tuple[str, str]]
    body: Given
    raw: bytes
    headers: Mapping[str, str]

    @property
    def bot(self) -> str:
        """Who acts."""
        return self.connection.id

    def may(self, capability: str) -> None:
        """Refuse what the connection was not given."""
        if capability not in self.connection.capabilities:
            raise usual(403)

    def node(self, text: str, kind: str = "block") -> Node:
        """A block that the connection sees."""
        found = self.workspace.nodes.get(identity(text))
        if found is None or not self.connection.sees(found):
            raise not_found(kind, identity(text))
        return found

    def page(self, text: str) -> Page:
        """A page that the connection sees."""
        found = self.node(text, "page")
        if not isinstance(found, Page):
            raise not_found("page", found.id)
        return found

    def database(self, text: str) -> Database:
        """A database that the connection sees."""
        found = self.node(text, "database")
        if not isinstance(found, Database):
            raise not_found("database", found.id)
        return found

    def source(self, text: str) -> DataSource:
        """A data source that the connection sees."""
        found = self.workspace.sources.get(identity(text))
        if found is None or not self.connection.sees(found):
            raise not_found("data_source", identity(text))
        return found

    def listed(
        self,
        kind: str,
        found: Sequence[Item],
        shown: Callable[[Item], Any],
        *,
        strict: bool = False,
    ) -> dict[str, Any]:
        """One page of a list; its cursor is the id of the next element.

        Args:
            kind: what stands in the list.
            shown: makes an element's answer.
            strict: whether a size that is too large or too small is refused, and not made to fit.
        """
        asked = self.body if self.body.value else Given(_numbers(self.query), "query")
        size = _size(asked.field("page_size"), most_is_refused=strict, least_is_refused=strict)
        cursor = asked.field("start_cursor")
        begin = next((place for place, one in enumerate(found) if _identity(one) == cursor.value), None)
        if cursor.filled and begin is None:
            raise _invalid_cursor(cursor)
        end = (begin or 0) + size
        return _listed(kind, [shown(one) for one in found[begin or 0 : end]], _next(found, end))

    def queried(self, found: Sequence[Item], shown: Callable[[Item], Any]) -> dict[str, Any]:
        """One page of a query, whose cursor is `s:`, the query's own id, and that of the next row.

        Rows may leave meanwhile: then it goes on at the next one of those that were to follow.
        """
        size = _size(self.body.field("page_size"), most_is_refused=False, least_is_refused=True)
        session, begin = self._session(self.body.field("start_cursor"), found)
        end = min(begin + size, MOST_RESULTS)
        following = _next(found, end) if end < MOST_RESULTS else None
        cursor = f"s:{session}:{following}" if following else None
        if cursor:
            self.workspace.cursors[cursor] = (session, end, found)
        answer = _listed("page_or_data_source", [shown(one) for one in found[begin:end]], cursor)
        if end == MOST_RESULTS and len(found) > end:
            answer["request_status"] = {"type": "incomplete", "incomplete_reason": "query_result_limit_reached"}
        return answer

    def _session(self, cursor: Given, found: Sequence[Any]) -> tuple[str, int]:
        if not cursor.filled:
            return new_id(), 0
        known = self.workspace.cursors.get(cursor.of(str))
        if known is None:
            raise _invalid_cursor(cursor)
        session, place, rows = known
        places = {one.id: number for number, one in enumerate(found)}
        return session, next((places[row.id] for row in rows[place:] if row.id in places), len(found))


def _identity(one: Any) -> str:
    return one.id


def _next(found: Sequence[Any], place: int) -> str | None:
    return _identity(found[place]) if place < len(found) else None


def _listed(kind: str, results: list[Any], cursor: str | None) -> dict[str, Any]:
    return {
        "object": "list",
        "results": results,
        "next_cursor": cursor,
        "has_more": cursor is not None,
        "type": kind,
        kind: {},
    }


def _invalid_cursor(cursor: Given) -> Refusal:
    return invalid(f"The start_cursor provided is invalid: {cursor.value}")


def away(body: Given) -> bool | None:
    """Whether a request puts something into the trash, or takes it out; None: neither."""
    found = next((body.field(name) for name in ("in_trash", "archived") if body.field(name).filled), None)
    return None if found is None else found.of(bool)


def _numbers(query: Mapping[str, str]) -> dict[str, Any]:
    """A query string with a size that is a number as one."""
    size = query.get("page_size", "")
    return {**query, "page_size": int(size)} if size.lstrip("-").isdigit() else dict(query)


def _size(size: Given, *, most_is_refused: bool, least_is_refused: bool) -> int:
    """How many elements are wanted: 0, and what is above 100, is 100, what is below 0 none, if they are not refused."""
    if not size.filled:
        return MOST_ROWS
    number = size.number()
    if least_is_refused and number < 1:
        raise size.wrong("should be ≥ `1`")
    if most_is_refused and number > MOST_ROWS:
        raise size.wrong(f"should be ≤ `{MOST_ROWS}`")
    return int(min(number, MOST_ROWS)) if number > 0 else MOST_ROWS if number == 0 else 0
