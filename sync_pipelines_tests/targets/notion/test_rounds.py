"""Years in short: notes and pages are edited at random, and whatever people wrote or discuss is there at the end."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines_tests.targets.notion.conftest import Desk, note


def _flat(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for block in blocks for one in (block, *_flat(block.get("children", [])))]


class Years:
    """A note, its page, and what people have left there."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk, self.draw = desk, Random(seed)
        self.lines = ["a", "b", "c"]
        self.theirs: set[str] = set()
        self.discussed: set[str] = set()
        self.count = 0

    def new(self) -> str:
        self.count += 1
        return f"line {self.count}"

    def edit_note(self) -> None:
        place = self.draw.randrange(len(self.lines) + 1)
        act = self.draw.choice(["insert", "change", "remove", "move"])
        if act == "insert" or not self.lines:
            self.lines.insert(place, self.new())
            return
        place %= len(self.lines)
        line = self.lines.pop(place)
        if act == "change":
            self.lines.insert(place, self.new())
        elif act == "move":
            self.lines.insert(self.draw.randrange(len(self.lines) + 1), line)

    def act_on_page(self) -> None:
        page = self.desk.page()
        blocks = self.desk.outline(page)
        act = self.draw.choice(["first", "between", "below", "comment", "none"])
        text = f"theirs {self.new()}"
        if act == "none" or not blocks:
            return
        block = self.draw.choice(blocks)["id"]
        if act == "comment":
            self.desk.hands.comment(block, text)
            self.discussed.add(block)
            return
        where = {"first": {"first": True}, "between": {"after": block}, "below": {}}[act]
        self.desk.hands.add_block(block if act == "below" else page, text, **where)
        self.theirs.add(text)

    def check(self) -> None:
        blocks = _flat(self.desk.outline())
        assert self.theirs <= {block.get("text") for block in blocks}
        assert self.discussed <= {block["id"] for block in blocks}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_what_people_write_beside_the_notes_blocks_survives_fifty_rounds(desk: Desk, seed: int):
    years = Years(desk, seed)
    desk.bring(note(text="a\nb\nc"))
    for _ in range(50):
        years.edit_note()
        years.act_on_page()
        desk.later()
        mine = note(text="\n".join(years.lines))
        result = desk.bring(mine)
        assert not result.rejected
        assert not result.kept
        years.check()
        assert desk.holds(mine)
    assert len(desk.pages()) == 1


@pytest.mark.parametrize("strategy", [Strategy.MANUAL_REVIEW, Strategy.MERGE])
def test_an_edit_within_the_notes_blocks_stays_whatever_becomes_of_the_note(desk: Desk, strategy: Strategy):
    years = Years(desk, 3)
    desk.bring(note(text="a\nb\nc"))
    desk.target = desk.make(strategy)
    desk.later()
    desk.hands.edit_block(desk.outline()[1]["id"], "theirs entirely")
    for _ in range(15):
        years.edit_note()
        desk.later()
        desk.bring(note(text="\n".join(years.lines)))
        assert "theirs entirely" in desk.texts()


def test_a_line_that_people_discuss_stays_on_the_page_when_its_note_loses_it(desk: Desk):
    desk.bring(note())
    two = desk.outline()[1]["id"]
    desk.hands.comment(two, "why?")
    desk.later()
    desk.bring(note(text="one"))
    assert desk.texts() == ["one", "two"]
    assert desk.holds(note(text="one"))
