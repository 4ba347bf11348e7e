"""Queries find what Notion would find, in its order, page by page; the search, too."""

from __future__ import annotations

from typing import Any

import pytest
from notion_client.helpers import collect_paginated_api, iterate_paginated_api

from sync_pipelines.sandbox.notion.api import Notion
from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines_tests.sandbox.notion.conftest import SCHEMA, Notes
from sync_pipelines_tests.sandbox.notion.refused import refused


def text(value: str) -> dict[str, Any]:
    return {"rich_text": [{"text": {"content": value}}]}


@pytest.fixture
def three(notes: Notes) -> Notes:
    """Three pages: Ant of 10:00, bee of 10:01, Cat of 10:02, which has no values; ant was edited at 10:05."""
    notes.hands.stop_clock("2026-11-26T10:00:30+00:00")
    ant = notes.page(
        "Ant",
        Labels={"multi_select": [{"name": "x"}, {"name": "y"}]},
        Color={"select": {"name": "RED"}},
        Pinned={"checkbox": True},
        Created={"date": {"start": "2026-01-01T12:00:00Z"}},
        Size={"number": 1},
        Link={"url": "https://example.com/a"},
        **{"Keep ID": text("k-1")},
    )
    notes.hands.advance(60)
    notes.page(
        "bee",
        Labels={"multi_select": [{"name": "y"}]},
        Color={"select": {"name": "BLUE"}},
        Created={"date": {"start": "2026-02-01"}},
        Size={"number": 2},
        **{"Keep ID": text("k-2")},
    )
    notes.hands.advance(60)
    notes.page("Cat")
    notes.hands.advance(180)
    notes.hands.set_title(ant, "Ant")
    return notes


FILTERS: list[tuple[str, Any, str]] = [
    ("Name", {"title": {"equals": "ANT"}}, "Ant"),
    ("Name", {"title": {"does_not_equal": "ant"}}, "bee Cat"),
    ("Name", {"title": {"contains": "a"}}, "Ant Cat"),
    ("Name", {"title": {"does_not_contain": "a"}}, "bee"),
    ("Name", {"title": {"starts_with": "b"}}, "bee"),
    ("Name", {"title": {"ends_with": "t"}}, "Ant Cat"),
    ("Keep ID", {"rich_text": {"equals": "k-2"}}, "bee"),
    ("Keep ID", {"rich_text": {"is_empty": True}}, "Cat"),
    ("Keep ID", {"rich_text": {"is_not_empty": True}}, "Ant bee"),
    ("Link", {"url": {"contains": "example"}}, "Ant"),
    ("Size", {"number": {"equals": 1}}, "Ant"),
    ("Size", {"number": {"does_not_equal": 1}}, "bee Cat"),
    ("Size", {"number": {"greater_than": 1}}, "bee"),
    ("Size", {"number": {"less_than_or_equal_to": 1}}, "Ant"),
    ("Size", {"number": {"is_empty": True}}, "Cat"),
    ("Pinned", {"checkbox": {"equals": True}}, "Ant"),
    ("Pinned", {"checkbox": {"does_not_equal": True}}, "bee Cat"),
    ("Color", {"select": {"equals": "RED"}}, "Ant"),
    ("Color", {"select": {"does_not_equal": "RED"}}, "bee Cat"),
    ("Color", {"select": {"is_empty": True}}, "Cat"),
    ("Labels", {"multi_select": {"contains": "y"}}, "Ant bee"),
    ("Labels", {"multi_select": {"does_not_contain": "x"}}, "bee Cat"),
    ("Labels", {"multi_select": {"is_not_empty": True}}, "Ant bee"),
    ("Created", {"date": {"before": "2026-01-02"}}, "Ant"),
    ("Created", {"date": {"equals": "2026-01-01"}}, "Ant"),
    ("Created", {"date": {"on_or_after": "2026-01-01T12:00:00Z"}}, "Ant bee"),
    ("Created", {"date": {"after": "2026-01-01T12:00:00Z"}}, "bee"),
    ("Created", {"date": {"before": "2026-02-01T00:00:01Z"}}, "Ant bee"),
    ("Created", {"date": {"past_year": {}}}, "Ant bee"),
    ("Created", {"date": {"past_month": {}}}, ""),
    ("Created", {"date": {"is_empty": True}}, "Cat"),
    ("Made", {"created_time": {"on_or_before": "2026-11-26T10:01:00Z"}}, "Ant bee"),
    ("created_time", {"created_time": {"after": "2026-11-26T10:00:00Z"}}, "bee Cat"),
    ("created_time", {"created_time": {"before": "2026-11-26T10:01:00Z"}}, "Ant"),
    ("last_edited_time", {"last_edited_time": {"on_or_after": "2026-11-26T10:05:00Z"}}, "Ant"),
    ("last_edited_time", {"last_edited_time": {"on_or_after": "2026-11-27"}}, ""),
]


def test_every_condition_of_a_filter_finds_what_it_says(three: Notes):
    for name, condition, wanted in FILTERS:
        key = "timestamp" if name.endswith("_time") else "property"
        assert " ".join(three.query(filter={key: name, **condition})) == wanted, (name, condition)


def test_filters_are_combined_over_two_levels(three: Notes):
    red = {"property": "Color", "select": {"equals": "RED"}}
    blue = {"property": "Color", "select": {"equals": "BLUE"}}
    big = {"property": "Size", "number": {"greater_than": 1}}
    assert three.query(filter={"and": [{"or": [red, blue]}, big]}) == ["bee"]
    assert three.query(filter={"or": [{"and": [red, big]}, blue]}) == ["bee"]
    deep = {"and": [{"or": [{"and": [red]}]}]}
    assert refused(lambda: three.query(filter=deep))[:2] == (400, "validation_error")


def test_texts_that_are_asked_for_together_are_found_beside_other_conditions(three: Notes):
    def is_text(name: str, kind: str, wanted: str) -> dict[str, Any]:
        return {"property": name, kind: {"equals": wanted}}

    keys = [is_text("Keep ID", "rich_text", wanted) for wanted in ("K-1", "k-9")]
    assert three.query(filter={"or": keys}) == ["Ant"]
    assert three.query(filter={"or": [*keys, is_text("Name", "title", "CAT")]}) == ["Ant", "Cat"]
    assert three.query(filter={"or": [*keys, {"property": "Size", "number": {"equals": 2}}]}) == ["Ant", "bee"]
    assert three.query(filter={"and": [{"or": keys}, is_text("Name", "title", "bee")]}) == []


WRONG: list[tuple[Any, str]] = [
    ({"property": "Mood", "checkbox": {"equals": True}}, "Could not find property with name or id: Mood"),
    ({"property": "Size", "rich_text": {"equals": "1"}}, "database property number does not match filter rich_text"),
    ({"property": "Size", "number": {"contains": 1}}, "should have one of `equals`"),
    ({"property": "Pinned", "checkbox": {"equals": "yes"}}, "should be a boolean"),
    ({"property": "Keep ID", "rich_text": {"is_empty": False}}, "should be `true`"),
    ({"property": "Keep ID", "rich_text": {"equals": "a" * 2001}}, "should be ≤ `2000`, instead was `2001`."),
    ({"timestamp": "made", "made": {"before": "2026-01-01"}}, "should be not present"),
]


def test_filters_that_make_no_sense_are_refused(three: Notes):
    for given, said in WRONG:
        status, code, message = refused(lambda given=given: three.query(filter=given))
        assert (status, code) == (400, "validation_error")
        assert said in message


SORTS: list[tuple[list[dict[str, str]], str]] = [
    ([{"property": "Name", "direction": "descending"}], "bee Cat Ant"),
    ([{"property": "Size", "direction": "descending"}], "bee Ant Cat"),
    ([{"property": "Color", "direction": "ascending"}], "Ant bee Cat"),
    ([{"property": "Created", "direction": "descending"}], "bee Ant Cat"),
    ([{"timestamp": "created_time", "direction": "descending"}], "Cat bee Ant"),
    ([{"timestamp": "last_edited_time", "direction": "ascending"}], "bee Cat Ant"),
    ([{"property": "Pinned", "direction": "ascending"}, {"property": "Size", "direction": "ascending"}], "bee Cat Ant"),
]


def test_sorts_put_first_what_comes_first_and_last_what_has_no_value(three: Notes):
    for sorts, wanted in SORTS:
        assert " ".join(three.query(sorts=sorts)) == wanted, sorts


def test_a_sort_says_its_direction_and_names_what_is_there(three: Notes):
    assert "sorts[0].direction should be" in refused(lambda: three.query(sorts=[{"property": "Name"}]))[2]
    mood = [{"property": "Mood", "direction": "ascending"}]
    assert refused(lambda: three.query(sorts=mood))[2] == "Could not find sort property with name or id: Mood"


def test_filter_properties_leaves_the_others_out(three: Notes):
    schema = three.client.data_sources.retrieve(three.source)["properties"]
    wanted = [schema[name]["id"] for name in ("Name", "Color")]
    found = three.client.data_sources.query(three.source, filter_properties=wanted)["results"]
    assert {tuple(sorted(row["properties"])) for row in found} == {("Color", "Name")}
    page = three.client.pages.retrieve(found[0]["id"], filter_properties=wanted[:1])
    assert list(page["properties"]) == ["Name"]


def test_the_schema_grows_with_its_options_and_can_be_changed(three: Notes):
    def options(name: str) -> list[str]:
        schema = three.client.data_sources.retrieve(three.source)["properties"]
        return [option["name"] for option in schema[name]["multi_select" if name == "Labels" else "select"]["options"]]

    assert (options("Labels"), options("Color")) == (["x", "y"], ["RED", "BLUE"])
    changes = {"Mood": {"checkbox": {}}, "Size": {"name": "Length"}, "Link": None}
    found = three.client.data_sources.update(three.source, properties=changes)["properties"]
    assert {"Mood", "Length"} < set(found)
    assert not {"Size", "Link"} & set(found)
    assert three.query(filter={"property": "Length", "number": {"equals": 1}}) == ["Ant"]
    assert three.query(filter={"property": "Mood", "checkbox": {"equals": False}}) == ["Ant", "bee", "Cat"]
    again = {"Color": {"select": {"options": [{"name": "BLUE"}]}}}
    three.client.data_sources.update(three.source, properties=again)
    assert options("Color") == ["BLUE"]
    assert three.query(filter={"property": "Color", "select": {"is_empty": True}}) == ["Ant", "Cat"]
    for bad in (
        {"Name": None},
        {"Other": None},
        {"T": {"title": {}}},
        {"X": {"poem": {}}},
        {"Mood": {"name": "Length"}},
    ):
        assert refused(lambda bad=bad: three.client.data_sources.update(three.source, properties=bad))[0] == 400
    three.hands.rename_property(three.source, "Keep ID", "Id of Keep")
    three.hands.delete_property(three.source, "Created")
    found = three.client.data_sources.retrieve(three.source)["properties"]
    assert ("Id of Keep" in found, "Keep ID" in found, "Created" in found) == (True, False, False)


def test_another_data_source_of_a_database_has_its_own_rows(notes: Notes):
    made = notes.client.data_sources.create(
        parent={"database_id": notes.database},
        properties={"Title": {"title": {}}},
        title=[{"text": {"content": "Two"}}],
    )
    database = notes.client.databases.retrieve(notes.database)
    assert [one["name"] for one in database["data_sources"]] == ["Notes", "Two"]
    notes.page("One")
    assert notes.client.data_sources.query(made["id"])["results"] == []


def test_lists_come_in_pages_that_the_clients_own_helpers_put_together(notes: Notes):
    page = notes.page("One", *map(str, range(25)))
    for number in range(7):
        notes.page(f"N{number}")
    asked: list[int] = []

    def children(**options: Any) -> Any:
        found = notes.client.blocks.children.list(page, page_size=10, **options)
        asked.append(len(found["results"]))
        return found

    blocks = collect_paginated_api(children)
    assert [block["paragraph"]["rich_text"][0]["plain_text"] for block in blocks] == list(map(str, range(25)))
    assert asked == [10, 10, 5]
    rows = list(iterate_paginated_api(notes.client.data_sources.query, data_source_id=notes.source, page_size=3))
    assert len({row["id"] for row in rows}) == len(rows) == 8
    assert refused(lambda: notes.client.blocks.children.list(page, start_cursor="nonsense"))[0] == 400
    with pytest.raises(Exception, match="start_cursor provided is invalid"):
        notes.query(start_cursor=blocks[0]["id"])


def test_a_size_is_made_to_fit_or_refused_as_each_list_does_it(notes: Notes):
    page = notes.page("One", "a", "b")
    listed = notes.client.blocks.children.list
    assert [len(listed(page, page_size=size)["results"]) for size in (0, 101, 1)] == [2, 2, 1]
    none = listed(page, page_size=-1)
    assert (none["results"], none["has_more"], none["next_cursor"]) == ([], True, notes.blocks(page)[0]["id"])
    assert notes.query(page_size=1000) == ["One"]
    said = "body failed validation: body.page_size should be ≥ `1`, instead was `0`."
    assert refused(lambda: notes.query(page_size=0))[2] == said
    said = "query failed validation: query.page_size should be ≤ `100`, instead was `101`."
    assert refused(lambda: notes.client.comments.list(block_id=page, page_size=101))[2] == said


def test_a_cursor_of_blocks_is_the_next_one_and_invalid_when_that_is_gone(notes: Notes):
    page = notes.page("One", "a", "b", "c")
    blocks = [block["id"] for block in notes.blocks(page)]
    cursor = notes.client.blocks.children.list(page, page_size=1)["next_cursor"]
    assert cursor == blocks[1]
    notes.hands.delete_block(cursor)
    said = f"The start_cursor provided is invalid: {cursor}"
    assert refused(lambda: notes.client.blocks.children.list(page, start_cursor=cursor))[2] == said


def test_a_list_goes_on_where_it_was_although_rows_leave_meanwhile(notes: Notes):
    for number in range(6):
        notes.page(f"N{number}")
    first = notes.client.data_sources.query(notes.source, page_size=2)
    notes.hands.trash_page(first["results"][0]["id"])
    assert notes.query(start_cursor=first["next_cursor"]) == ["N2", "N3", "N4", "N5"]
    notes.hands.trash_page(first["next_cursor"].rpartition(":")[2])
    assert notes.query(start_cursor=first["next_cursor"]) == ["N3", "N4", "N5"]


def test_the_search_finds_titles_of_what_is_shared_and_not_in_the_trash(notes: Notes):
    page = notes.page("Shopping list")
    notes.hands.trash_page(notes.page("Old shopping"))
    hidden = notes.page("Shopping in secret")
    notes.hands.unshare(notes.hands.token, hidden)
    found = notes.client.search(query="shop", filter={"property": "object", "value": "page"})
    assert [one["id"] for one in found["results"]] == [page]
    kinds = [one["object"] for one in notes.client.search()["results"]]
    assert sorted(set(kinds)) == ["data_source", "page"]


@pytest.mark.slow
def test_a_query_ends_after_10000_rows_and_says_so():
    with Notion(key="ntn_many") as notion:
        hands = WorkspaceControl.new(notion.url, notion.key)
        client = hands.client()
        made = client.databases.create(
            parent={"page_id": hands.page}, title=[], initial_data_source={"properties": SCHEMA}
        )
        source = made["data_sources"][0]["id"]
        held = notion._workspaces[hands.workspace]
        for number in range(10_005):
            held.add_page(held.sources[source], hands.person, title=str(number))
        pages = []
        cursor = None
        while not pages or pages[-1]["has_more"]:
            pages.append(client.data_sources.query(source, **({"start_cursor": cursor} if cursor else {})))
            cursor = pages[-1]["next_cursor"]
        assert sum(len(page["results"]) for page in pages) == 10_000
        end = {"type": "incomplete", "incomplete_reason": "query_result_limit_reached"}
        assert [page.get("request_status") for page in pages] == [None] * 99 + [end]
        only = client.data_sources.query(source, filter={"property": "Name", "title": {"equals": "10004"}})
        assert (len(only["results"]), "request_status" in only) == (1, False)
