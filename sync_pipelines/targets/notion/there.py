"""Whether a user's database is where it was, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sync_pipelines.engine.errors import RunError
from sync_pipelines.targets.notion.client import Notion
from sync_pipelines.targets.notion.errors import GoneError, RestrictedError


def data_source(notion: Notion, source: str) -> Mapping[str, Any]:
    """A data source that can be read and written.

    Raises:
        RunError: it, or what it lies in, is in the trash, deleted, or not shared with the connection.
    """
    found = asked(notion, "database", lambda client: client.data_sources.retrieve(source))
    _require_out_of_trash(notion, "database", found)
    return found


def fitting(notion: Notion, source: str) -> None:
    """Insist on a data source that can be read and written, with all properties that notes need.

    Raises:
        RunError: it is away (see `data_source`), or somebody has renamed, deleted or changed one of them.
    """
    lacking = notion.settings.columns.missing(data_source(notion, source)["properties"])
    if lacking:
        raise RunError(
            f"The Notion database lacks {', '.join(map(repr, lacking))}.",
            remedy="Where somebody renamed it, call it so again; otherwise a sync adds it to a database of its own.",
            **notion.where,
        )


def parent_page(notion: Notion, page: str) -> None:
    """Insist on the page below which the database is to be made.

    Raises:
        RunError: it is in the trash, deleted, or not shared with the connection.
    """
    found = asked(notion, "page", lambda client: client.pages.retrieve(page))
    _require_out_of_trash(notion, "page", found)


def asked(notion: Notion, what: str, call: Any) -> Mapping[str, Any]:
    """The database, or what belongs to it.

    Raises:
        RunError: Notion finds none, or the connection may not see it.
    """
    try:
        return notion.ask(f"look at the {what}", call)
    except (GoneError, RestrictedError) as error:
        message = f"The user's Notion {what} is gone, or no longer shared with the connection: {error.message}"
        raise RunError(message, remedy=_bring_back(notion), **notion.where) from error


def _bring_back(notion: Notion) -> str:
    name = f"`sync-pipelines users set {notion.settings.user} --database …`"
    return (
        "Take it out of Notion's trash, share it with the connection (in Notion: the page's menu, Connections), or "
        f"name another database or page for the user: {name} or `--parent-page …`."
    )


def _require_out_of_trash(notion: Notion, what: str, found: Mapping[str, Any]) -> None:
    parents = [found, found.get("parent") or {}]
    if any(one.get("in_trash") or one.get("archived") for one in parents):
        raise RunError(f"The user's Notion {what} is in the trash.", remedy=_bring_back(notion), **notion.where)
