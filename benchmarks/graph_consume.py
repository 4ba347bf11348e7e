"""The consumer's throughput, against the bare driver's UNWIND of the same net writes in transactions of one size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.graphs import BATCH, SORTS, Academy, Bare, Net, Round, document, keys_of, named, net, servers
from benchmarks.results import Figure, Result, figure, ratio
from benchmarks.stage import Stage
from benchmarks.timing import in_turn, timed, times
from sync_pipelines.engine.guard import Guard

if TYPE_CHECKING:
    from sync_pipelines.engine.consuming import TableConsumer
    from sync_pipelines.sandbox.graph.server import GraphServer

NAME = "graph-consume"
LEAST = 0.8


@dataclass
class _Side:
    """Our consumers of the academy's tables, and the bare driver, on one graph."""

    academy: Academy
    bare: Bare
    consumers: dict[str, TableConsumer]
    work: dict[str, Net]

    def consume(self) -> float:
        """Seconds for which the consumers bring a round, which the bare driver has to write next."""
        self._next()
        return timed(self._consume)

    def write(self) -> float:
        """Seconds for which the bare driver writes what the round before changed."""
        if not self.work:
            self._next()
            self._consume()
        work, self.work = self.work, {}
        return timed(lambda: self.bare.write(work))

    def _next(self) -> None:
        self._pending()
        self._note(self.academy.work())

    def _pending(self) -> None:
        """What was not written yet, so that both sides go through the same rounds."""
        if self.work:
            self.bare.write(self.work)

    def _note(self, done: dict[str, Round]) -> None:
        self.work = {name: net(self.consumers[name].binding, name, done[name]) for name in SORTS}

    def _consume(self) -> None:
        for consumer in self.consumers.values():
            while consumer.step():
                pass


def run(stage: Stage, *, quick: bool) -> Result:
    """Rounds of the same events, ours and bare in turn, on each engine; with edits looked for, and without."""
    events, rounds = (2_000, 3) if quick else (10_000, 7)
    figures: list[Figure] = []
    with servers(stage) as graphs:
        academy = Academy(stage, events)
        academy.build()
        for title, server in graphs:
            stage.say(f"{NAME}: {title}")
            with named(server):
                figures += _measured(academy, server, title, rounds)
    return Result(
        name=NAME,
        compares=f"about {events:,} events of {len(SORTS)} entity types, a tenth of the changed entities twice, by the "
        f"consumer in transactions of {BATCH}, against the bare driver's UNWIND of their net writes",
        figures=tuple(figures),
        notes=(
            "Ours: from the outbox to COMPLETED, with look-ups, ledger and locks; without opening and closing a run, "
            "once a minute and table. Bare: rows that lie ready as Python dicts, the same properties, one session.",
            "conflict_detection: true is the default; edits are looked for, and what was last synced is kept.",
        ),
    )


def _measured(academy: Academy, server: GraphServer, title: str, rounds: int) -> Iterator[Figure]:
    from neo4j import GraphDatabase

    with GraphDatabase.driver(server.uri, auth=(server.user, server.password), telemetry_disabled=True) as driver:
        bare = Bare(driver, server.database)
        bare.constrain()
        for number, detection in enumerate((False, True)):
            with _side(academy, bare, detection=detection, first=number == 0) as side:
                seconds = in_turn(rounds, side.consume, side.write)
            name = f"{title}, conflict_detection: {str(detection).lower()}"
            yield ratio(f"{name}: ours / bare, in events a second", times(seconds[1], seconds[0]), at_least=LEAST)
            yield figure(f"{name}: ours", academy.events / median(seconds[0]), "events/s")
            yield figure(f"{name}: bare", academy.events / median(seconds[1]), "events/s")


@contextmanager
def _side(academy: Academy, bare: Bare, *, detection: bool, first: bool) -> Iterator[_Side]:
    """Both sides with the same rows, and consumers whose runs are open.

    Raises:
        RuntimeError: at the end the graph is not what the tables are.
    """
    from sync_pipelines.engine.consuming import TableConsumer

    consumers: dict[str, TableConsumer] = {}
    for name in SORTS:
        binding = academy.stage.bind(document(name, detection=detection), batch_size=BATCH)
        binding = replace(binding, guard=Guard(share=1.0))  # round after round some are deleted, as they should be
        academy.stage.run(binding, mode="full")
        consumers[name] = TableConsumer(binding=binding)
    side = _Side(academy, bare, consumers, {})
    if first:
        bare.write({name: net(consumers[name].binding, name, _all(academy, name)) for name in SORTS})
    side.consume()  # the first round opens the runs
    yield side
    for name, consumer in consumers.items():
        consumer.end()
        _prove(name, consumer)


def _all(academy: Academy, name: str) -> Round:
    return Round(rows=[("CREATED", key) for key in keys_of(academy, name)])


def _prove(name: str, consumer: TableConsumer) -> None:
    from sync_pipelines.engine.proof import prove_and_record

    with closing(consumer.binding) as binding:
        proof = prove_and_record(binding, "quick")
    if not proof.equal or proof.pending:
        raise RuntimeError(f"the graph is not equal to {name} after all rounds: {proof}")
