"""Pages are what their notes are, at the cost of as few requests as may be, and what people write there stays."""

from __future__ import annotations

from sync_pipelines.targets.notion.properties import Columns
from sync_pipelines_tests.targets.notion.conftest import READS, Desk, batch_of, note


def test_a_new_note_is_one_request_and_its_page_is_what_the_mapper_made(desk: Desk):
    mine = note(
        text="Hello\n\n \u202bשלום\u202c 👩‍👩‍👧\x07",
        labels=["a,b", "a\u201ab", "home"],
        links=[{"url": "https://example.com/x", "title": "X", "description": "about"}],
        sharees=[{"email": "bob@example.com", "owner": True}],
        edited="2024-02-03T04:05:06.000007+00:00",
    )
    assert desk.bring(mine).counts.upserted == 1
    assert desk.writes() == ["pages.create"]
    assert desk.holds(mine)
    assert desk.target.count() == 1


def test_a_list_keeps_its_nesting_and_its_checks(desk: Desk):
    items = [
        {"text": "milk", "checked": True, "indent": 0},
        {"text": "of oats", "checked": False, "indent": 1},
        {"text": "bread", "checked": False, "indent": 0},
    ]
    mine = note(text=None, items=items)
    desk.bring(mine)
    assert desk.holds(mine)
    (milk, bread) = desk.outline()
    assert [item["text"] for item in milk["children"]] == ["of oats"]
    assert not bread["children"]
    items[1]["text"] = "of soy"
    desk.later()
    desk.forget()
    changed = note(text=None, items=items)
    desk.bring(changed)
    assert desk.writes() == ["blocks.update", "pages.update"]
    assert desk.holds(changed)


def test_an_unchanged_note_costs_nothing_beside_the_listing(desk: Desk):
    notes = [note(str(number)) for number in range(1, 8)]
    desk.bring(*notes)
    desk.later()
    desk.forget()
    assert desk.bring(*notes).counts.unchanged == 7
    assert set(desk.prints()) == {item["id"] for item in notes}
    assert set(desk.requests()) <= set(READS)


def test_a_changed_line_is_one_update_of_its_block_and_the_page_is_then_read_once(desk: Desk):
    desk.bring(note())
    before = desk.outline()
    desk.later()
    desk.forget()
    changed = note(text="one\nTWO\nthree")
    desk.bring(changed)
    assert desk.requests() == ["data_sources.query", "blocks.children.list", "blocks.update", "pages.update"]
    assert [item["id"] for item in desk.outline()] == [item["id"] for item in before]
    assert desk.holds(changed)
    desk.later()
    desk.forget()
    desk.bring(changed)  # edited in the minute of our own write: it is read once
    assert desk.requests() == ["data_sources.query", "blocks.children.list"]
    desk.forget()
    desk.bring(changed)
    assert desk.requests() == ["data_sources.query"]


def test_a_long_note_is_read_a_hundred_blocks_at_a_time_and_what_stands_below_an_item_apart(desk: Desk):
    items = [{"text": f"item {number}", "checked": False, "indent": int(number in (1, 2, 9))} for number in range(210)]
    desk.bring(note(text=None, items=items))
    desk.later()
    desk.forget()
    desk.bring(note(text=None, items=[*items[:-1], {**items[-1], "checked": True}]))
    read, below = ["blocks.children.list"] * 3, ["blocks.children.list"] * 2
    assert desk.requests() == ["data_sources.query", *read, *below, "blocks.update", "pages.update"]


def test_a_line_that_is_gone_is_one_removal_after_a_look_at_what_is_said_of_it(desk: Desk):
    desk.bring(note())
    for once, text in ((["comments.list"], "one\ntwo"), ([], "one")):
        desk.later()
        desk.forget()
        desk.bring(note(text=text))
        asked = ["data_sources.query", "blocks.children.list", *once, "comments.list"]
        assert desk.requests() == [*asked, "blocks.delete", "pages.update"]


def test_equal_lines_keep_their_blocks_wherever_a_line_comes_or_goes(desk: Desk):
    desk.bring(note(text="b\nc\nd"))
    ids = {item["text"]: item["id"] for item in desk.outline()}
    for text in ("a\nb\nc\nd", "a\nb\nx\nc\nd", "b\nx\nd", "b\nx\nd\ne"):
        desk.later()
        desk.bring(note(text=text))
        assert desk.texts() == text.split("\n")
        kept = {item["text"]: item["id"] for item in desk.outline()}
        assert all(kept[line] == ids[line] for line in ids.keys() & kept.keys())
        ids |= kept


def test_what_people_write_around_and_between_and_discuss_stays(desk: Desk):
    desk.bring(note())
    one, two, _ = (item["id"] for item in desk.outline())
    page = desk.page()
    desk.later()
    desk.hands.add_block(page, "mine, first", first=True)
    desk.hands.add_block(page, "mine, between", after=one)
    desk.hands.add_block(page, "mine, last")
    desk.hands.add_block(two, "mine, below two")
    desk.hands.comment(two, "why?")
    desk.later()
    assert desk.bring(note(text="ONE\ntwo\nfour")).counts.upserted == 1
    assert desk.texts() == ["mine, first", "ONE", "mine, between", "two", "four", "mine, last"]
    desk.later()
    desk.bring(note(text="ONE"))
    assert desk.texts() == ["mine, first", "ONE", "mine, between", "two", "mine, last"]  # what holds theirs stays
    assert [item["text"] for item in desk.outline()[3]["children"]] == ["mine, below two"]


def test_a_long_note_is_made_in_several_requests_and_never_cut(desk: Desk):
    lines = [f"line {number}" for number in range(230)]
    lines[3] = "x" * 5000 + "😀" * 1500
    mine = note(text="\n".join(lines))
    desk.bring(mine)
    assert desk.writes() == ["pages.create", "blocks.children.append", "blocks.children.append", "pages.update"]
    assert desk.holds(mine)
    long = note("2", title="\u0641" * 140_000, text="\n".join(["\u0641" * 2000] * 100))
    desk.bring(long)  # title and a first hundred lines are more than one request holds
    assert desk.holds(long)


def test_a_list_of_more_items_below_one_than_a_request_holds_arrives_whole(desk: Desk):
    items = [{"text": "all", "checked": False, "indent": 0}]
    items += [{"text": f"item {number}", "checked": False, "indent": 1} for number in range(250)]
    mine = note(text=None, items=items)
    desk.bring(mine)
    assert desk.holds(mine)


def test_a_deleted_note_is_marked_and_comes_back(desk: Desk):
    desk.bring(note(), note("2"))
    assert desk.target.delete(["1", "7"]).deleted == 1
    assert desk.target.count() == 1
    assert set(desk.prints()) == {"2"}
    assert desk.target.existing(["1", "2"]) == ["2"]
    desk.later()
    desk.bring(note())
    assert desk.target.count() == 2
    assert len(desk.pages()) == 2
    assert desk.holds(note(), note("2"))


def test_a_note_comes_back_to_a_page_that_somebody_has_edited_meanwhile(desk: Desk):
    desk.bring(note())
    desk.target.delete(["1"])
    desk.later()
    desk.hands.edit_block(desk.outline()[0]["id"], "mine")
    assert list(desk.bring(note()).kept) == ["1"]
    assert (desk.target.count(), desk.texts()) == (1, ["mine", "two", "three"])


def test_the_trash_takes_no_page_that_holds_anything_of_people(desk: Desk):
    notes = [note(str(number)) for number in range(1, 5)]
    desk.bring(*notes)
    pages = {row["title"]: row["id"] for row in desk.pages()}
    desk.hands.add_block(pages["Note 2"], "mine")
    desk.hands.comment(pages["Note 3"], "hm")
    desk.hands.comment(desk.outline(pages["Note 4"])[1]["id"], "hm")
    desk.target = desk.make(on_delete="trash")
    assert desk.target.delete(["1", "2", "3", "4"]).deleted == 4
    assert {row["title"] for row in desk.pages()} == {"Note 2", "Note 3", "Note 4"}
    assert desk.target.count() == 0


def test_what_exceeds_the_budget_of_blocks_is_refused_alone(desk: Desk):
    desk.target = desk.make(max_blocks=10)
    result = desk.bring(note(), note("2", "\n".join("abcdefgh")), note("3"))
    assert [(item.key, "max_blocks" in item.reason) for item in result.rejected] == [("2", True)]
    assert result.counts.upserted == 2
    assert desk.target.count() == 2


def test_blocks_that_were_surely_not_made_take_nothing_from_the_budget(desk: Desk):
    desk.target = desk.make(max_blocks=11)
    for fault in ("400", "400", "429"):
        desk.hands.fault(fault, endpoint="pages.create", times=2)
        assert len(desk.bring(note(), note("2")).rejected) == (2 if fault == "400" else 0)
    assert desk.target.holdings()["blocks_made"] == 8
    desk.later()
    mine = note(text="zero\none\ntwo\nthree")
    desk.hands.fault("400", endpoint="blocks.children.append", times=1)  # no place before the first block
    assert not desk.bring(mine).rejected
    assert desk.holds(mine)
    assert desk.target.holdings()["blocks_made"] == 9
    made = desk.hands.client().databases.create(
        parent={"type": "page_id", "page_id": desk.hands.page},
        title=[],
        initial_data_source={"properties": Columns().schema()},
    )
    other = desk.make(parent_page=None, database=made["id"])
    other.prepare()  # a budget for life does not begin again with another database
    assert (other.holdings()["database"], other.holdings()["blocks_made"]) == (made["id"], 9)


def test_copies_are_found_told_and_counted_once(desk: Desk):
    desk.bring(note())
    mine = desk.page()
    desk.hands.duplicate_page(mine)
    assert desk.target.count() == 1
    assert list(desk.prints()) == ["1"]
    assert list(desk.target.doubles()) == ["1"]
    desk.later()
    desk.bring(note(text="one"))
    assert desk.texts(mine) == ["one"]


def test_where_nothing_is_on_record_the_oldest_of_several_pages_is_the_notes(desk: Desk):
    desk.bring(note())
    mine = desk.page()
    desk.later()
    desk.hands.duplicate_page(mine)
    desk.ledger.forget_pages("notes", "pages:ann", ["1"])
    desk.bring(note(text="one"))
    assert desk.target.records.of(["1"])["1"].page_id == mine


def test_a_page_that_is_marked_as_deleted_already_is_not_marked_again(desk: Desk):
    desk.bring(note())
    assert desk.target.delete(["1"]).deleted == 1
    desk.forget()
    assert desk.target.delete(["1"]).deleted == 0
    assert desk.writes() == []


def test_what_a_person_does_to_the_syncs_own_properties_is_mended(desk: Desk):
    desk.bring(note(), note("2"), note("3"))
    right = desk.prints()
    pages = {row["title"]: row["id"] for row in desk.pages()}
    desk.later()
    desk.hands.set_property(pages["Note 1"], "Keep ID", {"rich_text": []})
    desk.hands.set_property(pages["Note 2"], "Deleted in Keep", {"checkbox": True})
    desk.hands.set_property(pages["Note 3"], "Sync fingerprint", {"rich_text": []})
    found = desk.prints()
    assert set(found) == {"3"}
    assert found["3"] != right["3"]
    assert desk.bring(note(), note("2"), note("3"), doubt="values").counts.upserted == 3
    assert desk.prints() == right
    assert {row["id"] for row in desk.pages()} == set(pages.values())


def test_another_connection_takes_over_the_pages_of_the_one_before(desk: Desk):
    desk.bring(note())
    ids = [item["id"] for item in desk.outline()]
    desk.later()
    token = desk.hands.connect("Another", shared=[desk.hands.page])["token"]
    desk.target = desk.make(token=token)
    changed = note(text="one\ntwo\nTHREE\nfour")
    assert desk.bring(changed).counts.upserted == 1
    assert desk.holds(changed)
    assert [item["id"] for item in desk.outline()][:3] == ids


def test_a_plan_says_what_a_run_would_do_and_does_nothing(desk: Desk):
    desk.bring(note(), note("2"), note("3"))
    desk.later()
    third = next(row["id"] for row in desk.pages() if row["title"] == "Note 3")
    desk.hands.edit_block(desk.outline(third)[0]["id"], "mine")
    desk.forget()
    planned = desk.target.plan([batch_of(note(), note("2", "other"), note("3"), note("4"))]).counts
    assert (planned.unchanged, planned.upserted) == (2, 2)
    assert not desk.writes()
    assert desk.target.drift() == []
    assert desk.target.holdings()["blocks_made"] == 12
