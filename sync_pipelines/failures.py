"""The engine's failure classes in Dagster's words."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from sync_pipelines import log
from sync_pipelines.engine.errors import SyncError, TransientError


@contextmanager
def working_on(sync: str, table: str, *, run_id: str) -> Generator[None]:
    """A step's work on a table: its log lines carry the place, its errors speak Dagster's words."""
    log.ensure_configured()
    with log.log_context(sync=sync, table=table, run_id=run_id), as_dagster_failure():
        yield


@contextmanager
def as_dagster_failure() -> Generator[None]:
    """A transient error stays what it is, so that the retry policy acts; any other of ours stops the run.

    `Failure(allow_retries=False)` shows one sentence in the UI and spares three useless tries.
    """
    try:
        yield
    except TransientError:
        raise
    except SyncError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
