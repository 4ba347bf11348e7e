"""Documents as Arrow carries them from the source to the target, and back in a proof.

One row a document: the system columns, what the check has found, the payload, and a column for each table that holds
the document's rows as one text, so that a deep proof names the table that differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from sync_pipelines.engine.errors import RecordError
from sync_pipelines.engine.model import CHANGED_AT, FINGERPRINT, KEY, PROBLEM, SYSTEM_FIELDS
from sync_pipelines.engine.rowsets import Rows, RowTable, canonical_rows, fingerprint, spelled
from sync_pipelines.targets.rowsets.hiding import Hidden

STATUS, HTTP_STATUS, PAYLOAD = "_status", "_http_status", "_payload"

RowsOf = Callable[[Any, tuple[str, ...]], Mapping[str, Iterable[Mapping[str, Any]]]]
"""A mapping function: payload and parts of the key → rows by table. A ValueError names what breaks the contract."""


NO_KEY, ONE_KEY = "(no key)", "(one key)"
"""Stand for what a list gives without a key of its own: no row of a table is theirs."""

STORED = "stored"
"""The status of a document that was not fetched now: its check stays as it was."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document, fetched or stored.

    Args:
        status: what the check has found (`books.STATUSES`); `stored` where nobody was asked.
        rows: canonical, by table; None where there are none. problem: why not.
        at: when it was fetched (UTC).
    """

    key: str
    status: str
    payload: Any = None
    rows: Rows | None = None
    problem: str | None = None
    http_status: int | None = None
    at: datetime | None = None

    @property
    def has_key(self) -> bool:
        """Whether its key can be that of a row."""
        return self.key not in (NO_KEY, ONE_KEY)

    @property
    def is_there(self) -> bool:
        """Whether anything is known of it: of what was never fetched there is nothing to write, or to refuse."""
        return self.payload is not None or self.status != STORED


def parts_of(key: str, columns: int) -> tuple[str, ...]:
    """The texts of the columns that a key is made of."""
    return (key,) if columns == 1 else tuple(json.loads(key))


def hash_of(payload: Any) -> str:
    """What tells a payload from another: 32 hex digits of its content."""
    text = json.dumps(payload, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def derived(document: Document, rows_of: RowsOf, tables: Sequence[RowTable], hidden: Hidden) -> Document:
    """The document with the rows that its payload gives, or with the reason why it gives none."""
    parts = parts_of(document.key, len(tables[0].record))
    try:
        rows = canonical_rows(tables, _with_key(rows_of(document.payload, parts), tables[0].record, parts))
        _require_own(rows, tables, parts)
    except Exception as error:  # a function of the user's own may raise anything at an odd payload
        why = hidden.text(_why(error), parts, document.payload)
        return _replace(document, problem=f"the payload breaks the contract: {why.rstrip('.')}.")
    return _replace(document, rows=rows)


def _why(error: Exception) -> str:
    if isinstance(error, RecordError):
        return error.message
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _replace(document: Document, **more: Any) -> Document:
    from dataclasses import replace

    return replace(document, **more)


def _with_key(
    rows: Mapping[str, Iterable[Mapping[str, Any]]], record: Sequence[str], parts: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Rows that do not say whose they are belong to the document that was asked for."""
    own = dict(zip(record, parts, strict=True))
    return {name: [{**own, **row} for row in found] for name, found in rows.items()}


def _require_own(rows: Rows, tables: Sequence[RowTable], parts: tuple[str, ...]) -> None:
    for table in tables:
        for row in rows[table.name]:
            held = tuple(str(row[name]) for name in table.record)
            if held != parts:
                raise ValueError(f"{table.name}: it is of {', '.join(held)}, and {', '.join(parts)} was asked for")


def schema_of(tables: Sequence[RowTable]) -> pa.Schema:
    """The batches' schema."""
    return pa.schema(
        [
            *SYSTEM_FIELDS,
            pa.field(STATUS, pa.string()),
            pa.field(HTTP_STATUS, pa.int32()),
            pa.field(PAYLOAD, pa.string()),
            *(pa.field(table.name, pa.string(), metadata={"pg_type": "rows"}) for table in tables),
        ]
    )


def batch_of(documents: Sequence[Document], tables: Sequence[RowTable]) -> pa.RecordBatch:
    """These documents as one batch."""
    columns: dict[str, list[Any]] = {
        KEY: [item.key for item in documents],
        FINGERPRINT: [print_of(item, tables) for item in documents],
        CHANGED_AT: [item.at for item in documents],
        PROBLEM: [item.problem for item in documents],
        STATUS: [item.status for item in documents],
        HTTP_STATUS: [item.http_status for item in documents],
        PAYLOAD: [None if item.payload is None else json.dumps(item.payload) for item in documents],
    }
    for table in tables:
        columns[table.name] = [None if item.rows is None else spelled(item.rows[table.name]) for item in documents]
    return pa.RecordBatch.from_pydict(columns, schema=schema_of(tables))


def print_of(document: Document, tables: Sequence[RowTable]) -> str:
    """The fingerprint of a document's rows; of one without rows it is that of the reason."""
    if document.rows is not None:
        return fingerprint(tables, document.rows)
    return hashlib.md5(f"{document.status}: {document.problem}".encode(), usedforsecurity=False).hexdigest()


def documents_of(batch: pa.RecordBatch, tables: Sequence[RowTable]) -> list[Document]:
    """The documents of a batch, each key once, the last one."""
    found = {}
    for row in batch.to_pylist():
        rows = None
        if row[PROBLEM] is None and row[PAYLOAD] is not None:
            rows = canonical_rows(tables, {table.name: json.loads(row[table.name]) for table in tables})
        found[row[KEY]] = Document(
            key=row[KEY],
            status=row[STATUS],
            payload=None if row[PAYLOAD] is None else json.loads(row[PAYLOAD]),
            rows=rows,
            problem=row[PROBLEM],
            http_status=row[HTTP_STATUS],
            at=row[CHANGED_AT] and row[CHANGED_AT].astimezone(UTC),
        )
    return list(found.values())
