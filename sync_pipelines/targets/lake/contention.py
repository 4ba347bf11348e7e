"""Commits that another writer was quicker than, planned anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sync_pipelines.engine.errors import TransientError

_TRIES, _LONGEST_PAUSE = 25, 5.0

Result = TypeVar("Result")


class ConflictError(TransientError):
    """Another writer has committed in between: what was planned is planned anew."""


def contend(action: Callable[[], Result]) -> Result:
    """What an action gives that commits to a table, planned anew on its newest version where somebody else was
    quicker: a pause by lot lets one of two writers through.

    Raises:
        ConflictError: the others were quicker every time.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    return Retrying(
        retry=retry_if_exception_type(ConflictError),
        wait=wait_random_exponential(multiplier=0.05, max=_LONGEST_PAUSE),
        stop=stop_after_attempt(_TRIES),
        reraise=True,
    )(action)
