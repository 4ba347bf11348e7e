"""An account of Keep: its nodes, and what of them changed after which version."""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field
from typing import Any

from sync_pipelines.sandbox.keep.model import SandboxNote
from sync_pipelines.sandbox.keep.nodes import EPOCH, file_nodes, line_nodes, note_node

PAGE = 500
"""Nodes in one answer; then it is truncated."""


@dataclass
class Account:
    """An account.

    Args:
        email, master_token: who signs in.
        access: access tokens that are valid.
        version: grows with every change of a node.
        nodes: as Keep tells them, by id. changed: the version at which each last changed.
        children: ids by the id of their parent, in their order.
        gone: ids of nodes that were deleted for good, and the version at which.
        contents: bytes of files by the server's id of their nodes.
        full_resync: whether clients with a version are told to read all again.
    """

    email: str
    master_token: str = field(default_factory=lambda: f"aas_et/{secrets.token_hex(24)}", repr=False)
    revoked: bool = False
    access: set[str] = field(default_factory=set, repr=False)
    version: int = 0
    page: int = PAGE
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    children: dict[str, dict[str, None]] = field(default_factory=dict)
    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    labels_changed: int = 0
    contents: dict[str, tuple[str, bytes]] = field(default_factory=dict, repr=False)
    full_resync: bool = False

    def put(self, note: SandboxNote, identity: str | None = None) -> str:
        """Make a note, or give the one with this id another content; its id.

        Only nodes that differ from before count as changed; lines and files that are gone stay as deleted ones.
        """
        before = self.nodes.get(identity) if identity else None
        key = identity or self._new_id(note)
        labels = [self.label(name) for name in note.labels]
        node = note_node(note, key, before["serverId"] if before else f"srv.{key}", labels)
        below = [*line_nodes(note, node), *file_nodes(note, node)]
        for one in (node, *below):
            self._keep(one)
        for one, file in zip(file_nodes(note, node), note.files, strict=True):
            self.contents[one["serverId"]] = file.mime, file.data
        self._drop(node, {one["id"] for one in below})
        return key

    def delete(self, identity: str) -> None:
        """Delete a note for good: its nodes are told without a parent, once, and are gone."""
        for key in (identity, *self._below(identity)):
            parent = self.nodes.pop(key)["parentId"]
            self.children.get(parent, {}).pop(key, None)
            del self.changed[key]
            self.version += 1
            self.gone[key] = self.version

    def label(self, name: str) -> str:
        """The id of the label with this name, which is made where there is none."""
        for key, label in self.labels.items():
            if label["name"] == name:
                return key
        key = f"tag.{secrets.token_hex(6)}.{len(self.labels):x}"
        times = {"kind": "notes#timestamps", "created": EPOCH, "updated": EPOCH}
        self.labels[key] = {"mainId": key, "name": name, "timestamps": times, "lastMerged": EPOCH}
        self._labels_have_changed()
        return key

    def rename_label(self, old: str, new: str) -> None:
        """Give a label another name: no note changes."""
        self.labels[self.label(old)]["name"] = new
        self._labels_have_changed()

    def delete_label(self, name: str) -> None:
        """Take a label away, from notes, too."""
        key = self.label(name)
        del self.labels[key]
        self._labels_have_changed()
        for node in list(self.nodes.values()):
            if any(one["labelId"] == key for one in node.get("labelIds", ())):
                self._keep({**node, "labelIds": [one for one in node["labelIds"] if one["labelId"] != key]})

    def take(self, nodes: list[dict[str, Any]], labels: list[dict[str, Any]]) -> None:
        """What a client sends up: nodes and labels that it made or changed."""
        for label in labels:
            self.labels[label["mainId"]] = label
            self._labels_have_changed()
        for node in nodes:
            known = self.nodes.get(node["id"], {})
            server = known.get("serverId") or f"srv.{node['id']}"
            self._keep({**known, **node, "serverId": server, "baseVersion": str(self.version + 1)})

    def changes(self, target: str | None) -> dict[str, Any]:
        """What changed after a version that an earlier answer told; a page of it.

        The version of a truncated answer says, too, how much of the list was told: `since.at.told`.
        """
        since, at, told = _parsed(target) if target else (0, self.version, 0)
        if told == 0:
            at = self.version
        if target and self.full_resync:
            return {**self._answer([], target, False), "forceFullResync": True}
        found = self._between(since, at)
        end = told + self.page
        truncated = end < len(found)
        version = f"{since}.{at}.{end}" if truncated else f"{at}.{at}.0"
        answer = self._answer(found[told:end], version, truncated)
        if self.labels_changed > since or not target:
            answer["userInfo"] = {"labels": list(self.labels.values())}
        return answer

    def _answer(self, nodes: list[dict[str, Any]], version: str, truncated: bool) -> dict[str, Any]:
        return {
            "kind": "notes#downSync",
            "toVersion": version,
            "truncated": truncated,
            "nodes": nodes,
            "forceFullResync": False,
            "responseHeader": {"updateState": "UPDATE_AVAILABLE"},
        }

    def _between(self, since: int, at: int) -> list[dict[str, Any]]:
        """Nodes that changed, each note before what is in it, and those that are gone, unless all are asked for."""
        changed = {key for key, version in self.changed.items() if since < version <= at}
        order: list[str] = []
        for key in self._below("root"):
            order.extend(one for one in (key, *self._below(key)) if one in changed)
        gone = [key for key, version in self.gone.items() if since and since < version <= at]
        return [*(self.nodes[key] for key in order), *({"kind": "notes#node", "id": key} for key in gone)]

    def _below(self, identity: str) -> list[str]:
        return list(self.children.get(identity, ()))

    def _keep(self, node: dict[str, Any]) -> None:
        if self.nodes.get(node["id"]) != node:
            self.version += 1
            self.nodes[node["id"]], self.changed[node["id"]] = node, self.version
            self.children.setdefault(node["parentId"], {})[node["id"]] = None
            self.gone.pop(node["id"], None)

    def _drop(self, parent: dict[str, Any], living: set[str]) -> None:
        """Mark as deleted what is no longer in a note."""
        for key in self._below(parent["id"]):
            if key not in living:
                node = self.nodes[key]
                times = {**node["timestamps"], "deleted": parent["timestamps"]["updated"]}
                self._keep({**node, "timestamps": times})

    def _new_id(self, note: SandboxNote) -> str:
        rng = random.Random(f"{self.email}:{note.created}:{len(self.nodes)}")
        return f"{note.created // 1000:x}.{rng.getrandbits(64):016x}"

    def _labels_have_changed(self) -> None:
        self.version += 1
        self.labels_changed = self.version


def _parsed(target: str) -> tuple[int, int, int]:
    since, at, told = map(int, target.split("."))
    return (at, at, 0) if not told else (since, at, told)
