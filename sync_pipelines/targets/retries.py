"""One way of trying again, for every client of this package: transient errors alone, within a budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from sync_pipelines.engine.errors import TransientError

Result = TypeVar("Result")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_CENTURY = 100 * 365 * 86_400.0


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often, and for how long in all, a transient error is tried again.

    Args:
        attempts: tries in all, the first one included.
        budget_seconds: no further try begins later than this after the first one; a pause that would not
            fit (a long Retry-After too) ends the tries at once.
        rests: so many pauses that the system itself asks for (Retry-After) are no failed tries: they count neither
            among the attempts nor against the budget.
        sleep, clock: given by tests; seconds.
    """

    attempts: int = 6
    budget_seconds: float = 120.0
    rests: int = 0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.budget_seconds < 0 or self.rests < 0:
            raise ValueError("a retry policy has at least one attempt, and no negative budget or number of rests")

    def call(self, action: Callable[[], Result]) -> Result:
        """What `action` gives.

        Raises:
            TransientError: the last one, when attempts or budget are used up. Any other error at once.
        """
        from tenacity import RetryCallState, Retrying, retry_if_exception_type
        from tenacity.wait import wait_exponential, wait_random

        backoff = wait_exponential(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE) + wait_random(0, _FIRST_PAUSE)
        most, deadline, rested = self.attempts, self.clock() + self.budget_seconds, 0

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            # `Retry-After: 0` must not burn the tries within a second (dlt#4036): never less than the back-off.
            return max(backoff(state), getattr(error, "retry_after", None) or 0.0)

        def used_up(state: RetryCallState) -> bool:
            nonlocal most, deadline, rested
            asleep = state.upcoming_sleep or 0.0
            if rested < self.rests and _is_rest(state.outcome.exception() if state.outcome else None):
                most, deadline, rested = most + 1, deadline + asleep, rested + 1
                return False
            return state.attempt_number >= most or self.clock() + asleep > deadline

        return Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=pause,
            stop=used_up,
            sleep=self.sleep,
            reraise=True,
        )(action)


NO_RETRY = RetryPolicy(attempts=1)
"""For questions of people who wait: `status`, `health`."""


def _is_rest(error: BaseException | None) -> bool:
    """Whether a system has asked for a pause that a run waits for."""
    return isinstance(error, TransientError) and bool(error.retry_after) and not error.asks_too_much


def retry_after_seconds(value: str | None, *, now: datetime | None = None) -> float | None:
    """A Retry-After header (RFC 9110 §10.2.3: seconds or a date) as seconds from now; None if it names no time.

    How much of it a run waits for is `engine.errors.LONGEST_WAIT`.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now or datetime.now(UTC))
    return seconds if math.isfinite(seconds) and 0 <= seconds <= _CENTURY else None


def _until(date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        # asctime's form has no zone, and Python takes `-0000` for an unknown one: HTTP's dates are UTC
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
