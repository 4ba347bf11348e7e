"""An academy whose application publishes much, its documents, and the same net writes as the bare driver makes them."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.stage import Stage, environment
from sync_pipelines.sandbox import academy
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import temporary_folder

if TYPE_CHECKING:
    from neo4j import Driver, ManagedTransaction

    from sync_pipelines.components.outbox_to_neo4j import OutboxToNeo4j
    from sync_pipelines.engine.binding import Binding
    from sync_pipelines.sandbox.graph.server import GraphServer

BATCH = 50
"""Events, and for the bare driver net writes, of one transaction."""


@dataclass(frozen=True, kw_only=True)
class Sort:
    """An entity type: its table with the key, its label or type, and of a relationship label and column of each end."""

    table: str
    title: str
    key: tuple[str, ...]
    ends: tuple[tuple[str, str], ...] = ()


SORTS = {
    "concept": Sort(table="concept", title="Concept", key=("id",)),
    "user": Sort(table="learner", title="User", key=("id",)),
    "prerequisite_of": Sort(
        table="concept_prerequisite",
        title="PREREQUISITE_OF",
        key=("concept_id", "requires_id"),
        ends=(("Concept", "requires_id"), ("Concept", "concept_id")),
    ),
    "studies": Sort(
        table="progress",
        title="STUDIES",
        key=("learner_id", "concept_id"),
        ends=(("User", "learner_id"), ("Concept", "concept_id")),
    ),
}
"""Nodes first."""

BARE = "Bare"
"""Begins the labels and types that the bare driver writes, beside ours in the same graph."""


@contextmanager
def servers(stage: Stage) -> Generator[Iterator[tuple[str, GraphServer]]]:
    """The graphs that are measured, each named by the environment while it has its turn: Neo4j where Java is there."""
    from sync_pipelines.sandbox.graph.neo4j import Neo4jServer

    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())

        def each() -> Iterator[tuple[str, GraphServer]]:
            assert stage.sandbox.graph is not None
            yield "ArcadeDB", stage.sandbox.graph
            server = Neo4jServer(folder / "neo4j")
            try:
                server.start()
            except SandboxError as error:
                stage.say(f"without Neo4j: {error}")
                return
            stack.callback(server.stop)
            yield "Neo4j", server

        yield each()


@contextmanager
def named(server: GraphServer) -> Generator[None]:
    """The environment names this graph."""
    with environment({**os.environ, **server.variables}):
        yield


def document(name: str, *, detection: bool) -> OutboxToNeo4j:
    """A table's document, as the project's own has it; `detection` of edits in the graph."""
    from sync_pipelines.components.outbox_to_neo4j import OutboxToNeo4j

    sort = SORTS[name]
    sides = {
        side: {"label": label, "key": key} for side, (label, key) in zip(("start", "end"), sort.ends, strict=False)
    }
    target = {"relationship": sort.title, **sides} if sides else {"label": sort.title}
    source = {"connection": "learning", "table": sort.table, "key": list(sort.key), "changed_at": "updated_at"}
    return OutboxToNeo4j.model_validate(
        {
            "sync": "learning",
            "name": name,
            "events": "outbox",
            "source": source,
            "target": target,
            "conflict_detection": detection,
        }
    )


# How many of 1,000 events do what; {n} is the round. Rows are named by numbers, so that each round finds its own.
_CHANGES = {
    "concept": {"made": 100, "changed": 300, "gone": 20},
    "user": {"made": 50, "changed": 100, "gone": 0},
    "prerequisite_of": {"made": 80, "changed": 50, "gone": 20},
    "studies": {"made": 150, "changed": 130, "gone": 0},
}
_AGAIN = 10
"""Every so-many-th changed entity has two events."""

_SETS = {
    "concept": "title = title || '*', difficulty = 1 + mod(difficulty, 5)",
    "user": "name = name || '*'",
    "prerequisite_of": "strength = coalesce(strength, 0) + 1",
    "studies": "mastery = mod((mastery * 100)::int + 7, 100) / 100.0",
}
_ROWS = {
    "concept": "SELECT 'c' || n, 'Concept ' || n, repeat('What it is. ', 10), 'mathematics', 1 + mod(n, 5), n / 7.0, "
    "'{numbers,school}' FROM",
    "user": "SELECT md5('u' || n)::uuid, 'Learner ' || n FROM",
    "prerequisite_of": "SELECT 'c' || mod(n, 1000), 'c' || (1000 + n / 1000), n / 9.0 FROM",
    "studies": "SELECT md5('u' || mod(n, 500))::uuid, 'c' || (n / 500), mod(n, 100) / 100.0, now() FROM",
}
_COLUMNS = {
    "concept": "id, title, summary, field, difficulty, hours, tags",
    "user": "id, name",
    "prerequisite_of": "requires_id, concept_id, strength",
    "studies": "learner_id, concept_id, mastery, studied_at",
}
_FIRST = {"concept": 3000, "user": 1000, "prerequisite_of": 2000, "studies": 3000}


@dataclass
class Academy:
    """Its tables in the stage's database, and what its application did in the last round.

    Args:
        events: of one round, roughly.
    """

    stage: Stage
    events: int
    made: dict[str, int] = field(default_factory=lambda: dict(_FIRST))
    number: int = 0

    def build(self) -> None:
        """Tables with rows, none of which an event tells of."""
        for text in academy.TABLES.values():
            self.stage.execute(text)
        # of what is deleted in a round nothing hangs on: concepts from 2,000 on are in no relationship
        for name, count in _FIRST.items():
            self._insert(name, 0, count)
        for sort in SORTS.values():
            self.stage.execute(f"ANALYZE {sort.table}")

    def _insert(self, name: str, first: int, count: int) -> None:
        numbers = f"generate_series({first}, {first + count - 1}) AS n"
        self.stage.execute(f"INSERT INTO {SORTS[name].table} ({_COLUMNS[name]}) {_ROWS[name]} {numbers}")

    def work(self) -> dict[str, Round]:
        """One round: changes, and an event of each in the outbox; published straight, which `publishing` measures."""
        self.number += 1
        self.stage.execute(
            "CREATE UNLOGGED TABLE IF NOT EXISTS touched (name text, what text, key text, start_id text, end_id text); "
            "TRUNCATE touched"
        )
        for name in SORTS:
            self._change(name)
        self.stage.execute(_PUBLISH.format(number=self.number, again=_AGAIN))
        self.stage.execute("ANALYZE sync.sync_event_log")
        rows = self.stage.execute("SELECT name, what, key FROM touched")
        return {name: Round(rows=[(what, key) for own, what, key in rows if own == name]) for name in SORTS}

    def _change(self, name: str) -> None:
        counts = {what: share * self.events // 1000 for what, share in _CHANGES[name].items()}
        table, key = SORTS[name].table, _KEYS[name]
        free = "AND substr(id, 2)::int >= 2000" if name == "concept" else ""
        noted = f"INSERT INTO touched SELECT '{name}', '%s', {key} FROM done"
        gone = f"SELECT ctid FROM {table} WHERE true {free} ORDER BY md5(ctid::text || '{self.number}') LIMIT %s"
        self.stage.execute(
            f"WITH done AS (DELETE FROM {table} WHERE ctid = ANY (ARRAY({gone % counts['gone']})) RETURNING *) "
            + noted % "DELETED"
        )
        chosen = f"SELECT ctid FROM {table} ORDER BY md5(ctid::text || '{self.number}') LIMIT {counts['changed']}"
        self.stage.execute(
            f"WITH done AS (UPDATE {table} SET {_SETS[name]}, updated_at = now() "
            f"WHERE ctid = ANY (ARRAY({chosen})) RETURNING *) " + noted % "UPDATED"
        )
        first = self.made[name]
        self.made[name] = first + counts["made"]
        numbers = f"generate_series({first}, {self.made[name] - 1}) AS n"
        self.stage.execute(
            f"WITH done AS (INSERT INTO {table} ({_COLUMNS[name]}) {_ROWS[name]} {numbers} RETURNING *) "
            + noted % "CREATED"
        )


_KEYS = {
    "concept": "id, NULL, NULL",
    "user": "id::text, NULL, NULL",
    "prerequisite_of": "json_build_array(concept_id, requires_id)::text, requires_id, concept_id",
    "studies": "json_build_array(learner_id::text, concept_id)::text, learner_id::text, concept_id",
}


def keys_of(academy: Academy, name: str) -> list[str]:
    """Of every row of a table."""
    found = academy.stage.execute(f"SELECT {_KEYS[name]} FROM {SORTS[name].table}")
    return [row[0] for row in found]


_PUBLISH = """
INSERT INTO sync.sync_event_log (event_id, correlation_id, event_type, entity_type, entity_id, payload, source_version)
SELECT gen_random_uuid(), gen_random_uuid()::text, word || '_' || said, name, key,
    CASE WHEN start_id IS NULL THEN '{{"title": "Fractions"}}'::jsonb ELSE jsonb_build_object('type', 'X',
        'start', jsonb_build_object('type', 'x', 'id', start_id), 'end', jsonb_build_object('type', 'x', 'id', end_id),
        'properties', '{{}}'::jsonb) END,
    10 * {number} + times
FROM (SELECT t.*, row_number() OVER () AS n, CASE name WHEN 'concept' THEN 'CONTENT' WHEN 'user' THEN 'USER'
        ELSE 'RELATIONSHIP' END AS word,
    CASE WHEN name IN ('prerequisite_of', 'studies') AND what = 'UPDATED' THEN 'CREATED' ELSE what END AS said
    FROM touched AS t) AS t
CROSS JOIN generate_series(1, 2) AS times WHERE times = 1 OR (what = 'UPDATED' AND mod(n, {again}) = 0)
ORDER BY random()
"""


@dataclass(frozen=True)
class Round:
    """What happened to a table's rows: (CREATED, UPDATED or DELETED, key)."""

    rows: Sequence[tuple[str, str]]

    def keys(self, *, gone: bool) -> list[str]:
        return sorted(key for what, key in self.rows if (what == "DELETED") == gone)


class Bare:
    """The driver alone: UNWIND of rows that lie ready, in transactions of `BATCH`, each retried as ours are."""

    def __init__(self, driver: Driver, database: str) -> None:
        self._driver, self._database = driver, database

    def constrain(self) -> None:
        """The same constraints that ours has."""
        for sort in SORTS.values():
            pattern = f"()-[x:{BARE}{sort.title}]-()" if sort.ends else f"(x:{BARE}{sort.title})"
            text = f"CREATE CONSTRAINT IF NOT EXISTS FOR {pattern} REQUIRE x.sync_key IS UNIQUE"
            self._driver.execute_query(text, database_=self._database)  # ty: ignore[no-matching-overload]

    def write(self, work: Mapping[str, Net]) -> None:
        """All that a round changed, nodes first."""
        with self._driver.session(database=self._database) as session:
            for name in SORTS:
                net = work[name]
                for text, parameter, values in ((net.put, "rows", net.rows), (net.remove, "keys", net.gone)):
                    for start in range(0, len(values), BATCH):
                        page = values[start : start + BATCH]
                        session.execute_write(_run, text, {parameter: page})


def _run(transaction: ManagedTransaction, text: str, parameters: dict[str, Any]) -> None:
    transaction.run(text, parameters).consume()  # ty: ignore[invalid-argument-type]


@dataclass(frozen=True, kw_only=True)
class Net:
    """A table's net writes: statements, rows as their parameters, and keys of what is deleted."""

    put: str
    remove: str
    rows: Sequence[dict[str, Any]]
    gone: Sequence[str]


def net(binding: Binding, name: str, done: Round) -> Net:
    """The net writes of a round, with the very properties that the sync writes."""
    rows: list[dict[str, Any]] = []
    times: dict[str, None] = {}
    for batch in binding.source.values(done.keys(gone=False)):
        mapped, _ = binding.mapper(batch)
        for row in mapped.to_pylist():
            rows.append(_parameters(row))
            times |= {name: None for name, value in row.items() if isinstance(value, datetime | date)}
    sets = "".join([" SET x += row.p", *(f" SET x.{name} = {_FUNCTIONS[name]}(row.{name})" for name in times)])
    return Net(put=_put(name) + sets, remove=_remove(name), rows=rows, gone=done.keys(gone=True))


_FUNCTIONS = {"updated_at": "datetime", "studied_at": "datetime", "joined_on": "date"}
_LISTS = ("tags",)


def _parameters(row: Mapping[str, Any]) -> dict[str, Any]:
    """A map of the properties, as one writes it by hand; times beside it, since ArcadeDB loses a parameter's zone."""
    plain = {name: value for name, value in row.items() if not name.startswith("_") and name not in _FUNCTIONS}
    plain |= {name: json.loads(plain[name]) for name in _LISTS if plain.get(name)}
    ends = {name: plain.pop(f"sync_{name.split('_')[0]}", None) for name in ("start_key", "end_key")}
    own = {"sync_key": row["_key"], "sync_fingerprint": row["_fingerprint"]}
    times = {name: row[name].isoformat() for name in _FUNCTIONS if row.get(name) is not None}
    return {"key": row["_key"], "p": {**plain, **own}, **ends, **times}


def _put(name: str) -> str:
    sort = SORTS[name]
    if not sort.ends:
        return f"UNWIND $rows AS row MERGE (x:{BARE}{sort.title} {{sync_key: row.key}})"
    (start, _), (end, _) = sort.ends
    return (
        f"UNWIND $rows AS row MATCH (a:{BARE}{start} {{sync_key: row.start_key}}) "
        f"MATCH (b:{BARE}{end} {{sync_key: row.end_key}}) MERGE (a)-[x:{BARE}{sort.title} {{sync_key: row.key}}]->(b)"
    )


def _remove(name: str) -> str:
    sort = SORTS[name]
    if not sort.ends:
        return f"MATCH (x:{BARE}{sort.title}) WHERE x.sync_key IN $keys DETACH DELETE x"
    return f"MATCH ()-[x:{BARE}{sort.title}]->() WHERE x.sync_key IN $keys DELETE x"
