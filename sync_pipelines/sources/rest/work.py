"""Many calls at once: who is asked next, what waits for another try, when it is enough.

A few threads ask; whoever wants the answers gives the calls, in the same thread in which the answers are taken. While
that thread is busy with what it got, the others go on, so far as there is room. A call that is to be tried again waits
beside them and holds nobody up.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sync_pipelines.sources.rest.breaker import Breaker, KeyWatch
from sync_pipelines.sources.rest.calls import Answer, Call
from sync_pipelines.sources.rest.errors import FaultError
from sync_pipelines.sources.rest.pauses import pause_before
from sync_pipelines.sources.rest.settings import ClientSettings

_AHEAD = 500
"""Calls that are taken in advance: what the threads live on while nobody takes answers."""

_MOST_PARKED = 200
"""Calls that wait for another try; are there more, no new one begins."""

_MORE_OF_429 = 2
"""So many tries more has a call that came too early: that is seldom its own fault, and the rate is halved meanwhile."""

_LEAVE_SECONDS = 1.0
"""How long the threads are waited for that still have a request under way when nobody wants its answer any more."""

Ask = Callable[[Call, threading.Event], Answer | None]
"""Sends one request; None: no more may be sent."""


@dataclass(order=True)
class _Job:
    """A call on its way; `probe`: sent in doubt, `known`: its answer has been given already."""

    due: float
    call: Call = field(compare=False)
    tries: int = field(default=0, compare=False)
    probe: bool = field(default=False, compare=False)
    known: bool = field(default=False, compare=False)


class Work:
    """The state of one `fetch`; each method that begins with `_` and touches it holds the condition's lock.

    Args:
        clock: seconds. spare: a call that has worked in an earlier run.
    """

    def __init__(
        self,
        ask: Ask,
        settings: ClientSettings,
        clock: Callable[[], float] = time.monotonic,
        *,
        spare: Call | None = None,
    ) -> None:
        self._ask, self._settings, self._clock, self._spare = ask, settings, clock, spare
        self._condition = threading.Condition()
        self._stopped = threading.Event()
        self._breaker, self._key = Breaker(settings, clock), KeyWatch(settings)
        self._calls: deque[Call] = deque()
        self._no_more_calls = self._no_more_requests = False
        self._parked: list[_Job] = []
        self._under_way = 0
        self._answers: deque[Answer] = deque()
        self._held: list[tuple[Answer, _Job | None]] = []
        self._error: BaseException | None = None
        self._room = max(16, 4 * settings.max_concurrent)

    def answers(self, calls: Iterable[Call]) -> Iterator[Answer]:
        """The answers as they come.

        Raises:
            KeyRefusedError, ApiDownError, …: after everything that had arrived.
        """
        source = iter(calls)
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self._settings.max_concurrent)]
        for thread in threads:
            thread.start()
        try:
            self._refill(source)
            while (answer := self._take()) is not None:
                yield answer
                self._refill(source)
        finally:
            self._leave(threads)
        if self._error is not None:
            raise self._error

    def _refill(self, source: Iterator[Call]) -> None:
        if self._no_more_calls or len(self._calls) > _AHEAD // 2:
            return
        while len(self._calls) < _AHEAD:
            call = next(source, None)
            with self._condition:
                if call is None:
                    self._no_more_calls = True
                else:
                    self._calls.append(call)
                self._condition.notify_all()
            if call is None:
                return

    def _take(self) -> Answer | None:
        with self._condition:
            while not self._answers and not self._is_over():
                self._condition.wait()
            if not self._answers and self._error is None:
                self._error = self._key.refused()
            if not self._answers and self._error is None:
                self._release()  # nobody came after them who could tell whether it is they or the API
            self._condition.notify_all()
            return self._answers.popleft() if self._answers else None

    def _leave(self, threads: list[threading.Thread]) -> None:
        self._stopped.set()
        with self._condition:
            self._condition.notify_all()
        deadline = time.monotonic() + _LEAVE_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # the threads

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._settle(job, self._result(job))
        except BaseException as error:  # a fault of ours: whoever takes the answers must hear of it, not wait for ever
            with self._condition:
                self._error = self._error or error
                self._condition.notify_all()

    def _result(self, job: _Job) -> Answer | BaseException | None:
        try:
            return self._ask(job.call, self._stopped)
        except BaseException as error:
            return error

    def _next(self) -> _Job | None:
        with self._condition:
            while not self._is_over():
                if (job := self._chosen()) is not None:
                    self._under_way += 1
                    return job
                self._condition.wait(self._pause())
            self._condition.notify_all()
            return None

    def _is_over(self) -> bool:
        if self._stopped.is_set() or self._error is not None:
            return True
        if self._under_way:
            return False
        if self._key.doubtful and self._spare is not None and not self._no_more_requests:
            return False
        return self._no_more_requests or (self._no_more_calls and not self._calls and not self._parked)

    def _chosen(self) -> _Job | None:
        if self._no_more_requests or len(self._answers) + self._under_way >= self._room:
            return None
        now = self._clock()
        if self._is_doubtful:
            return self._probe() if now >= self._breaker.next_probe and not self._under_way else None
        if self._parked and self._parked[0].due <= now:
            return heapq.heappop(self._parked)
        if self._calls and len(self._parked) < _MOST_PARKED:
            return _Job(now, self._calls.popleft())
        return None

    @property
    def _is_doubtful(self) -> bool:
        return self._breaker.doubtful or self._key.doubtful

    def _probe(self) -> _Job | None:
        """What tells most: a call that has worked, else one that was never tried, else one that worked in an earlier
        run (all that are due may be records that fail for themselves), else one that has failed.

        Of those never tried the last one: the first ones may all be records that failed the last time. Of a key it
        tells less than one that worked, for those that are forbidden come last.
        """
        at_once = self._key.doubtful or not self._calls
        if (well := self._breaker.good or (self._spare if at_once else None)) is not None:
            return _Job(0.0, well, probe=True, known=True)
        if self._calls:
            return _Job(0.0, self._calls.pop(), probe=True)
        if not self._parked:
            return None
        job = heapq.heappop(self._parked)
        job.probe = True
        return job

    def _pause(self) -> float | None:
        """Seconds until something may be due by the clock alone; None: somebody has to do something first."""
        if self._is_doubtful:
            due = self._breaker.next_probe
        elif self._parked:
            due = self._parked[0].due
        else:
            return None
        left = due - self._clock()
        return left if left > 0 else None  # it is due, and there is no room for it, or another request is out

    def _settle(self, job: _Job, result: Answer | BaseException | None) -> None:
        with self._condition:
            self._under_way -= 1
            if isinstance(result, Answer):
                self._answered(job, result)
            elif isinstance(result, FaultError):
                self._failed(job, result)
            elif result is None:
                self._no_more_requests = True
            else:
                self._error = self._error or result
            self._condition.notify_all()

    def _answered(self, job: _Job, answer: Answer) -> None:
        self._key.see(answer)
        if job.probe:
            self._error = self._error or self._key.refused()
        if self._key.known:
            (self._again if self._breaker.worked(answer, job.call) else self._release)()
        if job.known:
            return
        if self._key.known:
            self._answers.append(answer)
        else:
            self._held.append((answer, None))

    def _failed(self, job: _Job, error: FaultError) -> None:
        doubted = self._breaker.doubtful
        self._error = self._error or self._breaker.failed(error, probe=job.probe)
        if job.known:
            return
        job.probe = False
        job.tries += not doubted  # an outage uses up no record's tries
        most = self._settings.retry_attempts + (_MORE_OF_429 if error.http_status == 429 else 0)
        if job.tries < most and not error.asks_too_much:
            job.due = self._clock() + pause_before(job.tries, error, self._settings.backoff)
            heapq.heappush(self._parked, job)
        else:
            self._held.append((self._given_up(job, error), job))

    def _given_up(self, job: _Job, error: FaultError) -> Answer:
        tries = f" ({job.tries} tries)" if job.tries > 1 else ""
        return Answer(
            key=job.call.key, status="failed", reason=f"{error.message}{tries}", http_status=error.http_status
        )

    def _release(self) -> None:
        """The API answers others: those that failed have failed for themselves."""
        self._answers.extend(answer for answer, _ in self._held)
        self._held.clear()

    def _again(self) -> None:
        """The API is back: what failed before may have failed for its sake, and has all its tries anew."""
        jobs = [job for _, job in self._held if job is not None]
        self._held = [(answer, job) for answer, job in self._held if job is None]
        for job in jobs:
            job.tries, job.due = 0, self._clock()
            heapq.heappush(self._parked, job)
        self._release()
