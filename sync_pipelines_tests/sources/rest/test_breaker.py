"""When an API counts as down, by a clock that the test sets."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sync_pipelines.engine.errors import LONGEST_WAIT
from sync_pipelines.sources.rest.breaker import DOUBTFUL, Breaker
from sync_pipelines.sources.rest.client import ApiDownError, ClientSettings
from sync_pipelines.sources.rest.errors import FaultError

SETTINGS = ClientSettings(base_url="http://127.0.0.1:1/v3.0", patience=60.0, backoff=0.5)


@dataclass
class Watched:
    """A breaker and its clock."""

    now: float = 1000.0
    breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = Breaker(SETTINGS, lambda: self.now)

    def fail(self, *, after: float = 0.0, probe: bool = False, **fault: float | int) -> ApiDownError | None:
        """A request fails, so many seconds later."""
        self.now += after
        found: dict = {"http_status": 503, **fault}
        return self.breaker.failed(FaultError("the API answers", **found), probe=probe)

    def doubt(self, *, after: float = 0.0, **fault: float | int) -> Watched:
        """So many fail in a row that nothing but a probe is sent."""
        assert not any(self.fail(after=after, **fault) for _ in range(DOUBTFUL))
        assert self.breaker.doubtful
        return self


@pytest.mark.parametrize(("asked", "least", "most"), [(None, 0.5, 0.5), (5.0, 5.0, 5.0), (9e6, 600.0, LONGEST_WAIT)])
def test_a_probe_waits_as_long_as_the_api_asks_for_and_not_for_ever(asked: float | None, least: float, most: float):
    watched = Watched().doubt(**({} if asked is None else {"retry_after": asked}))
    assert least <= watched.breaker.next_probe - watched.now <= most


def test_the_time_that_ten_failures_take_at_a_slow_rate_is_no_outage():
    watched = Watched().doubt(after=30.0)
    assert watched.fail(after=1.0, probe=True) is None
    assert watched.fail(after=58.0, probe=True) is None
    error = watched.fail(after=1.0, probe=True)
    assert error is not None
    assert f"the last {DOUBTFUL + 3} requests, over 330 s, have failed" in str(error)


def test_a_request_that_is_no_probe_does_not_end_a_run_however_late_it_fails():
    assert Watched().doubt().fail(after=500.0) is None


def test_a_limit_that_is_spent_for_long_closes_the_api_and_a_long_rest_of_one_record_does_not():
    closed = Watched().fail(http_status=429, retry_after=LONGEST_WAIT + 1)
    assert closed is not None
    assert Watched().fail(http_status=503, retry_after=LONGEST_WAIT + 1) is None
    assert Watched().fail(http_status=429, retry_after=LONGEST_WAIT) is None
