"""Writing batches: what differs from what is there is written in one transaction, a bad row found by halves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from sync_pipelines.engine.batches import among, joined, pages
from sync_pipelines.engine.differences import same_value
from sync_pipelines.engine.errors import RecordError, TransientError
from sync_pipelines.engine.model import (
    FINGERPRINT,
    KEY,
    PROBLEM,
    WAITING,
    BatchResult,
    Counts,
    Doubt,
    Parent,
    Rejection,
)
from sync_pipelines.targets.neo4j.client import Graph, run
from sync_pipelines.targets.neo4j.elements import Elements, any_node_there, by_key, nodes_there
from sync_pipelines.targets.neo4j.mapping import End
from sync_pipelines.targets.neo4j.names import END_NAME, START_NAME
from sync_pipelines.targets.neo4j.properties import END_AT, KEY_AT, START_AT, Properties

if TYPE_CHECKING:
    from neo4j import ManagedTransaction

_BYTES_A_TRANSACTION = 8 * 1024 * 1024
_MOST_ROWS = 10_000
_LOOKS = 3

Row = Mapping[str, Any]


@dataclass
class Looked:
    """What of some rows is to be written: how many are so already, and those that wait for a node.

    Args:
        held: what the graph holds of them, by key.
    """

    rows: list[Row] = field(default_factory=list)
    unchanged: int = 0
    waiting: list[Rejection] = field(default_factory=list)
    held: Mapping[str, Row] = field(default_factory=dict)

    @property
    def result(self) -> BatchResult:
        """What is told of those that are not written."""
        counts = Counts(unchanged=self.unchanged, quarantined=len(self.waiting))
        return BatchResult(counts=counts, rejected=self.waiting)


class Expected(Protocol):
    """What records of the graph are taken for."""

    def lock(self, transaction: ManagedTransaction, keys: Sequence[str]) -> None:
        """Lock these and compare; raises what undoes the transaction."""
        ...

    def compare(self, were: Sequence[Sequence[Any]]) -> None:
        """Compare what a statement has just written over, and locked before it read it: key, fingerprint and values."""
        ...


class Writer(ABC):
    """Writes into one label or type.

    Args:
        properties: those of the batches. doubt: compare values instead of fingerprints.
        before_write: called before the first write.
    """

    def __init__(
        self,
        graph: Graph,
        elements: Elements,
        properties: Properties,
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> None:
        self.graph, self.elements, self.properties = graph, elements, properties
        self.doubt, self._before_write = doubt, before_write
        self.expected: Expected | None = None
        """Looks in each transaction whether what is written over is what it was taken for; what it raises undoes it."""
        self.known: Mapping[str, Row] | None = None
        """What the graph holds of the next batch, where somebody has just asked it."""
        self.blind = False
        """Nodes: nobody has looked whether they differ, so the statement does."""
        self._writing = f"write to {elements.title}"

    def write(self, batch: pa.RecordBatch) -> BatchResult:
        """Bring a batch of mapped rows, each key once, into the graph."""
        return self._settled(batch.sort_by(KEY), tries=2)

    def judge(self, batch: pa.RecordBatch) -> Looked:
        """What `write` would do with a batch; writes nothing."""
        held = self._held(batch)
        rows = [row for row in self._compared(batch) if not self._is_same(row, held.get(row[KEY]))]
        looked = Looked(unchanged=batch.num_rows - len(rows), held=held)
        self.sort_out(rows, looked)
        return looked

    @abstractmethod
    def sort_out(self, rows: Sequence[Row], looked: Looked) -> None:
        """Which of the rows that differ can be written now."""

    @abstractmethod
    def put(self, rows: Sequence[list[Any]], held: Mapping[str, Row]) -> int:
        """Write rows, as parameters (`Properties.rows`), in one transaction; how many of them differed.

        Raises:
            AgainError: the graph has changed since it was asked.
        """

    def _write(self, batch: pa.RecordBatch, *, tries: int) -> BatchResult:
        looked = self.judge(batch)
        rows = among(batch, {row[KEY] for row in looked.rows})
        if not rows.num_rows:
            return looked.result
        return joined([looked.result, self.bring(rows, self.properties.rows(rows), looked.held, tries=tries)])

    def bring(
        self, rows: pa.RecordBatch, parameters: Sequence[list[Any]], held: Mapping[str, Row], *, tries: int = 2
    ) -> BatchResult:
        """Write rows that differ from what is `held`, in one transaction; where one is bad, halves of them.

        Args:
            tries: with one row left, a second try tells a bad row from one that somebody made at the same moment.

        Raises:
            AgainError: the graph has changed since it was asked.
        """
        self._before_write()
        try:
            written = self.put(parameters, held)
        except RecordError as error:
            return joined(self._halves(rows, error, tries))
        size = rows.nbytes * written // rows.num_rows
        return BatchResult(counts=Counts(upserted=written, unchanged=rows.num_rows - written, bytes=size))

    def bring_anew(self, rows: pa.RecordBatch) -> BatchResult:
        """Look at sorted rows again, and write them."""
        return self._settled(rows, tries=2)

    def _settled(self, batch: pa.RecordBatch, *, tries: int) -> BatchResult:
        for _ in range(_LOOKS):
            try:
                return self._write(batch, tries=tries)
            except AgainError:
                continue
        raise TransientError(f"could not {self._writing}: its nodes come and go meanwhile.", **self.graph.where)

    def _halves(self, rows: pa.RecordBatch, error: RecordError, tries: int) -> Iterator[BatchResult]:
        if rows.num_rows == 1 and tries <= 1:
            refused = Rejection(key=rows.column(KEY)[0].as_py(), reason=error.message, stage="write")
            yield BatchResult(counts=Counts(quarantined=1), rejected=[refused])
        elif rows.num_rows == 1:
            yield self._settled(rows, tries=tries - 1)
        else:
            half = rows.num_rows // 2
            yield self._settled(rows.slice(0, half), tries=tries)
            yield self._settled(rows.slice(half), tries=tries)

    def _held(self, batch: pa.RecordBatch) -> dict[str, Row]:
        if (known := self.known) is not None:
            self.known = None
            return dict(known)
        keys = batch.column(KEY).to_pylist()
        doing = f"look into {self.elements.title}"
        if self.doubt is None:
            found = self.elements.records(self.graph.read(doing, self.elements.held(), keys=keys))
            return {row["key"]: {**row, FINGERPRINT: row["mark"]} for row in found}
        found = self.graph.read(doing, self.elements.values(self.properties), keys=keys)
        stored = self.properties.batch(found, ends=self.elements.ends is not None)
        return {row[KEY]: {**row, **told} for row, told in zip(stored.to_pylist(), found, strict=True)}

    def _compared(self, batch: pa.RecordBatch) -> list[Row]:
        """The rows with what is compared of them: making objects of all their values takes ten times as long."""
        if self.doubt is not None:
            return batch.to_pylist()
        own = (KEY, FINGERPRINT, START_NAME, END_NAME)
        return batch.select([name for name in own if name in batch.schema.names]).to_pylist()

    def _is_same(self, row: Row, held: Row | None) -> bool:
        if held is None or held[FINGERPRINT] != row[FINGERPRINT] or held.get(PROBLEM):
            return False
        if self.doubt is None:
            return True
        return all(same_value(row[name], held[name]) for name in row if name in held)


class AgainError(Exception):
    """What was to be written rests on something that is no longer so; nothing was."""


class NodeWriter(Writer):
    """Nodes: merged by their key."""

    def sort_out(self, rows: Sequence[Row], looked: Looked) -> None:
        looked.rows = list(rows)

    def put(self, rows: Sequence[list[Any]], held: Mapping[str, Row]) -> int:
        return self.graph.write(self._writing, lambda transaction: self._put(transaction, {"rows": rows}))

    def _put(self, transaction: ManagedTransaction, parameters: Mapping[str, Sequence[list[Any]]]) -> int:
        if self.expected is not None:
            found = run(transaction, self.elements.merge_over(self.properties), parameters)
            self.expected.compare([were for row in found for were in row["were"]])
        elif self.blind:
            return run(transaction, self.elements.merge_changed(self.properties), parameters)[0]["written"]
        else:
            run(transaction, self.elements.merge(self.properties), parameters)
        return len(parameters["rows"])


class RelationshipWriter(Writer):
    """Relationships: one whose node is missing waits; one that leads elsewhere now is made anew."""

    def sort_out(self, rows: Sequence[Row], looked: Looked) -> None:
        assert self.elements.ends is not None
        lost: dict[str, Rejection] = {}
        for name, end, column in self._ends():
            keys = sorted({row[column] for row in rows})
            there = self._there(end, keys) if keys else set()
            for row in rows:
                if row[column] not in there:
                    lost.setdefault(row[KEY], _waiting(row[KEY], name, end, row[column]))
        looked.rows = [row for row in rows if row[KEY] not in lost]
        looked.waiting = list(lost.values())

    def _ends(self) -> Iterator[tuple[str, End, str]]:
        assert self.elements.ends is not None
        yield "start", self.elements.ends.start, START_NAME
        yield "end", self.elements.ends.end, END_NAME

    def _there(self, end: End, keys: Sequence[str]) -> set[str]:
        found = self.graph.read(f"look for nodes of label {end.label}", nodes_there(end.label), keys=keys)
        return {key for row in found for key in row["keys"]}

    def put(self, rows: Sequence[list[Any]], held: Mapping[str, Row]) -> int:
        properties = self.properties
        kept, made, moved = [], [], []
        for row in rows:
            there = held.get(row[KEY_AT])
            if there is not None and (there["start_key"], there["end_key"]) == (row[START_AT], row[END_AT]):
                kept.append(row)
                continue
            made.append(row)
            moved += [row[KEY_AT]] if there is not None else []

        def work(transaction: ManagedTransaction) -> None:
            if self.expected is not None and len(made) < len(rows) + len(moved):
                self.expected.lock(transaction, [*moved, *(row[KEY_AT] for row in kept)])
            if moved:
                run(transaction, self.elements.delete(), {"keys": moved})
            if made and run(transaction, self.elements.create(properties), {"rows": made})[0]["made"] < len(made):
                raise AgainError
            if kept:
                found = by_key(kept)
                run(transaction, self.elements.update(properties), {"keys": list(found), "rows": found})

        self.graph.write(self._writing, work)
        return len(rows)


def _waiting(key: str, name: str, end: End, node: str) -> Rejection:
    return Rejection(
        key=key,
        reason=f"it waits for its {name}, the node {node!r} of label {end.label}",
        stage=WAITING,
        parent=Parent(constraint=end.label, columns=end.columns, values=(node,)),
    )


def any_there(graph: Graph, ends: Iterable[End], parents: Sequence[Parent]) -> bool:
    """Whether one of these nodes is there, or is waited for no more since the document names another label."""
    labels = {end.label for end in ends}
    wanted: dict[str, list[str]] = defaultdict(list)
    for parent in parents:
        if parent.constraint not in labels:
            return True
        wanted[parent.constraint] += parent.values
    return any(
        graph.read(f"look for nodes of label {label}", any_node_there(label), keys=keys)
        for label, keys in wanted.items()
    )


def nodes_among(graph: Graph, ends: Iterable[End], parents: Sequence[Parent]) -> list[Parent]:
    """Those of these nodes that are there, and those of labels that the document names no more."""
    labels = {end.label for end in ends}
    wanted: dict[str, list[str]] = defaultdict(list)
    for parent in parents:
        wanted[parent.constraint] += parent.values
    there = {
        (label, key)
        for label, keys in wanted.items()
        if label in labels
        for row in graph.read(f"look for nodes of label {label}", nodes_there(label), keys=keys)
        for key in row["keys"]
    }
    return [item for item in parents if item.constraint not in labels or (item.constraint, item.values[0]) in there]


def batches_of(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches in which each key stands once, the last one, and which a message can carry."""
    for batch in rows:
        last = {key: number for number, key in enumerate(batch.column(KEY).to_pylist())}
        once = batch if len(last) == batch.num_rows else batch.take(pa.array(sorted(last.values())))
        yield from pages([once], rows=_MOST_ROWS, most_bytes=_BYTES_A_TRANSACTION)


def transactions(rows: pa.RecordBatch, size: int) -> Iterator[pa.RecordBatch]:
    """The rows as transactions of at most so many, which a message can carry."""
    return pages([rows], rows=size, most_bytes=_BYTES_A_TRANSACTION)
