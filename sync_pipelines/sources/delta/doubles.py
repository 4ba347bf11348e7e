"""Keys that several rows of a Delta table have: it has no unique index."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
import pyarrow as pa

from sync_pipelines.engine.key_index import hashes
from sync_pipelines.engine.model import DOUBLED, KEY, PROBLEM


class Doubles:
    """Finds them. Of each key eight bytes are remembered."""

    def __init__(self) -> None:
        self._seen: list[np.ndarray] = []

    def add(self, keys: pa.Array) -> None:
        """Look at the keys of more rows."""
        self._seen.append(hashes(keys))

    def among(self, again: Callable[[], Iterable[pa.Array]]) -> set[str]:
        """Those keys.

        Args:
            again: the same keys once more; called only where two of them have one hash.
        """
        marks = np.sort(np.concatenate(self._seen)) if self._seen else np.array([], np.int64)
        twice = set(marks[1:][marks[1:] == marks[:-1]].tolist())
        once: set[str] = set()
        found: set[str] = set()
        for keys in again() if twice else ():
            for key in keys.to_pylist():
                if hash(key) in twice:
                    (found if key in once else once).add(key)
        return found


def marked(batch: pa.RecordBatch, doubled: Collection[str]) -> pa.RecordBatch:
    """A batch in which the rows of these keys have a problem."""
    keys, problems = batch.column(KEY).to_pylist(), batch.column(PROBLEM).to_pylist()
    found = [why or (DOUBLED if key in doubled else None) for key, why in zip(keys, problems, strict=True)]
    return batch.set_column(batch.schema.get_field_index(PROBLEM), PROBLEM, pa.array(found, pa.string()))
