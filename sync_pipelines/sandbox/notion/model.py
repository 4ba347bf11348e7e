"""What a workspace holds. A page is a block, and so is a database: they share ids, parents and the trash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(kw_only=True, eq=False)
class Node:
    """A block.

    Args:
        kind: its type: paragraph, child_page, …
        content: what stands below its type's name in an answer, where nothing has to be worked out.
        parent: None: the workspace itself.
        children: in their order; those in the trash keep their place.
        comments: of this block, oldest first.
    """

    id: str
    kind: str
    content: dict[str, Any] = field(default_factory=dict)
    parent: Node | DataSource | None = None
    children: list[Node] = field(default_factory=list)
    created: datetime
    created_by: str
    edited: datetime
    edited_by: str
    in_trash: bool = False
    comments: list[Comment] = field(default_factory=list)

    def above(self) -> Iterator[Node | DataSource]:
        """This and what it lies in, up to the workspace."""
        found: Node | DataSource | None = self
        while found is not None:
            yield found
            found = found.database if isinstance(found, DataSource) else found.parent

    @property
    def page(self) -> Page | None:
        """The page that it is, or lies on."""
        return next((one for one in self.above() if isinstance(one, Page)), None)

    @property
    def away(self) -> bool:
        """Whether it, or something that it lies in, is in the trash."""
        return any(one.in_trash for one in self.above())

    @property
    def buried(self) -> bool:
        """Whether something that it lies in is in the trash: it cannot be restored by itself."""
        return any(one.in_trash for one in self.above() if one is not self)

    def living(self) -> list[Node]:
        """Its children, without those in the trash."""
        return [child for child in self.children if not child.in_trash]

    def below(self) -> Iterator[Node]:
        """This and all blocks in it, whether in the trash or not."""
        yield self
        for child in self.children:
            yield from child.below()


@dataclass(kw_only=True, eq=False)
class Page(Node):
    """A page; `values` are by the id of the property."""

    kind: str = "child_page"
    values: dict[str, Any] = field(default_factory=dict)
    icon: dict[str, Any] | None = None
    cover: dict[str, Any] | None = None
    is_locked: bool = False

    @property
    def title(self) -> list[dict[str, Any]]:
        """Its title, as rich text."""
        return self.values.get("title") or []


@dataclass(kw_only=True, eq=False)
class Database(Node):
    """A database, which holds data sources."""

    kind: str = "child_database"
    title: list[dict[str, Any]] = field(default_factory=list)
    description: list[dict[str, Any]] = field(default_factory=list)
    icon: dict[str, Any] | None = None
    cover: dict[str, Any] | None = None
    is_inline: bool = False
    is_locked: bool = False
    sources: list[DataSource] = field(default_factory=list)


@dataclass(kw_only=True)
class Property:
    """A property of a data source; `config` is what stands below its type's name."""

    id: str
    name: str
    kind: str
    config: dict[str, Any] = field(default_factory=dict)
    description: str | None = None


@dataclass(kw_only=True, eq=False)
class DataSource:
    """A table of a database.

    Args:
        properties: by id, in their order.
        rows: its pages, oldest first.
        version: grows with each change of what a query can see.
    """

    id: str
    database: Database
    title: list[dict[str, Any]] = field(default_factory=list)
    description: list[dict[str, Any]] = field(default_factory=list)
    icon: dict[str, Any] | None = None
    properties: dict[str, Property] = field(default_factory=dict)
    rows: list[Page] = field(default_factory=list)
    created: datetime
    created_by: str
    edited: datetime
    edited_by: str
    in_trash: bool = False
    version: int = 0

    def find(self, name: str) -> Property | None:
        """The property with this id or name."""
        return self.properties.get(name) or next((one for one in self.properties.values() if one.name == name), None)


@dataclass(kw_only=True, eq=False)
class Comment:
    """A comment on a block or page."""

    id: str
    node: Node
    discussion: str
    text: list[dict[str, Any]]
    created: datetime
    created_by: str
    resolved: bool = False


@dataclass(kw_only=True, eq=False)
class Upload:
    """A file on its way; `parts` are its bytes by the number of the part."""

    id: str
    filename: str
    content_type: str
    mode: str
    number_of_parts: int
    created: datetime
    created_by: str
    expires: datetime
    status: str = "pending"
    parts: dict[int, bytes] = field(default_factory=dict)
    attached: bool = False

    @property
    def size(self) -> int:
        """Its bytes so far."""
        return sum(map(len, self.parts.values()))


@dataclass(kw_only=True, eq=False)
class Connection:
    """A bot of a workspace: what a token stands for.

    Args:
        shared, barred: ids that it may see with all that is below, and that it may not although it sees what is above.
        capabilities: what it may do where it sees.
    """

    id: str
    name: str
    token: str
    capabilities: set[str]
    shared: set[str] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)
    revoked: bool = False

    def sees(self, one: Node | DataSource) -> bool:
        """Whether this is shared with it: what is nearest decides."""
        chain = one.above() if isinstance(one, Node) else iter((one, *one.database.above()))
        for found in chain:
            if found.id in self.barred or found.id in self.shared:
                return found.id in self.shared
        return False


CAPABILITIES = frozenset(
    {"read_content", "insert_content", "update_content", "read_comments", "insert_comments", "read_users"}
)


@dataclass(kw_only=True)
class Person:
    """A member of the workspace."""

    id: str
    name: str
    email: str


def plain(text: list[dict[str, Any]]) -> str:
    """The text of rich text."""
    return "".join(one["plain_text"] for one in text)
