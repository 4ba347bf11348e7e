"""A request of a connection, as the endpoints see it; paging."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sync_pipelines.sandbox.notion.answers import Answers
from sync_pipelines.sandbox.notion.given import Given, identity
from sync_pipelines.sandbox.notion.model import Connection, Database, DataSource, Node, Page
from sync_pipelines.sandbox.notion.refusals import invalid, not_found, usual
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

    def paging(self) -> tuple[Given, Given]:
        """Cursor and size as they are asked for, in the query or in the body."""
        if self.body.value:
            return self.body.field("start_cursor"), self.body.field("page_size")
        return Given(dict(self.query), "query").field("start_cursor"), Given(_numbers(self.query), "query").field(
            "page_size"
        )

    def listed(
        self, kind: str, found: Sequence[Item], shown: Callable[[Item], Any], *, most: int = 0
    ) -> dict[str, Any]:
        """One page of a list.

        Args:
            kind: what stands in the list.
            shown: makes an element's answer.
            most: how many elements all pages together have; 0: as many as there are.
        """
        cursor, size = self.paging()
        number = _size(size)
        begin = self._begin(cursor, found)
        end = min(begin + number, len(found), most or len(found))
        more = end < min(len(found), most or len(found))
        answer = {
            "object": "list",
            "results": [shown(one) for one in found[begin:end]],
            "next_cursor": self._cursor(found, end) if more else None,
            "has_more": more,
            "type": kind,
            kind: {},
        }
        if most and not more and len(found) > most:
            answer["request_status"] = {"type": "incomplete", "incomplete_reason": "query_result_limit_reached"}
        return answer

    def _begin(self, cursor: Given, found: Sequence[Any]) -> int:
        if not cursor.filled:
            return 0
        known = self.workspace.cursors.get(cursor.of(str))
        if known is None:
            raise invalid(f"The start_cursor provided is invalid: {cursor.value}")
        wanted, place = known
        # The list may have changed since: it goes on at the element that was the next, or else at the same place.
        if place < len(found) and found[place].id == wanted:
            return place
        return next((number for number, one in enumerate(found) if one.id == wanted), min(place, len(found)))

    def _cursor(self, found: Sequence[Any], place: int) -> str:
        made = new_id()
        self.workspace.cursors[made] = (found[place].id, place)
        return made


def _numbers(query: Mapping[str, str]) -> dict[str, Any]:
    size = query.get("page_size")
    return {} if size is None else {"page_size": int(size) if size.lstrip("-").isdigit() else size}


def _size(size: Given) -> int:
    if not size.filled:
        return MOST_ROWS
    number = size.number()
    if not 1 <= number <= MOST_ROWS:
        bound = f"≤ `{MOST_ROWS}`" if number > MOST_ROWS else "≥ `1`"
        raise invalid(f"body failed validation: {size.path} should be {bound}, instead was `{number}`.")
    return int(number)
