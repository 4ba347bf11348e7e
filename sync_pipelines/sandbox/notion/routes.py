"""Which endpoint answers which request, and what a connection must be allowed for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sync_pipelines.sandbox.notion import blocks, databases, others, pages, uploads
from sync_pipelines.sandbox.notion.calls import Call


@dataclass(frozen=True)
class Route:
    """An endpoint.

    Args:
        name: by which faults and the log know it.
        path: its segments; `*` stands for an id.
        capability: what a connection needs, if anything.
    """

    name: str
    method: str
    path: tuple[str, ...]
    handle: Callable[[Call], dict[str, Any]]
    capability: str = ""

    def names(self, method: str, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """The ids of a path that is this endpoint's; None: it is another's."""
        if method != self.method or len(parts) != len(self.path):
            return None
        if any(wanted not in ("*", part) for wanted, part in zip(self.path, parts, strict=True)):
            return None
        return tuple(part for wanted, part in zip(self.path, parts, strict=True) if wanted == "*")


def _route(line: str, handle: Callable[[Call], dict[str, Any]], capability: str = "") -> Route:
    name, method, path = line.split()
    return Route(name, method, tuple(path.split("/")), handle, capability)


READ, INSERT, UPDATE = "read_content", "insert_content", "update_content"

ROUTES = (
    _route("users.me GET users/me", others.me),
    _route("users.list GET users", others.users, "read_users"),
    _route("users.retrieve GET users/*", others.user, "read_users"),
    _route("search POST search", others.search, READ),
    _route("databases.create POST databases", databases.create, INSERT),
    _route("databases.retrieve GET databases/*", databases.retrieve, READ),
    _route("databases.update PATCH databases/*", databases.update, UPDATE),
    _route("data_sources.create POST data_sources", databases.create_source, INSERT),
    _route("data_sources.retrieve GET data_sources/*", databases.retrieve_source, READ),
    _route("data_sources.update PATCH data_sources/*", databases.update_source, UPDATE),
    _route("data_sources.query POST data_sources/*/query", databases.query, READ),
    _route("pages.create POST pages", pages.create, INSERT),
    _route("pages.retrieve GET pages/*", pages.retrieve, READ),
    _route("pages.update PATCH pages/*", pages.update, UPDATE),
    _route("pages.properties.retrieve GET pages/*/properties/*", pages.item, READ),
    _route("blocks.retrieve GET blocks/*", blocks.retrieve, READ),
    _route("blocks.update PATCH blocks/*", blocks.update, UPDATE),
    _route("blocks.delete DELETE blocks/*", blocks.delete, UPDATE),
    _route("blocks.children.list GET blocks/*/children", blocks.children, READ),
    _route("blocks.children.append PATCH blocks/*/children", blocks.append, INSERT),
    _route("comments.create POST comments", others.comment, "insert_comments"),
    _route("comments.list GET comments", others.comments, "read_comments"),
    _route("comments.retrieve GET comments/*", others.retrieve_comment, "read_comments"),
    _route("file_uploads.create POST file_uploads", uploads.create, INSERT),
    _route("file_uploads.list GET file_uploads", uploads.listed, READ),
    _route("file_uploads.retrieve GET file_uploads/*", uploads.retrieve, READ),
    _route("file_uploads.send POST file_uploads/*/send", uploads.send, INSERT),
    _route("file_uploads.complete POST file_uploads/*/complete", uploads.complete, INSERT),
)


def found(method: str, parts: tuple[str, ...]) -> tuple[Route, tuple[str, ...]] | None:
    """The endpoint of a request, and the ids of its path."""
    for one in ROUTES:
        names = one.names(method, parts)
        if names is not None:
            return one, names
    return None
