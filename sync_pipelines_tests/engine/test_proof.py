"""What a proof reports, and what explains a difference away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from sync_pipelines.engine.model import DOUBLED, Digest, bucket_of
from sync_pipelines.engine.proof import Proof, counted, prove
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines_tests.engine.sides import Side

SPEC = TableSpec(sync="shop", name="article", table="Article", key=("id",))


class Source(Side):
    """`waiting` are the keys that are committed and not yet synced; `meanwhile` runs after the snapshot."""

    def __init__(self, rows: dict[str, str], *, waiting: list[str] | None = None) -> None:
        super().__init__(rows, adds_up=True)
        self.waiting = waiting or []
        self.meanwhile: Callable[[], None] = lambda: None

    @contextmanager
    def at_snapshot(self) -> Iterator[Side]:
        frozen = Side(dict(self.rows), adds_up=True)
        self.meanwhile()
        yield frozen

    def full_read(self, since: object) -> None:
        return None

    def pending_keys(self, since: object) -> Iterator[list[str]]:
        yield self.waiting


class Ledger:
    def __init__(self, quarantined: set[str], dropped: set[str]) -> None:
        self.held, self.dropped = quarantined, dropped

    def watermark(self, sync: str, table: str) -> None:
        return None

    def quarantined_among(self, sync: str, table: str, keys: list[str]) -> set[str]:
        return self.held & set(keys)

    def excluded_among(self, sync: str, table: str, keys: list[str]) -> set[str]:
        return self.dropped & set(keys)

    def quarantine_counts(self, sync: str, table: str) -> tuple[int, int]:
        return len(self.held), len(self.dropped)

    def noted(self, sync: str, table: str, keys: list[str]) -> dict[str, str]:
        return {}


@dataclass
class Table:
    source: Source
    target: Side
    ledger: Any = field(default_factory=lambda: Ledger(set(), set()))
    spec: TableSpec = SPEC


def test_missing_stale_and_extra_are_counted_and_named():
    proof = prove(Table(Source({"a": "1", "b": "1", "c": "1"}), Side({"b": "0", "c": "1", "d": "1"})))
    assert (proof.source_count, proof.target_count) == (3, 3)
    assert proof.samples == {"missing": ["a"], "stale": ["b"], "extra": ["d"]}
    assert not proof.equal


def test_equal_sides_are_equal():
    assert prove(Table(Source({"a": "1"}), Side({"a": "1"}))).equal


def test_a_change_that_waits_is_lag_and_no_difference():
    proof = prove(Table(Source({"a": "2", "b": "1"}, waiting=["a"]), Side({"a": "1", "b": "1"})))
    assert proof.equal
    assert proof.pending == 1


def test_a_quarantined_key_counts_in_quarantined_alone_and_a_dropped_one_in_excluded_alone():
    ledger = Ledger({"bad"}, {"left"})
    proof = prove(Table(Source({"bad": "1", "left": "1", "good": "1"}), Side({"good": "1"}), ledger))
    assert (proof.missing, proof.quarantined, proof.excluded) == (0, 1, 1)
    assert proof.equal


def test_a_change_that_was_committed_and_synced_meanwhile_is_not_reported():
    source, target = Source({"a": "1", "gone": "1"}), Side({"a": "1", "gone": "1"})

    def work() -> None:
        source.rows["a"] = target.rows["a"] = "2"
        del source.rows["gone"], target.rows["gone"]

    source.meanwhile = work
    assert prove(Table(source, target)).equal


def test_what_still_differs_at_the_second_look_is_reported():
    source, target = Source({"a": "1"}), Side({"a": "1"})
    source.meanwhile = lambda: target.rows.update(a="behind the back")
    assert prove(Table(source, target)).samples == {"stale": ["a"]}


def test_a_stranger_without_fingerprint_is_still_there_at_the_second_look():
    assert prove(Table(Source({}), Side({"stranger": None}))).samples == {"extra": ["stranger"]}


def test_counts_alone_are_enough_only_for_large_tables_whose_counts_agree():
    rows = {f"k{n}": "1" for n in range(20)}
    assert counted(Table(Source(rows), Side(rows)), above=10) is not None
    assert counted(Table(Source(rows), Side(rows)), above=20) is None
    assert counted(Table(Source(rows), Side(dict(list(rows.items())[1:]))), above=10) is None


@pytest.mark.parametrize("ledger", [Ledger({"bad"}, set()), Ledger(set(), {"left"})])
def test_counts_that_agree_say_nothing_where_a_record_is_known_to_stay_out(ledger: Ledger):
    """It may be in the source alone, and a stranger in the target alone."""
    rows = {f"k{n}": "1" for n in range(20)}
    assert counted(Table(Source(rows), Side(rows), ledger), above=10) is None


def test_counts_that_no_key_accounts_for_are_never_equal():
    assert not Proof(source_count=4, target_count=3).equal
    assert not Proof(source_count=4, target_count=3, quarantined=1).equal  # it may be on both sides
    assert Proof(source_count=4, target_count=3, quarantined=1, accounted=1).equal
    assert Proof(source_count=4, target_count=3, accounted=None).equal  # only some keys were compared


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("listed", [True, False])
def test_a_quarantined_a_dropped_or_a_waiting_key_may_be_on_either_side(held: bool, listed: bool):
    odd = {"bad": "2", "left": "2", "late": "2"}
    source = Source({"good": "1", **(odd if listed else {})}, waiting=["late"])
    target = Side({"good": "1", **(dict.fromkeys(odd, "1") if held else {})})
    assert prove(Table(source, target, Ledger({"bad"}, {"left"}))).equal


def test_a_store_that_counts_otherwise_than_it_lists_is_not_equal():
    class Loses(Side):
        def count(self) -> int:
            return super().count() - 1

    proof = prove(Table(Source({"a": "1", "b": "1"}), Loses({"a": "1", "b": "1"})))
    assert not proof.equal
    assert (proof.source_count, proof.target_count, proof.missing) == (2, 1, 1)


def test_a_store_that_is_written_to_while_it_is_listed_is_equal():
    class Grows(Side):
        def count(self) -> int:
            self.rows.setdefault("new", "1")
            return super().count()

    assert prove(Table(Source({"a": "1"}), Grows({"a": "1"}))).equal


def test_a_store_that_is_written_to_all_the_time_has_what_it_listed():
    class Grows(Side):
        def count(self) -> int:
            number = len(self.rows)
            self.rows[f"new{number}"] = "1"
            return super().count()

    proof = prove(Table(Source({"a": "1"}), Grows({"a": "1"})))
    assert proof.equal
    assert proof.target_count == 1


@pytest.mark.parametrize("there", [{}, {"a": "1"}, {"a": "0"}])
def test_a_key_that_the_source_has_twice_is_named_and_counted_once(there: dict[str, str]):
    class Twice(Source):
        def digests(self) -> dict[int, Digest]:
            sums = super().digests()
            return sums | {bucket_of("a"): sums[bucket_of("a")].add("a", "2")}

        def fingerprints(self, *, buckets: Any = None) -> Iterator[pa.RecordBatch]:
            yield from super().fingerprints(buckets=buckets)
            yield from Side({"a": "2"}).fingerprints(buckets=buckets)

        def values(self, keys: Any) -> Iterator[pa.RecordBatch]:
            yield from self.fingerprints()

        @contextmanager
        def at_snapshot(self) -> Iterator[Side]:
            yield self

    proof = prove(Table(Twice({"a": "1"}), Side(there)))
    assert proof.source_count == 1
    assert proof.reasons == {"a": DOUBLED}
    assert proof.samples == {"stale" if there else "missing": ["a"]}


class Counting(Side):
    """A store that lists its rows, and says other numbers when it is asked how many they are."""

    def __init__(self, rows: dict[str, str], counts: list[int]) -> None:
        super().__init__(rows)
        self._counts = iter(counts)

    def count(self) -> int:
        return next(self._counts)


@pytest.mark.parametrize(
    ("counts", "told"),
    [([5, 4, 4, 4, 4, 4], 4), ([5, 4, 3, 4, 3, 4], 6)],
    ids=["lost after the first look", "written to meanwhile"],
)
def test_a_count_that_stays_otherwise_than_the_listing_counts_and_one_that_changes_does_not(
    counts: list[int], told: int
):
    rows = dict.fromkeys("abcdef", "1")
    assert prove(Table(Source(rows), Counting(rows, counts))).target_count == told
