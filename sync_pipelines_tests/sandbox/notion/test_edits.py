"""Blocks and pages change as they do in Notion: by the connection, by a person, in and out of the trash."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines_tests.sandbox.notion.conftest import Notes, paragraph
from sync_pipelines_tests.sandbox.notion.refused import refused

TRASHED = "Can't edit block that is archived. You must unarchive the block before editing."


def titled(text: str) -> dict[str, Any]:
    return {"Name": {"title": [{"text": {"content": text}}]}}


def test_an_update_of_a_block_changes_what_it_names_and_nothing_else(notes: Notes):
    page = notes.page()
    item = {"to_do": {"rich_text": [{"text": {"content": "milk"}}], "checked": True, "color": "red"}}
    block = notes.client.blocks.children.append(page, children=[item])["results"][0]["id"]
    notes.client.blocks.update(block, to_do={"rich_text": [{"text": {"content": "bread"}}]})
    found = notes.client.blocks.update(block, to_do={"checked": False})
    assert found["to_do"]["rich_text"][0]["plain_text"] == "bread"
    assert (found["to_do"]["checked"], found["to_do"]["color"]) == (False, "red")
    status, code, message = refused(lambda: notes.client.blocks.update(block, paragraph={"rich_text": []}))
    assert (status, code) == (400, "validation_error")
    assert message == "Cannot change a block of type to_do to paragraph."
    refused(lambda: notes.client.blocks.update(block, to_do={"children": [paragraph("below")]}))
    assert notes.texts(page) == ["bread"]


def test_blocks_come_at_the_end_or_after_a_sibling(notes: Notes):
    page = notes.page("One", "a", "b")
    first = notes.blocks(page)[0]["id"]
    made = notes.client.blocks.children.append(page, children=[paragraph("x"), paragraph("y")], after=first)
    assert [block["parent"]["page_id"] for block in made["results"]] == [page, page]
    notes.client.blocks.children.append(page, children=[paragraph("z")])
    assert notes.texts(page) == ["a", "x", "y", "b", "z"]
    other = notes.page("Two", "c")
    stranger = notes.blocks(other)[0]["id"]
    assert (
        refused(lambda: notes.client.blocks.children.append(page, children=[paragraph("w")], after=stranger))[0] == 400
    )
    notes.client.blocks.delete(first)
    assert refused(lambda: notes.client.blocks.children.append(page, children=[paragraph("w")], after=first))[0] == 400
    assert notes.texts(page) == ["x", "y", "b", "z"]


def test_blocks_come_where_a_position_says(notes: Notes):
    page = notes.page("One", "a", "b")
    first = notes.blocks(page)[0]["id"]
    for name, position in (
        ("start", {"type": "start"}),
        ("end", {"type": "end"}),
        ("after a", {"type": "after_block", "after_block": {"id": first}}),
    ):
        notes.client.blocks.children.append(page, children=[paragraph(name)], position=position)
    assert notes.texts(page) == ["start", "a", "after a", "b", "end"]
    both = {"after": first, "position": {"type": "start"}}
    assert refused(lambda: notes.client.blocks.children.append(page, children=[paragraph("w")], **both))[0] == 400
    wrong = {"type": "middle"}
    assert (
        refused(lambda: notes.client.blocks.children.append(page, children=[paragraph("w")], position=wrong))[0] == 400
    )


def test_what_lies_in_the_trash_is_read_and_restored_and_not_edited(notes: Notes):
    page = notes.page("One", "a", "b")
    block = notes.blocks(page)[0]["id"]
    assert notes.client.blocks.delete(block)["in_trash"] is True
    assert refused(lambda: notes.client.blocks.delete(block)) == (400, "validation_error", TRASHED)
    assert refused(lambda: notes.client.blocks.update(block, paragraph={"rich_text": []}))[2] == TRASHED
    assert notes.client.blocks.retrieve(block)["archived"] is True
    notes.client.blocks.update(block, in_trash=False)
    assert notes.texts(page) == ["a", "b"]


def test_a_page_in_the_trash_leaves_queries_and_comes_back_with_its_blocks(notes: Notes):
    page = notes.page("One", "a")
    notes.page("Two")
    block = notes.blocks(page)[0]["id"]
    found = notes.client.pages.update(page, in_trash=True)
    assert (found["in_trash"], found["archived"], found["is_archived"]) == (True, True, True)
    assert notes.query() == ["Two"]
    assert notes.query(in_trash=True) == ["One"]
    assert notes.client.pages.retrieve(page)["in_trash"] is True
    for ask in (
        lambda: notes.client.blocks.update(block, in_trash=False),
        lambda: notes.client.pages.update(page, properties=titled("Other")),
        lambda: notes.client.blocks.update(block, paragraph={"rich_text": []}),
        lambda: notes.client.blocks.children.append(page, children=[paragraph("b")]),
    ):
        assert refused(ask) == (400, "validation_error", TRASHED)
    notes.client.pages.update(page, in_trash=False, properties=titled("Back"))
    assert notes.query() == ["Back", "Two"]
    assert notes.texts(page) == ["a"]


def test_what_the_bin_held_when_it_was_emptied_is_gone_for_good(notes: Notes):
    page, kept = notes.page("One", "a"), notes.page("Two", "b", "c")
    block, dead = notes.blocks(page)[0]["id"], notes.blocks(kept)[0]["id"]
    notes.hands.trash_page(page)
    notes.hands.delete_block(dead)
    assert notes.hands.empty_trash() == 3
    for ask in (
        lambda: notes.client.pages.retrieve(page),
        lambda: notes.client.blocks.retrieve(block),
        lambda: notes.client.blocks.retrieve(dead),
        lambda: notes.client.pages.update(page, in_trash=False),
    ):
        assert refused(ask)[:2] == (404, "object_not_found")
    assert notes.texts(kept) == ["c"]
    assert notes.query(in_trash=True) == []


def test_a_database_in_the_trash_takes_its_pages_along(notes: Notes):
    page = notes.page("One")
    notes.hands.trash_database(notes.database)
    assert notes.client.pages.retrieve(page)["in_trash"] is True
    assert refused(notes.query)[:2] == (400, "validation_error")
    assert refused(lambda: notes.page("Two"))[2] == TRASHED
    assert refused(lambda: notes.client.pages.update(page, in_trash=False))[2] == TRASHED
    notes.hands.restore_database(notes.database)
    assert notes.query() == ["One"]
    notes.hands.trash_database(notes.database)
    notes.hands.empty_trash()
    assert refused(notes.query)[:2] == (404, "object_not_found")
    assert refused(lambda: notes.client.data_sources.retrieve(notes.source))[:2] == (404, "object_not_found")


def test_times_are_rounded_down_to_the_minute_and_tell_who_edited_last(notes: Notes):
    notes.hands.stop_clock("2026-11-26T10:00:58+00:00")
    page = notes.page("One", "a")
    block = notes.blocks(page)[0]["id"]

    def stamp(one: dict[str, Any]) -> tuple[str, str]:
        return one["last_edited_time"], one["last_edited_by"]["id"]

    first = ("2026-11-26T10:00:00.000Z", notes.hands.bot)
    assert stamp(notes.client.pages.retrieve(page)) == stamp(notes.client.blocks.retrieve(block)) == first
    notes.hands.advance(1)
    notes.hands.edit_block(block, "by hand")
    found = notes.client.pages.retrieve(page)
    assert stamp(found) == ("2026-11-26T10:00:00.000Z", notes.hands.person)
    assert found["created_time"] == "2026-11-26T10:00:00.000Z"
    notes.hands.advance(1)
    notes.client.blocks.update(block, paragraph={"rich_text": []})
    assert stamp(notes.client.pages.retrieve(page)) == ("2026-11-26T10:01:00.000Z", notes.hands.bot)
    notes.hands.advance(3600)
    notes.hands.comment(block, "why?")
    assert stamp(notes.client.pages.retrieve(page)) == ("2026-11-26T10:01:00.000Z", notes.hands.bot)
    assert notes.hands.state(page)["edited"] == "2026-11-26T10:01:00+00:00"
    notes.hands.start_clock()
    assert notes.hands.now() > "2026-11-26T11:01:00"


ACTS = {
    "edit": lambda hands, page, blocks: hands.edit_block(blocks[0], "A"),
    "check": lambda hands, page, blocks: hands.edit_block(blocks[0], color="red"),
    "add": lambda hands, page, blocks: hands.add_block(page, "x", after=blocks[0]),
    "add first": lambda hands, page, blocks: hands.add_block(page, "x", kind="to_do", first=True),
    "nest": lambda hands, page, blocks: hands.add_block(blocks[0], "x"),
    "delete": lambda hands, page, blocks: hands.delete_block(blocks[0]),
    "move": lambda hands, page, blocks: hands.move_block(blocks[0], after=blocks[2]),
    "move up": lambda hands, page, blocks: hands.move_block(blocks[2]),
    "move below": lambda hands, page, blocks: hands.move_block(blocks[0], parent=blocks[1]),
    "title": lambda hands, page, blocks: hands.set_title(page, "Mine"),
    "property": lambda hands, page, blocks: hands.set_property(page, "Pinned", {"checkbox": True}),
}
LEFT = {
    "edit": ["A", "b", "c"], "check": ["a", "b", "c"], "add": ["a", "x", "b", "c"], "add first": ["x", "a", "b", "c"],
    "nest": ["a", "b", "c"], "delete": ["b", "c"], "move": ["b", "c", "a"], "move up": ["c", "a", "b"],
    "move below": ["b", "c"], "title": ["a", "b", "c"], "property": ["a", "b", "c"],
}  # fmt: skip


@pytest.mark.parametrize("act", ACTS)
def test_a_persons_act_is_seen_and_stamped_with_the_person(act: str, notes: Notes):
    page = notes.page("One", "a", "b", "c")
    assert notes.client.pages.retrieve(page)["last_edited_by"]["id"] == notes.hands.bot
    notes.hands.clear_requests()
    ACTS[act](notes.hands, page, [block["id"] for block in notes.hands.outline(page)])
    assert notes.hands.requests() == []
    assert notes.texts(page) == LEFT[act]
    found = notes.client.pages.retrieve(page)
    assert found["last_edited_by"]["id"] == notes.hands.person
    assert found["properties"]["Pinned"]["checkbox"] is (act == "property")
    assert notes.query() == ["Mine" if act == "title" else "One"]


def test_a_block_that_a_person_moves_to_another_page_leaves_its_mark_on_both(notes: Notes):
    one, two = notes.page("One", "a", "b"), notes.page("Two", "c")
    notes.hands.move_block(notes.blocks(one)[0]["id"], after=notes.blocks(two)[0]["id"])
    assert (notes.texts(one), notes.texts(two)) == (["b"], ["c", "a"])
    assert {notes.client.pages.retrieve(page)["last_edited_by"]["id"] for page in (one, two)} == {notes.hands.person}


def test_a_deleted_block_comes_back_to_its_place_and_a_moved_one_keeps_its_id_and_comments(notes: Notes):
    page = notes.page("One", "a", "b", "c")
    blocks = [block["id"] for block in notes.blocks(page)]
    notes.hands.comment(blocks[1], "keep this")
    notes.hands.delete_block(blocks[1])
    notes.hands.restore_block(blocks[1])
    notes.hands.move_block(blocks[1], after=blocks[2])
    assert [block["id"] for block in notes.blocks(page)] == [blocks[0], blocks[2], blocks[1]]
    found = notes.client.comments.list(block_id=blocks[1])["results"]
    assert [one["rich_text"][0]["plain_text"] for one in found] == ["keep this"]
    assert found[0]["parent"] == {"type": "block_id", "block_id": blocks[1]}


def test_a_duplicate_has_the_same_properties_and_blocks_of_its_own(notes: Notes):
    page = notes.page("One", "a", **{"Keep ID": {"rich_text": [{"text": {"content": "k1"}}]}})
    block = notes.blocks(page)[0]["id"]
    notes.client.blocks.children.append(block, children=[paragraph("below")])
    notes.hands.comment(page, "here")
    twin = notes.hands.duplicate_page(page)
    assert notes.query(filter={"property": "Keep ID", "rich_text": {"equals": "k1"}}) == ["One", "One"]
    assert notes.texts(twin) == ["a"]
    assert notes.blocks(twin)[0]["id"] != block
    assert notes.texts(notes.blocks(twin)[0]["id"]) == ["below"]
    assert notes.client.comments.list(block_id=twin)["results"] == []
    notes.hands.edit_block(notes.blocks(twin)[0]["id"], "changed")
    assert notes.texts(page) == ["a"]


def test_comments_belong_to_one_block_or_page_and_leave_when_they_are_resolved(notes: Notes):
    page = notes.page("One", "a")
    block = notes.blocks(page)[0]["id"]
    first = notes.client.comments.create(parent={"page_id": page}, rich_text=[{"text": {"content": "one"}}])
    notes.client.comments.create(discussion_id=first["discussion_id"], rich_text=[{"text": {"content": "two"}}])
    by_hand = notes.hands.comment(block, "three")

    def listed(where: str) -> list[str]:
        found = notes.client.comments.list(block_id=where)["results"]
        return [one["rich_text"][0]["plain_text"] for one in found]

    assert (listed(page), listed(block)) == (["one", "two"], ["three"])
    assert notes.client.comments.retrieve(by_hand)["created_by"]["id"] == notes.hands.person
    notes.hands.resolve_comment(by_hand)
    assert listed(block) == []


def test_pages_of_pages_are_blocks_of_their_parent(notes: Notes):
    page = notes.page("One", "a")
    title = {"title": [{"text": {"content": "Below"}}]}
    below = notes.client.pages.create(parent={"page_id": page}, properties=title)
    assert list(below["properties"]) == ["title"]
    last = notes.blocks(page)[-1]
    assert (last["id"], last["type"], last["child_page"]) == (below["id"], "child_page", {"title": "Below"})
    path, body = f"blocks/{below['id']}", {"child_page": {"title": "x"}}
    assert refused(lambda: notes.client.request(path=path, method="PATCH", body=body))[0] == 400
    notes.hands.trash_page(page)
    assert notes.client.pages.retrieve(below["id"])["in_trash"] is True
