"""Temporary Arrow files: what was read in one snapshot, to be read again after the transaction is closed."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import pyarrow as pa
from filelock import FileLock, Timeout

from sync_pipelines.engine.errors import RunError

_PREFIX = "changes-"
_LOCK = "lock"
_YOUNG_SECONDS = 60.0
"""A folder younger than this may belong to a process that has not locked it yet."""

_KEYS = pa.schema([pa.field("key", pa.string(), nullable=False)])
_KEYS_A_BATCH = 1000


def default_folder() -> Path:
    """A folder of this user's below the system's temporary folder (TMPDIR moves it)."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"sync_pipelines-{user}"


class Spool:
    """A folder for one change set, readable by its owner alone, locked while its process lives.

    Args:
        parent: where to make it (SYNC_SPOOL_DIR), by default below TMPDIR; made with mode 0700 if it is not there.
            Folders of dead processes in it go.

    Raises:
        RunError: the folder cannot be made, or belongs to somebody else.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.setting = "SYNC_SPOOL_DIR" if parent else "TMPDIR"
        parent = parent or default_folder()
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _require_own(parent, self.setting)
            clean(parent)
            self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            # an interrupt can lose the spool before anybody holds it who would close it
            self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
            self._lock = FileLock(self.folder / _LOCK)
            self._lock.acquire(timeout=0)
        except OSError as error:
            raise self.unwritable(parent, error) from error

    def path(self, name: str) -> Path:
        """A file's path; the file is made here, with mode 0600."""
        path = self.folder / f"{name}.arrow"
        try:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        except OSError as error:
            raise self.unwritable(path, error) from error
        return path

    def unwritable(self, path: Path, error: OSError) -> RunError:
        """The error of a file or folder that cannot be written; it names the setting that the place came from."""
        return RunError(
            f"a temporary file below {str(path)!r} cannot be written: {error.strerror or error}.",
            remedy=f"Free space there, or set {self.setting} to another folder.",
        )

    def close(self) -> None:
        """Delete the folder; a second call does nothing."""
        self._lock.release()
        self._remove()


def _require_own(folder: Path, setting: str) -> None:
    # A folder in /tmp that another user made first could be read or swapped by that user.
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise RunError(
            f"the folder {str(folder)!r} for temporary files belongs to another user.",
            remedy=f"Remove it, or set {setting} to a folder of your own.",
        )


def clean(parent: Path) -> int:
    """Delete the folders of processes that are dead (their lock is free); how many there were."""
    gone = 0
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _YOUNG_SECONDS and _is_free(folder / _LOCK):
                shutil.rmtree(folder, ignore_errors=True)
                gone += 1
    return gone


def _is_free(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False


class Progress:
    """How far a file has been written, for those who read it meanwhile."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._batches, self._ended = 0, False
        self._error: BaseException | None = None
        self.bytes = 0
        """Of the batches, as they lie in memory."""

    def add(self, size: int) -> None:
        """One batch more is there, of so many bytes."""
        with self._changed:
            self._batches += 1
            self.bytes += size
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes: all is there, or writing it has failed."""
        with self._changed:
            self._ended, self._error = True, self._error or error
            self._changed.notify_all()

    def has(self, number: int) -> bool:
        """Whether there is a batch of this number, from 0; waits until that is known.

        Raises:
            BaseException: what ended the writing.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._batches > number)
            if self._batches <= number and self._error is not None:
                raise self._error
            return self._batches > number


class SpooledRecords:
    """Record batches in a file; every `iter()` opens it anew and holds one batch at a time.

    Whoever reads faster than they are written waits.
    """

    def __init__(self, path: Path, schema: pa.Schema, spool: Spool, progress: Progress) -> None:
        self._path, self._schema, self._progress = path, schema, progress
        self._spool = spool  # which goes with its last holder

    @property
    def schema(self) -> pa.Schema:
        return self._schema

    @property
    def bytes(self) -> int:
        """How large the rows are that are there by now, as they lie in memory."""
        return self._progress.bytes

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield from self._read(pa.ipc.IpcReadOptions())

    def only(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns, in the file's order; the others are not decompressed, which is nearly all of the time."""
        yield from self._read(pa.ipc.IpcReadOptions(included_fields=[self._schema.names.index(name) for name in names]))

    def _read(self, options: pa.ipc.IpcReadOptions) -> Iterator[pa.RecordBatch]:
        if not self._progress.has(0):
            return
        number = 0
        with pa.OSFile(str(self._path), "rb") as file, pa.ipc.open_stream(file, options=options) as reader:
            while self._progress.has(number):
                yield reader.read_next_batch()
                number += 1


@runtime_checkable
class Columnar(Protocol):
    """A stream that gives a few of its columns for less than all of them."""

    def only(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns."""
        ...


def columns_of(stream: Iterable[pa.RecordBatch], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """These columns of a stream's batches; of a spooled stream nothing else is decompressed."""
    batches = stream.only(names) if isinstance(stream, Columnar) else stream
    return (batch.select(list(names)) for batch in batches)


class SpooledKeys:
    """Keys in a file; every `iter()` opens it anew."""

    def __init__(self, records: SpooledRecords) -> None:
        self._records = records

    def __iter__(self) -> Iterator[list[str]]:
        for batch in self._records:
            yield batch.column(0).to_pylist()


class RecordWriter:
    """Writes batches to a file of a spool, compressed; a context manager. `rows` counts them.

    Args:
        progress: if given, who gave it says when nothing more comes; else the end of the block does.

    Raises:
        RunError: the file cannot be written (disk full).
    """

    def __init__(self, spool: Spool, name: str, schema: pa.Schema, *, progress: Progress | None = None) -> None:
        self.path, self._schema, self._spool = spool.path(name), schema, spool
        self._progress, self._ends = progress or Progress(), progress is None
        self._file = pa.OSFile(str(self.path), "wb")
        # zstd halves the file once more, for four times the seconds
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_stream(self._file, schema, options=options)
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch; one without rows is left out."""
        if not batch.num_rows:
            return
        try:
            self._writer.write_batch(batch)
        except OSError as error:
            raise self._spool.unwritable(self.path, error) from error
        self.rows += batch.num_rows
        self._progress.add(batch.nbytes)

    def records(self) -> SpooledRecords:
        """What is written, and what will be until the end of the block."""
        return SpooledRecords(self.path, self._schema, self._spool, self._progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            self._file.close()
        except OSError as failure:
            if kind is None:
                raise self._spool.unwritable(self.path, failure) from failure
        if self._ends:
            self._progress.end(error)


class KeyWriter:
    """Writes keys to a file of a spool; a context manager. `rows` counts them."""

    def __init__(self, spool: Spool, name: str) -> None:
        self._records = RecordWriter(spool, name, _KEYS)
        self._waiting: list[str] = []
        self.rows = 0

    def write(self, keys: list[str]) -> None:
        """Append keys; they are stored in batches of a thousand."""
        self.rows += len(keys)
        self._waiting.extend(keys)
        while len(self._waiting) >= _KEYS_A_BATCH:
            self._flush()

    def _flush(self) -> None:
        keys, self._waiting = self._waiting[:_KEYS_A_BATCH], self._waiting[_KEYS_A_BATCH:]
        if keys:
            self._records.write(pa.record_batch([pa.array(keys, pa.string())], schema=_KEYS))

    def keys(self) -> SpooledKeys:
        return SpooledKeys(self._records.records())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._records.__exit__(kind, error, trace)
