"""The statements on nodes of a label, and on relationships of a type: only what Neo4j and ArcadeDB both run, by index.

ArcadeDB finds a relationship by its key where the statement says `WHERE r.sync_key IN $keys` on a directed pattern; in
an UNWIND it reads all of the type for each key (500 of 20,000: 182 s instead of 0.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sync_pipelines.targets.neo4j.mapping import End, Ends
from sync_pipelines.targets.neo4j.names import KEY_NAME, PRINT_NAME, quoted
from sync_pipelines.targets.neo4j.properties import END_AT, KEY_AT, PRINT_AT, START_AT, Properties, Row

_KEYLESS = f"NOT coalesce(toStringOrNull(x.{KEY_NAME}) = x.{KEY_NAME}, false)"
"""A node or relationship that no sync wrote, or whose key is no text any more."""


@dataclass(frozen=True)
class Elements:
    """Nodes of a label, or relationships of a type; `x` is one of them in every statement.

    Args:
        name: the label or type. ends: None for nodes.
    """

    name: str
    ends: Ends | None = None

    @property
    def title(self) -> str:
        """As messages and the sync's notes call them."""
        return f"{'label' if self.ends is None else 'type'} {self.name}"

    @cached_property
    def pattern(self) -> str:
        """One of them."""
        return f"(x:{quoted(self.name)})" if self.ends is None else f"(a)-[x:{quoted(self.name)}]->(b)"

    @property
    def _known(self) -> dict[str, str]:
        """Key, fingerprint and ends: name → expression."""
        known = {"key": f"x.{KEY_NAME}", "mark": f"x.{PRINT_NAME}"}
        if self.ends is None:
            return known
        return {**known, "start_key": _key_of("a", self.ends.start), "end_key": _key_of("b", self.ends.end)}

    @property
    def _returned(self) -> str:
        return ", ".join(f"{text} AS {name}" for name, text in self._known.items())

    def constraint(self) -> str:
        pattern = f"(x:{quoted(self.name)})" if self.ends is None else f"()-[x:{quoted(self.name)}]-()"
        return f"CREATE CONSTRAINT IF NOT EXISTS FOR {pattern} REQUIRE x.{KEY_NAME} IS UNIQUE"

    def count(self) -> str:
        return f"MATCH {self.pattern} RETURN count(x) AS records"

    def one(self) -> str:
        """Whether there is any."""
        return f"MATCH {self.pattern} RETURN 1 AS one LIMIT 1"

    def count_keyless(self) -> str:
        return f"MATCH {self.pattern} WHERE {_KEYLESS} RETURN count(x) AS records"

    def listing(self) -> str:
        """Keys and fingerprints of all; of those without a key the engine's id."""
        return (
            f"MATCH {self.pattern} RETURN x.{KEY_NAME} AS key, x.{PRINT_NAME} AS mark, "
            f"CASE WHEN {_KEYLESS} THEN elementId(x) END AS id"
        )

    def held(self) -> str:
        """Key, fingerprint and ends of `$keys`, as one list of lists (`records`)."""
        values = ", ".join(self._known.values())
        return f"MATCH {self.pattern} WHERE x.{KEY_NAME} IN $keys RETURN collect([{values}]) AS held"

    def records(self, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What `held` gave, as records; to unpack a thousand of them takes the driver twice as long as one list."""
        return [dict(zip(self._known, values, strict=True)) for row in found for values in row["held"]]

    def values(self, properties: Properties) -> str:
        """The same with the properties, a record each."""
        found = f"MATCH {self.pattern} WHERE x.{KEY_NAME} IN $keys"
        return f"{found} RETURN {self._returned}{properties.returned('x')}"

    def locked(self, properties: Properties) -> str:
        """`values`, locked against other writers to the end of the transaction: a property is set to what it is."""
        lock = f"SET x.{KEY_NAME} = x.{KEY_NAME} WITH {'x' if self.ends is None else 'a, x, b'}"
        found = f"MATCH {self.pattern} WHERE x.{KEY_NAME} IN $keys {lock}"
        return f"{found} RETURN {self._returned}{properties.returned('x')}"

    def copied(self) -> str:
        """A key that several of them have."""
        counted = f"WITH x.{KEY_NAME} AS key, count(x) AS number WHERE key IS NOT NULL AND number > 1"
        return f"MATCH {self.pattern} {counted} RETURN key LIMIT 1"

    def copies(self) -> str:
        """Those that have one of `$keys`: the engine's id, and of a node how many relationships it has."""
        found, known = f"MATCH {self.pattern} WHERE x.{KEY_NAME} IN $keys", f"x.{KEY_NAME} AS key, elementId(x) AS id"
        if self.ends is not None:
            return f"{found} RETURN {known}, 0 AS tied"
        return f"{found} OPTIONAL MATCH (x)-[r]-() RETURN {known}, count(r) AS tied"

    def delete_copies(self) -> str:
        return f"MATCH {self.pattern} WHERE elementId(x) IN $ids {self._delete}"

    def keyless(self) -> str:
        """Those of `$ids` that have no key."""
        return f"MATCH {self.pattern} WHERE elementId(x) IN $ids AND {_KEYLESS} RETURN elementId(x) AS id"

    @property
    def _delete(self) -> str:
        return "DETACH DELETE x" if self.ends is None else "DELETE x"

    def delete(self) -> str:
        return f"MATCH {self.pattern} WHERE x.{KEY_NAME} IN $keys {self._delete}"

    def delete_keyless(self) -> str:
        return f"MATCH {self.pattern} WHERE elementId(x) IN $ids AND {_KEYLESS} {self._delete}"

    def set_mark(self) -> str:
        """Give those of `$keys` the fingerprint `$mark`, and nothing else."""
        return f"MATCH {self.pattern} WHERE x.{KEY_NAME} IN $keys SET x.{PRINT_NAME} = $mark"

    def tied(self) -> str:
        """The relationships of the nodes `$keys` that a sync has written: type and key."""
        return self._tied(f"x.{KEY_NAME} IN $keys")

    def tied_to_copies(self) -> str:
        """The same of the nodes whose ids are `$ids`."""
        return self._tied("elementId(x) IN $ids")

    def _tied(self, chosen: str) -> str:
        return (
            f"MATCH {self.pattern}-[r]-() WHERE {chosen} AND r.{KEY_NAME} IS NOT NULL "
            f"RETURN DISTINCT type(r) AS name, r.{KEY_NAME} AS key"
        )

    def merge(self, properties: Properties) -> str:
        """Nodes: each of `$rows` as it says, made where it is not there."""
        return f"{self._merged} {self._assign(properties)}"

    def merge_changed(self, properties: Properties) -> str:
        """Nodes: `merge` of those that have another fingerprint; how many."""
        other = f"x.{PRINT_NAME} IS NULL OR x.{PRINT_NAME} <> row[{PRINT_AT}]"
        return f"{self._merged} WITH x, row WHERE {other} {self._assign(properties)} RETURN count(x) AS written"

    def merge_over(self, properties: Properties) -> str:
        """Nodes: `merge`, and what they were, each locked before it is read (see `locked`): key, fingerprint, values.

        One record of all: to unpack one for each takes the driver twice as long.
        """
        were = "".join(f", p{number}" for number in range(len(properties.names)))
        return (
            f"{self._merged} SET x.{KEY_NAME} = row[{KEY_AT}] "
            f"WITH x, row, x.{PRINT_NAME} AS mark{properties.returned('x')} "
            f"{self._assign(properties)} RETURN collect([row[{KEY_AT}], mark{were}]) AS were"
        )

    @property
    def _merged(self) -> str:
        return f"UNWIND $rows AS row MERGE (x:{quoted(self.name)} {{{KEY_NAME}: row[{KEY_AT}]}})"

    def _assign(self, properties: Properties) -> str:
        return properties.assign("x", ends=self.ends is not None)

    def create(self, properties: Properties) -> str:
        """Relationships: each of `$rows` that has both its nodes, made; how many."""
        assert self.ends is not None
        nodes = f"MATCH {_node('a', self.ends.start, START_AT)} MATCH {_node('b', self.ends.end, END_AT)}"
        return (
            f"UNWIND $rows AS row {nodes} "
            f"CREATE (a)-[x:{quoted(self.name)}]->(b) {self._assign(properties)} RETURN count(x) AS made"
        )

    def update(self, properties: Properties) -> str:
        """Relationships: those of `$keys`, each as the map `$rows` says under its key."""
        return (
            f"MATCH {self.pattern} WHERE x.{KEY_NAME} IN $keys "
            f"WITH x, $rows[x.{KEY_NAME}] AS row {self._assign(properties)}"
        )


def nodes_there(label: str) -> str:
    """Those of `$keys` that are keys of nodes of a label, as one list."""
    return f"MATCH (x:{quoted(label)}) WHERE x.{KEY_NAME} IN $keys RETURN collect(x.{KEY_NAME}) AS keys"


def any_node_there(label: str) -> str:
    """Whether one of `$keys` is the key of a node of a label."""
    return f"MATCH (x:{quoted(label)}) WHERE x.{KEY_NAME} IN $keys RETURN 1 AS one LIMIT 1"


def by_key(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows as the map that `update` reads."""
    return {row[KEY_AT]: row for row in rows}


def _node(variable: str, end: End, place: int) -> str:
    return f"({variable}:{quoted(end.label)} {{{KEY_NAME}: row[{place}]}})"


def _key_of(variable: str, end: End) -> str:
    """The key of the node at an end; null where it is none of the label."""
    return f"CASE WHEN {variable}:{quoted(end.label)} THEN {variable}.{KEY_NAME} END"
