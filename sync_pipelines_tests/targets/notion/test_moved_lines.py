"""Lines that people moved, drew to another level, coloured or turned, and lines that no record knows."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines_tests.targets.notion.conftest import Desk, note


def test_a_block_that_was_moved_before_its_id_was_known_is_put_back_and_not_doubled(desk: Desk):
    desk.bring(note())
    one, _, three = (item["id"] for item in desk.outline())
    desk.later()
    desk.hands.move_block(one, after=three)
    desk.target = desk.make(Strategy.SOURCE_WINS)
    desk.bring(note())
    assert desk.texts() == ["one", "two", "three"]


@pytest.mark.parametrize("known", [True, False])
def test_a_block_that_a_person_coloured_or_turned_into_another_type_is_as_the_note_has_it_where_that_wins(
    desk: Desk, known: bool
):
    desk.bring(note())
    desk.later()
    if known:
        desk.bring(note(), doubt="values")
    one, _, three = (item["id"] for item in desk.outline())
    desk.hands.edit_block(one, color="red")
    desk.hands.turn_block(three, "heading_1")
    desk.later()
    desk.target = desk.make(Strategy.SOURCE_WINS)
    desk.bring(note())
    assert desk.texts() == ["one", "two", "three"]
    assert desk.holds(note())
    assert desk.outline()[0]["id"] == one


SINCE_THE_BACKUP = {
    "a line was added": ("a\nb", "a\nb\nc", "a\nb\nc"),
    "a line was put between": ("a\nb", "a\nx\nb", "a\nx\nb"),
    "a line was added, and now another": ("a\nb", "a\nb\nc", "a\nb\nc\nd"),
    "a line was changed": ("a\nb", "a\nB", "a\nB"),
    "a line was removed": ("a\nb\nc", "a\nc", "a\nc"),
    "all lines were replaced": ("a\nb", "x\ny\nz", "x\ny\nz"),
}


@pytest.mark.parametrize("what", SINCE_THE_BACKUP)
@pytest.mark.parametrize("looked", [False, True])
def test_records_of_a_backup_that_is_older_than_the_page_double_no_line(desk: Desk, what: str, looked: bool):
    before, since, now = (note(text=text) for text in SINCE_THE_BACKUP[what])
    desk.bring(before)
    desk.later()
    if looked:  # otherwise it is on record of no block which one it is
        desk.target.give_way(["1"])
        desk.bring(before)
        desk.later()
    desk.hands.add_block(desk.page(), "theirs")
    backup = list(desk.target.records.of(["1"]).values())
    desk.bring(since)
    desk.later()
    desk.target.records.keep(backup)
    for _ in range(2):
        assert not desk.bring(now).kept
        desk.later()
        assert sorted(desk.texts()) == sorted([*now["text"].split("\n"), "theirs"])
    desk.forget()
    assert desk.bring(now).counts.unchanged == 1
    assert set(desk.requests()) <= {"data_sources.query"}
    assert "edited" not in desk.prints()["1"]


@pytest.mark.parametrize("now", ["a", "a\nb"])
def test_a_line_that_a_person_edited_since_a_backup_was_made_stays_and_is_not_made_again(desk: Desk, now: str):
    desk.bring(note(text="a"))
    desk.later()
    backup = list(desk.target.records.of(["1"]).values())
    desk.bring(note(text="a\nb"))
    desk.hands.edit_block(desk.outline()[1]["id"], "by hand")
    desk.later()
    desk.target.records.keep(backup)
    desk.bring(note(text=now))
    assert desk.texts() == ["a", "by hand"]


def listed(*items: tuple[str, int]) -> dict[str, Any]:
    """A note of a list: texts and how far they are indented."""
    return note(text=None, items=[{"text": text, "checked": False, "indent": indent} for text, indent in items])


def tree(desk: Desk) -> list[tuple[str, list[str]]]:
    """The items of the only page, each with those below it."""
    return [(item["text"], [child["text"] for child in item["children"]]) for item in desk.outline()]


def test_items_that_a_person_put_in_another_order_below_another_are_an_edit(desk: Desk):
    desk.bring(listed(("a", 0), ("b", 1), ("c", 1), ("d", 0)))
    desk.later()
    above = desk.outline()[0]
    desk.hands.move_block(above["children"][1]["id"], parent=above["id"])
    result = desk.bring(listed(("a", 0), ("b", 1), ("c", 1), ("D", 0)))
    assert (result.disputes[0].in_review, tree(desk)) == (True, [("a", ["c", "b"]), ("d", [])])
    desk.target = desk.make(Strategy.MERGE)
    desk.bring(listed(("a", 0), ("b", 1), ("c", 1), ("new", 1), ("D", 0)))
    assert tree(desk) == [("a", ["c", "new", "b"]), ("D", [])]


def test_a_merge_leaves_lines_in_the_order_that_a_person_gave_them_and_doubles_none(desk: Desk):
    desk.bring(note())
    ids = [block["id"] for block in desk.outline()]
    desk.later()
    desk.hands.move_block(ids[2])
    desk.hands.comment(ids[2], "up here")
    desk.target = desk.make(Strategy.MERGE)
    desk.bring(note(text="zero\none\nTWO\nthree\nfour"))
    assert desk.texts() == ["zero", "three", "four", "one", "TWO"]
    assert {block["id"] for block in desk.outline()} >= set(ids)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("moved", ["out", "in", "below theirs"])
def test_an_item_that_a_person_drew_to_another_level_stands_once_where_the_note_wins(
    desk: Desk, moved: str, known: bool
):
    items = [("a", 0), ("b", int(moved == "out")), ("c", 0)]
    desk.bring(listed(*items))
    desk.later()
    if known:
        desk.target.notion.page(desk.page())
        assert desk.bring(listed(*items), doubt="values").counts.unchanged
        desk.later()
    theirs = desk.hands.add_block(desk.page(), "theirs", kind="toggle") if moved == "below theirs" else None
    first, *others = desk.outline()
    if moved == "out":
        desk.hands.move_block(first["children"][0]["id"], after=first["id"])
    else:
        desk.hands.move_block(others[0]["id"], parent=theirs or first["id"])
    changed = listed(*items[:2], ("C", 0))
    assert desk.bring(changed).disputes[0].in_review
    if known:
        desk.target.give_way(["1"])
    else:
        desk.target = desk.make(Strategy.SOURCE_WINS)
    desk.bring(changed)
    right = [("a", ["b"]), ("C", [])] if moved == "out" else [("a", []), ("b", []), ("C", [])]
    assert tree(desk) == [*right, *([("theirs", [])] if theirs else [])]


def test_an_item_drawn_out_before_its_id_was_known_is_not_taken_for_another_that_was_edited(desk: Desk):
    desk.bring(listed(("a", 0), ("b", 1), ("c", 0)))
    desk.later()
    first, last = desk.outline()
    desk.hands.move_block(first["children"][0]["id"], after=first["id"])
    desk.hands.edit_block(last["id"], "mine")
    desk.target = desk.make(Strategy.SOURCE_WINS)
    desk.bring(listed(("a", 0), ("b", 1), ("c", 0)))
    assert tree(desk) == [("a", ["b"]), ("c", [])]
