"""Objects as Notion answers them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

from sync_pipelines.sandbox.notion.clock import minute
from sync_pipelines.sandbox.notion.kinds import KINDS
from sync_pipelines.sandbox.notion.model import (
    Comment,
    Connection,
    Database,
    DataSource,
    Node,
    Page,
    Person,
    Property,
    Upload,
    plain,
)
from sync_pipelines.sandbox.notion.properties import empty, options_of
from sync_pipelines.sandbox.notion.texts import merged
from sync_pipelines.sandbox.notion.workspace import Workspace

_HOUR = timedelta(hours=1)
_TEXTS = ("title", "rich_text", "caption")


class Answers:
    """Makes answers of what a workspace holds.

    Args:
        address: where its files can be fetched.
    """

    def __init__(self, workspace: Workspace, address: str) -> None:
        self.workspace, self.address = workspace, address

    def page(self, page: Page, only: frozenset[str] = frozenset()) -> dict[str, Any]:
        """A page; `only` names the properties that are wanted, by id or name."""
        return {
            **self._common("page", page),
            "cover": self._file(page.cover),
            "icon": self._file(page.icon),
            "parent": parent(page),
            "in_trash": page.away,
            "archived": page.away,
            "is_archived": page.away,
            "is_locked": page.is_locked,
            "properties": self._properties(page, only),
            "url": address(page.id),
            "public_url": None,
        }

    def block(self, node: Node) -> dict[str, Any]:
        """A block; pages and databases are blocks, too."""
        return {
            **self._common("block", node),
            "parent": parent(node),
            "has_children": bool(node.living()) if not isinstance(node, Database) else False,
            "archived": node.away,
            "in_trash": node.away,
            "type": node.kind,
            node.kind: self._content(node),
        }

    def database(self, database: Database) -> dict[str, Any]:
        """A database."""
        return {
            "object": "database",
            "id": database.id,
            "created_time": minute(database.created),
            "last_edited_time": minute(database.edited),
            "title": database.title,
            "description": database.description,
            "parent": parent(database),
            "is_inline": database.is_inline,
            "is_locked": database.is_locked,
            "in_trash": database.away,
            "archived": database.away,
            "data_sources": [
                {"id": source.id, "name": plain(source.title)} for source in database.sources if not source.in_trash
            ],
            "icon": self._file(database.icon),
            "cover": self._file(database.cover),
            "url": address(database.id),
            "public_url": None,
        }

    def source(self, source: DataSource) -> dict[str, Any]:
        """A data source with its schema."""
        away = source.in_trash or source.database.away
        return {
            **self._common("data_source", source),
            "title": source.title,
            "description": source.description,
            "parent": {"type": "database_id", "database_id": source.database.id},
            "database_parent": parent(source.database),
            "is_inline": source.database.is_inline,
            "in_trash": away,
            "archived": away,
            "properties": {one.name: schema(one) for one in source.properties.values()},
            "icon": self._file(source.icon),
            "cover": None,
            "url": address(source.database.id),
            "public_url": None,
        }

    def comment(self, comment: Comment) -> dict[str, Any]:
        """A comment."""
        kind = "page_id" if isinstance(comment.node, Page) else "block_id"
        name = self._name(comment.created_by)
        return {
            "object": "comment",
            "id": comment.id,
            "parent": {"type": kind, kind: comment.node.id},
            "discussion_id": comment.discussion,
            "created_time": minute(comment.created),
            "last_edited_time": minute(comment.created),
            "created_by": _user(comment.created_by),
            "rich_text": comment.text,
            "display_name": {"type": name[0], "resolved_name": name[1]},
        }

    def upload(self, upload: Upload) -> dict[str, Any]:
        """A file upload."""
        status = upload.status
        if status != "failed" and not upload.attached and upload.expires <= self.workspace.clock.now():
            status = "expired"
        parts = {"number_of_parts": {"total": upload.number_of_parts, "sent": len(upload.parts)}}
        return {
            "object": "file_upload",
            "id": upload.id,
            "created_time": minute(upload.created),
            "created_by": {"id": upload.created_by, "type": "bot"},
            "last_edited_time": minute(upload.created),
            "in_trash": False,
            "archived": False,
            "expiry_time": None if upload.attached else minute(upload.expires),
            "status": status,
            "filename": upload.filename,
            "content_type": upload.content_type,
            "content_length": upload.size if status == "uploaded" else None,
            **({"upload_url": f"{self.address}/v1/file_uploads/{upload.id}/send"} if status == "pending" else {}),
            **(parts if upload.mode == "multi_part" else {}),
        }

    def value(self, one: Property, page: Page) -> Any:
        """A property's value, as it stands below its type's name."""
        held = page.values.get(one.id, empty(one.kind))
        if one.kind in ("title", "rich_text"):
            return self._text(held)
        if one.kind in ("select", "multi_select", "status"):
            chosen = [{key: option[key] for key in ("id", "name", "color")} for option in options_of(one, held)]
            return chosen if one.kind == "multi_select" else next(iter(chosen), None)
        if one.kind in ("created_time", "last_edited_time"):
            return minute(page.created if one.kind == "created_time" else page.edited)
        if one.kind in ("created_by", "last_edited_by"):
            return _user(page.created_by if one.kind == "created_by" else page.edited_by)
        return [self._file(file) for file in held] if one.kind == "files" else held

    def _properties(self, page: Page, only: frozenset[str]) -> dict[str, Any]:
        if not isinstance(page.parent, DataSource):
            found = [Property(id="title", name="title", kind="title")]
        else:
            found = list(page.parent.properties.values())
        wanted = [one for one in found if not only or one.id in only or one.name in only]
        return {one.name: {"id": one.id, "type": one.kind, one.kind: self.value(one, page)} for one in wanted}

    def _common(self, name: str, one: Node | DataSource) -> dict[str, Any]:
        return {
            "object": name,
            "id": one.id,
            "created_time": minute(one.created),
            "last_edited_time": minute(one.edited),
            "created_by": _user(one.created_by),
            "last_edited_by": _user(one.edited_by),
        }

    def _content(self, node: Node) -> dict[str, Any]:
        if isinstance(node, Page):
            return {"title": plain(node.title)}
        if isinstance(node, Database):
            return {"title": plain(node.title)}
        found = {name: self._text(value) if name in _TEXTS else value for name, value in node.content.items()}
        return self._file(found) or {} if KINDS[node.kind].media else found

    def _text(self, text: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return merged(text) if self.workspace.merge_runs else text

    def _file(self, file: dict[str, Any] | None) -> dict[str, Any] | None:
        """A file as it can be fetched: one that was uploaded has a URL for an hour."""
        if file is None or "upload" not in file:
            return file
        upload: Upload = file["upload"]
        rest = {name: value for name, value in file.items() if name != "upload"}
        if rest.get("name") == "":
            rest["name"] = upload.filename
        url = f"{self.address}/files/{self.workspace.id}/{upload.id}/{quote(upload.filename)}"
        return {**rest, "file": {"url": url, "expiry_time": minute(self.workspace.clock.now() + _HOUR)}}

    def _name(self, user: str) -> tuple[str, str | None]:
        if user in self.workspace.people:
            return "user", self.workspace.people[user].name
        bot = next((one for one in self.workspace.connections.values() if one.id == user), None)
        return "integration", bot.name if bot else None


def address(identity: str) -> str:
    """Where people see an object."""
    return f"https://app.notion.com/p/{identity.replace('-', '')}"


def person(one: Person) -> dict[str, Any]:
    """A user who is a person."""
    return {
        "object": "user",
        "id": one.id,
        "name": one.name,
        "avatar_url": None,
        "type": "person",
        "person": {"email": one.email},
    }


def bot(one: Connection, workspace: Workspace) -> dict[str, Any]:
    """A user that is a connection."""
    return {
        "object": "user",
        "id": one.id,
        "name": one.name,
        "avatar_url": None,
        "type": "bot",
        "bot": {
            "owner": {"type": "workspace", "workspace": True},
            "workspace_id": workspace.id,
            "workspace_name": workspace.name,
            "workspace_limits": {"max_file_upload_size_in_bytes": workspace.most_bytes},
        },
    }


def parent(node: Node) -> dict[str, Any]:
    """What an object lies in."""
    above = node.parent
    if above is None:
        return {"type": "workspace", "workspace": True}
    if isinstance(above, DataSource):
        return {"type": "data_source_id", "data_source_id": above.id, "database_id": above.database.id}
    kind = "page_id" if isinstance(above, Page) else "block_id"
    return {"type": kind, kind: above.id}


def schema(one: Property) -> dict[str, Any]:
    """A property of a data source."""
    return {"id": one.id, "name": one.name, "description": one.description, "type": one.kind, one.kind: one.config}


def _user(identity: str) -> dict[str, Any]:
    return {"object": "user", "id": identity}
