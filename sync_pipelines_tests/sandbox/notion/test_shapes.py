"""Answers have the whole shape that Notion's own client declares, for every kind of object and block."""

from __future__ import annotations

import io
from typing import Any

import pytest
from notion_client import Client
from notion_client import helpers as notion

from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines_tests.sandbox.notion.conftest import Notes, paragraph
from sync_pipelines_tests.sandbox.notion.shapes import problems

TEXT = [{"text": {"content": "A line"}}]
WORDS = {"rich_text": TEXT}
WEB = {"external": {"url": "https://example.com/a.pdf"}}
LINKED = {"url": "https://example.com/", "caption": TEXT}
ROW = {"table_row": {"cells": [TEXT, []]}}
COLUMNS = [{"column": {"children": [paragraph("left")]}}, {"column": {"children": [paragraph("right")]}}]

BLOCKS: dict[str, dict[str, Any]] = {
    "paragraph": WORDS,
    "heading_1": WORDS,
    "heading_2": {**WORDS, "is_toggleable": True, "color": "red"},
    "heading_3": WORDS,
    "to_do": {**WORDS, "checked": True, "children": [{"to_do": WORDS}]},
    "bulleted_list_item": WORDS,
    "numbered_list_item": WORDS,
    "toggle": WORDS,
    "quote": WORDS,
    "callout": {**WORDS, "icon": {"emoji": "💡"}},
    "code": {**WORDS, "language": "python"},
    "equation": {"expression": "e=mc^2"},
    "divider": {},
    "breadcrumb": {},
    "table_of_contents": {},
    "bookmark": LINKED,
    "embed": LINKED,
    "image": WEB,
    "video": WEB,
    "pdf": WEB,
    "audio": WEB,
    "file": {**WEB, "name": "a.pdf"},
    "table": {"table_width": 2, "children": [ROW, ROW]},
    "column_list": {"children": COLUMNS},
    "synced_block": {"synced_from": None, "children": [paragraph("twice")]},
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_of_each_type_has_all_fields_and_is_answered_alike_everywhere(kind: str, notes: Notes):
    page = notes.page()
    made = notes.client.blocks.children.append(page, children=[{"type": kind, kind: BLOCKS[kind]}])
    assert problems(made, "ListBlockChildrenResponse") == []
    block = made["results"][0]
    assert notion.is_full_block(block)
    assert (block["type"], block["parent"]) == (kind, {"type": "page_id", "page_id": page})
    assert block["has_children"] == ("children" in BLOCKS[kind])
    again = notes.client.blocks.retrieve(block["id"])
    assert {**again, "request_id": None} == {**block, "request_id": None}
    assert notes.blocks(page) == [block]


def test_pages_data_sources_and_databases_have_all_fields(notes: Notes):
    page = notes.client.pages.create(
        parent={"data_source_id": notes.source},
        icon={"emoji": "🗒️"},
        properties={
            "Name": {"title": [{"text": {"content": "One", "link": {"url": "https://example.com/"}}}]},
            "Keep ID": {"rich_text": [{"equation": {"expression": "x"}, "annotations": {"bold": True}}]},
            "Labels": {"multi_select": [{"name": "a"}, {"name": "b"}]},
            "Color": {"select": {"name": "RED"}},
            "Pinned": {"checkbox": True},
            "Created": {"date": {"start": "2026-01-02T03:04:05Z"}},
            "Size": {"number": 1.5},
        },
    )
    assert problems(page, "PageObjectResponse") == []
    assert notion.is_full_page(page)
    source = notes.client.data_sources.retrieve(notes.source)
    assert problems(source, "DataSourceObjectResponse") == []
    assert notion.is_full_data_source(source)
    database = notes.client.databases.retrieve(notes.database)
    assert problems(database, "DatabaseObjectResponse") == []
    assert notion.is_full_database(database)
    assert problems(notes.client.data_sources.query(notes.source), "QueryDataSourceResponse") == []
    found = notes.client.search(query="Notes", filter={"property": "object", "value": "data_source"})
    assert problems(found, "SearchResponse") == []
    assert [one["id"] for one in found["results"]] == [notes.source]


def test_users_comments_and_uploads_have_all_fields(client: Client, hands: WorkspaceControl):
    users = client.users.list()
    assert problems(users, "ListUsersResponse") == []
    assert {one["type"] for one in users["results"]} == {"person", "bot"}
    me = client.users.me()
    assert problems(me, "UserObjectResponse") == []
    assert (me["id"], notion.is_full_user(me)) == (hands.bot, True)
    assert client.users.retrieve(hands.person)["person"]["email"].endswith("@example.com")
    comment = client.comments.create(parent={"page_id": hands.page}, rich_text=TEXT)
    assert problems(comment, "CommentObjectResponse") == []
    assert problems(client.comments.list(block_id=hands.page), "ListCommentsResponse") == []
    upload = client.file_uploads.create(filename="a.txt", content_type="text/plain")
    assert problems(upload, "FileUploadObjectResponse") == []
    sent = client.file_uploads.send(upload["id"], file=("a.txt", io.BytesIO(b"words"), "text/plain"))
    assert problems(sent, "FileUploadObjectResponse") == []
    assert (sent["status"], sent["content_length"]) == ("uploaded", 5)


@pytest.mark.parametrize("name", ["Name", "Keep ID", "Labels", "Color", "Pinned", "Created", "Size", "Link", "Made"])
def test_a_property_can_be_asked_for_by_itself(name: str, notes: Notes):
    page = notes.page("One", **{"Keep ID": {"rich_text": TEXT}})
    found = notes.client.pages.retrieve(page)["properties"][name]
    item = notes.client.pages.properties.retrieve(page, found["id"])
    assert problems(item, "GetPagePropertyResponse") == []
    if item["object"] == "list":
        assert [one[one["type"]] for one in item["results"]] == found[found["type"]]
    else:
        assert item[item["type"]] == found[found["type"]]


def test_a_shape_tells_of_what_is_missing_unknown_and_of_another_type(client: Client):
    me = client.users.me()
    assert problems({**me, "name": 5}, "UserObjectResponse") == ["UserObjectResponse.name is 5, not 'string'"]
    assert problems({**me, "age": 5}, "UserObjectResponse") == ["UserObjectResponse.age is unknown"]
    del me["avatar_url"]
    assert problems(me, "UserObjectResponse") == ["UserObjectResponse.avatar_url is missing"]
