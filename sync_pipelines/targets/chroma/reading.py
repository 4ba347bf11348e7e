"""What a collection holds, in records: counts, listings for a proof, stored values, all of it in pages."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.model import CHANGED_AT, FINGERPRINT, FINGERPRINTS_SCHEMA, KEY, PROBLEM, bucket_of
from sync_pipelines.engine.spool import Spool
from sync_pipelines.targets.chroma.names import (
    SYNC_CHUNK,
    SYNC_CHUNKS,
    SYNC_GENERATION,
    SYNC_KEY,
    chunk_id,
    parse_id,
)
from sync_pipelines.targets.chroma.records import Stored, changed_at, odd_fields, text_hash, whole_fingerprint
from sync_pipelines.targets.chroma.store import PAGE, ChromaStore, Item
from sync_pipelines.targets.chroma.values import canonical, user_fields

VALUES_SCHEMA = pa.schema(
    [
        pa.field(KEY, pa.string(), nullable=False),
        pa.field(FINGERPRINT, pa.string()),
        pa.field(CHANGED_AT, pa.timestamp("us", tz="UTC")),
        pa.field("document", pa.large_string()),
        pa.field("metadata", pa.string()),
        pa.field("chunks", pa.int32(), nullable=False),
        pa.field(PROBLEM, pa.string()),
    ]
)
"""`document` is the whole text, `metadata` JSON as `canonical` writes it; `_problem` says what is not right."""

EXTRAS = {SYNC_CHUNK: {"$gt": 0}}
_KEYS = 500  # keys in one `$in`: 1,000 take 60 ms, and a record may have many chunks


def has_extras(store: ChromaStore) -> bool:
    """Whether any record has more than one chunk: else nothing needs to be looked up by metadata."""
    return any(store.find(EXTRAS, metadata=False, limit=1))


def lookup(
    store: ChromaStore,
    keys: Sequence[str],
    *,
    extras: bool = True,
    documents: bool = False,
    embeddings: bool = False,
    overwriting: bool = False,
) -> dict[str, Stored]:
    """What is stored under these keys; keys of which nothing is stored are left out.

    Args:
        extras: whether chunks beyond the first may exist.
        documents, embeddings: whether these are fetched too.
        overwriting: whether strangers count that only stand at an id which a record of these keys needs.
    """
    wanted = set(keys)
    found: dict[str, Stored] = {}
    for item in _items_of(store, keys, extras=extras, documents=documents, embeddings=embeddings):
        if item.ours:
            if item.metadata[SYNC_KEY] in wanted:
                found.setdefault(item.metadata[SYNC_KEY], Stored()).add(item)
            continue
        for key in _claims(item, wanted, overwriting=overwriting):
            found.setdefault(key, Stored()).strays.append(item)
    return found


def _items_of(
    store: ChromaStore, keys: Sequence[str], *, extras: bool, documents: bool, embeddings: bool
) -> Iterator[Item]:
    # a stranger may stand at a record's id, or at the key as it is (the same, unless the key has a `#`)
    heads = [chunk_id(key, 0) for key in keys]
    yield from store.get([*heads, *(key for key in keys if "#" in key)], documents=documents, embeddings=embeddings)
    if not extras:
        return
    for start in range(0, len(keys), _KEYS):
        among = {SYNC_KEY: {"$in": list(keys[start : start + _KEYS])}}
        for page in store.find({"$and": [among, EXTRAS]}, documents=documents, embeddings=embeddings):
            yield from page


def _claims(item: Item, wanted: set[str], *, overwriting: bool) -> set[str]:
    """The keys that a stranger has (its id as it is), and those in whose way it stands."""
    names = {item.id}
    parsed = parse_id(item.id) if overwriting else None
    if parsed and not parsed[1]:
        names.add(parsed[0])
    return names & wanted


def count(store: ChromaStore) -> int:
    """Records, strangers' items included; of a record's chunks one counts."""
    total = store.count()
    with _spool() as spool:
        total -= _put_extras(store, spool)
        for keys in _keys(spool):
            total += len(_without_head(store, keys))
    return total


def _put_extras(store: ChromaStore, spool: sqlite3.Connection) -> int:
    """Spool the chunks beyond the first; how many there are. A stranger's item that claims to be one is none."""
    number = 0
    for page in store.find(EXTRAS):
        rows = [(item.metadata[SYNC_KEY], item.metadata[SYNC_CHUNK], _generation(item)) for item in page if item.ours]
        number += len(rows)
        spool.executemany("INSERT INTO extra VALUES (?, ?, ?)", rows)
    return number


def _generation(item: Item) -> str | None:
    """What SQLite is given; a stranger may have put a list there."""
    mark = item.metadata.get(SYNC_GENERATION)
    return mark if isinstance(mark, str) else None


def _without_head(store: ChromaStore, keys: Sequence[str]) -> set[str]:
    """Those of these keys of which only chunks beyond the first are there, and no stranger that has their name."""
    items = list(store.get([*(chunk_id(key, 0) for key in keys), *(key for key in keys if "#" in key)]))
    heads = {item.metadata[SYNC_KEY] for item in items if item.ours and not item.metadata[SYNC_CHUNK]}
    return set(keys) - heads - {item.id for item in items if not item.ours}


def fingerprints(store: ChromaStore, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
    """Every record once, with its fingerprint; null for strangers and for what a crash has torn."""
    wanted = None if buckets is None else set(buckets)
    with _spool() as spool:
        _put_extras(store, spool)
        for page in store.find():
            yield from _batches(_marks(store, spool, page), wanted)
        for keys in _keys(spool):  # what is left has no head
            yield from _batches(((key, None) for key in keys), wanted)


def _marks(store: ChromaStore, spool: sqlite3.Connection, page: Sequence[Item]) -> Iterator[tuple[str, str | None]]:
    heads = [item for item in page if item.ours and item.metadata[SYNC_CHUNK] == 0]
    strangers = [item.id for item in page if not item.ours]
    # a stranger's too: one that has the name of chunks without a head (theirs, with its name lost) is the same record
    extras = _take_extras(spool, [*(item.metadata[SYNC_KEY] for item in heads), *strangers])
    doubled = _doubled(store, [item.metadata[SYNC_KEY] for item in heads], strangers)
    for item in heads:
        key = item.metadata[SYNC_KEY]
        yield key, None if key in doubled else whole_fingerprint(item.metadata, extras.get(key, ()))
    for name in strangers:
        if name not in doubled:
            yield name, None


def _doubled(store: ChromaStore, keys: Sequence[str], strangers: Sequence[str]) -> set[str]:
    """Names that both a record of ours and a stranger have, which only a `#` makes possible.

    The record is then listed once, as torn, and mending it removes the stranger.
    """
    raw = {key for key in keys if "#" in key}
    named = {chunk_id(name, 0): name for name in strangers if "#" in name}
    if not raw and not named:
        return set()
    found = list(store.get([*raw, *named]))
    return {item.id for item in found if not item.ours and item.id in raw} | {
        named[item.id] for item in found if item.ours and item.id in named
    }


def _batches(marks: Iterable[tuple[str, str | None]], wanted: set[int] | None) -> Iterator[pa.RecordBatch]:
    rows = [row for row in marks if wanted is None or bucket_of(row[0]) in wanted]
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        yield pa.RecordBatch.from_arrays(
            [pa.array(columns[0], pa.string()), pa.array(columns[1], pa.string())], schema=FINGERPRINTS_SCHEMA
        )


@contextmanager
def _spool() -> Generator[sqlite3.Connection]:
    """Chunks beyond the first, in a file, so that memory does not grow with the collection."""
    with (
        # of which a later process removes what a killed one left
        closing(Spool()) as spool,
        closing(sqlite3.connect(spool.folder / "extras.sqlite")) as connection,
    ):
        for setting in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-8000"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("CREATE TABLE extra (key TEXT, chunk INTEGER, generation TEXT)")
        connection.execute("CREATE INDEX extra_key ON extra (key)")
        yield connection


def _take_extras(spool: sqlite3.Connection, keys: Sequence[str]) -> dict[str, list[tuple[int, Any]]]:
    """The spooled chunks of these keys, which leave the spool."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for start in range(0, len(keys), PAGE):
        some = keys[start : start + PAGE]
        marks = ",".join("?" * len(some))
        for key, chunk, mark in spool.execute(f"SELECT key, chunk, generation FROM extra WHERE key IN ({marks})", some):
            found.setdefault(key, []).append((chunk, mark))
        if found:
            spool.execute(f"DELETE FROM extra WHERE key IN ({marks})", some)
    return found


def _keys(spool: sqlite3.Connection) -> Iterator[list[str]]:
    """The distinct keys in the spool, in pages."""
    cursor = spool.execute("SELECT DISTINCT key FROM extra ORDER BY key")
    while rows := cursor.fetchmany(PAGE):
        yield [key for (key,) in rows]


def values(store: ChromaStore, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The stored values of these records, put together from their chunks."""
    for start in range(0, len(keys), _KEYS):
        found = lookup(store, keys[start : start + _KEYS], documents=True)
        yield from batches_of(found)


def batches_of(found: dict[str, Stored]) -> Iterator[pa.RecordBatch]:
    """Looked-up records as a batch of `VALUES_SCHEMA`."""
    rows = [_values_row(key, stored) for key, stored in found.items()]
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=VALUES_SCHEMA)


def _values_row(key: str, stored: Stored) -> dict[str, Any]:
    chunks = [stored.chunks[number] for number in sorted(stored.chunks)] or stored.strays[:1]
    head = chunks[0]
    return {
        KEY: key,
        FINGERPRINT: stored.fingerprint,
        CHANGED_AT: changed_at(head.metadata),
        "document": "".join(item.document or "" for item in chunks),
        "metadata": canonical(user_fields(head.metadata)),
        "chunks": len(chunks),
        PROBLEM: problem(stored),
    }


def problem(stored: Stored) -> str | None:
    """What is not as this sync writes it, or None."""
    chunks = [stored.chunks[number] for number in sorted(stored.chunks)]
    if not chunks:
        return "not written by this sync"
    if stored.fingerprint is None:
        found = ", ".join(str(number) for number in sorted(stored.chunks))
        return f"torn: chunks {found} of {chunks[0].metadata.get(SYNC_CHUNKS)}, or of different times"
    for item in chunks:
        number = item.metadata[SYNC_CHUNK]
        if item.document is None or text_hash(item.document) != item.metadata.get("sync_text"):
            return f"chunk {number} has another text than the sync wrote"
        if canonical(user_fields(item.metadata)) != canonical(user_fields(chunks[0].metadata)):
            return f"chunk {number} has other metadata than chunk 0"
        if odd := odd_fields(item, chunks[0], of=len(chunks)):
            return f"chunk {number} has another {', '.join(odd)} than the sync wrote"
    return None
