"""How long a call waits for its next try."""

from __future__ import annotations

from sync_pipelines.sources.rest.errors import FaultError

_LONGEST_PAUSE = 30.0


def pause_before(tries: int, error: FaultError, backoff: float) -> float:
    """Seconds: exponential with jitter, and what the API asked for where that is more.

    `Retry-After: 0` must not burn the tries within a second (dlt#4036): never less than the back-off.

    Args:
        tries: how often it was tried.
        backoff: seconds before the second try.
    """
    from tenacity import RetryCallState, Retrying
    from tenacity.wait import wait_exponential, wait_random

    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = max(1, tries)
    wait = wait_exponential(multiplier=backoff, max=_LONGEST_PAUSE) + wait_random(0, backoff)
    return max(wait(state), error.retry_after or 0.0)
