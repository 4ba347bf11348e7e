"""Chroma as a target: a collection of documents, kept equal to its source. Nothing is imported before it is used."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.model import BatchResult, Deletion, Digest, Doubt, PlannedWrites
from sync_pipelines.targets.chroma import reading as reading
from sync_pipelines.targets.chroma.client import Settings, connect
from sync_pipelines.targets.chroma.errors import CollectionGoneError
from sync_pipelines.targets.chroma.names import REBUILD_SUFFIX, check_collection_name, chunk_id
from sync_pipelines.targets.chroma.planning import Planner, Tally
from sync_pipelines.targets.chroma.provenance import (
    OWNER,
    REPLACES,
    STAMP,
    Provenance,
    check,
    check_function,
    check_owner,
    has_provenance,
    other_owner,
)
from sync_pipelines.targets.chroma.records import Stored
from sync_pipelines.targets.chroma.store import ChromaStore, Place
from sync_pipelines.targets.chroma.swap import Swap
from sync_pipelines.targets.chroma.writing import Boundary, Writer
from sync_pipelines.targets.chunking import Chunker, ChunkingSpec
from sync_pipelines.targets.embedding import Embedder, EmbeddingSpec
from sync_pipelines.targets.retries import RetryPolicy


class ChromaTarget:
    """One collection; implements `engine.model.Target`. Making one connects to nothing.

    Args:
        settings: how to reach Chroma.
        collection: its name.
        embedding, chunking: how texts become vectors; both stand in the collection's provenance.
        mapping: version of the document mapping, noted in the provenance for people.
        sync, table: the collection's owner, and for errors.
        retry: how transient errors are tried again, of Chroma and of the embedding's provider alike.
        function: an embedding function of your own instead of the registry's, for tests.
        boundary: called at each boundary of a write, for tests.

    Raises:
        ConfigurationError: a name, an embedding or a chunking that cannot be.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        collection: str,
        embedding: EmbeddingSpec | None = None,
        chunking: ChunkingSpec | None = None,
        mapping: str = "",
        sync: str | None = None,
        table: str | None = None,
        retry: RetryPolicy | None = None,
        function: Any = None,
        boundary: Boundary = lambda _: None,
    ) -> None:
        check_collection_name(collection)
        self.settings, self.collection = settings, collection
        self.place: Place = {"sync": sync, "table": table}
        self.owner = f"{sync}/{table}" if sync and table else ""
        self._retry = retry or RetryPolicy()
        self._boundary = boundary
        self.embedder = Embedder(embedding or EmbeddingSpec(), retry=self._retry, function=function)
        self.chunker = Chunker(chunking or ChunkingSpec(), self.embedder)
        self.provenance = Provenance.of(self.embedder.spec, chunking=self.chunker.signature, mapping=mapping)
        self._suffix = ""
        self._checked: str | None = None

    @cached_property
    def names(self) -> Swap:
        """The collection's names: current, rebuilt, old."""
        return Swap(connect(self.settings), self.collection, place=self.place, retry=self._retry)

    def store(self) -> ChromaStore | None:
        """The collection as it is served now, or None where it does not exist yet."""
        return self.names.open(self._suffix) if self._suffix else self.names.current()

    # What a listing is asked

    def count(self) -> int:
        """Records in the store, strangers' items included, chunks not."""
        store = self.store()
        return reading.count(store) if store else 0

    def digests(self) -> Mapping[int, Digest] | None:
        """None: Chroma cannot add up."""
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Each record once; null for strangers (by their id) and for records that a crash has torn."""
        store = self.store()
        if store is not None:
            yield from reading.fingerprints(store, buckets)

    # What a target is asked

    def identity(self) -> str | None:
        """The collection's id, which a dropped and remade collection does not share."""
        store = self.store()
        return store.id if store else None

    def prepare(self) -> None:
        """Finish or roll back a swap that was cut, make the collection if need be, check its provenance.

        Raises:
            TargetChangedError: it was built with another embedding or chunking: `mode: rebuild` is due.
            RunError: something else made it and it holds items, or it belongs to another table.
        """
        store = self.names.open(self._suffix)
        if store is not None and not has_provenance(store.metadata) and not store.count():
            # somebody's empty `get_or_create_collection`: nothing is lost, and the old state may wait below it
            self.names.drop(self._suffix)
            store = None
        if not self._suffix:
            store = self.names.heal(store)
        if store is None:
            store = self._create()
        check_owner(store, self.owner, place=self.place)
        check(store, self.provenance, place=self.place)
        self._note(store, OWNER, self.owner)
        self._note(store, "sync_mapping", self.provenance.mapping)
        self._checked = store.id

    def upsert(
        self,
        batches: Iterable[pa.RecordBatch],
        *,
        doubt: Doubt | None = None,
        before_write: Callable[[], object] = lambda: None,
    ) -> Iterator[BatchResult]:
        """Write batches of documents (`documents.DOCUMENTS_SCHEMA`); a result for each group of records written.

        Records whose stored fingerprint is the same are left alone. Of the others only chunks with new text
        are embedded. Extras are written first, the chunk with the fingerprint next, orphans deleted last.

        Args:
            doubt: believe no stored fingerprint or hash: compare documents and metadata themselves ("values",
                a repair after something else wrote into the collection), or embed every text anew ("all").
        """
        store = self._prepared()
        writer = Writer(
            store,
            planner=Planner(store, chunker=self.chunker, doubt=doubt),
            embedder=self.embedder,
            before_embedding=_once(lambda: check_function(store, self.embedder.function, place=self.place)),
            boundary=self._boundary,
            before_write=_once(before_write),
        )
        for result in writer.write(batches):
            yield result
            # nobody knows the length of a remote model's vectors before the first one
            dimensions = self.embedder.dimensions or 0
            if dimensions and store.metadata.get("sync_dimensions") != dimensions:
                store = self._prepared()  # opened anew: the run's mark has been written since
                self._note(store, "sync_dimensions", dimensions)

    def existing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` of which anything is stored, a torn rest included."""
        store = self.store()
        found = reading.lookup(store, keys) if store and keys else {}
        return [key for key in dict.fromkeys(keys) if key in found]

    def delete(self, keys: Sequence[str]) -> Deletion:
        """Delete these records, every chunk of them, chunk 0 last; a collection refuses none.

        A stranger is deleted by its id; an item of another record that happens to have that id is not.
        """
        store = self.store()
        found = reading.lookup(store, keys) if store and keys else {}
        heads = {chunk_id(key, 0) for key in found}
        ids = [name for stored in found.values() for name in stored.ids]
        if store is not None and ids:
            store.delete([name for name in ids if name not in heads])
            store.delete([name for name in ids if name in heads])
        return Deletion(deleted=len(found))

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The stored values (`reading.VALUES_SCHEMA`): whole text, metadata as canonical JSON."""
        store = self.store()
        if store is not None:
            yield from reading.values(store, keys)

    def faults(self, keys: Sequence[str]) -> dict[str, str]:
        """Those of `keys` of which a vector is missing, not finite or of another size, with why."""
        from sync_pipelines.targets.chroma.probe import broken_vectors

        store = self.store()
        return dict(broken_vectors(store, keys)) if store and keys else {}

    def holdings(self) -> dict[str, Any]:
        """What the collection says of itself; nothing before the first sync."""
        store = self.store()
        if store is None:
            return {}
        made = store.metadata
        return {
            "collection": store.name,
            "chunks": store.count(),
            "dimensions": made.get("sync_dimensions") or None,
            "embedding": made.get("sync_embedding"),
            "model": made.get("sync_model") or made.get("sync_embedding"),
            "chunking": made.get("sync_chunking"),
            "space": store.space,
        }

    def drift(self) -> list[str]:
        """What about the collection is not as it is asked for now, in words; a rebuild mends it."""
        store = self.store()
        if store is None:
            return [f"collection {self.collection!r} does not exist"]
        if not has_provenance(store.metadata):
            return [f"collection {self.collection!r} was made by something else"]
        owner = other_owner(store.metadata, self.owner)
        return [
            *([f"collection {self.collection!r} belongs to {owner}"] if owner else []),
            *self.provenance.differences(store.metadata),
        ]

    def stamp(self) -> str | None:
        """What the last confirmed run has left in the collection."""
        store = self.store()
        return store.metadata.get(STAMP) if store else None

    def set_stamp(self, text: str) -> None:
        """Leave a text in the collection, in the place of the one before."""
        self._note(self._prepared(), STAMP, text)

    def stamp_of(self, text: str) -> str:
        """The text itself."""
        return text

    # Beyond the contract

    def plan(self, batches: Iterable[pa.RecordBatch], *, rebuild: bool = False) -> PlannedWrites:
        """What `upsert` of these batches would do, and how long their embedding would take. Writes nothing."""
        store = self.names.open(REBUILD_SUFFIX) if rebuild else self.store()
        if store is not None and self.provenance.differences(store.metadata):
            store = None  # would be built anew
        planner, tally = Planner(store, chunker=self.chunker), Tally()

        def texts() -> Iterator[str]:
            for batch in batches:
                for plan in planner.plans(batch, tally):
                    tally.wrote(plan)
                    yield from plan.new_texts

        estimate = self.embedder.estimate(texts())
        tally.counts.bytes = 0
        tally.counts.embedded_texts = estimate.texts
        tally.counts.embedded_characters = estimate.characters
        tally.counts.embedded_tokens = estimate.tokens or 0
        return PlannedWrites(counts=tally.counts, seconds=estimate.seconds, embeds=True)

    def unsearchable(self, keys: Sequence[str]) -> dict[str, str]:
        """The keys of this sample that a search with their own text would miss, with why.

        Embeds the sample's texts again; what that uses is not counted as a sync's.
        """
        from sync_pipelines.targets.chroma.probe import unsearchable

        store = self.store()
        if store is None:
            return {}
        embedder = Embedder(self.embedder.spec, retry=self._retry, function=self.embedder.function)
        return dict(unsearchable(store, embedder, keys))

    def begin_rebuild(self) -> ChromaTarget:
        """A target over `<name>__rebuild`, beside the old state, which goes on serving.

        One that an earlier rebuild left is gone on with if it was made in the same way: what it holds is not
        embedded again. Else it is dropped.
        """
        self.names.heal()
        left = self.names.open(REBUILD_SUFFIX)
        if left is not None and self._made_otherwise(left):
            self.names.drop(REBUILD_SUFFIX)
        elif left is not None and REPLACES in left.metadata:
            # a swap that was cut before its first rename: from here on it is no proven copy any more
            left.modify(metadata={name: value for name, value in left.metadata.items() if name != REPLACES})
        beside = copy.copy(self)
        beside._suffix, beside._checked = REBUILD_SUFFIX, None
        beside.prepare()
        return beside

    def _made_otherwise(self, store: ChromaStore) -> bool:
        return bool(other_owner(store.metadata, self.owner) or self.provenance.differences(store.metadata))

    def swap(self) -> None:
        """Put the rebuilt collection in the old one's place; see `swap` for the gap and for crashes."""
        self.names.swap()
        self._checked = None

    def _prepared(self) -> ChromaStore:
        store = self.names.open(self._suffix)
        if store is None or self._checked != store.id:
            self.prepare()
            store = self.names.open(self._suffix)
        if store is None:
            raise CollectionGoneError("Chroma: the collection was deleted while the run began.", **self.place)
        return store

    def _create(self) -> ChromaStore:
        function = self.embedder.function
        name = self.collection + self._suffix
        self.names.create(
            self._suffix,
            metadata=self.provenance.as_metadata() | ({OWNER: self.owner} if self.owner else {}),
            configuration={"hnsw": {"space": function.default_space()}, "embedding_function": function},
        )
        store = self.names.open(self._suffix)
        if store is None:
            raise CollectionGoneError(f"Chroma: collection {name!r} was deleted as soon as it was made.", **self.place)
        return store

    def _note(self, store: ChromaStore, name: str, value: str | int) -> None:
        """Write something down in the collection's provenance, if it does not stand there."""
        if value and store.metadata.get(name) != value:
            store.modify(metadata={**store.metadata, name: value})


def _once(action: Callable[[], object]) -> Callable[[], None]:
    done = False

    def run() -> None:
        nonlocal done
        if not done:
            action()
            done = True

    return run


def open_collection(settings: Settings, collection: str) -> Any:
    """Chromadb's own handle on a collection, with its embedding function.

    Raises:
        CollectionGoneError: it has not been made yet.
    """
    from importlib import import_module

    import_module("sync_pipelines.targets.embedding_functions")  # so that Chroma finds our functions by name
    connection = connect(settings)
    place: Place = {"sync": None, "table": None}
    return connection.call(
        lambda client: client.get_collection(collection),
        doing=f"open collection {collection!r}",
        place=place,
        retry=RetryPolicy(),
    )


def read_records(
    settings: Settings,
    collection: str,
    *,
    window: tuple[datetime | None, datetime | None] | None = None,
    embeddings: bool = False,
) -> pa.RecordBatchReader:
    """The synced records of a collection, for assets downstream; `chroma_records_reader` has the columns."""
    from sync_pipelines.targets.chroma.input import reader

    names = Swap(connect(settings), collection, place={"sync": None, "table": None}, retry=RetryPolicy())
    store = names.current()
    if store is None:
        raise CollectionGoneError(f"Chroma: there is no collection {collection!r}.", remedy="Run its sync first.")
    return reader(store, window=window, embeddings=embeddings)


__all__ = ["ChromaTarget", "Stored", "open_collection", "read_records"]
