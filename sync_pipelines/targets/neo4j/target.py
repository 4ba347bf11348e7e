"""A label's nodes, or a type's relationships, as a target: kept equal to their source.

Nothing is imported before it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

import pyarrow as pa

from sync_pipelines.engine.conflicts import Parented
from sync_pipelines.engine.errors import RecordError, RunError
from sync_pipelines.engine.model import (
    FINGERPRINT,
    FINGERPRINTS_SCHEMA,
    KEY,
    BatchResult,
    Child,
    Counts,
    Deletion,
    Digest,
    Doubt,
    Parent,
    PlannedWrites,
    Underived,
    bucket_of,
)
from sync_pipelines.targets.neo4j.books import Books, Noted
from sync_pipelines.targets.neo4j.client import Graph
from sync_pipelines.targets.neo4j.elements import Elements
from sync_pipelines.targets.neo4j.judged import STRANGER, Judged, pages, plain
from sync_pipelines.targets.neo4j.judgement import Rules
from sync_pipelines.targets.neo4j.judging import Judge
from sync_pipelines.targets.neo4j.mapping import Ends
from sync_pipelines.targets.neo4j.properties import Properties
from sync_pipelines.targets.neo4j.settings import GraphSettings
from sync_pipelines.targets.neo4j.staging import StagedRows
from sync_pipelines.targets.neo4j.writing import (
    NodeWriter,
    RelationshipWriter,
    Writer,
    any_there,
    batches_of,
    nodes_among,
)

_log = logging.getLogger(__name__)


class GraphTarget(Judged, Underived):
    """The nodes of one label; implements `engine.model.Target`. Making one connects to nothing.

    Args:
        settings: the graph. name: the label (or the type).
        shape: gives the properties that the source's columns become now; asked once a run.
        sync, table: the owner, and for errors. quiet: what the server says of values is not repeated.
        rules: who wins where people have edited the graph; None where nobody looks.
    """

    at_once = 1000
    """Records of whose values a deep proof asks at a time."""

    def __init__(
        self,
        *,
        settings: GraphSettings,
        name: str,
        shape: Callable[[], pa.Schema],
        sync: str | None = None,
        table: str | None = None,
        quiet: bool = False,
        ends: Ends | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.settings, self._shape, self.rules = settings, shape, rules
        self.elements = Elements(name, ends)
        self.owner = f"{sync}/{table}" if sync and table else ""
        self._place: dict[str, Any] = {"sync": sync, "table": table}
        self.graph = Graph(settings, quiet=quiet, **self._place)
        self.books = Books(self.graph, self.elements.title)
        self._ready: tuple[pa.Schema, Properties] | None = None
        self._copied = False

    def fence(self, check: Callable[[], object]) -> None:
        """Ask this before each commit: who has lost the right to write learns it then, and nothing is written."""
        self.graph.before_commit = check

    @cached_property
    def properties(self) -> Properties:
        """What the source's columns become, asked once a run."""
        return Properties(self._shape())

    # What a listing is asked

    def count(self) -> int:
        """All of the label or type, strangers included."""
        return self._read(self.elements.count())[0]["records"]

    def digests(self) -> Mapping[int, Digest] | None:
        """None: they are added up where they are compared."""
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Each one's key and fingerprint; one that no sync wrote by a name made of the engine's id."""
        wanted = None if buckets is None else set(buckets)
        for page in self.graph.stream(f"list {self.elements.title}", self.elements.listing()):
            rows = [_known(row["key"], row["mark"], row["id"]) for row in page]
            chosen = [row for row in rows if wanted is None or bucket_of(row[0]) in wanted]
            keys, marks = [row[0] for row in chosen], [row[1] for row in chosen]
            yield pa.RecordBatch.from_pydict({KEY: keys, FINGERPRINT: marks}, schema=FINGERPRINTS_SCHEMA)

    # What a target is asked

    def identity(self) -> str | None:
        """That of the sync's own node, which a graph that was dropped does not keep."""
        noted = self.books.read()
        return noted.identity if noted else None

    def stamp(self) -> str | None:
        """What the last run has left in the sync's own node."""
        noted = self.books.read()
        return noted.stamp if noted else None

    def set_stamp(self, text: str) -> None:
        """Leave a text there, in the place of the one before."""
        if self.books.read() is None:
            self.prepare()
        self.books.set_stamp(text)

    def stamp_of(self, text: str) -> str:
        """The text itself."""
        return text

    def prepare(self) -> None:
        """Make the constraint, and the sync's own node where there is none.

        Raises:
            RunError: something else made nodes of this label, or it belongs to another table.
        """
        self._ready = None
        self.__dict__.pop("properties", None)
        noted = self.books.read()
        if noted is None:
            self._refuse_foreign()
        elif noted.owner != self.owner:
            raise RunError(
                f"{self.elements.title} of the graph belongs to {noted.owner}.", remedy="Name another.", **self._place
            )
        self._constrain()
        if noted is None:
            self.books.open(self.owner)
        if noted is None or not self._read(self.elements.one()):
            self.forget_bases()

    def _constrain(self) -> None:
        """Make the constraint, which copies prevent that somebody made without it; of them a repair leaves one."""
        try:
            self.graph.execute(f"make the constraint of {self.elements.title}", self.elements.constraint())
        except (RecordError, RunError):
            if not self._read(self.elements.copied()):
                raise
            self._copied = True
            said = (
                "several of %s have one key, so that its constraint cannot be made: `sync-pipelines repair %s` leaves "
                "one of each, and the run after it makes the constraint"
            )
            _log.warning(said, self.elements.title, self.owner)
        else:
            self._copied = False

    def _refuse_foreign(self) -> None:
        if found := self._read(self.elements.count_keyless())[0]["records"]:
            raise RunError(
                f"{self.elements.title} of the graph was made by something else and holds {found} that no sync wrote.",
                remedy="Name another, or remove them.",
                **self._place,
            )

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> Iterator[BatchResult]:
        """Write batches of mapped rows (`mapping`), a transaction each."""
        writer: Writer | None = None
        judge: Judge | None = None
        for batch in batches_of(batches):
            if self._copied:
                self.leave_one(batch.column(KEY).to_pylist())
            if writer is None:
                writer = self._writer(self._prepared(batch.schema), doubt=doubt, before_write=before_write)
                judge = self.judge(writer)
            if judge is not None:
                yield from judge.bring(batch)
                continue
            keys = batch.column(KEY).to_pylist()
            result = writer.write(batch)
            yield BatchResult(counts=result.counts, rejected=result.rejected, keys=keys)

    def stage(
        self,
        rows: pa.RecordBatch,
        *,
        size: int,
        doubted: Collection[str],
        before_write: Callable[[], object],
        check: Callable[[], object],
    ) -> StagedRows:
        """Look at mapped rows, each key once; the result writes them."""
        writer = self._writer(self._prepared(rows.schema), before_write=before_write)
        return StagedRows(writer, rows, size=size, doubted=doubted, judge=self.judge(writer), check=check)

    def _prepared(self, schema: pa.Schema) -> Properties:
        """The properties of batches, whose names are noted before the first is written: so none is left behind.

        Noted once by each object: a consumer brings many batches of one shape.
        """
        if self._ready is not None and self._ready[0].equals(schema, check_metadata=True):
            return self._ready[1]
        noted = self.books.read() or self._opened()
        found = Properties(schema, retired=noted.properties)
        if not set(found.names) <= set(noted.properties):
            self.books.add_properties({*found.names, *noted.properties})
        self._ready = (schema, found)
        return found

    def _opened(self) -> Noted:
        self.prepare()
        noted = self.books.read()
        assert noted is not None
        return noted

    def _writer(self, properties: Properties, **how: Any) -> Writer:
        kind = NodeWriter if self.elements.ends is None else RelationshipWriter
        return kind(self.graph, self.elements, properties, **how)

    def existing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that the graph holds."""
        found = (self.elements.records(self._read(self.elements.held(), keys=page)) for page in pages(plain(keys)))
        held = {row["key"] for rows in found for row in rows}
        for page in pages(_strange(keys)):
            held |= {f"{STRANGER}{row['id']}" for row in self._read(self.elements.keyless(), ids=page)}
        return [key for key in dict.fromkeys(keys) if key in held]

    def delete(self, keys: Sequence[str]) -> Deletion:
        """Delete these; with a node go its relationships, whoever made them. A graph refuses none."""
        there = self.existing(keys)
        gone = sum(self.delete_judged(sorted(page)) for page in pages(plain(there)))
        for page in pages(strange := _strange(there)):
            self.graph.execute(f"delete from {self.elements.title}", self.elements.delete_keyless(), ids=page)
        return Deletion(deleted=gone + len(strange))

    def as_parents(self, keys: Sequence[str]) -> list[Parent]:
        """These nodes, as relationships call them that wait for one."""
        if self.elements.ends is not None:
            return []
        return [Parent(constraint=self.elements.name, columns=(), values=(key,)) for key in keys]

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The stored properties of these, and a relationship's ends, as the mapping would make them."""
        ends = self.elements.ends is not None
        for page in pages(plain(keys)):
            found = self._read(self.elements.values(self.properties), keys=page)
            yield self.properties.batch(found, ends=ends)
        if strange := self.existing(_named(keys)):
            nothing = {KEY: strange, FINGERPRINT: [None] * len(strange)}
            yield pa.RecordBatch.from_pydict(nothing, schema=FINGERPRINTS_SCHEMA)

    def holdings(self) -> dict[str, Any]:
        """What it is called, and where it is; nothing before the first sync."""
        if self.books.read() is None:
            return {}
        kind = "label" if self.elements.ends is None else "relationship"
        return {kind: self.elements.name, "graph": self.settings.place}

    def drift(self) -> list[str]:
        """What about it is not as it is asked for now, in words."""
        noted = self.books.read()
        if noted is None:
            return [f"{self.elements.title} has not been synced yet"]
        return [f"{self.elements.title} belongs to {noted.owner}"] if noted.owner != self.owner else []

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` of these batches would do; writes nothing."""
        counts = Counts()
        for batch in batches_of(batches):
            writer = self._writer(Properties(batch.schema))
            judge = self.judge(writer)
            rows = batch if judge is None else judge.look(batch).rows
            looked, kept = writer.judge(rows), batch.num_rows - rows.num_rows
            counts += Counts(unchanged=looked.unchanged + kept, upserted=len(looked.rows))
            counts += Counts(quarantined=len(looked.waiting))
        return PlannedWrites(counts=counts)

    # A rebuild

    def begin_rebuild(self) -> NoReturn:
        """A label cannot be put in the place of another by one step, and relationships of others hang on its nodes."""
        raise RunError(
            "the nodes and relationships of a graph are not built anew beside the old ones: what others have tied to "
            "them would be lost.",
            remedy=f"Run `sync-pipelines sync {self.owner} --full`, which compares every record.",
            **self._place,
        )

    def swap(self) -> None:
        """Follows `begin_rebuild`, which there is none of."""

    def _read(self, text: str, **parameters: Any) -> list[dict[str, Any]]:
        return self.graph.read(f"read {self.elements.title}", text, **parameters)


class RelationshipTarget(GraphTarget, Parented):
    """The relationships of one type, each between two nodes; what has no node yet waits for it."""

    def any_there(self, parents: Sequence[Parent]) -> bool:
        """Whether one of these nodes is there now."""
        ends = self.elements.ends
        assert ends is not None
        return any_there(self.graph, (ends.start, ends.end), parents)

    def there(self, parents: Sequence[Parent]) -> list[Parent]:
        """Those of these nodes that are there, or are waited for no more since the document names another label."""
        ends = self.elements.ends
        assert ends is not None
        return nodes_among(self.graph, (ends.start, ends.end), parents)

    def any_free(self, held: Mapping[str, Child]) -> bool:
        """Nothing holds a relationship."""
        return False


def _known(key: Any, mark: Any, number: str | None) -> tuple[str, str | None]:
    if number is not None:
        return f"{STRANGER}{number}", None
    return key, mark if isinstance(mark, str) else None


def _named(keys: Iterable[str]) -> list[str]:
    return [key for key in keys if key.startswith(STRANGER)]


def _strange(keys: Iterable[str]) -> list[str]:
    """The engine's ids in such names."""
    return [key.removeprefix(STRANGER) for key in _named(keys)]
