"""The stand-in of Cupid: hotels of their ids, edits, faults, its own limit, and what it saw."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.sandbox.cupid.api import Cupid
from sync_pipelines.sandbox.cupid.faults import Fault
from sync_pipelines.sandbox.cupid.hotels import hotel, some_ids
from sync_pipelines.sandbox.cupid.server import CupidServer
from sync_pipelines.sandbox.stand_ins.seen import Limit, most_within

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def _cupid() -> Iterator[Cupid]:
    with Cupid(key="cupid-4f1d8e0a77c2") as found:
        yield found


@pytest.fixture
def cupid(_cupid: Cupid) -> Cupid:
    _cupid.reset()
    return _cupid


def get(cupid: Cupid | CupidServer, path: str, key: str | None = None) -> tuple[int, Any, dict[str, str]]:
    request = urllib.request.Request(f"{cupid.url}/{path}", headers={"x-api-key": key or cupid.key})
    try:
        with _OPENER.open(request, timeout=10) as response:
            return response.status, json.loads(response.read()), dict(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), dict(error.headers)


def test_hotels_of_many_countries_and_both_shapes_are_made_of_their_ids_alone(cupid: Cupid):
    ids = some_ids(2000)
    assert len(set(ids)) == 2000
    found = [hotel(number) for number in ids[:300]]
    assert len({one["address"]["country"] for one in found}) >= 10
    assert {"checkin" in one for one in found} == {True, False}
    assert get(cupid, f"property/{ids[7]}")[1] == found[7]


def test_a_translation_says_the_same_in_another_language_and_not_all_are_there(cupid: Cupid):
    ids = cupid.ids(30)
    answers = {number: get(cupid, f"property/{number}/lang/de") for number in ids}
    assert {status for status, _, _ in answers.values()} == {200, 404}
    assert {"data" in body for status, body, _ in answers.values() if status == 200} == {True, False}
    assert get(cupid, f"property/{ids[0]}/lang/xx")[0] == 404


def test_reviews_come_newest_first_and_no_more_than_asked_for(cupid: Cupid):
    number = cupid.ids(1)[0]
    cupid.review(number, name="Zoe", date="2026-11-20 10:00:00")
    _, body, _ = get(cupid, f"property/reviews/{number}/3")
    assert len(body) == 3
    assert body[0]["name"] == "Zoe"
    dates = [review["date"] for review in body]
    assert dates == sorted(dates, reverse=True)


def test_a_wrong_key_and_an_unknown_hotel_are_refused(cupid: Cupid):
    assert get(cupid, "property/1", key="wrong")[0] == 401
    assert [get(cupid, f"property/{key}")[0] for key in ("0", "abc", "999999999999")] == [404] * 3
    assert get(cupid, "nothing")[0] == 404


def test_a_hotel_can_be_changed_removed_and_brought_back(cupid: Cupid):
    number = cupid.ids(1)[0]
    cupid.change(number, {"hotel_name": "Grand"}, drop=["fax"])
    cupid.change(number, {"stars": 5})
    body = get(cupid, f"property/{number}")[1]
    assert (body["hotel_name"], body["stars"], "fax" in body) == ("Grand", 5, False)
    cupid.remove(number)
    assert get(cupid, f"property/{number}")[0] == 404
    cupid.restore(number)
    assert get(cupid, f"property/{number}")[1] == hotel(number)


def test_a_fault_meets_the_requests_that_it_is_meant_for(cupid: Cupid):
    one, other = cupid.ids(2)
    cupid.fault("503", key=one, endpoint="property", every=2, times=1, retry_after="date:5")
    answers = [get(cupid, f"property/{key}") for key in (one, other, one, one, one)]
    assert [status for status, _, _ in answers] == [200, 200, 503, 200, 200]
    assert answers[2][2]["Retry-After"].endswith("GMT")
    cupid.fault("wrong_types", endpoint="lang", fields={"stars": "many"})
    _, body, _ = get(cupid, f"property/{one}/lang/en")
    assert body.get("data", body)["stars"] == "many"
    with pytest.raises(ValueError, match="'teapot' is none of 400, 401"):
        Fault("teapot")


def test_its_limit_lets_so_many_pass_in_any_second():
    limit = Limit()
    limit.set(3)
    moments = (0.0, 0.5, 0.9, 0.95, 1.0, 1.2, 1.5, 2.5)
    assert [limit.allows(at) for at in moments] == [True, True, True, False, True, False, True, True]


def test_it_tells_what_it_saw(cupid: Cupid):
    cupid.limit(2, retry_after="7")
    number = cupid.ids(1)[0]
    statuses = [get(cupid, f"property/{number}") for _ in range(3)]
    assert statuses[2][0] == 429
    assert statuses[2][2]["Retry-After"] == "7"
    seen = cupid.seen()
    assert (seen["requests"], seen["limited"], seen["statuses"]) == (3, 1, {"200": 2, "429": 1})
    assert (seen["most_at_once"], seen["connections"]) == (1, 3)
    assert most_within([0.0, 0.5, 0.999, 1.0, 3.0], 1.0) == 3


def test_as_a_process_it_keeps_port_key_and_edits_when_it_is_killed(tmp_path: Path):
    with CupidServer(tmp_path) as server:
        number = server.ids(1)[0]
        server.change(number, {"hotel_name": "Grand"})
        server.fault("500", times=1)
        assert [get(server, f"property/{number}")[0] for _ in range(2)] == [500, 200]
        before = server.variables
        server.kill()
        server.start()
        assert server.variables == before
        assert get(server, f"property/{number}")[1]["hotel_name"] == "Grand"
        assert server.seen()["requests"] == 1
