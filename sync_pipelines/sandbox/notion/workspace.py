"""A workspace: its people, connections and objects, and the few ways in which they change."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sync_pipelines.sandbox.notion.clock import Clock
from sync_pipelines.sandbox.notion.drafts import Draft
from sync_pipelines.sandbox.notion.faults import Fault
from sync_pipelines.sandbox.notion.model import (
    CAPABILITIES,
    Comment,
    Connection,
    Database,
    DataSource,
    Node,
    Page,
    Person,
    Upload,
)
from sync_pipelines.sandbox.notion.refusals import archived, invalid, not_found
from sync_pipelines.sandbox.notion.texts import run
from sync_pipelines.sandbox.stand_ins.faults import Faults
from sync_pipelines.sandbox.stand_ins.seen import Limit, Log

FREE_BLOCKS = 1000
"""What a free workspace with several members may make in its life; deletion gives nothing back."""

MIB = 1024 * 1024


def new_id() -> str:
    """A random id, as Notion writes it."""
    return str(uuid.uuid4())


class Workspace:
    """What belongs to one customer of Notion.

    Args:
        free: whether it is on the free plan: 1,000 blocks for life, files of up to 5 MiB.
        merge_runs: whether neighbouring runs of text that look alike are answered as one.
    """

    def __init__(self, name: str, *, free: bool = False, merge_runs: bool = False) -> None:
        self.id, self.name, self.free, self.merge_runs = new_id(), name, free, merge_runs
        self.max_blocks: int | None = FREE_BLOCKS if free else None
        self.blocks_made = 0
        self.clock = Clock()
        self.people = {one.id: one for one in (_person("Ann"), _person("Ben"))}
        self.connections: dict[str, Connection] = {}
        self.nodes: dict[str, Node] = {}
        self.sources: dict[str, DataSource] = {}
        self.comments: dict[str, Comment] = {}
        self.uploads: dict[str, Upload] = {}
        self._begin()
        self.root = self.add_page(None, self.person, title="Workspace home")

    def _begin(self) -> None:
        """What belongs to one process that serves it, and not to the workspace."""
        self.faults, self.log = Faults[Fault](), Log()
        self.limits = {token: Limit() for token in self.connections}
        self.attaching: list[Upload] = []
        self.cursors: dict[str, tuple[str, int, Sequence[Any]]] = {}
        self.kept: dict[Any, list[Page]] = {}

    def __getstate__(self) -> dict[str, Any]:
        passing = ("faults", "log", "limits", "attaching", "cursors", "kept")
        return {name: value for name, value in vars(self).items() if name not in passing}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    @property
    def person(self) -> str:
        """The id of the person who acts by default."""
        return next(iter(self.people))

    @property
    def most_bytes(self) -> int:
        """The largest file that it takes."""
        return (5 if self.free else 5 * 1024) * MIB

    def connect(self, token: str, name: str, *, shared: Iterable[str] = (), without: Iterable[str] = ()) -> Connection:
        """A new connection.

        Args:
            shared: what it sees, by ids.
            without: capabilities that it lacks.
        """
        made = Connection(id=new_id(), name=name, token=token, capabilities=set(CAPABILITIES) - set(without))
        made.shared.update(shared)
        self.connections[token], self.limits[token] = made, Limit()
        return made

    def node(self, identity: str) -> Node:
        """The block, page or database with this id, wherever it is."""
        if identity not in self.nodes:
            raise not_found("block", identity)
        return self.nodes[identity]

    def insist_on_room(self, number: int) -> None:
        """Refuse blocks that the plan does not hold."""
        if self.max_blocks is not None and self.blocks_made + number > self.max_blocks:
            raise invalid(
                f"This workspace has used {self.blocks_made} of its {self.max_blocks} blocks. "
                "Upgrade the plan to add more."
            )

    def add_page(self, parent: Node | DataSource | None, by: str, *, title: str = "", **fields: Any) -> Page:
        """A new page, last among its siblings."""
        text = [run(title)] if title else []
        values = {"title": text, **fields.pop("values", {})}
        page = Page(id=new_id(), parent=parent, values=values, **self._stamps(by), **fields)
        self._keep(page)
        if isinstance(parent, DataSource):
            parent.rows.append(page)
            parent.version += 1
        return page

    def add_blocks(
        self, parent: Node, drafts: list[Draft], by: str, after: Node | None = None, *, first: bool = False
    ) -> list[Node]:
        """New blocks, last among their siblings, after one of them, or first."""
        made = [self._block(draft, parent, by) for draft in drafts]
        place = parent.children.index(after) + 1 if after else len(parent.children)
        place = 0 if first else place
        parent.children[place:place] = made
        self.touch(parent, by)
        return made

    def add_database(self, parent: Node | None, by: str, **fields: Any) -> Database:
        """A new database, without a data source."""
        made = Database(id=new_id(), parent=parent, **self._stamps(by), **fields)
        self._keep(made)
        return made

    def add_source(self, database: Database, by: str, **fields: Any) -> DataSource:
        """A new data source of a database."""
        made = DataSource(id=new_id(), database=database, **self._stamps(by), **fields)
        database.sources.append(made)
        self.sources[made.id] = made
        return made

    def add_comment(self, node: Node, text: list[dict[str, Any]], by: str, discussion: str | None = None) -> Comment:
        """A new comment; without a discussion it begins one. No time of an edit changes."""
        made = Comment(
            id=new_id(),
            node=node,
            discussion=discussion or new_id(),
            text=text,
            created=self.clock.now(),
            created_by=by,
        )
        node.comments.append(made)
        self.comments[made.id] = made
        return made

    def touch(self, one: Node | DataSource, by: str) -> None:
        """Note an edit of a block, and so of its page."""
        now = self.clock.now()
        page = one.page if isinstance(one, Node) else None
        for found in filter(None, {one, page}):
            found.edited, found.edited_by = now, by
        if page is not None and isinstance(page.parent, DataSource):
            page.parent.version += 1
        if isinstance(one, DataSource):
            one.version += 1

    def trash(self, one: Node | DataSource, by: str, *, away: bool) -> None:
        """Put into the trash, or take out of it."""
        one.in_trash = away
        self.touch(one, by)
        above = one.parent if isinstance(one, Node) else None
        if isinstance(above, Node):
            self.touch(above, by)
        for source in one.sources if isinstance(one, Database) else ():
            source.version += 1

    def settle(self, one: Node | DataSource, by: str, *, away: bool | None) -> None:
        """Note an edit, which may put it into the trash or take it out; None: neither."""
        if away is not None and away != one.in_trash:
            self.trash(one, by, away=away)
        self.touch(one, by)

    def empty_trash(self) -> int:
        """Remove for good what is in the trash; how many objects that were."""
        gone = [one for one in self.nodes.values() if one.away]
        for one in gone:
            del self.nodes[one.id]
            if isinstance(one.parent, DataSource):
                one.parent.rows.remove(one)  # ty: ignore[invalid-argument-type]
                one.parent.version += 1
            elif one.parent is not None:
                one.parent.children.remove(one)
        self.sources = {key: one for key, one in self.sources.items() if not (one.in_trash or one.database.away)}
        return len(gone)

    def attach(self, identity: str) -> Upload:
        """An upload that a request wants to attach."""
        upload = self.uploads.get(identity)
        if upload is None:
            raise not_found("file_upload", identity)
        if not upload.attached and upload.expires <= self.clock.now():
            upload.status = "expired"
        if upload.status != "uploaded":
            raise invalid(
                f"File upload {identity} has a status of {upload.status}; only uploaded files can be attached."
            )
        self.attaching.append(upload)
        return upload

    def attached(self) -> None:
        """The request that names these uploads was taken: they expire no more."""
        for upload in self.attaching:
            upload.attached = True

    def editable(self, one: Node | DataSource) -> None:
        """Refuse edits of what lies in the trash."""
        if one.in_trash or (isinstance(one, Node) and one.away):
            raise archived()

    def _block(self, draft: Draft, parent: Node, by: str) -> Node:
        made = Node(id=new_id(), kind=draft.kind, content=draft.content, parent=parent, **self._stamps(by))
        self.nodes[made.id] = made
        self.blocks_made += 1
        made.children = [self._block(child, made, by) for child in draft.children]
        return made

    def _keep(self, node: Node) -> None:
        self.nodes[node.id] = node
        self.blocks_made += 1
        if isinstance(node.parent, Node):
            node.parent.children.append(node)
            self.touch(node.parent, node.created_by)

    def _stamps(self, by: str) -> dict[str, Any]:
        now = self.clock.now()
        return {"created": now, "created_by": by, "edited": now, "edited_by": by}

    def hour_later(self) -> Any:
        """When an upload that is not attached expires."""
        return self.clock.now() + timedelta(hours=1)


def _person(name: str) -> Person:
    return Person(id=new_id(), name=name, email=f"{name.lower()}@example.com")
