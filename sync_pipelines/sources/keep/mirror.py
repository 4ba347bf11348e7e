"""What is known of an account: its nodes as Keep's `changes` told them, and which of its notes changed when.

Pure, but for the caller who asks Keep. Every look has a number, and a note bears that of the look that found it
changed: what a run has read is then one number. The whole of it is JSON, so that it can be sealed and kept.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_EPOCH = "1970-01-01T00:00:00"
_KEPT = ("serverId", "sortValue", "baseVersion", "text")
"""What an update may leave out because it is as it was; all else that it leaves out is empty (gkeepapi's nodes)."""

_TOP = frozenset({"NOTE", "LIST"})
_FORMAT = 1


@dataclass(kw_only=True)
class Mirror:
    """An account's nodes.

    Args:
        id: of this mirror; another one where it was built anew, so that numbers of looks are not compared across.
        version: what Keep is asked for changes after; None before the first look. look: the number of the last one.
        nodes: by id, as Keep has them. changed: of each note, the number of the look that found it changed.
        labels: names by id.
        media: size and SHA-256 of an attachment's bytes, by its node's id and what the node says of them.
        fresh: something has changed in this look.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    version: str | None = None
    look: int = 0
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    media: dict[str, tuple[int, str]] = field(default_factory=dict)
    fresh: bool = field(default=False, repr=False)
    _children: dict[str, dict[str, None]] = field(default_factory=dict, repr=False)
    _last: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        for node in self.nodes.values():
            self._adopt(node)

    def begin(self, *, at: int = 0) -> None:
        """A new look begins.

        Args:
            at: the time in ms since 1970, which becomes the number: where an older mirror was put back (a restored
                table), its next look must not bear the number of one whose changes a run has brought already.
        """
        self._last, self.look, self.fresh = self.look, max(self.look + 1, at), False

    def end(self) -> None:
        """The look is over; one that found nothing new was none."""
        if not self.fresh:
            self.look = self._last
        self.media = {key: told for key, told in self.media.items() if key.partition("/")[0] in self.nodes}

    def take(self, page: Mapping[str, Any]) -> None:
        """Take a page of changes."""
        if "userInfo" in page:
            self._take_labels(page["userInfo"].get("labels", []))
        for node in page.get("nodes", []):
            self._take_node(node)
        self.version = page.get("toVersion", self.version)

    def _take_labels(self, labels: Iterable[Mapping[str, Any]]) -> None:
        names = {label["mainId"]: label.get("name", "") for label in labels if not _is_set(label, "deleted")}
        others = {key for key in {*names, *self.labels} if names.get(key) != self.labels.get(key)}
        self.labels, self.fresh = names, self.fresh or bool(others)
        for key, node in self.nodes.items():
            if key in self.changed and others.intersection(label["labelId"] for label in node.get("labelIds", [])):
                self.changed[key] = self.look

    def _take_node(self, node: dict[str, Any]) -> None:
        key = node["id"]
        before = self.nodes.get(key)
        if "parentId" not in node or _is_set(node, "deleted"):
            self._remove(key)
            return
        kept = {name: before[name] for name in _KEPT if name in before} if before is not None else {}
        self.nodes[key] = merged = {**kept, **node}
        if before is not None and before.get("parentId") != merged.get("parentId"):
            self._touch(key, before)
            self._disown(before)
        self._adopt(merged)
        self._touch(key)

    def _remove(self, key: str) -> None:
        node = self.nodes.pop(key, None)
        if node is None:
            return
        self._touch(key, node)
        self._disown(node)
        self.changed.pop(key, None)
        for child in self._children.pop(key, {}):
            self.nodes.pop(child, None)

    def _adopt(self, node: Mapping[str, Any]) -> None:
        if node.get("type") not in _TOP:
            self._children.setdefault(node.get("parentId", ""), {})[node["id"]] = None

    def _disown(self, node: Mapping[str, Any]) -> None:
        self._children.get(node.get("parentId", ""), {}).pop(node["id"], None)

    def _touch(self, key: str, node: Mapping[str, Any] | None = None) -> None:
        """The note that a node is of has changed."""
        node, self.fresh = node or self.nodes[key], True
        if node.get("type") in _TOP:
            self.changed[key] = self.look
        elif node.get("parentId"):
            self.changed[node["parentId"]] = self.look

    def notes(self, *, after: int = 0) -> Iterator[str]:
        """Ids of the notes that changed after a look; all of them by default."""
        for key, look in self.changed.items():
            if look > after and self.nodes.get(key, {}).get("type") in _TOP:
                yield key

    def children(self, key: str) -> list[dict[str, Any]]:
        """The nodes of a note, lines and attachments, in the order that they came in."""
        return [self.nodes[child] for child in self._children.get(key, ()) if child in self.nodes]

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        names = ("id", "version", "look", "nodes", "changed", "labels", "media")
        return {"format": _FORMAT, **{name: getattr(self, name) for name in names}}


def mirror_from(document: Mapping[str, Any] | None) -> Mirror:
    """What was kept; a new one where nothing was, or another version of this package has written it."""
    if document is None or document.get("format") != _FORMAT:
        return Mirror()
    values = {name: value for name, value in document.items() if name != "format"}
    values["media"] = {key: (size, sha) for key, (size, sha) in values["media"].items()}
    return Mirror(**values)


def _is_set(node: Mapping[str, Any], name: str) -> bool:
    """Whether a time is later than the epoch, by which Keep says `not`."""
    return node.get("timestamps", {}).get(name, _EPOCH)[:19] > _EPOCH
