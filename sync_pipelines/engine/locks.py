"""One writer a target, and who is alive: advisory locks of PostgreSQL (DESIGN.md §4).

A lock belongs to a connection of its own, and goes with it: a killed process, a cut network and a restarted
server all free it, and nothing has to be cleaned up. Advisory locks are per database, so every process must
use the same one: always the ledger's. A pooler in transaction mode breaks them, which `check` notices.
"""

from __future__ import annotations

import hashlib
import json
import selectors
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from sync_pipelines.engine.database import connect, place
from sync_pipelines.engine.errors import LockBusyError, LockLostError, SyncError, TransientError
from sync_pipelines.engine.pg_errors import classified

_NAMESPACE = "sync_pipelines"

LONGEST_POLL = 2.0
"""Seconds between two tries for a lock that somebody holds, at most."""

_LOOK_SECONDS = 0.1

# A role's time-outs must not end a session whose work is to wait; and where the client's machine vanishes,
# the server should notice in a minute, not after the two hours of its operating system.
_SESSION = {
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
_SET = "SELECT set_config(name, %(settings)s::jsonb ->> name, false) FROM pg_settings WHERE %(settings)s::jsonb ? name"

# A 64-bit key stands in pg_locks as two halves, with objsubid 1.
_OF_KEY = (
    "locktype = 'advisory' AND objsubid = 1 AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32 | objid::bigint) = ANY(%(keys)s::bigint[])"
)
_MINE = f"SELECT EXISTS (SELECT FROM pg_locks WHERE {_OF_KEY} AND pid = pg_backend_pid())"
_HELD = f"SELECT DISTINCT classid::bigint << 32 | objid::bigint FROM pg_locks WHERE {_OF_KEY}"
_HOLDER = (
    "SELECT pid, application_name, backend_start FROM pg_locks LEFT JOIN pg_stat_activity USING (pid)"
    f" WHERE {_OF_KEY} ORDER BY backend_start LIMIT 1"
)


def lock_key(name: str) -> int:
    """The signed 64-bit key of a name: the same in every process and version, and not another package's."""
    digest = hashlib.sha256(f"{_NAMESPACE}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lock: `since` is when its connection was opened, None where this role may not see it."""

    pid: int
    application_name: str | None
    since: datetime | None

    def __str__(self) -> str:
        name = f", {self.application_name!r}" if self.application_name else ""
        since = f", since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        return f"PostgreSQL session {self.pid}{name}{since}"


class _SessionLock:
    """An advisory lock on a connection of its own."""

    _take = "SELECT pg_try_advisory_lock(%s)"

    def __init__(self, url: str, name: str, application_name: str) -> None:
        self._url, self.name, self._application_name = url, name, application_name
        self.key = lock_key(name)
        self._connection: Any = None
        self._checked = float("-inf")

    def try_acquire(self) -> bool:
        """Take the lock if it is free; whether it was.

        Raises:
            TransientError, RunError: the database cannot be reached, or refuses.
        """
        if self._connection is not None:
            raise RuntimeError(f"lock {self.name!r} is already held by this object")
        with classified(database=place(self._url)):
            connection = connect(self._url, self._application_name)
            try:
                taken = _taken(connection, self._take, self.key)
            except BaseException:
                connection.close()
                raise
        if taken:
            self._connection = connection
        else:
            connection.close()
        return taken

    def check(self) -> None:
        """Make sure that the lock is still ours: one short query, cheap enough for every batch.

        Raises:
            LockLostError: its connection is gone, or was handed to somebody else by a pooler.
        """
        try:
            with classified():
                held = self._connection is not None and _ask(self._connection, _MINE, keys=[self.key])[0][0]
        except SyncError as error:
            self._close()
            raise self._lost(error.message) from error
        if not held:
            self._close()
            raise self._lost("its session does not hold it")

    def look(self) -> None:
        """`check` for a writer of many short transactions: asked ten times a second, and at once when the server has
        ended the session.

        Raises:
            LockLostError: as `check` does.
        """
        now = time.monotonic()
        if self._connection is None or now - self._checked >= _LOOK_SECONDS or _has_spoken(self._connection):
            self.check()
            self._checked = now

    def release(self) -> None:
        """Give the lock back; no error when it is gone already."""
        self._close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _lost(self, why: str) -> LockLostError:
        return LockLostError(
            f"The lock {self.name!r} was lost ({why}); another writer may work there now, so this one stops.",
            remedy="The next run takes it up where the last confirmed one ended.",
        )

    def _close(self) -> None:
        # Closing the session is what frees the lock, also where a statement could not be sent any more.
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class TargetLock(_SessionLock):
    """The right to write to one target.

    Args:
        url: the ledger's database.
        name: the target's name, the same for all who write to it.
        run_id: the Dagster run, shown in pg_stat_activity.
    """

    def __init__(self, url: str, name: str, *, run_id: str | None = None) -> None:
        suffix = f" run {run_id[:8]}" if run_id else ""
        super().__init__(url, f"target:{name}", f"sync {name[: 57 - len(suffix)]}{suffix}")
        self._waiting: _SharedLock | None = None

    def acquire(
        self,
        timeout_s: float = 900.0,
        *,
        poll_s: float = 0.25,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the lock, waiting for its holder.

        Args:
            timeout_s: seconds to wait; 0 tries once.
            poll_s: first pause between tries, in seconds; it grows to `LONGEST_POLL`.
            sleep, clock: for tests.

        Raises:
            LockBusyError: the holder did not give it back in time; the sentence names it.
            TransientError: the database could not be reached until then.
        """
        deadline = clock() + timeout_s
        with ExitStack() as stack:
            while True:
                outage = self._try()
                if self._connection is not None:
                    return
                left = deadline - clock()
                if left <= 0:
                    raise outage or self._busy(timeout_s)
                self._announce(stack)
                sleep(min(poll_s, left))
                poll_s = min(poll_s * 1.5, LONGEST_POLL)

    def _announce(self, stack: ExitStack) -> None:
        """Let who holds the lock again and again (`give_way`) know that somebody waits for it, until the stack ends."""
        if self._waiting is None:
            self._waiting = _SharedLock(self._url, f"waiting:{self.name}", f"{self._application_name} waits")
            stack.callback(self._end_waiting)
            with suppress(SyncError):  # it waits all the same
                self._waiting.try_acquire()

    def _end_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.release()

    def is_awaited(self) -> bool:
        """Whether somebody waits for this lock, taken or not."""
        keys = [lock_key(f"waiting:{self.name}")]
        try:
            if self._connection is None:
                return bool(_asked(self._url, _HELD, keys=keys))
            with classified(database=place(self._url)):
                return bool(_ask(self._connection, _HELD, keys=keys))
        except SyncError:  # the database was restarted, which `retake` mends
            return False

    def give_way(self) -> None:
        """Give the lock back and keep its session, for `retake`.

        A session that is closed frees its lock a moment later: whoever takes it again at once would find it held.
        Nothing is left to give where `check` has found it lost.
        """
        if self._connection is None:
            return
        try:
            with classified():
                _ask(self._connection, "SELECT pg_advisory_unlock(%(key)s)", key=self.key)
        except SyncError:
            self._close()

    def retake(self) -> bool:
        """Take the lock again after `give_way`, if it is free; whether it was."""
        if self._connection is None:
            return self.try_acquire()
        try:
            with classified(database=place(self._url)):
                return _ask(self._connection, "SELECT pg_try_advisory_lock(%(key)s)", key=self.key)[0][0]
        except SyncError:  # the database was restarted
            self._close()
            return self.try_acquire()

    def holder(self) -> Holder | None:
        """Who holds the lock now, or None."""
        rows = _asked(self._url, _HOLDER, keys=[self.key])
        if not rows:
            return None
        pid, name, since = rows[0]
        return Holder(pid=pid, application_name=name or None, since=since and since.astimezone(UTC))

    def __enter__(self) -> Self:
        if self._connection is None:
            self.acquire()
        return self

    def _try(self) -> TransientError | None:
        try:
            self.try_acquire()
        except TransientError as error:
            return error
        return None

    def _busy(self, timeout_s: float) -> LockBusyError:
        holder = self.holder()
        return LockBusyError(
            f"Another writer works on {self.name.removeprefix('target:')!r} and did not end within "
            f"{timeout_s:.0f} s: {holder or 'it has gone this moment'}.",
            remedy="Wait for it, or look with `sync-pipelines jobs list --active`.",
        )


class _SharedLock(_SessionLock):
    """A sign of life, which several may give at once."""

    _take = "SELECT pg_try_advisory_lock_shared(%s)"


class RunLock(_SharedLock):
    """The sign of life of a Dagster run: each of its steps holds it, shared, from its start to its end."""

    def __init__(self, url: str, run_id: str) -> None:
        super().__init__(url, _run_name(run_id), f"sync run {run_id}")

    def acquire(self) -> None:
        """Take the lock; other steps of the same run may hold it too.

        Raises:
            TransientError, RunError: the database cannot be reached, or refuses.
        """
        if not self.try_acquire():
            raise LockBusyError(f"The lock {self.name!r} is held by something else than a step of this run.")

    def __enter__(self) -> Self:
        if self._connection is None:
            self.acquire()
        return self


class ConsumerLock(_SharedLock):
    """The sign of life of the long-running consumers of tables: each of them holds it, shared.

    Args:
        name: `sync`, or `sync/table`, as the consumer was started. paths: the tables that it knows, `sync/table`.
    """

    def __init__(self, url: str, name: str, paths: Sequence[str]) -> None:
        super().__init__(url, f"consumer:{name}", f"sync consumer {name}")
        self._keys = [lock_key(f"consumer:{path}") for path in paths if path != name]

    def try_acquire(self) -> bool:
        if taken := super().try_acquire():
            with ExitStack() as stack, classified(database=place(self._url)):
                stack.callback(self._close)
                _ask(self._connection, "SELECT pg_advisory_lock_shared(unnest(%(keys)s::bigint[]))", keys=self._keys)
                stack.pop_all()
        return taken

    def hold(self) -> None:
        """Take it where it is not held, or is no longer: the database was restarted.

        Raises:
            TransientError, RunError: the database cannot be reached, or refuses.
        """
        if self._connection is not None:
            with suppress(LockLostError):
                self.check()
                return
        self.try_acquire()


def alive_consumer(url: str, sync: str, path: str) -> str | None:
    """The name by which a long-running consumer was started that brings this table; of the ledger's `url`.

    None also where one of the sync runs that began before the table's document was there.
    """
    whole, known = (lock_key(f"consumer:{name}") for name in (sync, path))
    held = {key for (key,) in _asked(url, _HELD, keys=[whole, known])}
    return (sync if whole in held else path) if known in held else None


def run_is_alive(url: str, run_id: str) -> bool:
    """Whether a step of this run, somewhere, holds the run's lock. Says nothing before a step has started."""
    return run_id in alive_runs(url, [run_id])


def alive_runs(url: str, run_ids: Iterable[str]) -> set[str]:
    """Those of `run_ids` whose lock is held, by one query; `url` is the ledger's database."""
    keys = {lock_key(_run_name(run_id)): run_id for run_id in run_ids}
    return {keys[key] for (key,) in _asked(url, _HELD, keys=list(keys))} if keys else set()


def _run_name(run_id: str) -> str:
    return f"run:{run_id}"


def _has_spoken(connection: Any) -> bool:
    """Whether the server has sent what nobody has asked for: that it ends the session."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection.fileno(), selectors.EVENT_READ)
        return bool(selector.select(0))


def _taken(connection: Any, statement: str, key: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_SET, {"settings": json.dumps(_SESSION)})
        cursor.execute(statement, (key,))
        return cursor.fetchone()[0]


def _ask(connection: Any, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def _asked(url: str, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with classified(database=place(url)):
        connection = connect(url, "sync-pipelines locks")
        try:
            return _ask(connection, statement, **parameters)
        finally:
            connection.close()
