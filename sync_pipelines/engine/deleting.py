"""Deleting records of a target, and what may be said of those that it does not let go."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress

import pyarrow as pa

from sync_pipelines.engine.errors import SyncError
from sync_pipelines.engine.model import KEY, Target
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.veil import Veil


@contextmanager
def veiled(target: Target, keys: Sequence[str], spec: TableSpec) -> Generator[None]:
    """No error of a deletion leaves the block with a sensitive value of these records.

    The source has them no more, so it is the target that knows their values; it is asked only when there is an error.
    """
    veil = Veil(spec)
    with veil.errors():
        try:
            yield
        except Exception:
            if spec.sensitive:
                veil.cover_all(_rows(target, keys))
            raise


def _rows(target: Target, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pydict({KEY: pa.array(keys, pa.string())})
    with suppress(SyncError):  # the error that is on its way counts; a target that does not answer quotes no value
        yield from target.values(keys)
