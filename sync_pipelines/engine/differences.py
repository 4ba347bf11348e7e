"""Where a table's two sides differ, found in three ways; what nothing explains is missing, stale or extra.

`quick` compares keys and fingerprints of everything, `of_keys` those of some keys, `deep` the values
themselves. A change that waits to be synced is `pending`, a record that is quarantined or left out on purpose is
counted as that alone; and every key that differs is looked at a second time on both sides, so that a change which
was committed and synced meanwhile is not reported. Memory is constant: keys are joined in a temporary file.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from random import random
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from sync_pipelines.engine.alike import suspicious
from sync_pipelines.engine.batches import pages
from sync_pipelines.engine.compare import Comparison, Difference, compare, nothing_yet
from sync_pipelines.engine.conflicts import KEPT
from sync_pipelines.engine.excusing import excuse, look_at_open
from sync_pipelines.engine.ground import Noting, due_scope, ground_of
from sync_pipelines.engine.keys import texts
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.listing import StreamListing
from sync_pipelines.engine.memory import give_back
from sync_pipelines.engine.model import (
    DOUBLED,
    FINGERPRINT,
    HELD_TWICE,
    KEY,
    PROBLEM,
    ChangeSet,
    FullRead,
    Listing,
    Rejection,
    Scope,
    Target,
    Watermark,
)
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.veil import Veil

KINDS = ("missing", "stale", "extra")
PROBED = 20
"""Records of a deep proof that are searched for with their own text; each costs an embedding."""

_KEYS_A_LOOK = 200
"""Whole values of both sides are held for so many keys at a time, where the target says nothing else (`at_once`)."""

_BYTES_A_LOOK = 8 * 1024 * 1024
"""And for no more than so much of the source's values, of whatever target."""


class ProvableSource(Noting, Protocol):
    """What a proof asks of a source beside `Listing`."""

    def at_snapshot(self) -> AbstractContextManager[Listing]: ...
    def changes(self, scope: Scope, *, since: Watermark | None) -> ChangeSet: ...
    def full_read(self, since: Watermark | None) -> FullRead | None: ...
    def pending_keys(self, since: Watermark | None) -> Iterator[list[str]]: ...
    def values(self, keys: Sequence[str]) -> Iterator[pa.RecordBatch]: ...


class Provable(Protocol):
    """What a proof needs of a binding."""

    @property
    def spec(self) -> TableSpec: ...
    @property
    def source(self) -> ProvableSource: ...
    @property
    def target(self) -> Target: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def mapper(self) -> Callable[[pa.RecordBatch], tuple[pa.RecordBatch, list[Rejection]]]: ...


@dataclass(frozen=True, kw_only=True)
class Found:
    """The differences of one comparison, and the records (distinct keys) that the source held in its snapshot."""

    differences: Comparison
    source_count: int


@contextmanager
def quick(table: Provable, *, named: bool = False) -> Generator[Found]:
    """Keys and stored fingerprints of both sides, the source at one snapshot.

    Args:
        named: and the values of those keys that the last deep proof named.
    """
    with table.source.at_snapshot() as snapshot, compare(snapshot, table.target) as differences:
        _explain(table, differences)
        _second_look(table, differences, deep=False)
        if named:
            _add_named(table, differences)
            _look_at_open(table, differences)
        yield Found(differences=differences, source_count=differences.source_count or 0)


@contextmanager
def deep(table: Provable) -> Generator[Found]:
    """As `quick`, and the values themselves, read back from the target and compared as the mapping makes them.

    The source's snapshot is spooled first: a slow target holds no transaction open.
    """
    with (
        table.source.changes(Scope(full=True, stored=True), since=None) as snapshot,
        compare(StreamListing(snapshot.upserts), table.target) as differences,
    ):
        sample = _Sample(PROBED)
        for batch in pages(snapshot.upserts, rows=_at_once(table), most_bytes=_BYTES_A_LOOK):
            differences.note(_unlike(table, batch))
            sample.add(batch.column(KEY).to_pylist())
            give_back()
        _settle(table, differences, deep=True)
        differences.note(_unsearchable(table, sample.keys))
        _explain(table, differences)
        _look_at_open(table, differences)
        yield Found(differences=differences, source_count=differences.source_count or 0)


@contextmanager
def of_keys(table: Provable, batches: Iterable[Sequence[str]], *, values: bool = False) -> Generator[Found]:
    """The differences among these keys alone; `values`: compared by their values, not by fingerprints."""
    with nothing_yet() as differences, table.source.at_snapshot() as snapshot:
        count = snapshot.count()
        for keys in batches:
            for some in _pages(keys):
                differences.note(_look(table, some, deep=values))
        _settle(table, differences, deep=values)
        yield Found(differences=differences, source_count=count)


def _add_named(table: Provable, differences: Comparison) -> None:
    """What the last deep proof named and still is so; what no longer is so is remembered as `righted`.

    Fingerprints do not show it: these keys are looked at by their values, and those with something broken (a
    vector) are searched for anew.
    """
    place = (table.spec.sync, table.spec.name)
    for batch in table.ledger.named_differences(*place, size=_KEYS_A_LOOK):
        keys = [item.key for item in batch]
        broken = _unsearchable(table, [item.key for item in batch if item.broken])
        still = [*_look(table, keys, deep=True), *broken]
        righted = sorted(set(keys) - {item.key for item in still})
        differences.note([*still, *(Difference(key, "righted") for key in righted)])
    _explain(table, differences)


def _look_at_open(table: Provable, differences: Comparison) -> None:
    if look_at_open(table, differences, lambda table, keys: _look(table, keys, deep=True)):
        _explain(table, differences)


def _pages(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _KEYS_A_LOOK):
        yield keys[start : start + _KEYS_A_LOOK]


def _explain(table: Provable, differences: Comparison) -> None:
    """What is pending, quarantined or excluded is no difference.

    Pending is what the log names, and what waits for a full sync that is due: the next run reads everything for a
    reason (`FullRead`), and the differences of the kinds that this reason may have made are its work. Not where no run
    was confirmed, for what was never synced is missing; not where the reason would stand after the run, for it would
    hide them as long; and not where the target is another than the last run left (dropped, emptied, restored), for
    then it is the target that differs.
    """
    ledger, place = table.ledger, (table.spec.sync, table.spec.name)
    since = ledger.watermark(*place)
    on_record = False
    for keys in table.source.pending_keys(since):
        noted = ledger.noted(*place, keys)
        on_record = on_record or bool(noted)
        differences.leave_out((key for key in keys if key not in noted), label="pending")
    for keys in differences.keys(*KINDS):
        known = texts(keys)
        differences.leave_out(ledger.quarantined_among(*place, known), label="quarantined")
        differences.leave_out(ledger.excluded_among(*place, known), label="excluded")
    _leave_out_absent(table.source, differences)
    excuse(table, differences)
    # what is kept is that alone, also while a change of it waits; what the next run will write over is pending
    for keys in table.source.pending_keys(since) if on_record else ():
        differences.leave_out_of(KINDS, keys, label="pending")
    if since is not None and any(map(differences.count, KINDS)):
        _await_full_sync(table, differences, since)


@runtime_checkable
class Absenting(Protocol):
    """A source that is asked for records by name, and may say that it has none of that name."""

    def absent_among(self, keys: Sequence[str]) -> Sequence[str]:
        """Those of `keys` of which it has said so."""
        ...


def _leave_out_absent(source: Any, differences: Comparison) -> None:
    if not isinstance(source, Absenting):
        return
    for keys in differences.keys("missing"):
        differences.leave_out(source.absent_among(texts(keys)), label=KEPT)
    for keys in differences.keys("stale"):  # the last that it gave was nonsense, and nobody gives a better row now
        gone = source.absent_among(texts(keys))
        differences.leave_out(_unreadable_among(source, gone), label=KEPT)


def _unreadable_among(source: Any, keys: Sequence[str]) -> list[str]:
    rows = [batch.select([KEY, PROBLEM]).to_pylist() for batch in source.values(keys)] if keys else []
    return [row[KEY] for page in rows for row in page if row[PROBLEM] is not None]


def _await_full_sync(table: Provable, differences: Comparison, since: Watermark) -> None:
    due = table.source.full_read(since)
    if due is None or _is_another_target(table, since):
        return
    if table.ledger.failure_streak(table.spec.sync, table.spec.name).failures:
        return  # whatever stops that sync (the guard, too) must not hide what it would have mended
    for kind in sorted(due.explains):
        for keys in differences.keys(kind):
            differences.leave_out(keys, label="pending")
            differences.full_sync_due = due.reason


def _is_another_target(table: Provable, since: Watermark) -> bool:
    return due_scope(Scope(), ground_of(table, since), held=table.target.count()).full


def _settle(table: Provable, differences: Comparison, *, deep: bool) -> None:
    """Leave out what is explained, look again at the rest, and explain once more what changed meanwhile."""
    _explain(table, differences)
    _second_look(table, differences, deep=deep)
    if any(differences.count(kind) for kind in KINDS):
        _explain(table, differences)


def _second_look(table: Provable, differences: Comparison, *, deep: bool) -> None:
    for keys in differences.keys(*KINDS):
        for some in _pages(keys):
            still = {item.key for item in _look(table, some, deep=deep)}
            differences.drop(key for key in some if key not in still)


def _look(table: Provable, keys: Sequence[str], *, deep: bool) -> list[Difference]:
    """The differences among a few keys now: by their fingerprints, and if they agree, by their values."""
    keys = list(dict.fromkeys(keys))
    here, held = list(table.source.values(texts(keys))), list(table.target.values(keys))
    now, there = _prints(here), _prints(held)
    doubled, copied = _doubled(here), _doubled(held)
    found = [difference for key in keys if (difference := _by_print(key, now, there, doubled, copied))]
    if deep:
        unlike = {item.key: item for batch in here for item in _unlike(table, batch)}
        found = [unlike.pop(item.key, item) for item in found]
        found += unlike.values()
    return found


def _doubled(batches: Iterable[pa.RecordBatch]) -> set[str]:
    seen = Counter(key for batch in batches for key in batch.column(KEY).to_pylist())
    return {key for key, number in seen.items() if number > 1}


def _by_print(
    key: str,
    now: Mapping[str, str],
    there: Mapping[str, str | None],
    doubled: Collection[str],
    copied: Collection[str],
) -> Difference | None:
    if key in doubled:
        return Difference(key, "stale" if key in there else "missing", DOUBLED)
    if key not in there:
        return Difference(key, "missing") if key in now else None
    why = HELD_TWICE if key in copied else ""
    if key not in now:
        return Difference(key, "extra", why)
    # a stranger's fingerprint is None, which is not the same as not being there
    return None if there[key] == now[key] and not why else Difference(key, "stale", why)


def _prints(batches: Iterable[pa.RecordBatch]) -> dict[str, Any]:
    return {
        key: mark
        for batch in batches
        for key, mark in zip(batch.column(KEY).to_pylist(), batch.column(FINGERPRINT).to_pylist(), strict=True)
    }


def _at_once(table: Provable) -> int:
    """Records whose values the target is asked for at a time: a table of files is scanned for each question."""
    return getattr(table.target, "at_once", _KEYS_A_LOOK)


def _unlike(table: Provable, batch: pa.RecordBatch) -> list[Difference]:
    """The rows of a source batch whose stored values are not what the mapping makes of them; absent ones are none."""
    mapped, _ = table.mapper(batch)
    keys = list(dict.fromkeys(mapped.column(KEY).to_pylist()))
    stored = list(_stored(table.target, mapped, keys)) if keys else []
    faults = table.target.faults(keys)
    broken = [Difference(key, "stale", reason, broken=True) for key, reason in faults.items()]
    return [*_unlike_values(mapped, stored), *broken]


@runtime_checkable
class Locating(Protocol):
    """A target that finds records faster when it is told what they hold."""

    def values_of(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """As `Target.values`, of the keys of these mapped rows."""
        ...


def _stored(target: Target, mapped: pa.RecordBatch, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    return target.values_of(mapped) if isinstance(target, Locating) else target.values(keys)


def _unlike_values(mapped: pa.RecordBatch, stored: Sequence[pa.RecordBatch]) -> Iterator[Difference]:
    names = [name for name in mapped.schema.names if name not in (KEY, FINGERPRINT, PROBLEM)]
    copied = _doubled(stored)
    suspects = suspicious(mapped, stored, names, copied)
    wanted = pc.SetLookupOptions(suspects.column(KEY))
    held_of = (batch.filter(pc.call_function("is_in", [batch.column(KEY)], wanted)) for batch in stored)
    there = {row[KEY]: row for batch in held_of for row in batch.to_pylist()}
    for row in suspects.to_pylist():
        held = there.get(row[KEY])
        if held is None:
            continue
        if row[KEY] in copied:
            yield Difference(row[KEY], "stale", HELD_TWICE)
            continue
        unlike = [name for name in names if name in held and not same_value(row[name], held[name])]
        if unlike:
            yield Difference(row[KEY], "stale", f"{', '.join(unlike)} differs")
        elif held.get(PROBLEM):
            yield Difference(row[KEY], "stale", held[PROBLEM])


def same_value(left: Any, right: Any) -> bool:
    """Whether two values are equal; NaN is NaN, in lists too."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_value, left, right))
    return left == right or all(isinstance(value, float) and math.isnan(value) for value in (left, right))


def _unsearchable(table: Provable, keys: Sequence[str]) -> list[Difference]:
    """Those that a search misses; each of them is asked for once more, alone: it may have changed in between."""
    veil = Veil(table.spec)
    for batch in table.source.values(texts(keys)) if table.spec.sensitive else ():
        veil.cover(batch)
    with veil.errors():  # the texts are embedded again
        suspects = table.target.unsearchable(keys) if keys else {}
        found = [again for key in suspects for again in table.target.unsearchable([key]).items()]
    return [Difference(key, "stale", reason, broken=True) for key, reason in found]


@dataclass
class _Sample:
    """So many keys by lot, from a stream of any length."""

    size: int
    _drawn: list[tuple[float, str]] = field(default_factory=list)

    def add(self, keys: Iterable[str]) -> None:
        for key in keys:
            lot = (random(), key)
            if len(self._drawn) < self.size:
                heapq.heappush(self._drawn, lot)
            else:
                heapq.heappushpop(self._drawn, lot)

    @property
    def keys(self) -> list[str]:
        return [key for _, key in self._drawn]
