"""List endpoints: how the next page is asked for, and when there is none."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from sync_pipelines.engine.errors import ConfigurationError, RunError
from sync_pipelines.sources.rest.calls import Call
from sync_pipelines.sources.rest.contract import flag

_MOST_EMPTY = 100
"""Pages in a row without a record, of which each says that there are more; then the walk would never end."""

_NO_MORE = "leave `more` out, if an empty page is the end"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pagination:
    """How a list is cut into pages; paths into the answer are dotted (`meta.next`), empty for the answer itself.

    Args:
        kind: `none`, one page; `page`, numbered; `offset`, records to skip; `cursor`, what the answer before said.
        items: where the records stand in an answer.
        param: the parameter of the page's number, the offset or the cursor; by default the kind's name.
        size_param, size: the parameter for the records of a page, and their number; None: as the API likes.
        first: the number of the first page.
        next: where the next cursor stands; it may be an address, whole or not, which is then asked as it is.
        more: where it stands whether there are more, also as a text (`"false"`), a number of them, or an address;
            without it the list ends with an empty page (a page may be short, and with `more` it may be empty, for other
            reasons than to be the last one: the API's own limit, or a filter after the cut).
    """

    kind: Literal["none", "page", "offset", "cursor"] = "none"
    items: str = ""
    param: str | None = None
    size_param: str | None = None
    size: int | None = None
    first: int = 1
    next: str | None = None
    more: str | None = None

    def __post_init__(self) -> None:
        if self.kind == "cursor" and self.next is None:
            raise ConfigurationError("pagination: a cursor needs `next`, where it stands in the answer.")
        if self.kind != "cursor" and self.next is not None:
            raise ConfigurationError("pagination: `next` belongs to `kind: cursor`; nothing else would follow it.")
        if self.kind == "none" and (self.param is not None or self.more is not None):
            raise ConfigurationError("pagination: `param` and `more` belong to a kind: write page, offset or cursor.")
        if (self.size is None) != (self.size_param is None):
            raise ConfigurationError("pagination: `size` and `size_param` go together.")
        if self.size is not None and self.size < 1:
            raise ConfigurationError(f"pagination: size is {self.size}: a whole number above 0 is wanted.")


@dataclass
class Pager:
    """Where one walk through a list stands.

    Args:
        where: sync and table, for sentences.
    """

    pagination: Pagination
    base_url: str
    path: str
    params: Mapping[str, str]
    where: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = {self.pagination.size_param: str(self.pagination.size)} if self.pagination.size_param else {}
        position = {"page": {self._param: str(self.pagination.first)}, "offset": {self._param: "0"}}
        self._fixed = {**self.params, **size}
        self._number = self.pagination.first
        self._offset = 0
        self._seen: set[str] = set()
        self._last = ""
        self._empty = 0
        self._first = True
        self._next: Call | None = self._call(position.get(self.pagination.kind, {}))

    @property
    def _param(self) -> str:
        return self.pagination.param or self.pagination.kind

    def next_call(self) -> Call | None:
        """The request of the next page; None after the last one."""
        return self._next

    def items_of(self, body: Any) -> list[Any]:
        """The records of the page that was asked for; `next_call` is the page after it.

        Raises:
            RunError: the answer has no list there, or the API does not move on: the walk would never end.
        """
        items = self._at(body, self.pagination.items)
        if not isinstance(items, list):
            found = "nothing" if items is None else f"a {type(items).__name__}"
            raise self._wrong(
                f"has {found} where the list of records should be ({self.pagination.items or 'the answer itself'})"
            )
        first, self._next = self._first, self._after(body, items)
        self._first = False
        if first and items and self._next is None:
            self._warn_of_the_end(body)
        return items

    def _warn_of_the_end(self, body: Any) -> None:
        """A path that is misspelled looks as one page does that is all there is."""
        for name in ("more", "next"):
            path = getattr(self.pagination, name)
            if path and not self._stands(body, path):
                _LOG.warning(
                    "%s: the answer of %s has nothing at %s, so the list ends with its first page; if it has more, "
                    "correct pagination.%s",
                    "/".join(filter(None, self.where.values())),
                    self.path,
                    path,
                    name,
                )
                return

    def _stands(self, body: Any, path: str) -> bool:
        above, _, name = path.rpartition(".")
        block = self._at(body, above)
        return isinstance(block, dict) and name in block

    def _after(self, body: Any, items: list[Any]) -> Call | None:
        kind, more = self.pagination.kind, self.pagination.more
        if kind == "none" or (more is not None and not _says_yes(self._at(body, more))):
            return None
        if kind == "cursor":
            return self._of_cursor(self._at(body, self.pagination.next or ""))
        if not items and more is None:
            return None
        self._insist_on_another_page(items)
        self._number, self._offset = self._number + 1, self._offset + len(items)
        return self._call({self._param: str(self._number if kind == "page" else self._offset)})

    def _of_cursor(self, cursor: Any) -> Call | None:
        if cursor in (None, "", False):
            if self.pagination.more is not None:  # then it was yes; what is not read would be marked as gone
                raise self._wrong(
                    f"says that there are more ({self.pagination.more}), and has no cursor at {self.pagination.next}"
                )
            return None
        if not isinstance(cursor, str | int):
            raise self._wrong(f"has a {type(cursor).__name__} for a cursor at {self.pagination.next}")
        text = str(cursor)
        mark = hashlib.sha256(text.encode()).hexdigest()
        if mark in self._seen:
            raise self._wrong(f"gives the cursor {text[:80]!r} a second time, and would go on for ever")
        self._seen.add(mark)
        return self._of_address(text) if self._is_address(text) else self._call({self._param: text})

    def _is_address(self, text: str) -> bool:
        """Base64 has slashes, too, and one cursor of 64 begins with one: an address has a query, or the list's path."""
        if text.startswith("/"):
            return "?" in text or self.path.strip("/") in text
        return text.startswith(("http://", "https://"))

    def _of_address(self, text: str) -> Call:
        base = urlsplit(self.base_url)
        address = urljoin(self.base_url, text)
        parts = urlsplit(address)
        if (parts.scheme, parts.netloc) != (base.scheme, base.netloc):
            other = parts.netloc if parts.netloc != base.netloc else f"{parts.scheme}://{parts.netloc}"
            raise self._wrong(f"leads on to another server ({other}), which must not see the key")
        return Call(key=self.path, path=address)

    def _insist_on_another_page(self, items: list[Any]) -> None:
        if not items:
            self._insist_on_an_end()
            return
        self._empty = 0
        mark = hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()
        if mark == self._last:
            raise self._wrong(
                f"gives the same page again: the API does not know the parameter {self._param!r}, {self._or_else()}"
            )
        self._last = mark

    def _insist_on_an_end(self) -> None:
        self._empty += 1
        told = f"says that there are more ({self.pagination.more})"
        if self.pagination.kind == "offset":
            raise self._wrong(f"has no record and {told}, and where they begin nobody knows; {_NO_MORE}")
        if self._empty > _MOST_EMPTY:
            raise self._wrong(f"has no record, like {_MOST_EMPTY} before it, and {told}; {_NO_MORE}")

    def _or_else(self) -> str:
        if self.pagination.more is not None:
            return f"or says at {self.pagination.more} that there are more where there are none"
        return "or gives its last page for each after it; write `more`, if it says whether there are more"

    def _call(self, position: Mapping[str, str]) -> Call:
        params = {**self._fixed, **position}
        shown = "&".join(f"{name}={value}" for name, value in params.items())
        return Call(key=f"{self.path}?{shown}" if shown else self.path, path=self.path, params=params)

    def _at(self, body: Any, path: str) -> Any:
        for name in path.split(".") if path else ():
            body = body.get(name) if isinstance(body, dict) else None
        return body

    def _wrong(self, what: str) -> RunError:
        return RunError(
            f"The answer of {self.path} {what}.", remedy="Correct `pagination` of the table's document.", **self.where
        )


def _says_yes(value: Any) -> bool:
    """Whether there are more: true or false, also as a text; of anything else, whether it is something."""
    try:
        return bool(flag(value))
    except ValueError:
        return bool(value)
