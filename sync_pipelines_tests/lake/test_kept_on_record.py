"""Proof, `status` and `conflicts list` give one number of what is kept in the target on purpose."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sync_pipelines.components.delta_to_postgres import DeltaToPostgres
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.repair import Wanted, plan_repair, repair
from sync_pipelines.engine.run import Request
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import NOON, row, rows

LATER = NOON + timedelta(hours=1)


def newest() -> DeltaToPostgres:
    return back(conflicts={"strategy": "last_write_wins", "by": "updated_at"})


def numbers(house: House, table: DeltaToPostgres) -> tuple[int, int, int]:
    """What is left out by a proof, by `status`, and by the list."""
    proof = house.prove(table)
    assert proof.equal
    ledger = house.bind(table).ledger
    listed = len(ledger.list_conflicts("shop", "review", limit=None))
    return proof.excluded, ledger.left_out("shop", "review").excluded, listed


@pytest.mark.slow
def test_a_proof_puts_on_record_what_it_leaves_out(review: House, lake: Lake):
    table = newest()
    lake.write(rows(row("a"), row("gone"), row("plain")))
    review.sync(table)
    review.execute("UPDATE review SET note = 'theirs', updated_at = %s WHERE id <> 'plain'", LATER)
    lake.table.delete("id = 'gone'")
    review.sync(table)
    ledger = review.bind(table).ledger
    assert [item.key for item in ledger.list_conflicts("shop", "review")] == ["gone"], "the run met that one alone"
    assert (review.prove(table).excluded, ledger.left_out("shop", "review").excluded) == (2, 2)
    first = ledger.list_conflicts("shop", "review")
    assert [item.key for item in first] == ["a", "gone"]
    review.prove(table, "deep")
    assert ledger.list_conflicts("shop", "review") == first
    ledger.accept_conflict("shop", "review", "a", by="me", notes=None, method="target_wins")
    accepted = ledger.list_conflicts("shop", "review")
    review.prove(table)
    assert ledger.list_conflicts("shop", "review") == accepted, "a proof undoes no decision"


@pytest.mark.slow
@pytest.mark.slow
def test_a_proof_ends_what_is_on_record_and_is_so_no_more(review: House, lake: Lake):
    table = newest()
    lake.write(rows(row("a"), row("b"), row("gone"), row("plain")))
    review.sync(table)
    review.execute("UPDATE review SET note = 'theirs', updated_at = %s WHERE id <> 'plain'", LATER)
    lake.table.delete("id = 'gone'")
    review.sync(table)
    ledger = review.bind(table).ledger

    def listed() -> list[str]:
        return [item.key for item in ledger.list_conflicts("shop", "review")]

    plan = plan_repair(review.bind(table), Wanted())
    assert (plan.stale, listed()) == (0, ["gone"]), "a dry run writes nothing"
    assert (review.prove(table).excluded, listed()) == (3, ["a", "b", "gone"])
    review.execute("UPDATE review SET note = 'n', updated_at = %s WHERE id = 'a'", NOON)
    review.execute("DELETE FROM review WHERE id = 'gone'")
    assert plan_repair(review.bind(table), Wanted(deep=True)).stale == 0
    assert listed() == ["a", "b", "gone"], "a dry run ends nothing"
    for kind in ("quick", "deep"):
        proof = review.prove(table, kind)
        assert (proof.equal, proof.excluded, listed()) == (True, 1, ["b"])
        assert ledger.left_out("shop", "review").excluded == 1
    review.execute("UPDATE review SET note = 'n', updated_at = %s WHERE id = 'b'", NOON)
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id="r")
    assert repair(review.bind(table), request, Wanted()).counts.upserted == 0
    assert listed() == [], "a repair ends it, too"


def test_what_was_noted_anew_while_a_proof_looked_stays_on_record(review: House, lake: Lake):
    table = back(conflicts={"strategy": "target_wins"})
    lake.write(rows(row("a")))
    review.sync(table)
    ledger = review.bind(table).ledger
    ledger.note_conflict("shop", "review", {"a": "of a run"}, {}, run_id="seen")
    (seen,) = ledger.open_conflicts("shop", "review")
    ledger.note_conflict("shop", "review", {"a": "of the next one"}, {}, run_id="newer")
    ledger.settle_conflicts("shop", "review", ["a"], seen=seen)
    assert ledger.conflict_count("shop", "review") == 1
    ledger.settle_conflicts("shop", "review", ["a"], seen={"a": "newer"})
    assert ledger.conflict_count("shop", "review") == 0


@pytest.mark.slow
def test_of_many_that_are_kept_none_is_forgotten(review: House, lake: Lake):
    table = back(conflicts={"strategy": "target_wins"})
    lake.write(rows(*(row(f"k{number:04}") for number in range(900))))
    review.sync(table)
    review.execute("UPDATE review SET note = 'theirs' WHERE id < 'k0850'")
    assert numbers(review, table) == (850, 850, 850)
    review.execute("UPDATE review SET note = 'n'")
    assert numbers(review, table) == (0, 0, 0)


@pytest.mark.slow
def test_a_record_that_is_kept_is_that_alone_while_a_change_of_it_waits(review: House, lake: Lake):
    table = newest()
    lake.write(rows(row("a"), row("b")))
    review.sync(table)
    review.execute("UPDATE review SET note = 'theirs', updated_at = %s", LATER)
    assert numbers(review, table) == (2, 2, 2)
    lake.merge(rows(row("a", note="older"), row("b", note="newer", updated_at=LATER + timedelta(hours=1))))
    assert numbers(review, table) == (1, 1, 1)
    assert review.prove(table).pending == 1, "the next run writes over b"
    review.sync(table)
    assert numbers(review, table) == (1, 1, 1)
