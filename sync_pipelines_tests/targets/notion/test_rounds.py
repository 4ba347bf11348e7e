"""Years in short: notes and pages are edited at random, and whatever people wrote or discuss is there at the end."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines_tests.targets.notion.conftest import Desk, note


def _flat(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for block in blocks for one in (block, *_flat(block.get("children", [])))]


class Years:
    """A note, its page, and what people have left there.

    Args:
        draw: decides what happens. key: of the note; examples share a database.
    """

    def __init__(self, desk: Desk, draw: Random, key: str) -> None:
        self.desk, self.draw, self.key = desk, draw, key
        self.lines = ["a", "b", "c"]
        self.theirs: set[str] = set()
        self.discussed: set[str] = set()
        self.count = 0
        before = {page["id"] for page in desk.pages()}
        desk.bring(self.note)
        (self.page,) = {page["id"] for page in desk.pages()} - before

    @property
    def note(self) -> dict[str, Any]:
        """The note as it is now."""
        return note(self.key, text="\n".join(self.lines))

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
        blocks = self.desk.outline(self.page)
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
        self.desk.hands.add_block(block if act == "below" else self.page, text, **where)
        self.theirs.add(text)

    def check(self) -> None:
        blocks = _flat(self.desk.outline(self.page))
        assert self.theirs <= {block.get("text") for block in blocks}
        assert self.discussed <= {block["id"] for block in blocks}


KEYS = (f"n{number}" for number in count(1))
"""Of notes that no example has had."""

CHANCE = st.randoms(use_true_random=False)
_HOW: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}


def _fifty_rounds(desk: Desk, chance: Random) -> None:
    years = Years(desk, chance, next(KEYS))
    pages = len(desk.pages())
    for _ in range(50):
        years.edit_note()
        years.act_on_page()
        desk.later()
        result = desk.bring(years.note)
        assert not result.rejected
        assert not result.kept
        years.check()
        assert desk.holds(years.note)
    assert len(desk.pages()) == pages


@pytest.mark.slow
@given(chance=CHANCE)
@settings(max_examples=3, derandomize=True, phases=[Phase.generate], **_HOW)
def test_what_people_write_beside_the_notes_blocks_survives_fifty_rounds(desk: Desk, chance: Random):
    _fifty_rounds(desk, chance)


@pytest.mark.exhaustive
@given(chance=CHANCE)
@settings(max_examples=50, **_HOW)
def test_what_people_write_survives_fifty_rounds_of_fifty_lives(desk: Desk, chance: Random):
    _fifty_rounds(desk, chance)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [Strategy.MANUAL_REVIEW, Strategy.MERGE])
@given(chance=CHANCE)
@settings(max_examples=3, derandomize=True, phases=[Phase.generate], **_HOW)
def test_an_edit_within_the_notes_blocks_stays_whatever_becomes_of_the_note(
    desk: Desk, strategy: Strategy, chance: Random
):
    years = Years(desk, chance, next(KEYS))
    desk.target = desk.make(strategy)
    desk.later()
    desk.hands.edit_block(desk.outline(years.page)[1]["id"], "theirs entirely")
    for _ in range(15):
        years.edit_note()
        desk.later()
        desk.bring(years.note)
        assert "theirs entirely" in desk.texts(years.page)


def test_a_line_that_people_discuss_stays_on_the_page_when_its_note_loses_it(desk: Desk):
    desk.bring(note())
    two = desk.outline()[1]["id"]
    desk.hands.comment(two, "why?")
    desk.later()
    desk.bring(note(text="one"))
    assert desk.texts() == ["one", "two"]
    assert desk.holds(note(text="one"))
