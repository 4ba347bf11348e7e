"""A label or type that people edit, too: what a target answers of conflicts (`engine.conflicts`, `engine.deciding`)."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sync_pipelines.engine.conflicts import Base
from sync_pipelines.engine.deciding import Dispute, Sides
from sync_pipelines.engine.errors import ConfigurationError, RecordError, TransientError
from sync_pipelines.engine.ledger.bases import KnownBase
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import FINGERPRINT, KEY
from sync_pipelines.targets.neo4j.books import Books
from sync_pipelines.targets.neo4j.client import Graph, run
from sync_pipelines.targets.neo4j.elements import Elements
from sync_pipelines.targets.neo4j.judgement import EditedError, Rules, TableBooks
from sync_pipelines.targets.neo4j.judging import Judge
from sync_pipelines.targets.neo4j.names import END_NAME, START_NAME
from sync_pipelines.targets.neo4j.properties import Properties
from sync_pipelines.targets.neo4j.writing import Writer

if TYPE_CHECKING:
    from neo4j import ManagedTransaction

    from sync_pipelines.targets.neo4j.judgement import Held

STRANGER = "\u2205 without sync_key: "
"""Begins the name of a node or relationship that no sync wrote; the engine's id follows, which is not kept."""

_KEYS_A_STATEMENT, _LOOKS = 1000, 3

_log = logging.getLogger(__name__)


class Judged:
    """What `target.GraphTarget` has of conflicts: nothing where its document asks for none (`rules` is None).

    Implements `engine.conflicts.Judging` and `engine.deciding.Disputing`.
    """

    graph: Graph
    elements: Elements
    properties: Properties
    rules: Rules | None = None
    _ledger: Ledger | None = None
    _place: dict[str, Any]

    def _writer(self, properties: Properties, **how: Any) -> Writer:
        raise NotImplementedError

    @property
    def looks(self) -> bool:
        """Whether edits are looked for."""
        return self.rules is not None

    def keep_books(self, ledger: Ledger) -> None:
        """Keep what was last synced in this ledger."""
        self._ledger = ledger

    def judge(self, writer: Writer | None = None) -> Judge | None:
        """Who judges what this writer brings; None where edits are not looked for."""
        if self.rules is None or self._ledger is None:
            return None
        place = (self._place["sync"], self._place["table"])
        return Judge(writer or self._writer(self.properties), self.rules, TableBooks(self._ledger, place))

    def forget_bases(self) -> None:
        """Nothing was synced into what is empty now: that all of it went is nobody's edit of a record."""
        if self.rules is not None and self._ledger is not None:
            self._ledger.forget_every_base(self._place["sync"], self._place["table"])

    def delete_judged(self, keys: Sequence[str]) -> int:
        """Delete these records; how many went. One that was edited since the run has judged it, and wins, stays.

        Raises:
            TransientError: they are edited again and again.
        """
        for _ in range(_LOOKS):
            judge = self.judge()
            held, told = ({}, []) if judge is None else judge.doomed(keys)
            kept = {item.key for item in told if item.decision.stays}
            doomed = [key for key in keys if key not in kept]
            with suppress(EditedError):
                if doomed:
                    self._delete(doomed, judge, held)
                return len(doomed)
        raise TransientError(
            f"could not delete from {self.elements.title}: its records are edited meanwhile, again and again.",
            **self._place,
        )

    def _delete(self, keys: Sequence[str], judge: Judge | None, held: Mapping[str, Held]) -> None:
        tied = self._tied(self.elements.tied(), keys=keys) if self._ledger is not None else {}

        def work(transaction: ManagedTransaction) -> None:
            if judge is not None:
                judge.expecting(held).lock(transaction, keys)
            # before the commit: were it lost, and the bases there, the records would look deleted by somebody
            self._forget(keys, tied)
            run(transaction, self.elements.delete(), {"keys": keys})

        self.graph.write(f"delete from {self.elements.title}", work)

    def _forget(self, keys: Sequence[str], tied: Mapping[str, Sequence[str]]) -> None:
        """These go, and with nodes their relationships: those nobody has deleted by hand."""
        if self._ledger is None:
            return
        if self.rules is not None:
            self._ledger.forget_bases(self._place["sync"], self._place["table"], keys)
        for owner, others in tied.items():
            sync, _, table = owner.partition("/")
            for page in pages(others):
                self._ledger.forget_bases(sync, table, page)

    def _tied(self, statement: str, **chosen: Sequence[str]) -> dict[str, list[str]]:
        """The keys of the relationships that a sync wrote of some of these nodes, by its table."""
        if self.elements.ends is not None:
            return {}
        found: dict[str, list[str]] = defaultdict(list)
        for row in self.graph.read(f"look for relationships of {self.elements.title}", statement, **chosen):
            found[row["name"]].append(row["key"])
        noted = {name: Books(self.graph, f"type {name}").read() for name in found}
        return {known.owner: found[name] for name, known in noted.items() if known is not None and known.owner}

    # Copies, which there can be where somebody has dropped the constraint

    def _surplus(self, keys: Sequence[str]) -> list[tuple[str, str]]:
        """Of each of these records that is there more than once, all but the one that stays: key and engine's id.

        The one that most hangs on stays, of equal ones the older.
        """
        found: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for page in pages(plain(keys)):
            for row in self.graph.read(f"look for copies in {self.elements.title}", self.elements.copies(), keys=page):
                found[row["key"]].append((-row["tied"], len(row["id"]), row["id"]))
        return [(key, copy[-1]) for key, copies in found.items() for copy in sorted(copies)[1:]]

    def leave_one(self, keys: Sequence[str]) -> None:
        """Delete what these records are there more often than once."""
        if not (surplus := [number for _, number in self._surplus(keys)]):
            return
        tied = self._tied(self.elements.tied_to_copies(), ids=surplus)

        def work(transaction: ManagedTransaction) -> None:
            self._forget((), tied)
            run(transaction, self.elements.delete_copies(), {"ids": surplus})

        self.graph.write(f"delete copies from {self.elements.title}", work)
        _log.warning("%s: %d copies of records were deleted", self.elements.title, len(surplus))

    # Judging

    def excused(self, rows: pa.RecordBatch) -> Mapping[str, str]:
        """Those of these rows that a run would not write, since the graph's version stays."""
        judge = self.judge(self._writer(Properties(rows.schema))) if rows.num_rows else None
        kept = judge.look(rows, doubt="values").kept if judge is not None else {}
        doubled = {key for key, _ in self._surplus(list(kept))}  # which of them is nobody's edit
        return {key: why for key, why in kept.items() if key not in doubled}

    def keeps(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Those of these records, which the source lacks, that a run would not delete."""
        return {item.key: item.why for item in self.disputes(keys) if item.decision.stays}

    def bases(self, keys: Sequence[str]) -> Mapping[str, Base]:
        """What the sync has last written of these records."""
        if self.rules is None or self._ledger is None:
            return {}
        return self._ledger.bases(self._place["sync"], self._place["table"], list(keys))

    def disputes(self, keys: Sequence[str]) -> Sequence[Dispute]:
        """Those of these records, which the source lacks, that were edited or made here."""
        judge = self.judge()
        if judge is None:
            return ()
        return [item for page in pages(plain(keys)) for item in judge.disputes(page)]

    def judged(self, rows: pa.RecordBatch | None, keys: Sequence[str]) -> Mapping[str, Dispute]:
        """What would be decided now of these records; `rows` are the mapped source rows of those it has."""
        writer = None if rows is None else self._writer(Properties(rows.schema))
        judge = self.judge(writer)
        return {} if judge is None else judge.sides(rows, list(keys))

    def shown(self, rows: pa.RecordBatch | None, keys: Sequence[str]) -> Mapping[str, Sides]:
        """The states of these records as people may see them."""
        writer = None if rows is None else self._writer(Properties(rows.schema))
        judge = self.judge(writer)
        return {} if judge is None else judge.shown(rows, list(keys))

    # What a person decides

    def give_way(self, keys: Sequence[str]) -> None:
        """Take what these records hold now for what the sync has written, so that the source's next version wins."""
        judge, known = self.judge(), self._known()
        if judge is None or known is None:
            return
        held = judge.held(list(keys))
        known.keep({key: KnownBase(item.mark or "", item.state) for key, item in held.items()})
        known.forget([key for key in keys if key not in held])

    def stand(self, row: pa.RecordBatch) -> None:
        """Let the graph's version of a record stand against this mapped row of the source."""
        judge, known = self.judge(self._writer(Properties(row.schema))), self._known()
        assert judge is not None
        assert known is not None
        (key,), (mark,) = row.column(KEY).to_pylist(), row.column(FINGERPRINT).to_pylist()
        dispute = judge.sides(row, [key])[key]
        held: Held | None = judge.held([key]).get(key)
        base = KnownBase(mark, dispute.sides.source)
        known.keep({key: replace(base, previous=held.mark, previous_data=dispute.sides.base) if held else base})
        doing = f"mark a record of {self.elements.title}"
        self.graph.execute(doing, self.elements.set_mark(), keys=[key], mark=mark)

    def put_together(self, row: pa.RecordBatch, values: Mapping[str, Any]) -> None:
        """Write a record as a person has put it together from both sides.

        Args:
            row: the source's, mapped. values: of JSON, by property; one that is left out is removed.

        Raises:
            RecordError: the graph refuses it. ConfigurationError: a value is of no property of its document.
        """
        properties = Properties(row.schema)
        # a merge of relationships gives their ends, too, which may have been moved
        known = {START_NAME, END_NAME}.intersection(row.schema.names).union(properties.names)
        if unknown := [name for name, value in values.items() if value is not None and name not in known]:
            remedy = f"There are: {', '.join(properties.names)}."
            raise ConfigurationError(f"There is no property {unknown[0]!r} that is synced.", remedy=remedy)
        writer = self._writer(properties, doubt="values")
        judge = self.judge(writer)
        assert judge is not None
        (key,) = row.column(KEY).to_pylist()
        held = judge.held([key])[key]
        made = judge.put_together(row.to_pylist()[0], held, judge.sides(row, [key])[key].sides, values)
        result = writer.write(pa.RecordBatch.from_pylist([made], schema=row.schema))
        if result.rejected:
            raise RecordError(result.rejected[0].reason, key=key, **self._place)
        self.stand(row)

    def _known(self) -> TableBooks | None:
        if self._ledger is None:
            return None
        return TableBooks(self._ledger, (self._place["sync"], self._place["table"]))


def plain(keys: Iterator[str] | Sequence[str]) -> list[str]:
    """Those of these names that are keys."""
    return [key for key in dict.fromkeys(keys) if not key.startswith(STRANGER)]


def pages(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """The keys, so many at a time as a statement is given."""
    for start in range(0, len(keys), _KEYS_A_STATEMENT):
        yield keys[start : start + _KEYS_A_STATEMENT]
