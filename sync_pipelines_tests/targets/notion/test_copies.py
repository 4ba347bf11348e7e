"""Further pages of a note: who made them is told, and the sync's own go by a repair where nobody has touched them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.targets.notion.copies import drop, told
from sync_pipelines_tests.targets.notion.conftest import Desk, note


def late(hands: WorkspaceControl, page_id: str) -> str:
    """The page of a create that takes effect after this one was made in its place; its id."""
    client = hands.client()
    page = client.pages.retrieve(page_id)
    names = ("Title", "Keep ID", "Synced fingerprint")
    known = {name: given for name, given in page["properties"].items() if given["type"] in ("title", "rich_text")}
    assert {"Keep ID"} < set(known), names
    given = {
        name: {value["type"]: [{"text": {"content": run["plain_text"]}} for run in value[value["type"]]]}
        for name, value in known.items()
    }
    texts = [item.get("text", "") for item in hands.outline(page_id)]
    blocks = [{"type": "paragraph", "paragraph": {"rich_text": [{"text": {"content": text}}]}} for text in texts]
    parent = {"type": "data_source_id", "data_source_id": page["parent"]["data_source_id"]}
    return client.pages.create(parent=parent, properties=given, children=blocks)["id"]


def test_a_page_that_arrives_late_is_told_as_the_syncs_own_and_goes_by_a_repair(desk: Desk):
    desk.bring(note())
    mine = desk.page()
    copy = late(desk.hands, desk.page())
    ((found,),) = desk.target.doubles().values()
    assert (found.head.id, found.ours) == (copy, True)
    assert "the sync has made itself" in told({"1": [found]}, "notes/pages:ann")
    assert desk.target.surplus() == 1
    assert len(desk.pages()) == 2
    assert desk.target.tidy() == 1
    assert desk.page() == mine
    assert desk.target.doubles() == {}
    assert desk.holds(note())


def edited(desk: Desk, page: str) -> None:
    desk.hands.edit_block(desk.outline(page)[0]["id"], "theirs")


def written_below(desk: Desk, page: str) -> None:
    desk.hands.add_block(page, "theirs")


def commented(desk: Desk, page: str) -> None:
    desk.hands.comment(page, "theirs")


def commented_on_a_block(desk: Desk, page: str) -> None:
    desk.hands.comment(desk.outline(page)[1]["id"], "theirs")


def edited_before_a_token_was_used_again(desk: Desk, page: str) -> None:
    """The page's last editor is the connection once more, and one of its blocks is a person's all the same."""
    edited(desk, page)
    desk.hands.client().pages.update(page, properties={"Keep ID": {"rich_text": [{"text": {"content": "1"}}]}})


def hidden(desk: Desk, page: str) -> None:
    desk.hands.restrict(desk.hands.token, "read_comments")


@pytest.mark.parametrize(
    "act", [edited, written_below, commented, commented_on_a_block, edited_before_a_token_was_used_again, hidden]
)
def test_a_late_page_that_somebody_has_touched_stays(desk: Desk, act: Callable[[Desk, str], None]):
    desk.bring(note())
    copy = late(desk.hands, desk.page())
    act(desk, copy)
    assert desk.target.tidy() == 0
    assert len(desk.pages()) == 2


def test_a_late_page_whose_title_somebody_edits_after_it_was_listed_stays(desk: Desk):
    desk.bring(note())
    copy = late(desk.hands, desk.page())
    ((found,),) = desk.target.doubles().values()
    desk.later()
    desk.hands.set_title(copy, "theirs")
    assert not drop(desk.target._writer(), found)
    assert len(desk.pages()) == 2


def test_a_copy_that_a_person_made_is_theirs_and_stays(desk: Desk):
    desk.bring(note())
    desk.hands.duplicate_page(desk.page())
    ((found,),) = desk.target.doubles().values()
    assert not found.ours
    text = told({"1": [found]}, "notes/pages:ann")
    assert "made or edited by people" in text
    assert "sync has made" not in text
    assert desk.target.tidy() == 0
    assert len(desk.pages()) == 2


def test_a_deleted_note_keeps_its_page_and_its_copies_by_hand_are_marked_too(desk: Desk):
    desk.bring(note())
    page = desk.page()
    desk.later()
    copy = desk.hands.duplicate_page(page)
    desk.target.delete(["1"])
    assert (desk.prints(), desk.target.count()) == ({}, 0)
    later = desk.hands.duplicate_page(page)
    desk.hands.set_property(later, "Deleted in Keep", {"checkbox": False})
    assert set(desk.prints()) == {"1"}
    assert desk.target.records.of(["1"])["1"].page_id == page
    assert desk.target.tidy() == 0
    assert desk.target.delete(["1"]).deleted == 1
    assert desk.prints() == {}
    assert {row["id"] for row in desk.pages()} == {page, copy, later}
    desk.bring(note())
    assert list(desk.prints()) == ["1"]
    for each in (page, copy, later):
        assert not desk.hands.client().pages.retrieve(each)["properties"]["Deleted in Keep"]["checkbox"]
