"""People write on pages while the sync does: between a listing and a write, a read and a write, a request and its
answer; and what is theirs on a page is more than blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from sync_pipelines.engine.conflicts import Strategy
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.targets.notion.listing import Head, Pages
from sync_pipelines_tests.targets.notion.conftest import Desk, batch_of, note, summed


def once(action: Callable[[], None], *, at: int) -> Callable[[], None]:
    """Do something when this is called for the so-many-th time."""
    called = 0

    def call() -> None:
        nonlocal called
        called += 1
        if called == at:
            action()

    return call


def head(desk: Desk, key: str = "1") -> Head:
    (found,) = desk.target.pages.named([key])
    return found


def test_a_title_that_is_edited_while_other_notes_of_its_batch_are_written_stays(desk: Desk):
    notes = [note(key) for key in "123"]
    desk.bring(*notes)
    desk.later()
    last = head(desk, "3").id

    def edit() -> None:
        desk.hands.set_title(last, "by hand")
        desk.later()

    changed = batch_of(*({**one, "title": "by Keep"} for one in notes))
    result = summed(list(desk.target.upsert([changed], before_write=once(edit, at=1))))
    assert list(result.kept) == ["3"]
    assert [head(desk, key).values["title"] for key in "123"] == ["by Keep", "by Keep", "by hand"]


def test_a_title_that_is_edited_while_the_blocks_of_its_page_are_written_stays(desk: Desk):
    desk.bring(note())
    desk.later()
    page = desk.page()

    def edit() -> None:
        desk.hands.set_title(page, "by hand")
        desk.later()

    desk.target.fence(once(edit, at=1))
    changed = note(title="by Keep", text="four\nfive\nsix")
    (rejected,) = desk.bring(changed).rejected
    assert "was edited while it was written" in rejected.reason
    assert head(desk).values["title"] == "by hand"
    desk.later()
    assert list(desk.bring(changed).kept) == ["1"]
    assert head(desk).values["title"] == "by hand"


def test_a_title_that_is_edited_between_the_listing_and_the_look_at_its_page_is_seen(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    notes = [note(key) for key in "12"]
    desk.bring(*notes)
    desk.later()
    desk.bring(*(note(key, "1\ntwo\nthree") for key in "12"))  # by several requests: each page is read once more
    second, children = head(desk, "2").id, desk.target.notion.children

    def edit() -> None:
        desk.hands.set_title(second, "by hand")
        desk.later()

    looked = once(edit, at=1)

    def read(parent: str) -> Iterator[dict[str, Any]]:
        looked()
        yield from children(parent)

    monkeypatch.setattr(desk.target.notion, "children", read)
    desk.prints()
    assert "edited" in desk.prints()["2"]
    assert list(desk.bring(note("2", "1\ntwo\nthree", title="by Keep")).kept) == ["2"]
    assert head(desk, "2").values["title"] == "by hand"


def test_what_a_slow_answer_lists_is_known_as_of_the_question(desk: Desk):
    desk.bring(note())
    desk.hands.fault("slow", endpoint="data_sources.query", seconds=0.3, times=1)
    listed = head(desk).at
    assert desk.target.notion.now - listed >= timedelta(seconds=0.3)


def test_a_block_that_is_edited_between_our_writes_is_seen_though_the_last_answer_came_minutes_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    desk.bring(note(text="one\ntwo\nthree\nfour"))
    desk.later()
    four = desk.outline()[3]["id"]
    desk.target.fence(once(lambda: desk.hands.edit_block(four, "by hand"), at=2))
    _answers_late(desk, monkeypatch)
    desk.bring(note(text="1\n2\n3\nfour"))
    assert desk.texts()[3] == "by hand"
    assert "edited" in desk.prints()["1"]


def test_a_line_that_a_person_removes_just_before_our_write_to_it_stays_away_until_a_review(desk: Desk):
    desk.bring(note())
    desk.later()
    first = desk.outline()[0]["id"]
    desk.target.fence(once(lambda: desk.hands.delete_block(first), at=1))
    changed = note(text="1\ntwo\nthree")
    (rejected,) = desk.bring(changed).rejected
    assert "could not change a block" in rejected.reason
    desk.later()
    assert "a person must decide" in desk.bring(changed).kept["1"]
    assert desk.texts() == ["two", "three"]


def _answers_late(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last request's answer is a minute on its way."""
    notion = desk.target.notion
    write = notion.update_page

    def late(*given: Any, **more: Any) -> Any:
        answer = write(*given, **more)
        desk.later()
        notion.ask("look at the clock", lambda client: client.users.me())
        return answer

    monkeypatch.setattr(notion, "update_page", late)


def test_a_page_that_is_edited_before_its_lost_answer_is_made_up_for_counts_as_edited(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    named = Pages.named

    def edit() -> None:
        desk.hands.edit_block(desk.outline()[0]["id"], "by hand")
        desk.later()

    searched = once(edit, at=2)

    def slowly(self: Pages, keys: Any) -> Iterator[Head]:
        searched()
        yield from named(self, keys)

    monkeypatch.setattr(Pages, "named", slowly)
    desk.hands.fault("drop", endpoint="pages.create", effect=True, times=1)
    desk.bring(note())
    assert "edited" in desk.prints()["1"]
    desk.bring(note(text="one\ntwo\n3"))
    assert desk.texts() == ["by hand", "two", "three"]


def test_a_block_that_a_person_removes_while_an_answer_is_lost_makes_no_new_block_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    desk.bring(note(text="a\nb\nc"))
    desk.later()
    first, children = desk.outline()[0]["id"], desk.target.notion.children
    looked = once(lambda: desk.hands.delete_block(first), at=2)

    def read(parent: str) -> Iterator[dict[str, Any]]:
        looked()
        yield from children(parent)

    monkeypatch.setattr(desk.target.notion, "children", read)
    desk.hands.fault("drop", endpoint="blocks.children.append", effect=True, times=1)
    desk.bring(note(text="a\nb\nc\nd"))
    assert desk.texts() == ["b", "c", "d"]


@pytest.mark.parametrize("theirs", ["property", "number", "icon", "edit"])
def test_the_trash_takes_no_page_that_people_filled_or_edited_in_any_way(desk: Desk, theirs: str):
    desk.target = desk.make(Strategy.SOURCE_WINS, on_delete="trash")
    desk.bring(note("1"), note("2"))
    desk.later()
    page, client = head(desk).id, desk.hands.client()
    if theirs == "property":
        client.data_sources.update(desk.target.source_id, properties={"Status": {"select": {}}})
        desk.hands.set_property(page, "Status", {"select": {"name": "done"}})
    elif theirs == "number":
        client.data_sources.update(desk.target.source_id, properties={"Votes": {"number": {}}})
        desk.hands.set_property(page, "Votes", {"number": 0})
    elif theirs == "icon":
        client.pages.update(page, icon={"type": "emoji", "emoji": "🧡"})
    else:
        desk.hands.edit_block(desk.outline(page)[0]["id"], "by hand")
    desk.later()
    assert desk.target.delete(["1", "2"]).deleted == 2
    assert head(desk).deleted
    assert not list(desk.target.pages.named(["2"]))


def test_an_edit_long_after_a_page_was_last_looked_at_is_seen(desk: Desk):
    desk.bring(note())
    desk.later()
    desk.bring(note(text="one\ntwo\n3"))
    desk.later()
    calm = desk.prints()
    desk.later()
    desk.forget()
    assert desk.prints() == calm
    assert desk.requests() == ["data_sources.query"]
    desk.hands.edit_block(desk.outline()[0]["id"], "by hand")
    assert "edited" in desk.prints()["1"]
    desk.later()
    assert desk.bring(note(text="one\ntwo\n3")).kept
    assert desk.texts() == ["by hand", "two", "3"]


def test_a_persons_line_that_says_what_an_interrupted_write_was_to_say_is_theirs(desk: Desk):
    desk.bring(note(text="a\nb"))
    desk.later()
    desk.hands.fault("503", endpoint="blocks.children.append")
    with pytest.raises(TransientError):
        desk.bring(note(text="a\nb\nc"))
    desk.hands.clear_faults()
    theirs = desk.hands.add_block(desk.page(), "c")
    desk.later()
    desk.bring(note(text="a\nb\nc"))
    assert sorted(desk.texts()) == ["a", "b", "c", "c"]
    desk.later()
    desk.bring(note(text="a\nb"))
    assert desk.texts() == ["a", "b", "c"]
    assert desk.outline()[-1]["id"] == theirs


def test_a_page_that_was_left_half_made_is_made_whole_also_where_its_record_is_lost(desk: Desk):
    long = note(text="\n".join(map(str, range(150))))
    desk.hands.fault("503", endpoint="blocks.children.append")
    with pytest.raises(TransientError):
        desk.bring(long)
    desk.hands.clear_faults()
    assert len(desk.texts()) == 100
    desk.ledger.forget_pages("notes", "pages:ann", ["1"])
    desk.later()
    assert desk.prints() == {"1": None}
    desk.bring(long)
    assert desk.holds(long)


def test_an_item_that_its_note_lost_stays_where_people_discuss_one_below_it(desk: Desk):
    below = {"text": "b", "checked": False, "indent": 1}
    desk.bring(note(text=None, items=[{"text": "a", "checked": False, "indent": 0}, below]))
    (above,) = desk.outline()
    desk.hands.comment(above["children"][0]["id"], "why?")
    desk.later()
    desk.bring(note(text="c"))
    found = {item["text"]: item for item in desk.outline()}
    assert set(found) == {"a", "c"}
    assert [child["text"] for child in found["a"]["children"]] == ["b"]


def test_the_trash_takes_no_page_of_which_people_discuss_an_item_below_another(desk: Desk):
    desk.target = desk.make(on_delete="trash")
    below = {"text": "b", "checked": False, "indent": 1}
    desk.bring(note(text=None, items=[{"text": "a", "checked": False, "indent": 0}, below]))
    (above,) = desk.outline()
    desk.hands.comment(above["children"][0]["id"], "why?")
    desk.later()
    assert desk.target.delete(["1"]).deleted == 1
    assert [row["title"] for row in desk.pages()] == ["Note 1"]
