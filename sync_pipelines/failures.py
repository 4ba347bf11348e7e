"""The engine's failure classes in Dagster's words.

Nothing of ours has a `RetryPolicy`: where an op has one, Dagster takes an interrupt for a reason to retry
(1.13, `op_execution_error_boundary`), and a run could not be cancelled while its step runs. A transient error
asks for its retry itself.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import dagster as dg

from sync_pipelines import log
from sync_pipelines.engine.disguise import disguised
from sync_pipelines.engine.errors import LONGEST_WAIT, SyncError, TransientError, redact

MAX_RETRIES = 3
_FIRST_PAUSE = 2.0

_log = logging.getLogger(__name__)


@contextmanager
def working_on(sync: str, table: str, *, run_id: str, attempt: int | None = None) -> Generator[None]:
    """A step's work on a table: its log lines carry the place, its errors speak Dagster's words.

    Args:
        attempt: how often the step was tried before; None for a step that is not tried again.
    """
    log.ensure_configured()
    with log.log_context(sync=sync, table=table, run_id=run_id), as_dagster_failure(attempt=attempt):
        yield


@contextmanager
def as_dagster_failure(*, attempt: int | None = None) -> Generator[None]:
    """A transient error has the step tried again, from the asset on; any other of ours stops the run.

    `Failure` shows one sentence in the UI; an error of somebody else goes on, without secrets. `attempt` is that of
    `working_on`; without one, a transient error stays what it is, for whoever else retries.
    """
    try:
        with no_secrets():
            yield
    except TransientError as error:
        if attempt is None:
            raise
        if attempt >= MAX_RETRIES or error.asks_too_much:
            raise _failure(error) from error
        _wait(error, attempt)
        raise dg.RetryRequested(max_retries=MAX_RETRIES) from error
    except SyncError as error:
        raise _failure(error) from error


@contextmanager
def no_secrets() -> Generator[None]:
    """No error leaves the block with a secret in its words, or in those of an error below it.

    Dagster stores the whole chain, of a step as of a tick, and what clients of others say is not ours to word.
    """
    try:
        yield
    except Exception as error:
        shown = disguised(error, redact)
        if shown is error:
            raise
        # `from`: Python would else name the error itself as what this one came from
        raise shown from (shown.__cause__ or shown.__context__)


def together(failed: Sequence[dg.Failure | TransientError], *, of: int, done: str) -> dg.Failure:
    """One failure of several parts, each of which had its turn.

    Args:
        failed: why, for each of them. of: how many parts there are. done: what is done to a part.
    """
    told = " ".join(str(error.description if isinstance(error, dg.Failure) else error) for error in failed)
    return dg.Failure(f"{len(failed)} of {of} could not be {done}. {told}", allow_retries=False)


def _failure(error: SyncError) -> dg.Failure:
    return dg.Failure(description=str(error), allow_retries=False)


def _wait(error: TransientError, attempt: int) -> None:
    # Here, not by `seconds_to_wait`: Dagster sleeps through an interrupt (`ActiveExecution.sleep_til_ready`), and
    # a Retry-After may be minutes.
    seconds = pause(attempt, error.retry_after)
    _log.warning("%s Trying again in %.0f s (%d of %d).", error, seconds, attempt + 1, MAX_RETRIES)
    time.sleep(seconds)


def pause(attempt: int, retry_after: float | None = None) -> float:
    """Seconds before a step is tried again: 2 to 3, then 4 to 6, then 8 to 12, or what a system asks for.

    Never longer than `LONGEST_WAIT`, whoever asks.
    """
    backoff = _FIRST_PAUSE * 2**attempt * random.uniform(1.0, 1.5)
    return min(max(backoff, retry_after or 0.0), LONGEST_WAIT)
