"""Batches on their way: a source reads in its own size, a target is written in the sync's; mapped one ahead."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

import pyarrow as pa

from sync_pipelines.engine.model import FINGERPRINT, KEY, BatchResult, Counts

T = TypeVar("T")


def prints_of(batch: pa.RecordBatch) -> dict[str, str]:
    """The fingerprints of a source's rows, by key."""
    return dict(zip(batch.column(KEY).to_pylist(), batch.column(FINGERPRINT).to_pylist(), strict=True))


def joined(found: Iterable[BatchResult]) -> BatchResult:
    """The results of parts of a batch as one; of all that the target has taken where one of them is."""
    results = list(found)
    whole = any(item.keys is None for item in results)
    counts, kept = Counts(), {}
    for item in results:
        counts += item.counts
        kept |= item.kept
    return BatchResult(
        counts=counts,
        rejected=[rejection for item in results for rejection in item.rejected],
        keys=None if whole else [key for item in results for key in item.keys or ()],
        kept=kept,
        disputes=[dispute for item in results for dispute in item.disputes],
    )


def among(batch: pa.RecordBatch, keys: Collection[str], *, outside: bool = False) -> pa.RecordBatch:
    """Those rows of a batch that have one of these keys, or none of them."""
    own = batch.column(KEY).to_pylist()
    return batch.filter(pa.array([(key in keys) != outside for key in own], pa.bool_()))


def ahead(
    work: Callable[[pa.RecordBatch], T], batches: Iterable[pa.RecordBatch]
) -> Generator[tuple[pa.RecordBatch, T]]:
    """Each batch with what `work` makes of it; the next one is worked on in a thread while this one is used.

    A writer waits for its server nearly all the time; mapping 10,000 documents takes 0.6 s meanwhile.
    Memory: one batch more. What `work` raises comes out where its batch is due. Whoever may stop before its end
    closes it (`contextlib.closing`): its thread is waited for, which the garbage collector must never do.
    """
    context = copy_context()  # the log's lines go on naming sync, table and run

    def in_context(batch: pa.RecordBatch) -> T:
        return context.run(work, batch)

    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        due: tuple[pa.RecordBatch, Future[T]] | None = None
        for batch in batches:
            following = batch, pool.submit(in_context, batch)
            if due is not None:
                yield due[0], due[1].result()
            due = following
        if due is not None:
            yield due[0], due[1].result()


@contextmanager
def from_a_thread(batches: Iterable[pa.RecordBatch], *, most: int = 2) -> Generator[Iterator[pa.RecordBatch]]:
    """The same batches, made in a thread of their own; at most so many wait.

    For a client that reads them in a thread of its own runtime, within which it could not be asked for more
    (delta-rs: "cannot start a runtime from within a runtime"). What making them raises comes out where it is due; and
    at the end of the block, where a client has made an error of its own of it.
    """
    waiting: Queue[pa.RecordBatch | BaseException | None] = Queue(most)
    stopped = Event()
    failed: list[BaseException] = []

    def make() -> None:
        try:
            for batch in batches:
                _offer(waiting, batch, stopped)
                if stopped.is_set():
                    return
            _offer(waiting, None, stopped)
        except BaseException as error:
            failed.append(error)
            _offer(waiting, error, stopped)

    def taken() -> Iterator[pa.RecordBatch]:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = Thread(target=copy_context().run, args=(make,), name="batches", daemon=True)
    thread.start()
    try:
        yield taken()
    except Exception:
        if failed:
            raise failed[0] from None
        raise
    finally:
        stopped.set()
        thread.join()


def _offer(waiting: Queue[Any], item: Any, stopped: Event) -> None:
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=0.2)
        except Full:
            continue
        return


def resized(batches: Iterable[pa.RecordBatch], size: int) -> Generator[pa.RecordBatch]:
    """The same rows in the same order in batches of `size` rows, the last one shorter. Memory: one such batch."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        start = 0
        while batch.num_rows - start >= size - rows:
            held.append(batch.slice(start, size - rows))
            start += size - rows
            yield _one(held)
            held, rows = [], 0
        if start < batch.num_rows:
            held.append(batch.slice(start))
            rows += batch.num_rows - start
    if rows:
        yield _one(held)


def pages(batches: Iterable[pa.RecordBatch], *, rows: int, most_bytes: int) -> Iterator[pa.RecordBatch]:
    """The same rows in the same order in batches of up to so many rows and bytes; a larger row is one by itself.

    Memory: one such batch.
    """
    held: list[pa.RecordBatch] = []
    count = size = 0
    for batch in batches:
        step = max(1, min(rows, batch.num_rows * most_bytes // max(batch.nbytes, 1)))
        for start in range(0, batch.num_rows, step):
            piece = batch.slice(start, step)
            if held and (count + piece.num_rows > rows or size + piece.nbytes > most_bytes):
                yield _one(held)
                held, count, size = [], 0, 0
            held.append(piece)
            count, size = count + piece.num_rows, size + piece.nbytes
    if held:
        yield _one(held)


def _one(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    found = column.combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)
