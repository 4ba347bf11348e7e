"""A Delta folder that an older copy took the place of, under the same table id: its change feed is not believed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sync_pipelines.engine import repair as module
from sync_pipelines.engine.ground import PUT_BACK
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.run import Request
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import held, interrupted, reason_of, row, rows

GOES = back(checks={"mass_delete": {"share": 1, "records": 100}})


@pytest.fixture
def synced(review: House, lake: Lake) -> House:
    """Rows a, b and c, read from version 1."""
    lake.write(rows(row("a"), row("b")))
    lake.write(rows(row("c")))
    assert review.sync(GOES).upserted == 3
    return review


@contextmanager
def put_back(lake: Lake) -> Iterator[None]:
    """The folder is again what it was before the block."""
    copy = Path(f"{lake.place}.copy")
    shutil.copytree(lake.place, copy)
    yield
    shutil.rmtree(lake.place)
    copy.rename(lake.place)


def assert_compared(house: House, lake: Lake, why: str) -> None:
    """The next run reads everything, and the two are equal; the one after it goes on by the feed."""
    house.sync(GOES)
    assert why in reason_of(house)
    assert held(house).keys() == {found["id"] for found in lake.rows()}
    assert house.prove(GOES, "deep").equal
    lake.write(rows(row("z")))
    assert (house.sync(GOES).read, reason_of(house)) == (1, "")


@pytest.mark.slow
def test_an_older_copy_that_has_gone_on_past_the_confirmed_version_is_compared_whole(synced: House, lake: Lake):
    with put_back(lake):
        lake.write(rows(row("d")))
        assert synced.sync(GOES).upserted == 1
    lake.table.delete("id = 'b'")
    lake.write(rows(row("e")))
    assert_compared(synced, lake, "version 2 is another commit")


@pytest.mark.slow
def test_the_same_version_with_another_commit_is_compared_whole(synced: House, lake: Lake):
    with put_back(lake):
        lake.write(rows(row("d")))
        assert synced.sync(GOES).upserted == 1
    lake.write(rows(row("e")))
    binding = synced.bind(GOES)
    assert "another commit" in binding.source.pending(binding.ledger.watermark("shop", "review")).full_reason
    assert_compared(synced, lake, "version 2 is another commit")


@pytest.mark.slow
@pytest.mark.parametrize("last", [False, True], ids=["written", "marked"])
def test_a_copy_from_before_what_a_killed_run_has_read_is_compared_whole(
    synced: House, lake: Lake, monkeypatch: pytest.MonkeyPatch, last: bool
):
    with put_back(lake):
        lake.write(rows(row("d")))
        lake.table.update({"stars": "5"}, predicate="id = 'a'")
        interrupted(synced, GOES, monkeypatch, last=last)
        assert (held(synced)["a"][0], "d" in held(synced)) == (5, True)
    lake.write(rows(row("e")))
    assert_compared(synced, lake, PUT_BACK)


@pytest.mark.slow
def test_a_copy_that_has_gone_on_past_what_a_killed_run_has_read_is_compared_whole(
    synced: House, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    with put_back(lake):
        lake.write(rows(row("d")))
        interrupted(synced, GOES, monkeypatch)
    lake.write(rows(row("e")))
    lake.write(rows(row("f")))
    assert_compared(synced, lake, PUT_BACK)


@pytest.mark.slow
def test_a_copy_from_before_single_records_is_compared_whole(synced: House, lake: Lake):
    with put_back(lake):
        lake.table.update({"stars": "5"}, predicate="id = 'a'")
        synced.sync(GOES, keys=("a",))
    assert_compared(synced, lake, PUT_BACK)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["_write", "_delete"])
def test_a_copy_from_before_what_a_repair_has_read_is_compared_whole(
    synced: House, lake: Lake, monkeypatch: pytest.MonkeyPatch, moment: str
):
    """It reads each record anew, when it writes it and when it deletes it: the table goes on in between."""
    synced.execute("DELETE FROM review WHERE id = 'a'; INSERT INTO review (id, note) VALUES ('x', 'x')")
    goes_on = getattr(module, moment)
    with ExitStack() as stack:

        def after_a_commit(*given: object, **more: object) -> None:
            if lake.table.version() == 1:
                stack.enter_context(put_back(lake))
                lake.table.update({"stars": "5"}, predicate="id = 'a'")
            goes_on(*given, **more)

        with monkeypatch.context() as patch:
            patch.setattr(module, moment, after_a_commit)
            request = Request(mode="repair", scope=Scope(), trigger="manual", run_id="r")
            module.repair(synced.bind(GOES), request, module.Wanted())
        assert held(synced)["a"][0] == (5 if moment == "_write" else 3)
    assert_compared(synced, lake, PUT_BACK)


@pytest.mark.slow
@pytest.mark.parametrize("last", [False, True], ids=["written", "marked"])
def test_a_killed_run_costs_no_comparison_where_nothing_was_put_back(
    synced: House, lake: Lake, monkeypatch: pytest.MonkeyPatch, last: bool
):
    lake.write(rows(row("d")))
    interrupted(synced, GOES, monkeypatch, last=last)
    lake.write(rows(row("e")))
    counts = synced.sync(GOES)
    assert (counts.read, counts.unchanged, reason_of(synced)) == (2, 1, "")
    assert synced.prove(GOES, "deep").equal


@pytest.mark.slow
def test_a_copy_from_before_a_run_that_recovers_and_is_killed_is_compared_whole(
    synced: House, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    with put_back(lake):
        lake.write(rows(row("d")))
        interrupted(synced, GOES, monkeypatch)
    lake.write(rows(row("e")))
    interrupted(synced, GOES, monkeypatch)
    assert_compared(synced, lake, PUT_BACK)


@pytest.mark.slow
def test_a_confirmed_version_that_the_log_no_longer_holds_is_compared_whole(synced: House, lake: Lake):
    lake.write(rows(row("d")))
    lake.table.create_checkpoint()
    for version in (0, 1):
        Path(lake.place, "_delta_log", f"{version:020d}.json").unlink()
    synced.sync(GOES)
    assert "the log no longer holds version 1" in reason_of(synced)
    assert synced.prove(GOES, "deep").equal


def test_a_watermark_of_an_older_version_is_continued(synced: House, lake: Lake):
    synced.execute("UPDATE sync.sync_watermarks SET watermark = watermark #- '{position,commit}'")
    lake.write(rows(row("d")))
    assert (synced.sync(GOES).read, reason_of(synced)) == (1, "")
    assert "commit" in synced.bind(GOES).ledger.watermark("shop", "review").position
