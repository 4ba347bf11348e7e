"""Which rows of two sides are surely alike, a column at a time; the others are looked at one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.batches import one_array
from sync_pipelines.engine.model import KEY, PROBLEM


def suspicious(
    mapped: pa.RecordBatch, stored: Sequence[pa.RecordBatch], names: Sequence[str], copied: Collection[str]
) -> pa.RecordBatch:
    """Those of these rows that the other side may hold otherwise: all that are not alike there to the last byte.

    Args:
        names: the columns that are compared, as far as the other side has them. copied: keys that it holds twice.
    """
    if len({batch.schema for batch in stored}) != 1:
        return mapped if stored else mapped.slice(0, 0)
    there = pa.Table.from_batches(stored)
    at = pc.call_function("index_in", [mapped.column(KEY)], pc.SetLookupOptions(one_array(there.column(KEY))))
    here, there = mapped.filter(at.is_valid()), there.take(at.drop_null())
    unlike = pc.call_function("is_in", [here.column(KEY)], pc.SetLookupOptions(pa.array(sorted(copied), pa.string())))
    for name in names:
        if name in there.column_names:
            unlike = pc.call_function("or", [unlike, _unlike(here.column(name), one_array(there.column(name)))])
    if PROBLEM in there.column_names:
        unlike = pc.call_function("or", [unlike, one_array(there.column(PROBLEM)).is_valid()])
    return here.filter(unlike)


def _unlike(here: pa.Array, there: pa.Array) -> pa.Array:
    """Where two columns of one length differ; everywhere, where that cannot be told."""
    if pa.types.is_string(here.type) and there.type in (pa.large_string(), pa.string_view()):
        there = there.cast(here.type)
    if here.equals(there):
        return _all(False, len(here))
    if here.type != there.type or pa.types.is_nested(here.type):
        return _all(True, len(here))
    other = pc.call_function("not_equal", [here, there]).fill_null(False)
    return pc.call_function("or", [other, pc.call_function("xor", [here.is_null(), there.is_null()])])


def _all(value: bool, length: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), length)
