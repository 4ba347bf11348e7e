"""Whether an answer is what Notion says: a proxy's JSON, or half an object, must pass for no empty list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sync_pipelines.targets.notion.errors import DoubtfulError

_NEEDED: Mapping[str, Mapping[str, type]] = {
    "list": {"results": list, "has_more": bool},
    "page": {"id": str, "properties": dict, "created_time": str, "last_edited_time": str},
    "block": {"id": str, "type": str},
    "database": {"id": str, "data_sources": list},
    "data_source": {"id": str, "properties": dict},
    "user": {"id": str},
    "file_upload": {"id": str},
    "comment": {"id": str},
}
"""What is used of each kind of object, and must be there."""


def require_object(answer: Any, doing: str, *, host: str, **where: Any) -> Any:
    """The answer, if it is one of Notion's objects with all that is used of it.

    Args:
        doing: what was tried, for the sentence (`write a page`).

    Raises:
        DoubtfulError: it is not; what was asked may have been done.
    """
    if not _is_object(answer):
        raise DoubtfulError(f"{host} answers with JSON that is none of Notion's objects: could not {doing}.", **where)
    return answer


def _is_object(given: Any) -> bool:
    needed = _NEEDED.get(given.get("object")) if isinstance(given, Mapping) else None
    if needed is None or not all(isinstance(given.get(name), kind) for name, kind in needed.items()):
        return False
    return given["object"] != "list" or _is_list(given)


def _is_list(given: Mapping[str, Any]) -> bool:
    goes_on = not given["has_more"] or isinstance(given.get("next_cursor"), str)
    return goes_on and all(_is_object(item) or _is_other(item) for item in given["results"])


def _is_other(given: Any) -> bool:
    """Whether an element of a list is one that no note is read from: a listing may hold databases, however told."""
    return isinstance(given, Mapping) and given.get("object") in ("database", "data_source")
