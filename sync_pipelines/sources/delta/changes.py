"""Reading a change set out of one version of a Delta table into temporary files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.model import CHANGED_AT, KEY, ChangeSet, RecordStream, Scope
from sync_pipelines.engine.spool import KeyWriter, RecordWriter, Spool, columns_of
from sync_pipelines.sources.delta.doubles import Doubles, marked
from sync_pipelines.sources.delta.moment import Moment, without
from sync_pipelines.sources.delta.streaming import read_on

_PAGE = 10_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be read: the whole table (and why, if nobody asked for it), or the keys that were touched."""

    full: bool = False
    reason: str = ""
    touched: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))


def read_changes(moment: Moment, scope: Scope, plan: Plan, *, folder: Path | None) -> ChangeSet:
    """Read what the plan says into a spool; the table is not needed when this returns."""
    with ExitStack() as stack:
        spool = Spool(folder)
        stack.callback(spool.close)
        doubles = Doubles()
        with RecordWriter(spool, "upserts", moment.conforming.schema) as rows, KeyWriter(spool, "deletes") as keys:
            for batch in _read(moment, scope, plan, keys):
                doubles.add(batch.column(KEY))
                rows.write(batch)
        upserts = rows.records()
        doubled = doubles.among(lambda: (batch.column(0) for batch in columns_of(upserts, [KEY])))
        moment.otherwise.update(doubled)
        changes = ChangeSet(
            upserts=_Marked(upserts, doubled) if doubled else upserts,
            deletes=keys.keys(),
            watermark=moment.watermark() if scope.keys is None else None,
            full=plan.full,
            reason=plan.reason,
            source_empty=moment.count() == 0,
            rows=rows.rows,
            touched=len(plan.touched),
            on_close=[spool.close],
        )
        stack.pop_all()
        return changes


def read_meanwhile(moment: Moment, scope: Scope, plan: Plan, *, folder: Path | None) -> ChangeSet:
    """The same; but of many rows of a version that can be read again just the keys are read now."""
    many = plan.full or len(plan.touched) > moment.list_keys * moment.predicates
    if many and moment.rereadable and scope.window is None and scope.keys is None:
        return read_on(moment, None if plan.full else plan.touched, reason=plan.reason, folder=folder)
    return read_changes(moment, scope, plan, folder=folder)


def _read(moment: Moment, scope: Scope, plan: Plan, gone: KeyWriter) -> Iterator[pa.RecordBatch]:
    if plan.full:
        yield from moment.rows()
        return
    keys = plan.touched
    if len(keys):
        found: list[pa.Array] = []
        for batch in moment.rows_of(keys):
            found.append(batch.column(KEY))
            yield batch
        lost = without(keys, found)
        for start in range(0, len(lost), _PAGE):
            gone.write(lost.slice(start, _PAGE).to_pylist())
    if scope.window is not None:
        yield from _in_window(moment, scope, scope.window, set(keys.to_pylist()))


def _in_window(
    moment: Moment, scope: Scope, window: tuple[datetime | None, datetime | None], read: set[str]
) -> Iterator[pa.RecordBatch]:
    """The other rows whose change time lies in a window; all of them where there is no such column."""
    for batch in moment.rows():
        chosen = [key not in read for key in batch.column(KEY).to_pylist()]
        if moment.spec.changed_at:
            times = batch.column(CHANGED_AT).to_pylist()
            chosen = [one and _lies_in(at, window, scope.nulls) for one, at in zip(chosen, times, strict=True)]
        yield batch.filter(pa.array(chosen, pa.bool_()))


def _lies_in(at: datetime | None, window: tuple[datetime | None, datetime | None], nulls: bool) -> bool:
    if at is None:
        return nulls
    start, end = window
    return (start is None or at >= start) and (end is None or at < end)


def unique(arrays: Iterable[pa.Array]) -> pa.Array:
    """Each key once; held as Arrow has them, some ten bytes more than its text."""
    parts = [pc.call_function("unique", [array]) for array in arrays]
    return pc.call_function("unique", [pa.concat_arrays(parts)]) if parts else pa.array([], pa.string())


class _Marked:
    """Records of which those with a key that several have are a problem, all of them."""

    def __init__(self, rows: RecordStream, doubled: set[str]) -> None:
        self._rows, self._doubled = rows, doubled

    @property
    def schema(self) -> pa.Schema:
        return self._rows.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._rows:
            yield marked(batch, self._doubled)
