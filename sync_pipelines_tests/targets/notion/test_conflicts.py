"""What people edit inside the managed region is theirs until somebody decides: by the engine's strategies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipelines.engine.conflicts import Judging, Strategy
from sync_pipelines.engine.deciding import Disputing, Outcome
from sync_pipelines.engine.model import Target
from sync_pipelines.targets.notion.properties import Columns
from sync_pipelines_tests.targets.notion.conftest import Desk, batch_of, note

CHANGED = note(text="one\ntwo\nTHREE")


def edited(desk: Desk, strategy: Strategy = Strategy.MANUAL_REVIEW) -> Desk:
    """A page whose first line a person has edited."""
    desk.bring(note())
    desk.later()
    desk.hands.edit_block(desk.outline()[0]["id"], "mine")
    desk.target = desk.make(strategy)
    return desk


def test_the_target_is_what_the_engine_asks_for(desk: Desk):
    assert isinstance(desk.target, Judging)
    assert isinstance(desk.target, Disputing)
    assert {name for name in vars(Target) if not name.startswith("_")} <= set(dir(desk.target))


def test_an_edit_of_a_page_whose_note_is_unchanged_stays_and_is_told(desk: Desk):
    edited(desk)
    assert desk.prints()["1"] != batch_of(note()).column("_fingerprint")[0].as_py()
    result = desk.bring(note())
    assert list(result.kept) == ["1"]
    assert not result.disputes[0].decision.conflict
    assert desk.target.excused(batch_of(note())).keys() == {"1"}
    assert desk.texts() == ["mine", "two", "three"]
    desk.later()
    desk.prints()
    desk.forget()
    desk.prints()
    assert desk.requests() == ["data_sources.query"]  # looked at in a later minute, it is known


def test_by_default_a_page_and_a_note_that_both_changed_wait_for_a_person(desk: Desk):
    edited(desk)
    result = desk.bring(CHANGED)
    assert result.disputes[0].in_review
    assert result.counts.upserted == 0
    assert desk.texts() == ["mine", "two", "three"]


def test_an_edit_in_the_minute_of_our_own_write_is_seen(desk: Desk):
    desk.hands.stop_clock("2026-11-26T10:00:30+00:00")
    desk.bring(note())
    desk.hands.edit_block(desk.outline()[0]["id"], "mine")
    assert list(desk.bring(note()).kept) == ["1"]
    assert desk.bring(CHANGED).disputes[0].in_review


@pytest.mark.parametrize(
    ("strategy", "texts"),
    [
        (Strategy.SOURCE_WINS, ["one", "two", "THREE"]),
        (Strategy.TARGET_WINS, ["mine", "two", "three"]),
        (Strategy.MERGE, ["mine", "two", "THREE"]),
        (Strategy.LAST_WRITE_WINS, ["mine", "two", "three"]),
    ],
)
def test_each_strategy_decides_its_way(desk: Desk, strategy: Strategy, texts: list[str]):
    edited(desk, strategy)
    result = desk.bring(CHANGED)
    assert desk.texts() == texts
    assert result.disputes[0].decision.conflict
    again = desk.bring(CHANGED)
    assert again.counts.upserted == 0
    assert desk.texts() == texts


def test_the_newer_edit_of_the_note_wins_where_the_last_write_does(desk: Desk):
    edited(desk, Strategy.LAST_WRITE_WINS)
    desk.bring({**CHANGED, "edited": "2099-01-01T00:00:00+00:00"})
    assert desk.texts() == ["one", "two", "THREE"]


def test_a_look_at_an_edited_page_makes_the_deletion_of_its_note_no_newer_than_the_edit(desk: Desk):
    edited(desk, Strategy.LAST_WRITE_WINS)
    for _ in range(2):
        desk.later()
        desk.prints()
        (told,) = desk.target.disputes(["1"])
        assert told.decision.stays


def test_a_merge_that_clashes_waits_and_one_that_does_not_keeps_both_edits_later_too(desk: Desk):
    edited(desk, Strategy.MERGE)
    assert desk.bring(note(text="ONE\ntwo\nthree")).disputes[0].decision.outcome is Outcome.REVIEW
    desk.bring(CHANGED)
    desk.later()
    assert desk.bring(CHANGED).kept == {}
    desk.bring(note(text="zero\none\ntwo\nTHREE", labels=["home", "more"]))
    assert desk.texts() == ["zero", "mine", "two", "THREE"]


def test_a_page_that_stands_as_a_merge_has_left_it_is_no_conflict_again_where_it_is_looked_at_in_doubt(desk: Desk):
    edited(desk, Strategy.MERGE)
    assert desk.bring(CHANGED).disputes
    desk.later()
    again = desk.bring(CHANGED, doubt="values")
    assert (list(again.kept), again.disputes) == (["1"], [])
    desk.hands.edit_block(desk.outline()[1]["id"], "mine, too")
    assert desk.bring(CHANGED, doubt="values").disputes
    assert desk.texts() == ["mine", "mine, too", "THREE"]


def test_labels_are_merged_one_by_one(desk: Desk):
    desk.bring(note(labels=["a", "b"]))
    page = desk.page()
    desk.later()
    desk.hands.set_property(page, "Labels", {"multi_select": [{"name": "a"}, {"name": "b"}, {"name": "mine"}]})
    desk.target = desk.make(Strategy.MERGE)
    desk.bring(note(labels=["b", "c"]))
    (row,) = [row for batch in desk.target.values(["1"]) for row in batch.to_pylist()]
    assert '"labels":["b","c","mine"]' in row["page"]


def test_a_block_that_a_person_deleted_moved_or_formatted_counts_as_edited(desk: Desk):
    desk.bring(note(), note("2"), note("3"))
    pages = {row["title"]: row["id"] for row in desk.pages()}
    desk.later()
    blocks = {title: [item["id"] for item in desk.outline(page)] for title, page in pages.items()}
    desk.hands.delete_block(blocks["Note 1"][1])
    desk.hands.move_block(blocks["Note 2"][0], after=blocks["Note 2"][2])
    desk.hands.set_title(pages["Note 3"], "mine")
    assert set(desk.bring(note(), note("2"), note("3")).kept) == {"1", "2", "3"}
    desk.target = desk.make(Strategy.SOURCE_WINS)
    desk.later()
    desk.bring(note(), note("2"), note("3"))
    assert [desk.texts(page) for page in pages.values()] == [["one", "two", "three"]] * 3
    assert desk.holds(note(), note("2"), note("3"))


def test_a_page_that_a_person_trashed_stays_there_until_the_source_is_to_win(desk: Desk):
    desk.bring(note())
    page = desk.page()
    desk.later()
    desk.hands.trash_page(page)
    assert list(desk.bring(note()).kept) == ["1"]
    assert desk.bring(CHANGED).disputes[0].in_review
    assert not desk.pages()
    desk.target = desk.make(Strategy.SOURCE_WINS)
    desk.bring(CHANGED)
    assert desk.page() == page
    assert desk.holds(CHANGED)
    desk.hands.trash_page(page)
    desk.hands.empty_trash()
    desk.bring(CHANGED)
    assert desk.page() != page
    assert desk.holds(CHANGED)


@pytest.mark.parametrize("strategy", Strategy)
def test_a_trashed_page_of_an_unchanged_note_comes_back_where_the_source_wins_or_the_last_write(
    desk: Desk, strategy: Strategy
):
    desk.target = desk.make(strategy)
    desk.bring(note())
    page = desk.page()
    desk.later()
    desk.hands.trash_page(page)
    back = strategy in (Strategy.SOURCE_WINS, Strategy.LAST_WRITE_WINS)
    assert list(desk.target.excused(batch_of(note()))) == ([] if back else ["1"])
    assert list(desk.bring(note()).kept) == ([] if back else ["1"])
    assert [row["id"] for row in desk.pages()] == ([page] if back else [])


def test_a_note_that_is_gone_does_not_take_an_edited_page_along(desk: Desk):
    edited(desk)
    assert list(desk.target.keeps(["1"])) == ["1"]
    desk.target = desk.make(Strategy.SOURCE_WINS)
    assert not desk.target.keeps(["1"])


def test_a_person_may_take_either_side_or_both(desk: Desk):
    edited(desk)
    row = batch_of(CHANGED)
    desk.bring(CHANGED)
    desk.target.stand(row)
    desk.later()
    assert desk.texts() == ["mine", "two", "three"]
    assert desk.prints()["1"] == row.column("_fingerprint")[0].as_py()
    assert desk.bring(note(text="one\ntwo\n4")).disputes[0].in_review  # what was accepted is protected still
    desk.target.give_way(["1"])
    desk.bring(note(text="one\ntwo\n4"))
    assert desk.texts() == ["one", "two", "4"]
    assert desk.holds(note(text="one\ntwo\n4"))


def test_a_page_whose_version_a_person_has_accepted_is_never_taken_for_one_that_has_become_equal(desk: Desk):
    edited(desk)
    told = desk.bring(CHANGED)
    prints = {item.key: str(item.fingerprint) for item in told.disputes}
    desk.ledger.note_conflict("notes", "pages:ann", told.kept, prints, told.disputes, run_id="run-1")
    desk.ledger.accept_conflict("notes", "pages:ann", "1")
    desk.target.stand(batch_of(CHANGED))
    desk.later()
    desk.prints()
    assert desk.bring(CHANGED).kept == {"1": "somebody has accepted the page's version"}


def test_a_person_may_put_both_sides_together(desk: Desk):
    edited(desk)
    row = batch_of(CHANGED)
    sides = desk.target.judged(row, ["1"])["1"].sides
    assert sides.source is not None
    assert sides.target is not None
    values = {**sides.source, "blocks": {**sides.source["blocks"], "00001": sides.target["blocks"]["00001"]}}
    desk.target.put_together(row, values)
    assert desk.texts() == ["mine", "two", "THREE"]
    assert desk.prints()["1"] == row.column("_fingerprint")[0].as_py()


def test_a_line_that_the_note_lost_and_a_person_keeps_stays_as_theirs(desk: Desk):
    desk.bring(note())
    desk.later()
    mine = desk.outline()[1]["id"]
    desk.hands.edit_block(mine, "mine")
    less = note(text="one\nthree")
    desk.bring(less)
    sides = desk.target.judged(batch_of(less), ["1"])["1"].sides
    assert sides.source is not None
    assert sides.target is not None
    values = {**sides.source, "blocks": {**sides.source["blocks"], "00002": sides.target["blocks"]["00002"]}}
    desk.target.put_together(batch_of(less), values)
    assert desk.texts() == ["one", "mine", "three"]
    desk.later()
    desk.bring(note(text="one\n3"))
    assert desk.texts() == ["one", "mine", "3"]
    assert desk.outline()[1]["id"] == mine


def test_a_page_that_a_person_has_moved_to_another_database_is_written_there_no_more(desk: Desk):
    desk.bring(note())
    page, held = desk.page(), desk.target.records.database()
    assert held is not None
    parent = {"type": "page_id", "page_id": desk.hands.page}
    schema = {"properties": Columns().schema()}
    made = desk.hands.client().databases.create(parent=parent, title=[], initial_data_source=schema)
    # to the sync it is the same whether its page or its database is elsewhere now
    desk.target.records.keep_database(replace(held, source=made["data_sources"][0]["id"]))
    desk.target = desk.make()
    desk.later()
    assert desk.bring(CHANGED).disputes[0].in_review
    assert desk.texts(page) == ["one", "two", "three"]
    desk.target = desk.make(Strategy.SOURCE_WINS)
    desk.bring(CHANGED)
    assert desk.texts(page) == ["one", "two", "three"]
    assert desk.texts() == ["one", "two", "THREE"]


def test_a_page_that_a_person_made_for_a_note_keeps_what_they_wrote(desk: Desk):
    page = desk.hands.add_page(desk.target.source_id, "Theirs")
    desk.hands.set_property(page, "Keep ID", {"rich_text": [{"text": {"content": "1"}}]})
    desk.hands.add_block(page, "theirs")
    desk.later()
    desk.target = desk.make(Strategy.SOURCE_WINS)
    desk.bring(note())
    assert "theirs" in desk.texts(page)
    assert desk.holds(note())


def test_people_are_shown_texts_and_the_ledger_is_given_hashes(desk: Desk):
    edited(desk)
    shown = desk.target.shown(batch_of(CHANGED), ["1"])["1"]
    assert shown.source is not None
    assert shown.target is not None
    assert shown.base is not None
    assert (shown.source["blocks.00001"], shown.target["blocks.00001"]) == ("one", "mine")
    assert shown.base["blocks.00001"] == "one"  # what the note still has is readable in the base, too
    kept = str(desk.target.judged(batch_of(CHANGED), ["1"])["1"].sides) + str(
        desk.ledger.pages_of("notes", "pages:ann", ["1"])
    )
    assert "mine" not in kept
    assert "THREE" not in kept


def test_without_its_records_a_page_is_known_again_and_an_edited_one_protected(desk: Desk):
    desk.bring(note(), note("2"))
    pages = {row["title"]: row["id"] for row in desk.pages()}
    desk.later()
    desk.hands.edit_block(desk.outline(pages["Note 2"])[0]["id"], "mine")
    desk.hands.add_block(pages["Note 1"], "theirs", first=True)
    desk.ledger.forget_pages("notes", "pages:ann", ["1", "2"])
    assert desk.bring(note(), note("2")).kept.keys() == {"2"}
    changed = desk.bring(CHANGED)
    assert changed.counts.upserted == 1
    assert desk.texts(pages["Note 1"]) == ["theirs", "one", "two", "THREE"]


def test_a_title_that_a_person_edited_stays_also_where_nothing_is_on_record(desk: Desk):
    desk.bring(note(), note("2"), note("3"))
    desk.later()
    pages = {row["title"]: row["id"] for row in desk.pages()}
    desk.hands.set_title(pages["Note 1"], "mine")
    desk.hands.set_title(pages["Note 2"], "mine, too")
    desk.hands.add_block(pages["Note 3"], "below")
    desk.later()
    desk.ledger.forget_pages("notes", "pages:ann", ["1", "2", "3"])
    desk.target = desk.make(on_delete="trash")
    assert desk.bring(note(), note("2", text="other"), note("3")).kept.keys() == {"1", "2"}
    assert desk.bring(note("3", text="new")).counts.upserted == 1
    desk.ledger.forget_pages("notes", "pages:ann", ["1"])
    desk.target.delete(["1"])
    assert {row["title"] for row in desk.pages()} == {"mine", "mine, too", "Note 3"}
