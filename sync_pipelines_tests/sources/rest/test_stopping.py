"""When it is enough: a key that is refused, an API that is down, and what only looks like one of the two."""

from __future__ import annotations

import re

import pytest

from sync_pipelines.sandbox.cupid.api import Cupid
from sync_pipelines.sources.rest.breaker import DOUBTFUL
from sync_pipelines.sources.rest.client import ApiDownError, Call, KeyRefusedError
from sync_pipelines_tests.sources.rest.conftest import Connect
from sync_pipelines_tests.sources.rest.helpers import fetched, until_the_end


def test_a_refused_key_stops_all_at_once_after_what_had_arrived(cupid: Cupid, connect: Connect):
    ids = cupid.ids(200)
    cupid.fault("401", every=50)
    found, error = until_the_end(connect(), ids)
    assert isinstance(error, KeyRefusedError)
    assert str(error).startswith("hotels/properties: 127.0.0.1:")
    assert "refuses the key: it answers 401" in str(error)
    assert "Set CUPID_API_KEY to a key" in str(error)
    assert 40 <= len(found) <= 54
    assert cupid.seen()["requests"] <= 60


def test_five_first_answers_of_403_are_the_keys_fault_and_no_records(cupid: Cupid, connect: Connect):
    cupid.fault("403")
    cupid.fault("503", times=2)
    found, error = until_the_end(connect(), cupid.ids(50))
    assert isinstance(error, KeyRefusedError)
    assert re.search(r"the first ([6-9]|10) answers are all 403", str(error))
    assert found == {}
    assert cupid.seen()["requests"] <= 12


def test_records_that_are_forbidden_are_not_taken_for_the_key_where_the_last_one_or_one_that_was_well_is_answered(
    cupid: Cupid, connect: Connect
):
    ids = cupid.ids(20)
    for key in ids[:15]:
        cupid.fault("403", key=str(key))
    found = fetched(connect(), ids)
    assert [found[str(key)].http_status for key in ids] == [403] * 15 + [200] * 5
    spare = Call(key="spare", path=f"property/{ids[-1]}")
    calls = [Call(key=str(key), path=f"property/{key}") for key in ids[:10]]
    for few in (5, 10):
        answers = list(connect().fetch(calls[:few], spare=spare))
        assert [answer.http_status for answer in answers] == [403] * few
    with pytest.raises(KeyRefusedError, match="the first 5 answers are all 403"):
        list(connect().fetch(calls[:5]))
    cupid.fault("403", key=str(ids[-1]))
    with pytest.raises(KeyRefusedError, match="the first 6 answers are all 403"):
        list(connect().fetch(calls[:5], spare=spare))


def test_a_probe_of_the_key_that_meets_a_passing_fault_is_sent_again(cupid: Cupid, connect: Connect):
    ids = cupid.ids(8)
    for key in ids[:7]:
        cupid.fault("403", key=str(key))
    cupid.fault("503", key=str(ids[7]), times=3)
    found = fetched(connect(retry_attempts=5), ids)
    assert [found[str(key)].http_status for key in ids] == [403] * 7 + [200]


def test_a_403_is_the_records_own_where_others_are_answered_or_too_few_to_tell(cupid: Cupid, connect: Connect):
    ids = cupid.ids(30)
    for key in (*ids[:4], *ids[10:25]):
        cupid.fault("403", key=str(key))
    client = connect(max_concurrent=1)
    found = fetched(client, ids)
    assert len(found) == 30
    assert sum(answer.status == "failed" and answer.lasting for answer in found.values()) == 19
    assert [answer.http_status for answer in fetched(connect(), ids[:4]).values()] == [403] * 4


def test_an_api_that_goes_down_is_asked_for_a_while_and_then_left_with_nobody_blamed(cupid: Cupid, connect: Connect):
    found, error = until_the_end(connect(patience=0.3), cupid.ids(300), at=(100, lambda: cupid.fault("503")))
    assert isinstance(error, ApiDownError)
    assert "is down or shut for now: the last" in str(error)
    assert "the API answers 503 (" in str(error)
    assert "What is left stays due" in str(error)
    assert {answer.status for answer in found.values()} == {"found"}
    assert 100 <= len(found) <= 130
    assert cupid.seen()["requests"] <= len(found) + DOUBTFUL + 5 + 10


def test_an_outage_that_passes_costs_no_record_its_tries(cupid: Cupid, connect: Connect):
    cupid.fault("502", times=DOUBTFUL + 8)
    found = fetched(connect(retry_attempts=1, patience=30.0), cupid.ids(60))
    assert {answer.status for answer in found.values()} == {"found"}
    assert len(found) == 60


def test_records_that_fail_at_the_end_do_not_look_like_an_outage(cupid: Cupid, connect: Connect):
    ids = cupid.ids(50)
    for key in ids[10:]:
        cupid.fault("500", key=str(key))
    found = fetched(connect(retry_attempts=2, patience=0.2), ids)
    assert sum(answer.status == "failed" for answer in found.values()) == 40
    assert len(found) == 50


def test_a_limit_that_is_spent_for_an_hour_is_not_waited_for(cupid: Cupid, connect: Connect):
    cupid.fault("429", retry_after="3600")
    found, error = until_the_end(connect(), cupid.ids(20))
    assert isinstance(error, ApiDownError)
    assert found == {}
    assert cupid.seen()["requests"] <= 6


def test_a_server_that_is_not_there_is_an_outage(cupid: Cupid, connect: Connect):
    client = connect(base_url="http://127.0.0.1:1/v3.0", patience=0.1)
    found, error = until_the_end(client, cupid.ids(20))
    assert isinstance(error, ApiDownError)
    assert "Connection refused" in str(error)
    assert found == {}
