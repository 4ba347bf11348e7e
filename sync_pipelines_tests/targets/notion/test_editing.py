"""The edit script: it ends at what is wanted, keeps what is equal, and costs one request for one change."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipelines.targets.notion.aligning import common
from sync_pipelines.targets.notion.blocks import Live, block_of, mark_of, request_of, size_of
from sync_pipelines.targets.notion.editing import (
    BLOCKS,
    CHILDREN,
    Delete,
    Goal,
    Insert,
    Update,
    goals_of,
    late,
    parts,
    script,
)
from sync_pipelines.targets.notion.places import wishes
from sync_pipelines.targets.notion.records import entry_from_json, entry_to_json
from sync_pipelines.targets.notion.region import entry_of, find

US, THEM = "us", "them"


def paragraph(text: str) -> dict[str, Any]:
    return {"type": "paragraph", "text": [{"text": text}] if text else []}


def to_do(text: str, *children: dict[str, Any], checked: bool = False) -> dict[str, Any]:
    return {"type": "to_do", "text": [{"text": text}], "checked": checked, "children": list(children)}


LINE = st.sampled_from("abcd").map(paragraph)
ITEM = st.builds(
    lambda text, children, checked: to_do(text, *children, checked=checked),
    st.sampled_from("abc"),
    st.lists(st.sampled_from("xyz").map(to_do), max_size=3),
    st.booleans(),
)
BODY = st.lists(LINE | ITEM, max_size=8)


class Page:
    """A page in memory."""

    def __init__(self) -> None:
        self.ids = count(1)

    def live(self, block: dict[str, Any], author: str = US) -> Live:
        own = {name: value for name, value in block.items() if name != "children"}
        children = tuple(self.live(child, author) for child in block.get("children", ()))
        return Live(
            id=f"b{next(self.ids)}", block=own, mark=mark_of(own), author=author, editor=author, children=children
        )

    def made(self, goal: Goal) -> Live:
        live = self.live(dict(goal.block))
        goal.id = live.id
        return live

    def apply(self, blocks: tuple[Live, ...], operations: list[Any], parent: str) -> tuple[Live, ...]:
        found = []
        for live in blocks:
            if any(isinstance(item, Delete) and item.standing.live.id == live.id for item in operations):
                continue
            below = self.apply(live.children, operations, live.id)
            block = live.block
            for item in operations:
                if isinstance(item, Update) and item.id == live.id:
                    block = {name: value for name, value in item.goal.block.items() if name != "children"}
                    assert block["type"] == live.type
            found.append(Live(id=live.id, block=block, mark=mark_of(block), author=live.author, children=below))
        return tuple(found)

    def insert(self, blocks: tuple[Live, ...], item: Insert, parent: str) -> tuple[Live, ...]:
        if item.parent != parent:
            return tuple(
                Live(
                    id=one.id,
                    block=one.block,
                    mark=one.mark,
                    author=one.author,
                    children=self.insert(one.children, item, one.id),
                )
                for one in blocks
            )
        new = tuple(map(self.made, item.goals))
        if item.first:
            return (*new, *blocks)
        place = [one.id for one in blocks].index(item.after) + 1 if item.after else len(blocks)
        return (*blocks[:place], *new, *blocks[place:])


def tree(blocks: tuple[Live, ...], *, ours: bool = True) -> list[Any]:
    return [(one.mark, tree(one.children, ours=ours)) for one in blocks if (one.author == US) == ours]


def wanted_tree(blocks: list[dict[str, Any]]) -> list[Any]:
    return [(mark_of(block), wanted_tree(block.get("children", []))) for block in blocks]


def run(
    before: list[dict[str, Any]], after: list[dict[str, Any]], foreign: list[int], *, start: bool = True
) -> tuple[Any, ...]:
    page = Page()
    blocks = [page.live(block) for block in before]
    base = tuple(_entries(before, blocks))
    for place in foreign:
        blocks.insert(place % (len(blocks) + 1), page.live(paragraph("theirs"), THEM))
    region = find(base, blocks, us={US})
    goals = goals_of(wishes(region.base, after))
    operations = script("page", region.page, region.standing, goals, start=start)
    now = tuple(blocks)
    for item in operations:
        if isinstance(item, Insert):
            now = page.insert(now, item, "page")
    now = page.apply(now, operations, "page")
    return blocks, now, operations, goals


def _entries(blocks: list[dict[str, Any]], lives: list[Live] | tuple[Live, ...]) -> Any:
    for block, live in zip(blocks, lives, strict=True):
        children = tuple(_entries(block.get("children", []), live.children))
        yield replace(entry_of(block), id=live.id, children=children)


@given(BODY, BODY, st.lists(st.integers(0, 9), max_size=3))
def test_the_script_ends_at_what_is_wanted_and_touches_nothing_of_others(before: Any, after: Any, foreign: list[int]):
    blocks, now, _, _ = run(before, after, foreign)
    assert tree(now) == wanted_tree(after)
    assert [one.id for one in now if one.author == THEM] == [one.id for one in blocks if one.author == THEM]


@given(BODY, BODY, st.lists(st.integers(0, 9), max_size=2))
def test_it_ends_there_also_without_a_place_before_the_first_block(before: Any, after: Any, foreign: list[int]):
    blocks, now, operations, _ = run(before, after, foreign, start=False)
    assert tree(now) == wanted_tree(after)
    assert not any(isinstance(item, Insert) and item.first for item in operations)
    assert [one.id for one in now if one.author == THEM] == [one.id for one in blocks if one.author == THEM]


@given(BODY, BODY)
def test_as_many_equal_blocks_as_can_keep_their_ids(before: Any, after: Any):
    blocks, now, _, _ = run(before, after, [])
    longest = len(common([str(item) for item in wanted_tree(before)], [str(item) for item in wanted_tree(after)]))
    old = {one.id: (one.mark, tree(one.children)) for one in blocks}
    kept = [one for one in now if old.get(one.id) == (one.mark, tree(one.children))]
    assert len(kept) >= longest


@given(BODY.filter(bool), st.data())
def test_one_change_is_one_request(body: Any, data: st.DataObject):
    place = data.draw(st.integers(0, len(body) - 1))
    kind = data.draw(st.sampled_from(["change", "insert", "remove"]))
    if kind == "change":
        after = [*body[:place], {**body[place], "text": [{"text": "other"}]}, *body[place + 1 :]]
    elif kind == "insert":
        after = [*body[:place], paragraph("new"), *body[place:]]
    else:
        after = [*body[:place], *body[place + 1 :]]
    assert len(run(body, after, [])[2]) == 1
    assert not run(body, body, [])[2]


@given(st.lists(st.integers(0, 1), max_size=12), st.lists(st.integers(0, 1), max_size=12))
def test_a_common_subsequence_is_a_longest_one(left: list[int], right: list[int]):
    pairs = common(left, right)
    assert [left[first] for first, _ in pairs] == [right[second] for _, second in pairs]
    assert pairs == sorted(pairs)
    lengths = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for first, one in enumerate(left):
        for second, other in enumerate(right):
            best = max(lengths[first][second + 1], lengths[first + 1][second])
            lengths[first + 1][second + 1] = lengths[first][second] + 1 if one == other else best
    assert len(pairs) == lengths[-1][-1]


@given(BODY)
def test_what_notion_gives_back_has_the_mark_of_what_was_sent(body: Any):
    for block in body:
        sent = request_of(block, {}, children=())
        for style in ({}, {"annotations": {"bold": False, "color": "default"}}):
            given_back = {"id": "x", "type": sent["type"], sent["type"]: _answered(sent[sent["type"]], style)}
            assert mark_of(block_of(given_back)) == mark_of(block)
        bold = _answered(sent[sent["type"]], {"annotations": {"bold": True}})
        if block["text"]:
            assert mark_of(block_of({"id": "x", "type": sent["type"], sent["type"]: bold})) != mark_of(block)


def _answered(content: dict[str, Any], style: dict[str, Any]) -> dict[str, Any]:
    texts = [{**item, **style, "plain_text": item["text"]["content"]} for item in content["rich_text"]]
    return {**content, "rich_text": texts, "color": "default"}


@given(BODY)
def test_entries_are_kept_as_json_without_a_word_of_the_note(body: Any):
    for block in body:
        entry = entry_of(block)
        assert entry_from_json(entry_to_json(entry)) == entry
    secret = entry_to_json(entry_of(to_do("my secret", to_do("another"))))
    assert "secret" not in str(secret)
    assert "another" not in str(secret)


@pytest.mark.slow
def test_requests_hold_what_notion_takes_and_nothing_is_left_out():
    body = [to_do(f"p{number}", *(to_do(f"c{index}") for index in range(number * 13 % 150))) for number in range(240)]
    body[7] = paragraph("あ" * 100_000)
    body[8] = paragraph("い" * 99_000)
    goals = goals_of(wishes((), body))
    found = parts(goals)
    assert [goal for part in found for goal in part.goals] == goals
    for part in found:
        made = part.requests({})
        assert len(made) <= CHILDREN
        assert part.size <= BLOCKS
        assert len(json.dumps(made, ensure_ascii=False).encode()) < 500 * 1024
        assert all(len(item[item["type"]].get("children", ())) <= CHILDREN for item in made)
    sent = sum(part.size for part in found) + sum(len(late(goal)) for goal in goals)
    assert sent == size_of(body)


@pytest.mark.parametrize("body", [[paragraph("a")] * 250, [to_do("above", *(to_do("あ" * 10_000) for _ in range(40)))]])
def test_a_request_holds_a_hundred_short_lines_and_500_kb_of_long_items_below_another(body: Any):
    goals = goals_of(wishes((), body))
    found = parts(goals)
    for part in found:
        made = part.requests({})
        assert len(made) <= CHILDREN
        assert len(json.dumps(made, ensure_ascii=False).encode()) < 500 * 1024
    assert sum(part.size for part in found) + sum(len(late(goal)) for goal in goals) == size_of(body)
