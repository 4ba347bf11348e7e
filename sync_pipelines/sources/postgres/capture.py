"""Installing and removing trigger capture: waiting for the lock, one transaction an attempt.

One capture serves every sync that reads a table by the same key. Each sync is registered as a reader, and the
triggers go with the last of them. The steps are in `capture_steps`, the SQL text in `engine.capture`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sync_pipelines.engine.errors import TransientError
from sync_pipelines.engine.pg_errors import sqlstate
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.postgres.capture_steps import Work, install_steps, lock_holders, remove_steps
from sync_pipelines.sources.postgres.connection import NormalisedUrl, normalise_url, writing_transaction
from sync_pipelines.sources.postgres.errors import reading
from sync_pipelines.sources.postgres.readers import delete_orphans

LOCK_TIMEOUT_S = 2.0
TRIES = 30
_PAUSE_S = 1.0
_LOCK_NOT_AVAILABLE = "55P03"


def install(
    url: str | NormalisedUrl,
    spec: TableSpec,
    *,
    schema: str = "sync",
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    tries: int = TRIES,
    dry_run: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Make the triggers of a table, its partitions and its children; a second call changes nothing.

    Run it again after a partition was attached. All in one transaction, under a lock that lets readers pass.

    Args:
        url: the source database; the role must own the table.
        schema: of the capture branch.
        lock_timeout_s, tries: how often and how long (seconds) to wait for the table's lock. The waits are
            short, since whoever wants to write queues up behind a lock that is waited for.
        dry_run: change nothing; the statements that come back can be run by psql.

    Returns:
        The statements that were run (or would be), none where all is in place.

    Raises:
        MigrationDueError: the capture branch is missing. TransientError: the lock was not to be had.
    """
    job = _Job(normalise_url(url), spec, schema, lock_timeout_s, tries, sleep)
    with job.guard():
        statements = job.attempt(install_steps, dry_run=True)
        return statements if dry_run or not statements else job.patiently(install_steps)


def remove(
    url: str | NormalisedUrl,
    spec: TableSpec,
    *,
    schema: str = "sync",
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    tries: int = TRIES,
    dry_run: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Take this sync off the table's readers; with the last reader triggers, function and log lines go too.

    Arguments, result and errors as for `install`. The table itself may be gone already.
    """
    job = _Job(normalise_url(url), spec, schema, lock_timeout_s, tries, sleep)
    with job.guard():
        statements = job.attempt(remove_steps, dry_run=True)
        if dry_run or not statements:
            return statements
        statements = job.patiently(remove_steps)
        # After the table's lock is given back: the log may be long.
        delete_orphans(url, schema=schema)
        return statements


@dataclass(frozen=True)
class _Job:
    """A change of one table's capture, and how to wait for the table's lock."""

    url: NormalisedUrl
    spec: TableSpec
    schema: str
    lock_timeout_s: float
    tries: int
    sleep: Callable[[float], None]

    def guard(self) -> AbstractContextManager[None]:
        return reading(self.url, sync=self.spec.sync, table=self.spec.name, sync_schema=self.schema)

    def attempt(self, steps: Callable[[Work], None], *, dry_run: bool = False) -> list[str]:
        """One transaction; a dry run takes no lock."""
        with writing_transaction(self.url) as session:
            session.execute(f"SET LOCAL lock_timeout = {max(1, round(self.lock_timeout_s * 1000))}")
            work = Work(session, self.url, self.spec, self.schema, dry_run)
            steps(work)
            return work.done

    def patiently(self, steps: Callable[[Work], None]) -> list[str]:
        """Try until the lock was granted.

        Raises:
            TransientError: it never was; the sentence names who holds it.
        """
        for number in range(1, self.tries + 1):
            try:
                return self.attempt(steps)
            except Exception as error:
                if sqlstate(error) != _LOCK_NOT_AVAILABLE:
                    raise
                if number == self.tries:
                    raise self._locked() from error
            self.sleep(_PAUSE_S)
        raise ValueError("tries must be positive")

    def _locked(self) -> TransientError:
        with writing_transaction(self.url) as session:
            holders = lock_holders(Work(session, self.url, self.spec, self.schema, dry_run=True))
        return TransientError(
            f"the table's lock was not to be had in {self.tries} tries of {self.lock_timeout_s:g} s; it is held "
            f"by {holders or 'a session that has ended by now'}.",
            sync=self.spec.sync,
            table=self.spec.name,
            remedy="Try again when that transaction has ended, or end it.",
        )
