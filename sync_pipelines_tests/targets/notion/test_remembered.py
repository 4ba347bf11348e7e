"""Pages that people have edited are read once: what was found there is remembered, and decides as a look would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines_tests.targets.notion.conftest import Desk, batch_of, note
from sync_pipelines_tests.targets.notion.test_conflicts import CHANGED, edited


def reads(desk: Desk) -> int:
    """How often blocks were read since `forget`."""
    return desk.requests().count("blocks.children.list")


@pytest.mark.parametrize("source", [note(), CHANGED])
def test_an_edited_page_that_was_read_in_a_later_minute_is_not_read_again_until_it_is_edited(desk: Desk, source):
    edited(desk)
    first = desk.bring(source)
    assert desk.bring(source).kept == first.kept
    desk.later()
    desk.bring(source)
    desk.forget()
    again = desk.bring(source)
    assert (again.kept, again.disputes) == (first.kept, first.disputes)
    assert desk.target.excused(batch_of(source)) == first.kept
    assert desk.target.plan([batch_of(source)]).counts.upserted == 0
    assert reads(desk) == 0
    desk.hands.edit_block(desk.outline()[0]["id"], "one")
    desk.target = desk.make()
    assert desk.bring(source).kept == {}
    assert desk.texts() == source["text"].split("\n")


def test_an_edited_page_is_read_again_as_long_as_its_minute_lasts_and_where_its_values_are_in_doubt(desk: Desk):
    edited(desk)
    desk.hands.stop_clock("2026-11-26T10:00:30+00:00")
    desk.hands.edit_block(desk.outline()[0]["id"], "mine still")
    desk.bring(note())
    desk.hands.edit_block(desk.outline()[1]["id"], "two, too")
    desk.forget()
    state = desk.bring(note()).disputes[0].sides.target
    assert reads(desk) == 1
    desk.later()
    assert desk.bring(note()).disputes[0].sides.target == state
    desk.forget()
    desk.bring(note(), doubt="values")
    assert reads(desk) == 1
    assert desk.bring(CHANGED).disputes[0].sides.target == state


ACTS: dict[str, Callable[[Desk, list[str]], object]] = {
    "edited": lambda desk, ids: desk.hands.edit_block(ids[0], "mine"),
    "removed": lambda desk, ids: desk.hands.delete_block(ids[1]),
    "moved": lambda desk, ids: desk.hands.move_block(ids[0], after=ids[2]),
    "added": lambda desk, ids: desk.hands.add_block(desk.page(), "theirs"),
    "renamed": lambda desk, ids: desk.hands.set_title(desk.page(), "mine"),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("source", [None, note(), CHANGED])
def test_what_is_remembered_of_an_edited_page_decides_as_what_is_read_there(desk: Desk, act: str, source):
    desk.bring(note())
    desk.later()
    ACTS[act](desk, [item["id"] for item in desk.outline()])
    desk.later()
    desk.prints()
    rows = None if source is None else batch_of(source)
    remembered = desk.target.judged(rows, ["1"])
    desk.forget()
    assert desk.target.judged(rows, ["1"]) == remembered
    assert reads(desk) == (act == "added")  # which is no edit
    record = desk.target.records.of(["1"])["1"]
    desk.target.records.keep([replace(record, found=None)])
    assert desk.target.judged(rows, ["1"]) == remembered


def test_a_page_that_need_not_be_read_is_read_before_it_is_written(desk: Desk):
    edited(desk)
    desk.later()
    desk.bring(note())
    desk.target = desk.make(Strategy.MERGE)
    desk.bring(CHANGED)
    assert desk.texts() == ["mine", "two", "THREE"]
