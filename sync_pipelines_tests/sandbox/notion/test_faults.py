"""Trouble on demand: each kind, at each place, before the effect and after it; the limits of a rate; permissions."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from notion_client import Client
from notion_client.client import RetryOptions
from notion_client.errors import APIResponseError, RequestTimeoutError

from sync_pipelines.sandbox.notion.control import WorkspaceControl
from sync_pipelines.sandbox.notion.faults import Fault
from sync_pipelines.sandbox.notion.server import NotionServer
from sync_pipelines.sandbox.stand_ins.control import Refused
from sync_pipelines.sandbox.stand_ins.control import ask as ask_control
from sync_pipelines.sandbox.stand_ins.seen import Limit, most_within
from sync_pipelines_tests.sandbox.notion.conftest import Notes, paragraph
from sync_pipelines_tests.sandbox.notion.refused import refused

UNKNOWN = "notionhq_client_response_error"
STATUSES = {
    "400": "validation_error",
    "401": "unauthorized",
    "403": "restricted_resource",
    "404": "object_not_found",
    "409": "conflict_error",
    "429": "rate_limited",
    "500": "internal_server_error",
    "502": UNKNOWN,
    "503": "service_unavailable",
    "504": "gateway_timeout",
    "529": UNKNOWN,
}
WIRES: dict[str, type[Exception]] = {
    "drop": httpx.RemoteProtocolError,
    "cut": httpx.RemoteProtocolError,
    "html": json.JSONDecodeError,
    "text": json.JSONDecodeError,
    "hold": httpx.RemoteProtocolError,
    "slow": RequestTimeoutError,
}


@pytest.mark.parametrize("kind", STATUSES)
@pytest.mark.parametrize("effect", [False, True])
def test_a_status_comes_instead_of_the_answer_with_the_effect_or_without(kind: str, effect: bool, notes: Notes):
    notes.hands.fault(kind, effect=effect, times=1)
    status, code, message = refused(lambda: notes.page("One"))
    assert (status, code) == (int(kind), STATUSES[kind])
    assert message
    assert notes.query() == (["One"] if effect else [])


@pytest.mark.parametrize("kind", WIRES)
@pytest.mark.parametrize("effect", [False, True])
def test_the_wire_fails_with_the_effect_or_without(kind: str, effect: bool, notes: Notes):
    client = notes.hands.client(timeout_ms=150 if kind == "slow" else 5000)
    notes.hands.fault(kind, effect=effect, times=1, seconds=0.3)
    with pytest.raises(WIRES[kind]):
        client.blocks.children.append(notes.hands.page, children=[paragraph("a")])
    assert ("a" in notes.texts(notes.hands.page)) is effect


def test_an_answer_in_pieces_arrives(notes: Notes):
    notes.hands.fault("drip", times=1, seconds=0.1)
    before = time.monotonic()
    assert notes.client.users.me()["id"] == notes.hands.bot
    assert time.monotonic() - before >= 0.08


def test_a_fault_meets_the_nth_request_that_fits(notes: Notes):
    notes.hands.fault("500", endpoint="pages.create", at=2)
    notes.hands.fault("502", endpoint="blocks", at=1)
    page = notes.page("One")
    assert refused(lambda: notes.page("Two"))[0] == 500
    notes.page("Three")
    assert refused(lambda: notes.blocks(page))[0] == 502
    assert notes.query() == ["One", "Three"]
    notes.hands.fault("404", key=page, times=1)
    assert notes.client.pages.retrieve(notes.page("Four"))["object"] == "page"
    assert refused(lambda: notes.client.pages.retrieve(page))[0] == 404
    notes.hands.fault("409")
    notes.hands.clear_faults()
    assert len(notes.query()) == 3


@pytest.mark.parametrize("number", range(1, 5))
def test_each_boundary_of_a_series_of_requests_can_be_met(number: int, notes: Notes):
    def series() -> None:
        page = notes.page("One", "a")
        block = notes.blocks(page)[0]["id"]
        notes.client.blocks.update(block, paragraph={"rich_text": []})
        notes.client.pages.update(page, in_trash=True)

    notes.hands.fault("drop", at=number, effect=True)
    with pytest.raises(httpx.RemoteProtocolError):
        series()
    assert len(notes.query() + notes.query(in_trash=True)) == 1
    assert (notes.query() == []) is (number == 4)


def test_a_request_is_held_until_it_is_let_go(notes: Notes):
    notes.hands.fault("hold", endpoint="pages.create", seconds=60, effect=True)
    failed: list[Exception] = []

    def create() -> None:
        try:
            notes.page("One")
        except httpx.RemoteProtocolError as error:
            failed.append(error)

    waiting = threading.Thread(target=create)
    waiting.start()
    deadline = time.monotonic() + 10
    while not notes.hands.held():
        assert time.monotonic() < deadline
    assert notes.hands.pages(notes.source)[0]["title"] == "One"
    assert failed == []
    notes.hands.clear_faults()
    waiting.join(10)
    assert len(failed) == 1


def test_a_fault_that_is_none_is_refused(hands: WorkspaceControl):
    with pytest.raises(Refused, match="'teapot' is none of 400, 401"):
        hands.fault("teapot")
    assert Fault("cut").effect is True
    assert Fault("504").effect is False


def test_what_exceeds_the_rate_is_refused_with_the_time_to_wait(notes: Notes):
    notes.hands.limit(3, window=60)
    assert [notes.client.users.me()["id"] for _ in range(3)] == [notes.hands.bot] * 3
    with pytest.raises(Exception, match="rate limited") as caught:
        notes.client.users.me()
    assert 55 <= int(caught.value.headers["Retry-After"]) <= 60  # ty: ignore[unresolved-attribute]
    summary = notes.hands.summary()
    assert (summary["limited"], summary["statuses"]["429"]) == (1, 1)
    assert refused(lambda: notes.page("One"))[0] == 429
    notes.hands.limit(None)
    assert notes.query() == []


@pytest.mark.parametrize("asked", ["90", "soon", "date:90"])
def test_a_refusal_can_ask_for_more_than_a_minute_or_for_nonsense(asked: str, notes: Notes):
    notes.hands.limit(1, window=60, retry_after=asked)
    notes.client.users.me()
    with pytest.raises(Exception, match="rate limited") as caught:
        notes.client.users.me()
    said = caught.value.headers["Retry-After"]  # ty: ignore[unresolved-attribute]
    assert said == asked or (asked == "date:90" and said.endswith("GMT"))


def test_the_rate_is_that_of_a_connection_in_any_window(notes: Notes):
    other = notes.hands.connect("Second", shared=[notes.hands.page])
    second = notes.hands.client(auth=other["token"])
    notes.hands.limit(5, window=0.3)
    notes.hands.clear_requests()

    def ask(client: Client) -> int:
        try:
            return len(client.users.me()) and 200
        except APIResponseError as error:
            return error.status

    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(lambda _: ask(notes.client), range(40)))
        two = list(pool.map(lambda _: ask(second), range(40)))
    assert set(first) == set(two) == {200, 429}
    assert 5 <= first.count(200) < 40
    assert 5 <= two.count(200) < 40
    passed = [one["at"] for one in notes.hands.requests() if one["status"] == 200]
    assert len(passed) == first.count(200) + two.count(200)
    assert most_within(passed, 0.3) <= 10


def test_a_limit_has_a_window_and_may_be_that_of_one_connection(notes: Notes):
    limit = Limit()
    limit.set(2, window=0.5)
    assert [limit.allows(at) for at in (0.0, 0.2, 0.4, 0.5, 0.6, 0.71)] == [True, True, False, True, False, True]
    assert limit.wait(0.75) == pytest.approx(0.25)
    other = notes.hands.connect("Second")["token"]
    notes.hands.limit(1, window=60, token=other)
    second = notes.hands.client(auth=other)
    second.users.me()
    assert refused(second.users.me)[0] == 429
    assert [notes.client.users.me()["id"] for _ in range(3)] == [notes.hands.bot] * 3


def test_the_clients_own_retries_get_over_a_limit(notes: Notes):
    client = notes.hands.client(retry=RetryOptions(max_retries=3, initial_retry_delay_ms=10))
    notes.hands.fault("429", times=2, retry_after="0")
    assert client.users.me()["id"] == notes.hands.bot
    notes.hands.fault("500", times=1)
    assert client.users.me()["id"] == notes.hands.bot


def test_what_was_asked_is_on_record(notes: Notes):
    notes.hands.clear_requests()
    page = notes.page("One")
    refused(lambda: notes.client.pages.update(page, properties={"Mood": {}}))
    first, second = notes.hands.requests()
    assert (first["method"], first["path"], first["endpoint"], first["status"]) == (
        "POST",
        "pages",
        "pages.create",
        200,
    )
    assert (second["method"], second["path"], second["key"], second["status"]) == ("PATCH", f"pages/{page}", page, 400)
    assert first["at"] < second["at"]
    assert notes.hands.summary()["endpoints"] == {"pages.create": 1, "pages.update": 1}


DENIED: dict[str, Callable[[Notes, str], Any]] = {
    "insert_content": lambda notes, page: notes.page("Two"),
    "update_content": lambda notes, page: notes.client.pages.update(page, in_trash=True),
    "read_content": lambda notes, page: notes.client.pages.retrieve(page),
    "read_comments": lambda notes, page: notes.client.comments.list(block_id=page),
    "insert_comments": lambda notes, page: notes.client.comments.create(parent={"page_id": page}, rich_text=[]),
    "read_users": lambda notes, page: notes.client.users.list(),
}


@pytest.mark.parametrize("capability", DENIED)
def test_a_connection_without_a_capability_is_refused(capability: str, notes: Notes):
    page = notes.page("One")
    DENIED[capability](notes, page)
    notes.hands.restrict(notes.hands.token, capability)
    status, code, _ = refused(lambda: DENIED[capability](notes, page))
    assert (status, code) == (403, "restricted_resource")


def test_a_revoked_and_an_unknown_token_are_invalid(notes: Notes):
    notes.hands.revoke(notes.hands.token)
    assert refused(notes.client.users.me) == (401, "unauthorized", "API token is invalid.")
    notes.hands.revoke(notes.hands.token, revoked=False)
    assert notes.client.users.me()["object"] == "user"
    assert refused(notes.hands.client(auth="ntn_wrong").users.me)[0] == 401


def test_what_is_not_shared_is_not_there(notes: Notes):
    page = notes.page("One", "a")
    block = notes.blocks(page)[0]["id"]
    assert refused(lambda: notes.client.pages.retrieve(notes.hands.root))[:2] == (404, "object_not_found")
    notes.hands.unshare(notes.hands.token, notes.database)
    for ask in (
        notes.query,
        lambda: notes.page("Two"),
        lambda: notes.client.pages.retrieve(page),
        lambda: notes.client.blocks.update(block, paragraph={"rich_text": []}),
        lambda: notes.client.databases.retrieve(notes.database),
    ):
        status, code, message = refused(ask)
        assert (status, code) == (404, "object_not_found")
        assert message.startswith("Could not find ")
    notes.hands.share(notes.hands.token, notes.database)
    notes.hands.unshare(notes.hands.token, page)
    assert notes.query() == []
    assert refused(lambda: notes.blocks(page))[0] == 404


def test_workspaces_know_nothing_of_each_other(notion_server: NotionServer, notes: Notes):
    page = notes.page("One")
    other = notion_server.workspace()
    assert refused(lambda: other.client().pages.retrieve(page))[0] == 404
    other.fault("500")
    assert notes.query() == ["One"]
    other.stop_clock("2030-01-01T00:00:00+00:00")
    assert notes.hands.now() < "2030"


def test_the_control_wants_its_key_and_says_what_it_cannot_do(notion_server: NotionServer, hands: WorkspaceControl):
    with pytest.raises(Refused, match="401"):
        WorkspaceControl.new(notion_server.url, "another key")
    with pytest.raises(Refused, match="Could not find block"):
        hands.edit_block("11111111-1111-1111-1111-111111111111", "x")
    with pytest.raises(Refused, match="has no checked"):
        hands.edit_block(hands.add_block(hands.page, "x"), checked=True)
    for name in ("_served", "front", "nothing"):
        with pytest.raises(Refused, match="there is no control"):
            ask_control(notion_server.url, notion_server.key, name)
    with pytest.raises(AttributeError):
        _ = hands.edit_blocks


def test_as_a_process_it_keeps_port_and_key_when_it_is_killed(tmp_path: Path):
    with NotionServer(tmp_path) as server:
        url, key = server.url, server.key
        assert server.workspace("Mine").client().users.me()["bot"]["workspace_name"] == "Mine"
        server.kill()
        server.start()
        assert (server.url, server.key) == (url, key)
        assert Client(auth=key, base_url=url).users.me()["bot"]["workspace_name"] == "Notes"
        assert server.seen()["requests"] == 1
        first = server.first()
        assert set(server.variables) == {"NOTION_BASE_URL", "NOTION_TOKEN", "SYNC_ENCRYPTION_KEYS"}
        named = server.variables["NOTION_BASE_URL"], server.variables["NOTION_TOKEN"]
        assert (first.token, named) == (key, (url, key))
        assert first.client().blocks.children.list(first.page)["results"] == []
        server.clear_seen()
        assert server.seen()["requests"] == 0
