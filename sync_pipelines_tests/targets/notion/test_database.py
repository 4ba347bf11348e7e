"""The database itself: which one is ours, and what its properties become."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sync_pipelines.engine.errors import RunError
from sync_pipelines.targets.notion.properties import NAMES, Columns
from sync_pipelines_tests.targets.notion.conftest import Desk, batch_of, note


def test_a_database_of_ours_with_another_title_is_not_taken_for_this_one(desk: Desk):
    first = desk.target.source_id
    desk.ledger.forget_pages("notes", "pages:ann")
    other = desk.make(title="Recipes")
    other.prepare()
    assert other.source_id != first
    desk.ledger.forget_pages("notes", "pages:ann")
    again = desk.make()
    again.prepare()
    assert again.source_id == first


@pytest.mark.parametrize("again", ["prepare", "by hand"])
def test_what_pages_lose_with_a_property_of_their_database_is_no_edit_of_theirs_and_comes_back(desk: Desk, again: str):
    desk.bring(note(), note("2", labels=[]), note("3", labels=["home", "work"]))
    right = desk.prints()
    desk.later()
    source = desk.target.source_id
    desk.hands.rename_property(source, "Labels", "Tags")
    if again == "prepare":
        desk.target.prepare()
    else:
        foreign = desk.make(data_source=source)
        found = foreign.records.database()
        assert found is not None
        foreign.records.keep_database(replace(found, made=False))
        with pytest.raises(RunError, match=r"'Labels' \(multi_select\)"):
            foreign.prepare()
        desk.hands.client().data_sources.update(source, properties={"Labels": {"multi_select": {}}})
        foreign.prepare()
        assert foreign.was_lacking == "the Notion database lacked 'Labels'"
        foreign.prepare()
        assert foreign.was_lacking is None
    found = desk.prints()
    assert [key for key, mark in right.items() if found[key] != mark] == ["1", "3"]
    assert not desk.target.excused(batch_of(note(), note("3", labels=["home", "work"])))
    assert desk.bring(note(), note("2", labels=[]), note("3", labels=["home", "work"])).counts.upserted == 2
    assert desk.prints() == right
    assert desk.holds(note(), note("2", labels=[]), note("3", labels=["home", "work"]))


def test_a_property_that_somebody_renamed_and_called_so_again_has_changed_no_page(desk: Desk):
    desk.bring(note(), note("2"))
    desk.later()
    source, held = desk.target.source_id, desk.target.records.database()
    assert held is not None
    desk.target.records.keep_database(replace(held, made=False))
    desk.target = desk.make(data_source=source)
    desk.hands.rename_property(source, "Labels", "Tags")
    with pytest.raises(RunError, match=r"'Labels' \(multi_select\)"):
        desk.target.prepare()
    desk.hands.rename_property(source, "Tags", "Labels")
    desk.target.prepare()
    assert desk.target.was_lacking is None
    result = desk.bring(note(labels=["work"]), note("2"))
    assert (result.counts.upserted, result.counts.unchanged, result.disputes) == (1, 1, [])
    assert desk.holds(note(labels=["work"]), note("2"))


def test_of_a_database_with_several_data_sources_the_one_for_notes_is_named_by_its_id(desk: Desk):
    client, made = desk.hands.client(), desk.target.records.database()
    assert made is not None
    other = client.data_sources.create(
        parent={"type": "database_id", "database_id": made.database},
        properties=desk.target.settings.columns.schema(),
        title=[{"type": "text", "text": {"content": "Notes"}}],
    )
    desk.ledger.forget_pages("notes", "pages:ann")
    with pytest.raises(RunError, match=f"has 2 data sources: .*{other['id']}") as caught:
        desk.make(parent_page=None, database=made.database).prepare()
    assert "`sync-pipelines users set ann --database ID`" in str(caught.value)
    desk.target = desk.make(parent_page=None, database=other["id"])
    for _ in range(2):
        desk.target.prepare()
        desk.bring(note())
    assert desk.target.source_id == other["id"]
    assert desk.holds(note())


def test_a_database_whose_every_property_is_mapped_is_kept_as_one_of_the_syncs_own(desk: Desk):
    columns = Columns({item: f"{item}, {name}" for item, name in NAMES.items()})
    # somebody's own, called as the sync's would be; none of its business
    theirs = {name: {"rich_text": {}} for name in NAMES.values()}
    parent = {"type": "page_id", "page_id": desk.hands.page}
    given = {"properties": columns.schema() | theirs}
    made = desk.hands.client().databases.create(parent=parent, initial_data_source=given)
    usual = {"parent_page": None, "database": made["id"], "columns": columns}
    desk.target = desk.make(**usual)
    desk.target.prepare()
    desk.hands.fault("drop", endpoint="pages.create", effect=True, times=1)
    desk.bring(note(), note("2"))
    desk.forget()
    desk.bring(note(), note("2"))
    assert (desk.writes(), desk.target.doubles(), len(desk.pages())) == ([], {}, 2)
    assert desk.holds(note(), note("2"))
    changed = note(title="Another", labels=["work"], color=None, pinned=True, archived=True, trashed=True)
    desk.bring(changed)
    assert desk.holds(changed, note("2"))
    assert desk.target.delete(["1"]).deleted == 1
    assert (desk.target.count(), set(desk.prints())) == (1, {"2"})
    desk.later()
    desk.bring(changed)
    assert desk.holds(changed, note("2"))
    pages = {row["properties"][columns.name("key")]["rich_text"][0]["plain_text"]: row["id"] for row in _listed(desk)}
    mine = {"Labels": {"rich_text": [{"text": {"content": "mine"}}]}}
    desk.hands.client().pages.update(pages["2"], properties=mine)
    desk.target = desk.make(on_delete="trash", **usual)
    assert desk.target.delete(["1", "2"]).deleted == 2
    assert [row["id"] for row in _listed(desk)] == [pages["2"]]


def _listed(desk: Desk) -> list[dict[str, Any]]:
    return desk.hands.client().data_sources.query(desk.target.source_id)["results"]
