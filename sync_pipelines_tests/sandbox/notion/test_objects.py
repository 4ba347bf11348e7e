"""The rest of what pages, databases and blocks can do; many clients at once."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from notion_client import Client

from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines_tests.sandbox.notion.conftest import Notes, paragraph
from sync_pipelines_tests.sandbox.notion.refused import refused
from sync_pipelines_tests.sandbox.notion.shapes import problems

WEB = {"type": "external", "external": {"url": "https://example.com/a.png"}}
KINDS = (
    "status", "email", "phone_number", "people", "files", "created_by", "last_edited_by", "last_edited_time",
)  # fmt: skip


@pytest.fixture
def odd(client: Client, hands: WorkspaceControl) -> dict[str, Any]:
    """A page in a data source with a property of each type that the sync does not use."""
    schema: dict[str, Any] = {"T": {"title": {}}, **{kind: {kind: {}} for kind in KINDS}}
    database = client.databases.create(parent={"page_id": hands.page}, initial_data_source={"properties": schema})
    values = {
        "status": {"status": {"name": "Done"}},
        "email": {"email": "ann@example.com"},
        "phone_number": {"phone_number": "+1 555 0100"},
        "people": {"people": [{"id": hands.person}]},
        "files": {"files": [{"name": "a.png", **WEB}]},
    }
    return client.pages.create(
        parent={"data_source_id": database["data_sources"][0]["id"]},
        properties=values,
        icon={"type": "external", "external": {"url": "https://example.com/i.png"}},
        cover=WEB,
    )


def test_properties_of_every_other_type_are_kept_and_answered(odd: dict[str, Any], client: Client):
    assert problems(odd, "PageObjectResponse") == []
    held = odd["properties"]
    assert held["status"]["status"]["name"] == "Done"
    assert held["phone_number"]["phone_number"] == "+1 555 0100"
    assert held["files"]["files"][0]["external"]["url"] == "https://example.com/a.png"
    assert held["created_by"]["created_by"]["id"] == odd["created_by"]["id"]
    source = client.data_sources.retrieve(odd["parent"]["data_source_id"])
    assert problems(source, "DataSourceObjectResponse") == []
    for kind in KINDS:
        item = client.pages.properties.retrieve(odd["id"], held[kind]["id"])
        assert problems(item, "GetPagePropertyResponse") == []
    unknown = {"status": {"status": {"name": "Maybe"}}}
    assert "does not exist" in refused(lambda: client.pages.update(odd["id"], properties=unknown))[2]
    assert refused(lambda: client.pages.properties.retrieve(odd["id"], "nope"))[0] == 404
    emptied = {"status": {"status": None}, "email": {"email": None}, "people": {"people": []}, "files": {"files": []}}
    found = client.pages.update(odd["id"], properties=emptied)
    assert problems(found, "PageObjectResponse") == []
    assert (found["properties"]["status"]["status"], found["properties"]["people"]["people"]) == (None, [])


def test_a_page_gets_and_loses_icon_cover_and_lock(odd: dict[str, Any], client: Client):
    assert (odd["icon"]["type"], odd["cover"]["type"], odd["is_locked"]) == ("external", "external", False)
    found = client.pages.update(odd["id"], icon={"type": "emoji", "emoji": "🗑️"}, is_locked=True)
    assert (found["icon"], found["cover"], found["is_locked"]) == ({"type": "emoji", "emoji": "🗑️"}, WEB, True)
    found = client.pages.update(odd["id"], icon=None, cover=None)
    assert (found["icon"], found["cover"], found["is_locked"]) == (None, None, True)


def test_a_database_is_renamed_trashed_and_restored(notes: Notes):
    text = [{"text": {"content": "Keep"}}]
    found = notes.client.databases.update(notes.database, title=text, description=text, is_inline=True, icon=None)
    assert problems(found, "DatabaseObjectResponse") == []
    assert (found["title"][0]["plain_text"], found["is_inline"]) == ("Keep", True)
    assert notes.client.blocks.retrieve(notes.database)["child_database"] == {"title": "Keep"}
    assert notes.client.databases.update(notes.database, in_trash=True)["in_trash"] is True
    assert refused(lambda: notes.client.databases.update(notes.database, title=text))[0] == 400
    assert notes.client.databases.update(notes.database, in_trash=False)["in_trash"] is False
    source = notes.client.data_sources.update(notes.source, title=text)
    assert source["title"][0]["plain_text"] == "Keep"
    assert notes.client.data_sources.update(notes.source, in_trash=True)["in_trash"] is True
    assert refused(notes.query)[0] == 400
    assert notes.client.databases.retrieve(notes.database)["data_sources"] == []
    notes.client.data_sources.update(notes.source, in_trash=False)
    assert notes.query() == []


def test_files_rows_and_titles_of_blocks_are_updated(notes: Notes):
    page = notes.page()
    row = {"table_row": {"cells": [[], []]}}
    table = {"table": {"table_width": 2, "children": [row]}}
    made = notes.client.blocks.children.append(page, children=[{"image": WEB}, {"file": {**WEB, "name": "x"}}, table])
    image, file, grid = (block["id"] for block in made["results"])
    upload = notes.client.file_uploads.create(filename="b.png", content_type="image/png")["id"]
    notes.client.file_uploads.send(upload, file=("b.png", io.BytesIO(b"x"), "image/png"))
    found = notes.client.blocks.update(image, image={"file_upload": {"id": upload}})
    assert problems(found, "BlockObjectResponse") == []
    assert found["image"]["type"] == "file"
    found = notes.client.blocks.update(file, file={"name": "y", "caption": [{"text": {"content": "c"}}]})
    assert (found["file"]["name"], found["file"]["external"]) == ("y", WEB["external"])
    line = notes.blocks(grid)[0]["id"]
    cell = [{"text": {"content": "cell"}}]
    assert notes.client.blocks.update(line, table_row={"cells": [cell, []]})["table_row"]["cells"][0][0]["href"] is None
    assert "match the table width" in refused(lambda: notes.client.blocks.update(line, table_row={"cells": [cell]}))[2]
    assert notes.client.blocks.update(grid, table={"has_row_header": True})["table"]["has_row_header"] is True
    assert refused(lambda: notes.client.blocks.update(grid, table={"table_width": 3}))[0] == 400
    assert (
        "does not support children"
        in refused(lambda: notes.client.blocks.children.append(image, children=[paragraph("a")]))[2]
    )


def test_mentions_and_annotations_are_answered_whole(notes: Notes):
    page = notes.page()
    runs = [
        {"mention": {"page": {"id": page}}},
        {"mention": {"date": {"start": "2026-01-02", "end": None, "time_zone": None}}},
        {"text": {"content": "red"}, "annotations": {"italic": True, "color": "red_background"}},
    ]
    made = notes.client.blocks.children.append(page, children=[{"quote": {"rich_text": runs}}])
    assert problems(made, "ListBlockChildrenResponse") == []
    assert made["results"][0]["quote"]["rich_text"][2]["annotations"]["color"] == "red_background"
    for wrong in ({"annotations": {}}, {"text": {"content": "a"}, "annotations": {"color": "mauve"}}, {"mention": {}}):
        block = {"quote": {"rich_text": [wrong]}}
        assert refused(lambda block=block: notes.client.blocks.children.append(page, children=[block]))[0] == 400


def test_many_clients_at_once_lose_nothing_and_make_nothing_twice(notes: Notes):
    def work(number: int) -> str:
        client = notes.hands.client()
        page = notes.page(f"N{number:03}", "a")
        label = {"Labels": {"multi_select": [{"name": f"label {number % 5}"}]}}
        client.pages.update(page, properties=label)
        client.blocks.children.append(page, children=[paragraph("b")])
        client.blocks.delete(client.blocks.children.list(page)["results"][0]["id"])
        return page

    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(work, range(60)))
    assert len(set(pages)) == 60
    assert sorted(notes.query()) == [f"N{number:03}" for number in range(60)]
    assert {tuple(notes.texts(page)) for page in pages[:10]} == {("b",)}
    options = notes.client.data_sources.retrieve(notes.source)["properties"]["Labels"]["multi_select"]["options"]
    assert sorted(option["name"] for option in options) == [f"label {number}" for number in range(5)]
    assert notes.hands.summary()["requests"] >= 60 * 5
