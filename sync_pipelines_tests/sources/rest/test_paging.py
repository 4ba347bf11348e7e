"""List endpoints of an API that nothing else knows: a shop, in each way of cutting a list into pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from sync_pipelines.engine.errors import ConfigurationError, RunError
from sync_pipelines.engine.limiter import LocalRate
from sync_pipelines.sandbox.cupid.faults import Fault
from sync_pipelines.sandbox.cupid.front import Asked, Front, Reply, refusal
from sync_pipelines.sources.rest.client import (
    ApiDownError,
    ClientSettings,
    KeyRefusedError,
    Pagination,
    RestClient,
    auth_headers,
)
from sync_pipelines.sources.rest.paging import Pager

ARTICLES = [{"sku": number, "name": f"article {number}"} for number in range(23)]
MOST = 10
"""The shop gives no more on a page, whatever it is asked for."""


class Shop:
    """Serves `GET /api/articles` in every way, and counts."""

    def __init__(self) -> None:
        self.front = Front(self._serve)
        self.address = f"{self.front.address}/api"
        self.stuck = False

    def _serve(self, asked: Asked) -> Reply:
        if asked.headers.get("authorization") != "Bearer shop-token-77":
            return refusal(401)
        if asked.parts != ("api", "articles"):
            return refusal(404)
        return Reply(200, self._page({name: int(text) for name, text in asked.query.items()}), "articles", "list")

    def _page(self, query: dict[str, int]) -> Any:
        size = min(query.get("limit", 4), MOST)
        begin = 0 if self.stuck else query.get("offset", query.get("after", (query.get("page", 1) - 1) * size))
        page, end = ARTICLES[begin : begin + size], begin + size
        if "page" in query:
            return {"articles": page}
        last = end >= len(ARTICLES)
        following = None if last else f"/api/articles?after={end}&limit={size}"
        return {"data": {"items": page}, "meta": {"next": None if last else end, "url": following, "more": not last}}


@pytest.fixture
def shop() -> Iterator[Shop]:
    found = Shop()
    found.front.start()
    yield found
    found.front.stop()


@contextmanager
def client_of(shop: Shop, **options: Any) -> Iterator[RestClient]:
    headers = auth_headers("shop-token-77")
    usual = {
        "base_url": shop.address,
        "headers": headers,
        "rate_limit": 1000.0,
        "backoff": 0.01,
        "key_name": "SHOP_TOKEN",
    }
    with RestClient(ClientSettings(**(usual | options)), rate=LocalRate()) as client:
        yield client


WAYS = {
    "page": (Pagination(kind="page", items="articles"), 7),
    "offset": (Pagination(kind="offset", items="data.items", size_param="limit", size=50), 4),
    "offset, with a word": (Pagination(kind="offset", items="data.items", more="meta.more"), 6),
    "cursor": (Pagination(kind="cursor", items="data.items", param="after", next="meta.next"), 6),
    "address": (Pagination(kind="cursor", items="data.items", next="meta.url"), 6),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_every_record_of_a_list_comes_once_however_it_is_cut(shop: Shop, way: str):
    pagination, requests = WAYS[way]
    shop.front.faults.add(Fault("503", times=1, every=3))
    with client_of(shop) as client:
        pages = list(client.pages("articles", {}, pagination))
    assert [article for page in pages for article in page] == ARTICLES
    assert client.requests == requests + 1


@pytest.mark.parametrize("way", ["page", "offset", "cursor"])
def test_an_api_that_does_not_move_on_is_not_followed_for_ever(shop: Shop, way: str):
    shop.stuck = True
    with (
        client_of(shop) as client,
        pytest.raises(RunError, match=r"gives the (same page again|cursor .* a second time).*Correct `pagination`"),
    ):
        list(client.pages("articles", {}, WAYS[way][0]))
    assert client.requests <= 3


def test_the_key_goes_to_no_other_server(shop: Shop):
    elsewhere = "http://127.0.0.2:1/api/articles?page=2"
    shop.front.faults.add(Fault("extra", fields={"next": elsewhere}))
    pagination = Pagination(kind="cursor", items="data.items", next="next")
    with client_of(shop) as client, pytest.raises(RunError, match=r"another server \(127\.0\.0\.2:1\)"):
        list(client.pages("articles", {}, pagination))


def walk(base_url: str) -> Pager:
    return Pager(Pagination(kind="cursor", items="items", next="next"), base_url=base_url, path="list", params={})


def test_the_key_does_not_go_on_unencrypted():
    with pytest.raises(RunError, match=r"another server \(http://api\.example\)"):
        walk("https://api.example/v1").items_of({"items": [1], "next": "http://api.example/v1/list?after=1"})


@pytest.mark.parametrize("cursor", ["/+abc/x==", "//8=", "/"])
def test_a_cursor_that_begins_with_a_slash_is_no_address(cursor: str):
    assert followed(cursor) == ("list", {"cursor": cursor})


@pytest.mark.parametrize("address", ["/v1/list?after=1", "/v1/list/2", "/v2/other?after=1"])
def test_an_address_without_its_host_is_asked_as_it_is(address: str):
    assert followed(address) == (f"https://api.example{address}", {})


def followed(given: str) -> tuple[str, Mapping[str, str]]:
    """What is asked after a page that gives this as its `next`."""
    pager = walk("https://api.example/v1")
    pager.items_of({"items": [1], "next": given})
    call = pager.next_call()
    assert call is not None
    return call.path, call.params


def test_a_list_that_ends_with_404_says_how_its_end_is_told(shop: Shop):
    shop.front.faults.add(Fault("404", every=3))
    pagination = Pagination(kind="page", items="articles")
    with client_of(shop) as client, pytest.raises(RunError, match=r"at articles\?page=3: .*Write `pagination\.more`"):
        list(client.pages("articles", {}, pagination))


@pytest.mark.parametrize("end", [None, "", False])
def test_a_cursor_that_says_nothing_ends_the_list(end: object):
    pager = walk("https://api.example/v1")
    assert pager.items_of({"items": [1], "next": end}) == [1]
    assert pager.next_call() is None


@pytest.mark.parametrize(
    ("kind", "error", "sentence"),
    [
        ("401", KeyRefusedError, "Set SHOP_TOKEN"),
        ("403", KeyRefusedError, "refuses the list articles"),
        ("404", RunError, r"gives no list at articles.*Check base_url and the path"),
        ("500", ApiDownError, "does not give a page"),
        ("missing", RunError, r"has nothing where the list of records should be \(data\.items\)"),
    ],
)
def test_a_list_that_is_not_given_says_why(shop: Shop, kind: str, error: type[Exception], sentence: str):
    shop.front.faults.add(Fault(kind, fields={"data": None}))
    pagination = Pagination(items="data.items")
    with client_of(shop, retry_attempts=1) as client, pytest.raises(error, match=sentence):
        list(client.pages("articles", {}, pagination))


def test_a_list_whose_api_is_shut_for_an_hour_is_not_waited_for(shop: Shop):
    shop.front.faults.add(Fault("429", times=1, retry_after="3600"))
    with client_of(shop) as client, pytest.raises(ApiDownError, match=r"It asks for a pause of 60 min") as caught:
        list(client.pages("articles", {}, WAYS["cursor"][0]))
    assert caught.value.retry_after == 3600
    assert client.requests == 1


def test_an_allowance_ends_a_list_quietly(shop: Shop):
    with client_of(shop, allowance=2) as client:
        assert len(list(client.pages("articles", {}, WAYS["cursor"][0]))) == 2
    assert client.exhausted


def begun(**pagination: Any) -> Pager:
    where = {"sync": "shop", "table": "article"}
    return Pager(
        Pagination(items="items", **pagination), base_url="https://a.example", path="list", params={}, where=where
    )


@pytest.mark.parametrize(
    ("more", "goes_on"),
    [(True, True), ("true", True), (3, True), ("/list?page=2", True)]
    + [(end, False) for end in (False, "false", " No ", "0", 0, "", None)],
)
def test_whether_there_are_more_may_be_written_as_a_text(more: object, goes_on: bool):
    pager = begun(kind="page", more="more")
    pager.items_of({"items": [1], "more": more})
    assert (pager.next_call() is not None) == goes_on


def test_an_empty_page_amid_a_list_is_not_its_end_where_the_api_says_that_there_are_more():
    pager = begun(kind="page", more="more")
    for items in ([1], [], [], [2]):
        assert pager.items_of({"items": items, "more": True}) == items
    call = pager.next_call()
    assert call is not None
    assert call.params == {"page": "5"}
    pager.items_of({"items": [], "more": False})
    assert pager.next_call() is None


def test_an_api_that_says_for_ever_that_there_are_more_is_not_followed_for_ever():
    pager = begun(kind="page", more="more")
    for _ in range(100):
        pager.items_of({"items": [], "more": True})
    with pytest.raises(RunError, match=r"no record, like 100 before it, and says .*leave `more` out"):
        pager.items_of({"items": [], "more": True})


def test_an_empty_page_that_is_not_the_end_leaves_no_offset_to_go_on_from():
    with pytest.raises(RunError, match=r"no record and says that there are more \(more\).*leave `more` out"):
        begun(kind="offset", more="more").items_of({"items": [], "more": True})


@pytest.mark.parametrize("answer", [{}, {"next": None}, {"next": ""}])
def test_a_cursor_that_is_missing_where_there_are_more_is_no_end_of_the_list(answer: dict[str, Any]):
    pager = begun(kind="cursor", next="next", more="more")
    with pytest.raises(RunError, match=r"says that there are more \(more\), and has no cursor at next"):
        pager.items_of({"items": [1], "more": True, **answer})


@pytest.mark.parametrize(
    ("pagination", "answer", "told"),
    [
        ({"kind": "cursor", "next": "meta.nxt"}, {"meta": {"next": 2}}, ["meta.nxt"]),
        ({"kind": "cursor", "next": "mta.next"}, {"meta": {"next": 2}}, ["mta.next"]),
        ({"kind": "offset", "more": "moer"}, {"more": True}, ["moer"]),
        ({"kind": "cursor", "next": "meta.next"}, {"meta": {"next": None}}, []),
        ({"kind": "page", "more": "more"}, {"more": False}, []),
    ],
)
def test_a_path_at_which_the_first_answer_has_nothing_is_told(
    pagination: dict[str, Any], answer: dict[str, Any], told: list[str], caplog: pytest.LogCaptureFixture
):
    pager = begun(**pagination)
    pager.items_of({"items": [1], **answer})
    assert pager.next_call() is None
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"shop/article: the answer of list has nothing at {path}, so the list ends with its first page; if it has "
        f"more, correct pagination.{'next' if 'next' in pagination else 'more'}"
        for path in told
    ]


def test_a_path_at_which_a_later_answer_has_nothing_is_how_a_list_may_end(caplog: pytest.LogCaptureFixture):
    pager = begun(kind="cursor", next="next")
    pager.items_of({"items": [1], "next": 2})
    pager.items_of({"items": [2]})
    assert pager.next_call() is None
    assert not caplog.records


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "cursor"},
        {"size": 5},
        {"size": 0, "size_param": "limit"},
        {"kind": "page", "next": "meta.next"},
        {"next": "meta.next"},
        {"param": "after"},
        {"more": "meta.more"},
    ],
)
def test_a_pagination_that_cannot_be_is_refused(wrong: dict):
    with pytest.raises(ConfigurationError, match="pagination: "):
        Pagination(**wrong)
