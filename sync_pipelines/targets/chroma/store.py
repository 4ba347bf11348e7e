"""One collection, asked and written in pages; every call tries again and raises our errors alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sync_pipelines.targets.chroma.client import ChromaConnection
from sync_pipelines.targets.chroma.errors import CollectionGoneError
from sync_pipelines.targets.chroma.names import is_ours
from sync_pipelines.targets.retries import NO_RETRY, RetryPolicy

if TYPE_CHECKING:
    import numpy as np
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

Place = dict[str, str | None]

PAGE = 1000
"""Items a question: 1,000 with metadata take about 50 ms; one `get()` of everything fails."""

PAGE_BYTES = 8_000_000
"""A request's rough size; Chroma's server refuses more than 40 MB."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One stored item: a chunk of a record, or a stranger's."""

    id: str
    metadata: dict[str, Any]
    document: str | None = None
    embedding: np.ndarray | None = None

    @property
    def ours(self) -> bool:
        return is_ours(self.id, self.metadata)


@dataclass(frozen=True, kw_only=True)
class Write:
    """One item to write; without an embedding only its metadata is updated."""

    id: str
    metadata: dict[str, Any]
    document: str | None = None
    embedding: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Rough bytes of the request, more rather than fewer."""
        vector = 0 if self.embedding is None else 12 * len(self.embedding)
        fields = sum(_text_size(name) + _size(value) for name, value in self.metadata.items())
        return vector + _text_size(self.id) + _text_size(self.document or "") + fields


_NUMBER_SIZE = 32
"""A float's digits in JSON, with what stands around them."""


def _text_size(text: str) -> int:
    return 8 + 4 * len(text)  # UTF-8 has four bytes a character at most


def _size(value: Any) -> int:
    """Rough bytes of a metadata field's value: each chunk of a record carries all of them."""
    if isinstance(value, str):
        return _text_size(value)
    return 8 + sum(map(_size, value)) if isinstance(value, list | tuple) else _NUMBER_SIZE


class ChromaStore:
    """A collection by its id: it goes on meaning the same data when names are swapped."""

    def __init__(self, connection: ChromaConnection, handle: Collection, *, place: Place, retry: RetryPolicy) -> None:
        self.connection, self.handle = connection, handle
        self._place, self._retry = place, retry

    @property
    def once(self) -> ChromaStore:
        """The same collection, asked once: for questions that can be asked again later."""
        return ChromaStore(self.connection, self.handle, place=self._place, retry=NO_RETRY)

    @property
    def id(self) -> str:
        return str(self.handle.id)

    @property
    def name(self) -> str:
        return self.handle.name

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(self.handle.metadata or {})

    @property
    def space(self) -> str:
        """`cosine`, `l2` or `ip`."""
        configuration = self.handle.configuration_json
        index = configuration.get("hnsw") or configuration.get("spann") or {}
        return str(index.get("space") or "l2")

    def count(self) -> int:
        """Items, chunks included."""
        return self._ask(lambda _: self.handle.count(), "count")

    def get(
        self, ids: Sequence[str], *, metadata: bool = True, documents: bool = False, embeddings: bool = False
    ) -> Iterator[Item]:
        """Those of these ids that are there, in no order."""
        include = _include(metadata=metadata, documents=documents, embeddings=embeddings)
        names = list(dict.fromkeys(name for name in ids if name))  # Chroma refuses doubled and empty ids
        for start in range(0, len(names), PAGE):
            page = names[start : start + PAGE]
            yield from _items(self._ask(lambda _, page=page: self.handle.get(ids=page, include=include), "read"))

    def find(
        self,
        where: dict[str, Any] | None = None,
        *,
        metadata: bool = True,
        documents: bool = False,
        embeddings: bool = False,
        limit: int | None = None,
    ) -> Iterator[list[Item]]:
        """Pages of the items that match, or of all."""
        include = _include(metadata=metadata, documents=documents, embeddings=embeddings)
        size = min(PAGE, limit or PAGE)
        offset = 0
        while limit is None or offset < limit:
            found = self._ask(
                lambda _, offset=offset: self.handle.get(where=where, include=include, limit=size, offset=offset),
                "list",
            )
            if found["ids"]:
                yield list(_items(found))
            if len(found["ids"]) < size:
                return
            offset += size

    def query(self, vector: Sequence[float], *, limit: int, where: dict[str, Any] | None) -> list[tuple[Item, float]]:
        """The nearest items and their distances, nearest first."""
        found = self._ask(
            lambda _: self.handle.query(
                query_embeddings=[vector],
                n_results=limit,
                where=where,
                include=["metadatas", "documents", "distances"],
            ),
            "search",
        )
        rows = zip(found["ids"][0], found["metadatas"][0], found["documents"][0], found["distances"][0], strict=True)
        return [(Item(id=i, metadata=dict(m or {}), document=d), float(far)) for i, m, d, far in rows]

    def write(self, writes: Sequence[Write]) -> list[str]:
        """Write items in this order, metadata-only ones last; the ids that an update did not find.

        Chroma's `update` of an id that is not there succeeds in silence, so the store is asked afterwards.

        Raises:
            RecordError: a record's content was refused; what came before it in order is written.
        """
        whole = [write for write in writes if write.embedding is not None]
        for page in self._pages(whole):
            self._tell(lambda page=page: self.handle.upsert(**_columns(page)), "write")
        partial = [write for write in writes if write.embedding is None]
        for page in self._pages(partial):
            names: list[str] = [write.id for write in page]
            fields: Any = [write.metadata for write in page]
            self._tell(lambda names=names, fields=fields: self.handle.update(ids=names, metadatas=fields), "update")
        there = {item.id for item in self.get([write.id for write in partial], metadata=False)}
        return [write.id for write in partial if write.id not in there]

    def delete(self, ids: Sequence[str]) -> None:
        """Delete these items; ones that are not there are no error."""
        for start in range(0, len(ids), PAGE):
            page = list(ids[start : start + PAGE])
            self._tell(lambda page=page: self.handle.delete(ids=page), "delete")

    def modify(self, **changes: Any) -> None:
        """Rename the collection, or replace its metadata."""
        self._ask(lambda _: self.handle.modify(**changes), "change")

    def _pages(self, writes: Sequence[Write]) -> Iterator[list[Write]]:
        most = min(PAGE, self._ask(lambda client: client.get_max_batch_size(), "read the limits")) if writes else 0
        page: list[Write] = []
        size = 0
        for write in writes:
            added = write.size
            if page and (len(page) >= most or size + added > PAGE_BYTES):
                yield page
                page, size = [], 0
            page.append(write)
            size += added
        if page:
            yield page

    def _ask(self, action: Any, doing: str, *, writing: bool = False) -> Any:
        return self.connection.call(
            action, doing=f"{doing} collection {self.name!r}", place=self._place, retry=self._retry, writing=writing
        )

    def _tell(self, action: Any, doing: str) -> None:
        self._ask(lambda _: action(), doing, writing=True)


def open_store(connection: ChromaConnection, name: str, *, place: Place, retry: RetryPolicy) -> ChromaStore | None:
    """The collection of this name, or None."""

    def find(client: ClientAPI) -> Collection:
        # None: nothing is embedded through the handle, so no provider is loaded for a listing
        return client.get_collection(name, embedding_function=None)

    try:
        handle = connection.call(find, doing=f"open collection {name!r}", place=place, retry=retry)
    except CollectionGoneError:
        return None
    return ChromaStore(connection, handle, place=place, retry=retry)


def _include(*, metadata: bool, documents: bool, embeddings: bool) -> list[Any]:
    wanted = {"metadatas": metadata, "documents": documents, "embeddings": embeddings}
    return [name for name, asked in wanted.items() if asked]


def _items(found: Any) -> Iterator[Item]:
    metadatas, documents, embeddings = found["metadatas"], found["documents"], found["embeddings"]
    for number, name in enumerate(found["ids"]):
        yield Item(
            id=name,
            metadata=dict((metadatas[number] if metadatas is not None else None) or {}),
            document=documents[number] if documents is not None else None,
            embedding=embeddings[number] if embeddings is not None else None,
        )


def _columns(page: Sequence[Write]) -> dict[str, Any]:
    return {
        "ids": [write.id for write in page],
        "embeddings": [write.embedding for write in page],
        "documents": [write.document for write in page],
        "metadatas": [write.metadata for write in page],
    }
