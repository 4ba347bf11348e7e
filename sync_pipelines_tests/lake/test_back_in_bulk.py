"""Many rows on the way back: several batches are one transaction, rows are read while others are written, and a full
run compares before it writes."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import TransientError
from sync_pipelines.sources.delta.moment import Moment
from sync_pipelines.targets.postgres.writing import Writer
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import held, row, rows

SPELLED = '{"a": 2, "b": 1}'
"""JSON as PostgreSQL writes it."""


def many(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [row(f"n{number}", detail=SPELLED, **more) for number in numbers]


def no_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("nothing is to be staged")

    monkeypatch.setattr(Writer, "__enter__", refused)


def test_bad_rows_of_several_batches_in_one_transaction_are_quarantined_alone(review: House, lake: Lake):
    bad = {2: {"stars": 9}, 3: {"note": None}, 11: {"stars": 7}}
    lake.write(rows(*(row(f"n{number}", **bad.get(number, {})) for number in range(12))))
    counts = review.sync(back(), batch_size=3)
    assert (counts.upserted, counts.quarantined) == (9, 3)
    found = {item.key: item.reason for item in review.bind(back()).ledger.list_quarantine("shop", "review")}
    assert found.keys() == {"n2", "n3", "n11"}
    assert "review_note" in found["n3"] or '"note"' in found["n3"]


def test_a_run_that_dies_within_several_batches_leaves_nothing_of_them(
    review: House, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    lake.write(rows(*many(*range(9))))
    noted = Writer._note_bases

    def dies(self: Writer, batch: pa.RecordBatch, out: set[str]) -> None:
        noted(self, batch, out)
        assert batch.num_rows == 9
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_note_bases", dies)
        with pytest.raises(KeyboardInterrupt):
            review.sync(back(), batch_size=2)
    assert held(review) == {}
    assert "batches" not in {thread.name for thread in threading.enumerate()}
    assert review.sync(back(), batch_size=2).upserted == 9
    assert review.prove(back(), "deep").equal


def test_many_changes_arrive_with_their_deletes_and_doubles(review: House, lake: Lake):
    lake.write(rows(*many(*range(700))))
    review.sync(back())
    lake.write(rows(*many(*range(40, 700), note="again"), *many(699, stars=1), *many(900)), mode="overwrite")
    counts = review.sync(back())
    assert (counts.read, counts.upserted, counts.deleted, counts.quarantined) == (662, 660, 40, 2)
    assert held(review)["n50"][1] == "again"
    assert held(review)["n699"][1] == "n"
    assert review.prove(back(), "deep").equal


def test_a_version_that_is_lost_while_it_is_read_confirms_nothing(
    review: House, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    lake.write(rows(*many(*range(20))))
    review.sync(back())
    lake.write(rows(*many(*range(600), note="new")), mode="overwrite")

    def lost(self: Moment, *_: object) -> Any:
        raise TransientError("a file is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Moment, "among", lost)
        with pytest.raises(TransientError, match="a file is gone"):
            review.sync(back())
    assert held(review)["n0"][1] == "n"
    assert review.sync(back()).upserted == 600


def test_a_full_run_stages_nothing_where_all_is_equal(review: House, lake: Lake, monkeypatch: pytest.MonkeyPatch):
    lake.write(rows(*many(*range(30)), row("z", note="", topics=None, detail=None, updated_at=None)))
    review.sync(back())
    no_writer(monkeypatch)
    counts = review.sync(back(), mode="full")
    assert (counts.read, counts.unchanged, counts.upserted) == (31, 31, 0)


def test_a_full_run_writes_just_what_differs(review: House, lake: Lake, monkeypatch: pytest.MonkeyPatch):
    lake.write(rows(*many(*range(30)), row("z")))  # the JSON of z is equal and spelled otherwise
    review.sync(back())
    review.execute("UPDATE review SET note = 'x' WHERE id = 'n3'; DELETE FROM review WHERE id = 'n4'")
    review.execute("INSERT INTO review (id, note) VALUES ('own', 'x')")
    staged: list[str] = []
    stage = Writer._stage

    def seen(self: Writer, batch: pa.RecordBatch) -> None:
        staged.extend(batch.column(0).to_pylist())
        stage(self, batch)

    monkeypatch.setattr(Writer, "_stage", seen)
    counts = review.sync(back(), mode="full")
    assert sorted(staged) == ["n3", "n4", "z"]
    assert (counts.read, counts.upserted, counts.unchanged, counts.deleted) == (31, 2, 29, 1)
    assert review.prove(back(), "deep").equal


def test_a_full_run_asks_again_for_what_it_wrote(review: House, lake: Lake):
    lake.write(rows(*many(*range(9))))
    review.sync(back())
    review.execute(
        "CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note = upper(NEW.note); RETURN NEW; "
        "END'; CREATE TRIGGER louder BEFORE UPDATE ON review FOR EACH ROW EXECUTE FUNCTION louder()"
    )
    lake.table.update({"note": "'quiet'"}, predicate="id = 'n3'")
    with pytest.raises(TransientError, match="does not hold what was just written"):
        review.sync(back(), mode="full")


@pytest.mark.slow
def test_rows_that_were_equal_before_the_first_run_are_no_edits(review: House, lake: Lake):
    table = back(conflicts={"strategy": "target_wins"})
    lake.write(rows(*many(*range(4))))
    review.execute(
        "INSERT INTO review SELECT 'n' || n, 3, 'n', '{x}', %s, '2024-05-01 12:00+00' FROM generate_series(0, 2) AS n",
        SPELLED,
    )
    assert review.sync(table).unchanged == 3
    lake.table.update({"stars": "1"})
    assert review.sync(table).upserted == 4


def test_a_quarantined_row_that_somebody_else_has_brought_is_settled_by_a_full_run(review: House, lake: Lake):
    lake.write(rows(*many(*range(4)), *many(7, stars=9)))
    review.sync(back())
    review.execute("ALTER TABLE review DROP CONSTRAINT review_stars_check")
    review.execute("INSERT INTO review SELECT 'n7', 9, note, topics, detail, updated_at FROM review WHERE id = 'n0'")
    assert review.bind(back()).ledger.quarantined("shop", "review") == 1
    assert review.sync(back(), mode="full").unchanged == 5
    assert review.bind(back()).ledger.quarantined("shop", "review") == 0
