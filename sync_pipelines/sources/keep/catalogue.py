"""The notes of one look, each under its key: put aside in temporary files, and asked like a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from sync_pipelines.engine.ledger.note_ids import NoteId, NoteIdBook
from sync_pipelines.engine.model import (
    FINGERPRINT,
    FINGERPRINTS_SCHEMA,
    KEY,
    SYSTEM_FIELDS,
    Digest,
    bucket_of,
)
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.spool import RecordWriter, Spool, SpooledRecords, columns_of
from sync_pipelines.sources.keep.identity import (
    Seen,
    assign,
    digest,
    same_millisecond,
    signature_from,
    signature_of,
)
from sync_pipelines.sources.keep.model import canonical, moment_of
from sync_pipelines.sources.keep.raw import Raw

NOTE = "note"
SCHEMA = pa.schema(
    [
        *SYSTEM_FIELDS,
        pa.field("id", pa.string(), nullable=False, metadata={"pg_type": "text"}),
        pa.field(NOTE, pa.string(), metadata={"pg_type": "jsonb"}),
    ]
)
"""A source batch: the system columns, the key as a column, and the note's canonical JSON (null with a `_problem`)."""

_RAW = pa.schema(
    [
        pa.field("created", pa.int64()),
        pa.field("edited", pa.int64()),
        pa.field("node", pa.string()),
        pa.field("name", pa.string(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("note", pa.string()),
        pa.field("problem", pa.string()),
        pa.field("signature", pa.string()),
        pa.field("files", pa.string()),
    ]
)
_FILES = pa.schema([pa.field(KEY, pa.string(), nullable=False), pa.field("files", pa.string(), nullable=False)])

_MS = pa.timestamp("ms")
_BATCH_BYTES, _BATCH_ROWS = 4 << 20, 500
UNNAMED = "file:"
"""In front of the key of a file in which not even the time that the note was made can be read."""


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All notes of a look, or those that changed.

    Args:
        unnamed: files of which nobody knows whose note they hold.
    """

    records: SpooledRecords
    files: SpooledRecords
    spool: Spool
    rows: int
    unnamed: int

    def count(self) -> int:
        return self.rows

    def digests(self) -> Mapping[int, Digest] | None:
        return None

    def fingerprints(self, *, buckets: Collection[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Keys and fingerprints of the notes in these buckets, or of all."""
        for batch in columns_of(self.records, [KEY, FINGERPRINT]):
            if buckets is not None:
                mask = [bucket_of(key) in buckets for key in batch.column(KEY).to_pylist()]
                batch = batch.filter(pa.array(mask, pa.bool_()))
            yield pa.RecordBatch.from_arrays(batch.columns, schema=FINGERPRINTS_SCHEMA)

    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows of these keys; keys that are not there are left out."""
        wanted = set(keys)
        for batch in self.records if wanted else ():
            mask = [key in wanted for key in batch.column(KEY).to_pylist()]
            if any(mask):
                yield batch.filter(pa.array(mask, pa.bool_()))

    def pages(self) -> Iterator[list[str]]:
        """All keys, in pages."""
        for batch in columns_of(self.records, [KEY]):
            yield batch.column(KEY).to_pylist()

    def where(self, key: str, name: str) -> Any:
        """Where an attachment's bytes are (`Raw.files`); None where the note, or it, is not there."""
        for batch in self.files:
            for held, files in zip(*(batch.column(number).to_pylist() for number in (0, 1)), strict=True):
                if held == key:
                    return json.loads(files).get(name)
        return None

    def close(self) -> None:
        self.spool.close()


def catalogue(notes: Iterable[Raw], *, spec: TableSpec, book: NoteIdBook, spool: Spool) -> Catalogue:
    """Give each note its key, in two passes: notes of one millisecond are told apart together.

    One batch of notes is in memory at a time, and eight bytes of every note; of those that share a millisecond, their
    signatures.
    """
    aside = _put_aside(notes, spool)
    return _Naming(spec=spec, book=book, spool=spool, aside=aside).done()


class _Aside(NamedTuple):
    """The notes as they came, the milliseconds that several were made in, and files of which no time can be read."""

    raw: SpooledRecords
    shared: frozenset[int]
    nameless: Mapping[str, dict[str, Any]]


def _put_aside(notes: Iterable[Raw], spool: Spool) -> _Aside:
    made: list[pa.Array] = []
    nameless: dict[str, dict[str, Any]] = {}
    with RecordWriter(spool, "raw", _RAW) as writer:
        for batch in _batches(map(_row, notes), _RAW):
            writer.write(batch)
            made.append(batch.column("created"))
            if batch.column("created").null_count:
                nameless |= {row["name"]: row for row in batch.to_pylist() if row["created"] is None}
    return _Aside(writer.records(), _shared(made), nameless)


def _shared(made: list[pa.Array]) -> frozenset[int]:
    """The milliseconds that stand there more than once."""
    counted = pa.chunked_array(made, pa.int64()).drop_null().cast(pa.timestamp("us")).cast(_MS, safe=False)
    pairs = counted.value_counts()
    several = pairs.filter(pa.array([count > 1 for count in pairs.field("counts").to_pylist()], pa.bool_()))
    return frozenset(several.field("values").cast(pa.int64()).to_pylist())


def _row(raw: Raw) -> dict[str, Any]:
    note = raw.note
    signature = None if note is None else signature_of(note, name=raw.name)
    return {
        "created": raw.created,
        "edited": None if signature is None else signature.edited,
        "node": raw.node,
        "name": raw.name.encode("utf-8", "replace").decode(),
        "part": raw.part,
        "note": None if note is None else note.to_json(),
        "problem": None if raw.problem is None else raw.problem.encode("utf-8", "replace").decode(),
        "signature": None if signature is None else json.dumps(signature.as_dict()),
        "files": json.dumps(dict(raw.files)) if raw.files else None,
    }


def _batches(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    held: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row.get("note") or "")
        if len(held) >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield pa.RecordBatch.from_pylist(held, schema=schema)
            held, size = [], 0
    if held:
        yield pa.RecordBatch.from_pylist(held, schema=schema)


@dataclass(kw_only=True)
class _Naming:
    """The second pass."""

    spec: TableSpec
    book: NoteIdBook
    spool: Spool
    aside: _Aside

    def __post_init__(self) -> None:
        self.place = self.spec.sync, self.spec.name
        self.raw, self.shared = self.aside.raw, self.aside.shared
        self.names = {digest(name): name for name in self.aside.nameless}
        held = self.book.note_ids_of_files(*self.place, self.names)
        self.stood = {signature_from(item.signature).name: item.key for item in held}
        self.there: set[str] = set()

    def done(self) -> Catalogue:
        told = self._tell_apart() if self.shared else {}
        with (
            RecordWriter(self.spool, "notes", SCHEMA) as notes,
            RecordWriter(self.spool, "files", _FILES) as files,
        ):
            number = 0
            for batch in self.raw:
                rows = batch.to_pylist()
                self._name(rows, told, number)
                number += len(rows)
                self._write(rows, notes, files)
            unnamed = self._write_nameless(notes, files)
        return Catalogue(
            records=notes.records(), files=files.records(), spool=self.spool, rows=notes.rows, unnamed=unnamed
        )

    def _tell_apart(self) -> dict[int, str | None]:
        """By the number of each note that shares its millisecond its key; None for a copy of another one's file."""
        groups: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        number = 0
        for batch in columns_of(self.raw, ["created", "edited", "node", "name", "part", "signature"]):
            for row in batch.to_pylist():
                if row["created"] is not None and same_millisecond(row["created"]) in self.shared:
                    groups.setdefault(same_millisecond(row["created"]), []).append((number, row))
                number += 1
        known = self._known(list(groups))
        told: dict[int, str | None] = {}
        for group, members in groups.items():
            told.update(_told_apart(members, known.get(group, [])))
        return told

    def _known(self, milliseconds: Sequence[int]) -> dict[int, list[NoteId]]:
        found: dict[int, list[NoteId]] = {}
        for item in self.book.note_ids(*self.place, milliseconds):
            found.setdefault(same_millisecond(item.created), []).append(item)
        return found

    def _name(self, rows: Sequence[dict[str, Any]], told: Mapping[int, str | None], number: int) -> None:
        """Give each row its `key`; None where it is left out here."""
        alone = {same_millisecond(row["created"]) for row in rows if row["created"] is not None} - self.shared
        known = self._known(sorted(alone))
        for offset, row in enumerate(rows):
            if row["created"] is None:
                row["key"] = None
            elif number + offset in told:
                row["key"] = told[number + offset]
            else:
                row["key"] = assign([_seen(row)], known.get(same_millisecond(row["created"]), []))[0]

    def _write(self, rows: Sequence[dict[str, Any]], notes: RecordWriter, files: RecordWriter) -> None:
        """Write the rows that have a key, once the ledger has it."""
        named = [row for row in rows if row["key"] is not None]
        if self.stood:
            self.there.update({row["key"] for row in named}.intersection(self.stood.values()))
        self.book.keep_note_ids(*self.place, [_note_id(row) for row in named if row["note"] is not None])
        self.book.note_ids_seen(*self.place, [row["key"] for row in named if row["note"] is None])
        notes.write(pa.RecordBatch.from_pylist([self._record(row) for row in named], schema=SCHEMA))
        held = [{KEY: row["key"], "files": row["files"]} for row in named if row["files"] is not None]
        files.write(pa.RecordBatch.from_pylist(held, schema=_FILES))

    def _write_nameless(self, notes: RecordWriter, files: RecordWriter) -> int:
        """Files that nothing can be read of: each is the note that stood in it last time, unless that was read, too."""
        unnamed = 0
        for mark, name in self.names.items():
            key = self.stood.get(mark)
            is_known = key is not None and key not in self.there
            self.aside.nameless[name]["key"] = key if is_known else f"{UNNAMED}{name}"
            unnamed += not is_known
        self._write(list(self.aside.nameless.values()), notes, files)
        return unnamed

    def _record(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row for a run: the note bears its key as its id, which no fingerprint can do without."""
        key, note, made = row["key"], row["note"], row["edited"] or row["created"]
        if note is not None:
            document = json.loads(note)
            document["id"] = key
            note = canonical(document)
        told = f"{self.spec.mapping_hash}:{note if note is not None else row['problem']}"
        return {
            "_key": key,
            "_fingerprint": hashlib.sha256(told.encode()).hexdigest()[:32],
            "_changed_at": None if made is None else moment_of(made),
            "_problem": row["problem"],
            "id": key,
            NOTE: note,
        }


def _told_apart(
    members: Sequence[tuple[int, dict[str, Any]]], known: Sequence[NoteId]
) -> Iterator[tuple[int, str | None]]:
    """Keys of the notes of one millisecond; parts of an export that overlap hold the same file twice."""
    newest: dict[Any, tuple[int, dict[str, Any]]] = {}
    for number, row in members:
        # one file name of one time in two parts is one note; twice in one zip, it was replaced there
        mark = (row["created"], row["name"]) if row["node"] is None else row["node"]
        held = newest.get(mark)
        if held is None or _rank(row) >= _rank(held[1]):
            newest[mark] = (number, row)
    chosen = dict(newest.values())
    keys = dict(zip(chosen, assign([_seen(row) for row in chosen.values()], known), strict=True))
    for number, _ in members:
        yield number, keys.get(number)


def _rank(row: Mapping[str, Any]) -> tuple[bool, int]:
    """What can be read goes before what cannot, then the later edit."""
    return row["signature"] is not None, row["edited"] or 0


def _seen(row: Mapping[str, Any]) -> Seen:
    signature = {"name": digest(row["name"]) if row["name"] else ""} if row["signature"] is None else None
    document = json.loads(row["signature"]) if signature is None else signature
    return Seen(created=row["created"], node=row["node"], signature=signature_from(document))


def _note_id(row: Mapping[str, Any]) -> NoteId:
    return NoteId(key=row["key"], created=row["created"], node=row["node"], signature=json.loads(row["signature"]))
