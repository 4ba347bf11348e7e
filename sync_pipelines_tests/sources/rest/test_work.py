"""Who is asked next, and how often: many calls at once, of an API that a function plays."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from sync_pipelines.sources.rest.breaker import DOUBTFUL
from sync_pipelines.sources.rest.calls import Answer, Call
from sync_pipelines.sources.rest.client import ClientSettings
from sync_pipelines.sources.rest.errors import FaultError
from sync_pipelines.sources.rest.work import _MOST_PARKED, Work


class Played:
    """An API whose answer to each request is decided by `play`: its key, and how often it was asked for before."""

    def __init__(self, play: Callable[[str, int], object], **settings: Any) -> None:
        usual = {"base_url": "http://127.0.0.1:1", "backoff": 0.001, "patience": 30.0}
        self.tries: Counter[str] = Counter()
        self._play, self._lock = play, threading.Lock()
        self.work = Work(self._ask, ClientSettings(**(usual | settings)))

    def answers(self, *keys: str) -> dict[str, Answer]:
        return {answer.key: answer for answer in self.work.answers(Call(key=key, path=key) for key in keys)}

    def _ask(self, call: Call, _stopped: threading.Event) -> Answer:
        with self._lock:
            before, self.tries[call.key] = self.tries[call.key], self.tries[call.key] + 1
        self._play(call.key, before)
        return Answer(key=call.key, status="found", body={}, http_status=200)


def test_a_call_that_came_too_early_has_two_tries_more_than_one_that_failed():
    def play(key: str, before: int) -> None:
        if key in ("early", "sick") and before < 3:
            raise FaultError("later", http_status=429 if key == "early" else 503)

    found = Played(play, retry_attempts=2).answers("well", "early", "sick")
    assert {key: answer.status for key, answer in found.items()} == {
        "well": "found",
        "early": "found",
        "sick": "failed",
    }


def test_what_was_given_up_in_an_outage_has_all_its_tries_anew():
    """The outage ends; those that had used up their tries in it fail once more, for themselves."""
    sent, met = 0, Counter[str]()

    def play(key: str, _before: int) -> None:
        nonlocal sent
        sent += 1
        if sent <= DOUBTFUL + 3:
            met[key] += 1
            time.sleep(0.005)  # longer than the pause before the next try
        elif met.pop(key, 0) < 2:
            return
        raise FaultError("down", http_status=503)

    keys = [str(number) for number in range(25)]
    played = Played(play, retry_attempts=2, max_concurrent=1)
    found = played.answers(*keys)
    assert {answer.status for answer in found.values()} == {"found"}
    # two in the outage, one that fails for itself, one that is answered; and probes
    assert max(played.tries.values()) >= 4


def test_in_doubt_one_request_at_a_time_is_sent():
    sent = most = under_way = 0
    lock = threading.Lock()

    def play(_key: str, _before: int) -> None:
        nonlocal sent, most, under_way
        with lock:
            sent += 1
            down = sent < DOUBTFUL + 12
            # those that were under way when the doubt arose are past
            probe = down and sent > DOUBTFUL + 5
            under_way += probe
            most = max(most, under_way)
        time.sleep(0.005)
        with lock:
            under_way -= probe
        if down:
            raise FaultError("down", http_status=503)

    Played(play, retry_attempts=1, max_concurrent=5).answers(*(str(number) for number in range(40)))
    assert (most, sent > DOUBTFUL + 12) == (1, True)


def test_no_more_calls_wait_for_another_try_than_there_is_room_for():
    waiting = most = 0
    lock = threading.Lock()

    def play(key: str, before: int) -> None:
        nonlocal waiting, most
        if key.startswith("good"):
            return
        with lock:
            waiting += 1 if before == 0 else -1
            most = max(most, waiting)
        if before == 0:
            raise FaultError("later", http_status=503)

    keys = [f"{'good' if number % 2 else 'sick'}{number}" for number in range(1200)]
    found = Played(play, retry_attempts=2, backoff=0.3).answers(*keys)
    assert len(found) == 1200
    assert _MOST_PARKED / 2 < most <= _MOST_PARKED + 5
