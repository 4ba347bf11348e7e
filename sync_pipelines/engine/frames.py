"""Rows for a user's own code, as a DataFrame."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def in_pandas(rows: pa.Table) -> Any:
    """A DataFrame, in which integers beside a missing one stay what they are: as usual they become floats, which have
    53 bits, and 9007199254740993 would be another number. Such a column is pandas' Int64; a list of them holds objects.
    """
    import pandas

    frame = rows.to_pandas()
    for number, column in enumerate(rows.columns):
        if _needs_64_bits(column):
            exact = column.to_pandas(integer_object_nulls=True, types_mapper={pa.int64(): pandas.Int64Dtype()}.get)
            frame.isetitem(number, exact)
    return frame


def _needs_64_bits(column: pa.ChunkedArray) -> bool:
    if pa.types.is_list(column.type):
        column = pc.call_function("list_flatten", [column])
    if not (pa.types.is_int64(column.type) and column.null_count):
        return False
    edges = pc.call_function("min_max", [column]).as_py()
    return any(value is not None and abs(value) > 2**53 for value in edges.values())
