"""The engine's failure classes in Dagster's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from sync_pipelines.engine.errors import SyncError, TransientError


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """A transient error stays what it is, so that the retry policy acts; any other of ours stops the run.

    `Failure(allow_retries=False)` shows one sentence in the UI and spares three useless tries.
    """
    try:
        yield
    except TransientError:
        raise
    except SyncError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
