"""The sync's own node in the graph, one for each label or type: whose it is, its identity, and what a run has left."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sync_pipelines.targets.neo4j.client import Graph
from sync_pipelines.targets.neo4j.names import KEY_NAME, META, quoted

_OWN = f"(m:{quoted(META)} {{{KEY_NAME}: $name}})"


@dataclass(frozen=True, kw_only=True)
class Noted:
    """What stands there.

    Args:
        identity: made with the node, so that a graph that was dropped has another one. owner: `sync/table`.
        stamp: what the last run has left. properties: every name that the sync has ever given a property.
    """

    identity: str
    owner: str
    stamp: str | None
    properties: Sequence[str]


class Books:
    """The node of one label or type.

    Args:
        name: `label Concept` or `type PREREQUISITE_OF`.
    """

    def __init__(self, graph: Graph, name: str) -> None:
        self._graph, self.name = graph, name

    def read(self) -> Noted | None:
        """What stands there; None where no sync has written this label or type."""
        found = self._graph.read(
            f"read the notes on {self.name}",
            f"MATCH {_OWN} RETURN m.identity AS identity, m.owner AS owner, m.stamp AS stamp, m.properties AS names",
            name=self.name,
        )
        if not found or not isinstance(found[0]["identity"], str):
            return None
        row = found[0]
        return Noted(
            identity=row["identity"], owner=row["owner"] or "", stamp=row["stamp"], properties=row["names"] or ()
        )

    def open(self, owner: str) -> Noted:
        """Make the node, with an identity of its own."""
        doing = f"make the notes on {self.name}"
        self._graph.execute(
            doing, f"CREATE CONSTRAINT IF NOT EXISTS FOR (m:{quoted(META)}) REQUIRE m.{KEY_NAME} IS UNIQUE"
        )
        noted = Noted(identity=str(uuid.uuid4()), owner=owner, stamp=None, properties=())
        self._graph.execute(
            doing, f"MERGE {_OWN} SET m.identity = $identity, m.owner = $owner", name=self.name, **_of(noted)
        )
        return noted

    def set_stamp(self, text: str) -> None:
        """Leave a text in the place of the one before."""
        self._graph.execute(
            f"leave a mark on {self.name}", f"MATCH {_OWN} SET m.stamp = $text", name=self.name, text=text
        )

    def add_properties(self, names: Iterable[str]) -> None:
        """Note these names beside those that stand there."""
        self._graph.execute(
            f"note the properties of {self.name}",
            f"MATCH {_OWN} SET m.properties = $names",
            name=self.name,
            names=sorted(names),
        )


def _of(noted: Noted) -> dict[str, str]:
    return {"identity": noted.identity, "owner": noted.owner}
