"""The rows of an answer, spooled to a file as Arrow and given out in chunks: never whole in this process's memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

CHUNK_ROWS = 20_000
"""The most rows of a chunk, give or take one of Spark's batches (10,000 rows)."""

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"

_AS_JSON = ("array", "map", "struct", "variant")

_NAMES = {"bigint": "LONG", "smallint": "SHORT", "tinyint": "BYTE", "void": "NULL"}
"""Databricks' names of types, where they are not Spark's."""


@dataclass(frozen=True)
class _Batch:
    offset: int
    length: int
    rows: int


@dataclass(frozen=True)
class Chunk:
    """A part of the answer.

    Attributes:
        index: its number, from 0.
        row_offset: the number of rows before it.
        rows: its number of rows.
        byte_count: its size in bytes, as Arrow.
    """

    index: int
    row_offset: int
    rows: int
    byte_count: int
    batches: tuple[_Batch, ...]


class Rows:
    """One answer's rows in a file."""

    def __init__(self, file: Path, schema: pa.Schema, chunks: Sequence[Chunk], *, truncated: bool) -> None:
        self._file = file
        self._schema = schema
        self.chunks = chunks
        self.truncated = truncated

    @property
    def byte_count(self) -> int:
        """The size of all chunks in bytes."""
        return sum(chunk.byte_count for chunk in self.chunks)

    @property
    def row_count(self) -> int:
        """The rows of all chunks."""
        return sum(chunk.rows for chunk in self.chunks)

    def arrow(self, chunk: Chunk) -> tuple[int, Iterator[bytes]]:
        """Return the length and the pieces of a chunk as an Arrow stream."""
        head = self._schema.serialize().to_pybytes()
        length = len(head) + chunk.byte_count + len(_END_OF_STREAM)
        return length, self._pieces(head, chunk)

    def table(self, chunk: Chunk) -> list[list[str | None]]:
        """Return a chunk's rows, each value as text."""
        _, pieces = self.arrow(chunk)
        with pa.ipc.open_stream(b"".join(pieces)) as stream:
            return [list(row) for batch in stream for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)]

    def remove(self) -> None:
        """Remove the file."""
        self._file.unlink(missing_ok=True)

    def _pieces(self, head: bytes, chunk: Chunk) -> Iterator[bytes]:
        yield head
        with self._file.open("rb") as file:
            for batch in chunk.batches:
                file.seek(batch.offset)
                yield file.read(batch.length)
        yield _END_OF_STREAM


def spool(java: Any, frame: DataFrame, file: Path, *, text: bool, limit: int | None) -> Rows | None:
    """Run a query and write its rows to a file as they come.

    Args:
        java: Java's classes, by their names.
        frame: the planned query, or the answer of a command.
        file: where to put the rows.
        text: whether each value becomes text (JSON_ARRAY); otherwise the values keep their types.
        limit: the most rows, or None.

    Returns:
        The rows; None for a statement that has no columns to answer with.
    """
    if not frame.columns:
        return None
    names = frame.columns
    wanted = _projected(frame, text=text)
    schema = _schema(wanted, names)
    with tempfile.TemporaryDirectory(dir=file.parent) as parts, file.open("wb") as out:
        java.sync.sandbox.Answers.write(cast(Any, wanted if limit is None else wanted.limit(limit + 1))._jdf, parts)
        batches, truncated = _gather(Path(parts), out, schema, limit)
    return Rows(file, schema, _chunks(batches), truncated=truncated)


def _projected(frame: DataFrame, *, text: bool) -> DataFrame:
    """The query with columns that have unique names, and types that can be sent."""
    types = [field.dataType for field in frame.schema.fields]
    unique = frame.toDF(*(f"c{number}" for number in range(len(types))))
    return unique.selectExpr(*(_expression(f"c{number}", kind, text) for number, kind in enumerate(types)))


def _expression(column: str, kind: DataType, text: bool) -> str:
    name = kind.typeName()
    if name == "variant" or (text and name in _AS_JSON):
        return f"to_json({column}) AS {column}"
    if name == "interval" or (text and name not in ("timestamp", "timestamp_ntz", "binary")):
        return f"CAST({column} AS STRING) AS {column}"
    if not text:
        return column
    if name == "binary":
        return f"base64({column}) AS {column}"
    # Milliseconds, as Databricks writes them: who needs more casts to a string himself.
    zone = "'Z'" if name == "timestamp" else ""
    return f"""date_format({column}, "yyyy-MM-dd'T'HH:mm:ss.SSS{zone}") AS {column}"""


def _schema(frame: DataFrame, names: Sequence[str]) -> pa.Schema:
    from pyspark.sql.pandas.types import to_arrow_schema

    schema = to_arrow_schema(frame.schema, timezone="UTC")
    return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])


def _gather(parts: Path, out: Any, schema: pa.Schema, limit: int | None) -> tuple[list[_Batch], bool]:
    """Put the partitions' batches into one file; whether the limit cut any."""
    batches: list[_Batch] = []
    truncated = False
    for part in sorted(parts.iterdir()):
        for batch in _batches(part, schema):
            left = batch.num_rows if limit is None else limit - sum(one.rows for one in batches)
            truncated = truncated or batch.num_rows > left
            if left:
                batches.append(_write(batch.slice(0, left), out))
        part.unlink()
    return batches, truncated


def _batches(part: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    size = part.stat().st_size
    with pa.OSFile(str(part)) as file:
        while file.tell() < size:
            yield pa.ipc.read_record_batch(pa.ipc.read_message(file), schema)


def _write(batch: pa.RecordBatch, out: Any) -> _Batch:
    message = batch.serialize()
    place = _Batch(out.tell(), message.size, batch.num_rows)
    out.write(message)
    return place


def _chunks(batches: Sequence[_Batch]) -> list[Chunk]:
    chunks: list[Chunk] = []
    held: list[_Batch] = []
    for number, batch in enumerate(batches, 1):
        if batch.rows:
            held.append(batch)
        if held and (number == len(batches) or sum(b.rows for b in held) + batches[number].rows > CHUNK_ROWS):
            before = chunks[-1].row_offset + chunks[-1].rows if chunks else 0
            rows, size = sum(b.rows for b in held), sum(b.length for b in held)
            chunks.append(Chunk(len(chunks), before, rows, size, tuple(held)))
            held = []
    return chunks


def described(frame: DataFrame) -> dict[str, Any]:
    """Return the schema of a manifest."""
    columns = [_column(number, field) for number, field in enumerate(frame.schema.fields)]
    return {"column_count": len(columns), **({"columns": columns} if columns else {})}


def _column(position: int, field: Any) -> dict[str, Any]:
    text = field.dataType.simpleString()
    name = text.split("(")[0].split("<")[0].split(" ")[0]
    column = {
        "name": field.name,
        "position": position,
        "type_text": _spelled(field.dataType),
        "type_name": _NAMES.get(name, name.upper()),
    }
    if name == "decimal":
        column |= {"type_precision": field.dataType.precision, "type_scale": field.dataType.scale}
    return column


def _spelled(kind: Any) -> str:
    """A type as Spark's SQL spells it: words in capitals, names as they are."""
    from pyspark.sql.types import ArrayType, MapType, StructType

    if isinstance(kind, StructType):
        return f"STRUCT<{', '.join(f'{item.name}: {_spelled(item.dataType)}' for item in kind.fields)}>"
    if isinstance(kind, ArrayType):
        return f"ARRAY<{_spelled(kind.elementType)}>"
    if isinstance(kind, MapType):
        return f"MAP<{_spelled(kind.keyType)}, {_spelled(kind.valueType)}>"
    return kind.simpleString().upper()


def compact(rows: Sequence[Sequence[str | None]]) -> bytes:
    """Return a chunk as the JSON that stands behind a link."""
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()
