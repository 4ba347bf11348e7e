"""Each limit of Notion holds, with the status, code and message that Notion has for it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines_tests.sandbox.notion.conftest import Notes, paragraph, text_of
from sync_pipelines_tests.sandbox.notion.refused import refused

SAY = "body failed validation: body."
RUN = {"text": {"content": "a"}}
LONG_URL = "https://example.com/" + "a" * 1981
LINKED = {"text": {"content": "a", "link": {"url": LONG_URL}}}
ROW = {"table_row": {"cells": [[]]}}
LABEL = {"Labels": {"multi_select": [{"name": "new"}]}}
OPTIONS = [{"name": str(number)} for number in range(101)]


def link_to(url: str) -> dict[str, Any]:
    return {"text": {"content": "a", "link": {"url": url}}}


def words(*runs: Any) -> dict[str, Any]:
    return {"paragraph": {"rich_text": list(runs)}}


def nested(levels: int) -> dict[str, Any]:
    found = paragraph("deepest")
    for _ in range(levels):
        found = {"to_do": {"rich_text": [RUN], "children": [found]}}
    return found


AT = "children[0].paragraph.rich_text"
LONGER = "should be ≤ `2000`, instead was `2001`."
TOO_MUCH: dict[str, tuple[list[dict[str, Any]], str]] = {
    "text": ([paragraph("a" * 2001)], f"{SAY}{AT}[0].text.content.length {LONGER}"),
    "emoji": ([paragraph("a" + "😀" * 1000)], f"{SAY}{AT}[0].text.content.length {LONGER}"),
    "url": ([words(LINKED)], f"{SAY}{AT}[0].text.link.url.length {LONGER}"),
    "bookmark": ([{"bookmark": {"url": LONG_URL}}], f"{SAY}children[0].bookmark.url.length {LONGER}"),
    "runs": ([words(*[RUN] * 101)], f"{SAY}{AT}.length should be ≤ `100`, instead was `101`."),
    "children": ([paragraph("a")] * 101, f"{SAY}children.length should be ≤ `100`, instead was `101`."),
    "nested children": (
        [{"toggle": {"rich_text": [], "children": [paragraph("a")] * 101}}],
        f"{SAY}children[0].toggle.children.length should be ≤ `100`, instead was `101`.",
    ),
    "blocks": (
        [{"toggle": {"rich_text": [], "children": [paragraph("a")] * 99}}] * 11,
        f"{SAY}children with all nested blocks should be ≤ `1000`, instead was `1100`.",
    ),
    "levels": (
        [nested(3)],
        f"{SAY}children[0].to_do.children[0].to_do.children[0].to_do.children should be not present, instead was",
    ),
    "expression": ([{"equation": {"expression": "x" * 1001}}], "equation.expression.length should be ≤ `1000`"),
    "unknown type": ([{"type": "poem", "poem": {}}], f"{SAY}children[0].type should be"),
    "two types": ([{"quote": {"rich_text": []}, "code": {}}], f"{SAY}children[0].code should be not present"),
    "unknown field": ([{"divider": {"width": 5}}], f"{SAY}children[0].divider.width should be not present"),
    "no text": ([{"paragraph": {}}], f"{SAY}{AT} should be defined, instead was `undefined`."),
    "no number": ([words({"text": {"content": 5}})], f"{SAY}{AT}[0].text.content should be a string, instead was `5`."),
    "color": ([{"quote": {"rich_text": [], "color": "mauve"}}], 'instead was `"mauve"`.'),
    "children of a divider": ([{"divider": {"children": [paragraph("a")]}}], "divider.children should be not present"),
    "a row outside": ([{"table_row": {"cells": []}}], "table_row cannot be a child of a block of type child_page"),
    "cells": ([{"table": {"table_width": 2, "children": [ROW]}}], "must match the table width"),
    "link": ([words({"text": {"content": "a", "link": {"url": "no url"}}})], "Invalid URL for link."),
    "blank in a host": ([words(link_to("http://exa mple.com/"))], "Invalid URL for link."),
    "script": ([words({"text": {"content": "a", "link": {"url": "javascript:x"}}})], "Invalid URL for link."),
    "NUL": ([paragraph("a\x00b")], "should be a string without NUL"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_too_much_or_unknown_in_blocks_is_refused_as_a_whole(name: str, notes: Notes):
    children, said = TOO_MUCH[name]
    page = notes.page()
    status, code, message = refused(lambda: notes.client.blocks.children.append(page, children=children))
    assert (status, code) == (400, "validation_error")
    assert said in message
    assert notes.blocks(page) == []
    assert refused(
        lambda: notes.client.pages.create(parent={"data_source_id": notes.source}, properties=LABEL, children=children)
    ) == (status, code, message)
    assert len(notes.query()) == 1
    schema = notes.client.data_sources.retrieve(notes.source)["properties"]
    assert schema["Labels"]["multi_select"]["options"] == []


FITS: dict[str, list[dict[str, Any]]] = {
    "text": [paragraph("a" * 2000)],
    "emoji": [paragraph("😀" * 1000)],
    "url": [words({"text": {"content": "a", "link": {"url": LONG_URL[:-1]}}})],
    "runs": [words(*[RUN] * 100)],
    "children": [paragraph("a")] * 100,
    "blocks": [{"toggle": {"rich_text": [], "children": [paragraph("a")] * 99}}] * 10,
    "levels": [nested(2)],
    "signs": [paragraph("\x01\x1b\u202e\u200f tab\t line\n")],
}


@pytest.mark.parametrize("name", FITS)
def test_what_just_fits_is_taken_and_kept_as_it_is(name: str, notes: Notes):
    page = notes.page()
    notes.client.blocks.children.append(page, children=FITS[name])
    first = FITS[name][0]
    kind = next(key for key in first if key != "type")
    wanted = "".join(run["text"]["content"] for run in first[kind]["rich_text"])
    assert notes.texts(page)[0] == wanted
    assert len(notes.blocks(page)) == len(FITS[name])


VALUES: dict[str, tuple[str, Any, str]] = {
    "unknown": ("Mood", {"checkbox": True}, "Could not find property with name or id: Mood"),
    "type": ("Pinned", {"number": 1}, "Pinned is expected to be checkbox."),
    "read only": ("Made", {"created_time": "2026-01-01"}, "cannot be updated"),
    "comma": ("Labels", {"multi_select": [{"name": "a,b"}]}, "Invalid select option, commas not allowed: a,b"),
    "options": ("Labels", {"multi_select": OPTIONS}, "should be ≤ `100`, instead was `101`."),
    "option": ("Color", {"select": {"name": "a" * 101}}, "select.name.length should be ≤ `100`, instead was `101`."),
    "url": ("Link", {"url": LONG_URL}, "Link.url.length should be ≤ `2000`, instead was `2001`."),
    "runs": ("Keep ID", {"rich_text": [RUN] * 101}, "Keep ID.rich_text.length should be ≤ `100`, instead was `101`."),
    "date": ("Created", {"date": {"start": "yesterday"}}, "should be a valid ISO 8601 date string"),
    "number": ("Size", {"number": "5"}, 'should be a number, instead was `"5"`.'),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_a_property_cannot_have_is_refused_and_nothing_of_it_is_kept(name: str, notes: Notes):
    prop, value, said = VALUES[name]
    page = notes.page("One")
    schema = notes.client.data_sources.retrieve(notes.source)["properties"]
    changes = {"Name": {"title": [{"text": {"content": "Two"}}]}, prop: value}
    status, code, message = refused(lambda: notes.client.pages.update(page, properties=changes))
    assert (status, code) == (400, "validation_error")
    assert said in message
    assert notes.query() == ["One"]
    assert notes.client.data_sources.retrieve(notes.source)["properties"] == schema


def post(notes: Notes, path: str, content: bytes, **headers: str) -> httpx.Response:
    usual = {"Authorization": f"Bearer {notes.hands.token}", "Notion-Version": "2025-09-03"}
    with httpx.Client(base_url=notes.hands.url, verify=False, trust_env=False) as wire:
        return wire.post(path, content=content, headers={**usual, **headers})


def test_a_body_over_500_kib_meets_an_error_of_another_shape(notes: Notes):
    text = paragraph("a" * 1990)
    body = {"parent": {"data_source_id": notes.source}, "properties": {}}
    children = [{"toggle": {"rich_text": [], "children": [text] * 100}}] * 3
    answer = post(notes, "/v1/pages", json.dumps({**body, "children": children}).encode())
    assert answer.status_code == 413
    assert answer.json()["isNotionError"] is False
    assert answer.json()["code"] == 413
    assert notes.query() == []
    assert post(notes, "/v1/pages", json.dumps({**body, "children": children[:2]}).encode()).status_code == 200


def test_what_is_no_json_no_endpoint_and_no_version_is_refused(notes: Notes):
    assert post(notes, "/v1/pages", b"{").json()["code"] == "invalid_json"
    assert post(notes, "/v1/poems", b"{}").json()["code"] == "invalid_request_url"
    for version, code in (("2022-06-28", "validation_error"), ("2022-06-29", "missing_version")):
        assert post(notes, "/v1/search", b"{}", **{"Notion-Version": version}).json()["code"] == code
    assert "2025-09-03" in post(notes, "/v1/search", b"{}", **{"Notion-Version": "x"}).json()["message"]
    for words, said in (("Bearer nope", "API token is invalid."), ("nope", 'use the format "Bearer <token>".')):
        answer = post(notes, "/v1/search", b"{}", Authorization=words)
        assert answer.status_code == 401
        assert answer.json()["message"].endswith(said)
    long = refused(lambda: notes.client.search(filter={"property": "object", "value": "😀" * 60}))[2]
    assert long.endswith('instead was `"' + "😀" * 27 + "...`.")
    with httpx.Client(verify=False, trust_env=False) as wire:
        headers = {"Authorization": f"Bearer {notes.hands.token}"}
        answer = wire.get(f"{notes.hands.url}/v1/users/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "missing_version")
    assert answer.headers["x-notion-request-id"] == answer.json()["request_id"]


def test_the_date_of_an_answer_is_that_of_the_workspace(notes: Notes):
    notes.hands.stop_clock("2030-01-02T03:04:05+00:00")
    assert post(notes, "/v1/search", b"{}").headers["date"] == "Wed, 02 Jan 2030 03:04:05 GMT"


def test_a_free_workspace_makes_1000_blocks_and_deletion_gives_none_back(notion_server: Any):
    hands = notion_server.workspace(free=True)
    client = hands.client()
    made = hands.blocks_made()
    for _ in range((1000 - made) // 100):
        found = client.blocks.children.append(hands.page, children=[paragraph("a")] * 100)
    left = 1000 - hands.blocks_made()
    assert 0 < left < 100
    client.blocks.delete(found["results"][0]["id"])
    hands.empty_trash()
    status, code, message = refused(
        lambda: client.blocks.children.append(hands.page, children=[paragraph("a")] * (left + 1))
    )
    assert (status, code) == (400, "validation_error")
    assert "of its 1000 blocks" in message
    client.blocks.children.append(hands.page, children=[paragraph("a")] * left)
    assert (
        "of its 1000 blocks"
        in refused(lambda: client.pages.create(parent={"page_id": hands.page}, properties={"title": [RUN]}))[2]
    )


def test_empty_runs_vanish_and_runs_that_look_alike_can_be_answered_as_one(notion_server: Any):
    bold = {**RUN, "annotations": {"bold": True}}
    children = [words({"text": {"content": ""}}, RUN, RUN, bold)]
    for merge, runs in ((False, ["a", "a", "a"]), (True, ["aa", "a"])):
        hands: WorkspaceControl = notion_server.workspace(merge_runs=merge)
        client = hands.client()
        made = client.blocks.children.append(hands.page, children=children)["results"][0]
        assert [run["plain_text"] for run in made["paragraph"]["rich_text"]] == runs
        assert text_of(made["paragraph"]["rich_text"]) == "aaa"


def test_dates_keep_hours_and_minutes_and_answer_with_an_offset(notes: Notes):
    for given, kept in (
        ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:00.000+00:00"),
        ("2026-01-02T03:04:59+10:00", "2026-01-02T03:04:00.000+10:00"),
        ("2026-01-02", "2026-01-02"),
    ):
        page = notes.page("One", Created={"date": {"start": given}})
        assert notes.client.pages.retrieve(page)["properties"]["Created"]["date"]["start"] == kept
