"""Keys that are looked up in each batch of a table, by an index that is made once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class KeyIndex:
    """Keys, each once. Arrow's own `is_in` makes its index anew for each batch: of a million keys in 60 ms.

    Memory: 16 bytes a key beside its text.
    """

    def __init__(self, keys: pa.Array) -> None:
        self.keys = keys
        marks = hashes(keys)
        self._order = np.argsort(marks)
        self._marks = marks[self._order]
        # of keys that share a hash just one would be found
        self._told_apart = bool(len(keys)) and not (self._marks[1:] == self._marks[:-1]).any()

    def __len__(self) -> int:
        return len(self.keys)

    def places(self, keys: pa.Array) -> np.ndarray:
        """Where in `self.keys` each of these stands; -1 for one that does not."""
        if not self._told_apart:
            found = pc.call_function("index_in", [keys], pc.SetLookupOptions(self.keys))
            return found.fill_null(-1).to_numpy(zero_copy_only=False)
        at = np.searchsorted(self._marks, hashes(keys))
        at[at == len(self._marks)] = 0
        places = self._order[at]
        same = pc.call_function("equal", [self.keys.take(pa.array(places)), keys])
        return np.where(same.to_numpy(zero_copy_only=False), places, -1)

    def holds(self, keys: pa.Array) -> pa.Array:
        """Which of these are among them."""
        return pa.array(self.places(keys) >= 0)


def hashes(keys: pa.Array) -> np.ndarray:
    """Eight bytes of each key, the same in this process."""
    return np.fromiter(map(hash, keys.to_pylist()), np.int64, len(keys))
