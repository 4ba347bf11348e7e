"""The synced records of a collection as Arrow, for assets downstream."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa

from sync_pipelines.targets.chroma.names import SYNC_CHANGED_AT, SYNC_CHUNK, SYNC_KEY
from sync_pipelines.targets.chroma.reading import has_extras, lookup
from sync_pipelines.targets.chroma.records import Stored, changed_at
from sync_pipelines.targets.chroma.store import ChromaStore, Item
from sync_pipelines.targets.chroma.values import canonical, user_fields
from sync_pipelines.targets.document_values import microseconds

RECORDS_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("document", pa.large_string()),
        pa.field("metadata", pa.string()),
        pa.field("changed_at", pa.timestamp("us", tz="UTC")),
        pa.field("chunks", pa.int32(), nullable=False),
    ]
)
"""`document` is the whole text, put together from its chunks; `metadata` a JSON object."""

EMBEDDINGS = pa.field("embeddings", pa.list_(pa.list_(pa.float32())))
"""One vector for each chunk, where embeddings are asked for."""

Window = tuple[datetime | None, datetime | None]


def reader(store: ChromaStore, *, window: Window | None, embeddings: bool) -> pa.RecordBatchReader:
    """The records that this sync wrote, in batches of about 1,000.

    Args:
        window: half-open range of change time; None at its start takes in records without a change time.
        embeddings: whether the vectors come too.
    """
    schema = RECORDS_SCHEMA.append(EMBEDDINGS) if embeddings else RECORDS_SCHEMA
    return pa.RecordBatchReader.from_batches(schema, _batches(store, window, schema))


def _batches(store: ChromaStore, window: Window | None, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    wanted = EMBEDDINGS.name in schema.names
    extras = has_extras(store)
    for page in store.find(_where(window)):
        keys = [item.metadata[SYNC_KEY] for item in page if item.ours and _inside(item, window)]
        if keys:
            found = lookup(store, keys, extras=extras, documents=True, embeddings=wanted)
            rows = [_row(key, stored, embeddings=wanted) for key, stored in found.items() if 0 in stored.chunks]
            yield pa.RecordBatch.from_pylist(rows, schema=schema)


def _where(window: Window | None) -> dict[str, Any]:
    heads = {SYNC_CHUNK: 0}
    if window is None or window[0] is None:
        return heads  # Chroma cannot ask for records that lack a field
    return {"$and": [heads, {SYNC_CHANGED_AT: {"$gte": microseconds(window[0])}}]}


def _inside(item: Item, window: Window | None) -> bool:
    moment = changed_at(item.metadata)
    if window is None:
        return True
    if moment is None:
        return window[0] is None
    start, end = (None if bound is None else microseconds(bound) for bound in window)
    return (start is None or moment >= start) and (end is None or moment < end)


def _row(key: str, stored: Stored, *, embeddings: bool) -> dict[str, Any]:
    chunks = [stored.chunks[number] for number in sorted(stored.chunks)]
    head = chunks[0].metadata
    row: dict[str, Any] = {
        "key": key,
        "document": "".join(item.document or "" for item in chunks),
        "metadata": canonical(user_fields(head)),
        "changed_at": changed_at(head),
        "chunks": len(chunks),
    }
    if embeddings:
        row[EMBEDDINGS.name] = [list(map(float, item.embedding)) for item in chunks if item.embedding is not None]
    return row
