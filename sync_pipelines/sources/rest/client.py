"""A client of a REST API: many requests at once, never more than the API allows.

with RestClient(settings, rate=SharedRate(ledger, settings.api)) as client:
    for answer in client.fetch(Call(key=key, path=f"property/{key}") for key in keys):
        ...
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from sync_pipelines.engine.errors import LONGEST_WAIT, RecordError, RunError
from sync_pipelines.engine.limiter import Latency, Limiter, local_rate
from sync_pipelines.engine.rates import RateKeeper
from sync_pipelines.sources.rest.calls import Answer, Call, path_of
from sync_pipelines.sources.rest.errors import ApiDownError, FaultError, KeyRefusedError, judge
from sync_pipelines.sources.rest.paging import Pager, Pagination
from sync_pipelines.sources.rest.pauses import pause_before
from sync_pipelines.sources.rest.settings import ClientSettings, auth_headers
from sync_pipelines.sources.rest.transport import Transport
from sync_pipelines.sources.rest.work import Work

__all__ = [
    "Answer",
    "ApiDownError",
    "Call",
    "ClientSettings",
    "KeyRefusedError",
    "Pagination",
    "RestClient",
    "auth_headers",
    "path_of",
]

_LOG = logging.getLogger(__name__)


class RestClient:
    """A pool of connections, a rate, and a count of what was sent; a context manager.

    Args:
        rate: keeps the rate for all who share it (`engine.ledger.rates.SharedRate`); None: for the threads of this
            process alone.
    """

    def __init__(self, settings: ClientSettings, *, rate: RateKeeper | None = None) -> None:
        self.settings = settings
        self.requests = 0
        self._exhausted = False
        self._lock = threading.Lock()
        self._transport = Transport(settings)
        self._limiter = Limiter(rate or local_rate(settings.api), rate=settings.rate_limit)
        self._latency = Latency()

    @property
    def exhausted(self) -> bool:
        """Whether the allowance was used up before the calls were."""
        return self._exhausted

    def fetch(self, calls: Iterable[Call], *, spare: Call | None = None) -> Iterator[Answer]:
        """The answers of these calls, as they come: lazy, in constant memory, `max_concurrent` requests at a time.

        A call whose answer is not given was not decided: the API went down, the key was refused or the allowance is
        used up; it stays due.

        Args:
            calls: taken in the thread that takes the answers, some hundreds ahead of them.
            spare: one that has worked in an earlier run; it tells, where all calls fail, whether the API does.

        Raises:
            KeyRefusedError: 401, or the first five answers are all 403, and so is that of the spare or the last call.
            ApiDownError: nobody gets an answer any more. Both come after what had arrived.
        """
        return Work(self._ask, self.settings, spare=spare).answers(calls)

    def pages(self, path: str, params: Mapping[str, str], pagination: Pagination) -> Iterator[list[Any]]:
        """The records of a list endpoint, a page at a time; empty pages are not given.

        It ends early, with `exhausted`, where the allowance is used up.

        Raises:
            KeyRefusedError, ApiDownError: as `fetch`; a page that does not come after all tries is an outage, too.
            RunError: there is no such endpoint, or its answers are not as `pagination` says.
        """
        pager = Pager(pagination, base_url=self.settings.base_url, path=path, params=params, where=self.settings.where)
        first = pager.next_call()
        while (call := pager.next_call()) is not None:
            answer = self._ask_patiently(call)
            if answer is None:
                return
            if items := pager.items_of(self._found(answer, later=call is not first)):
                yield items

    def _ask_patiently(self, call: Call) -> Answer | None:
        never, tries = threading.Event(), 1
        while True:
            try:
                return self._ask(call, never)
            except FaultError as error:
                if tries >= self.settings.retry_attempts or error.asks_too_much:
                    raise self._no_page(call, error) from error
                never.wait(pause_before(tries, error, self.settings.backoff))
                tries += 1

    def _no_page(self, call: Call, error: FaultError) -> ApiDownError:
        return ApiDownError(
            f"{self.settings.host} does not give a page ({call.key}): {error.message}.",
            retry_after=error.retry_after,
            remedy="The next run begins anew with what is due.",
            **self.settings.where,
        )

    def _found(self, answer: Answer, *, later: bool) -> Any:
        if answer.status == "found":
            return answer.body
        if answer.http_status == 403:
            raise KeyRefusedError(
                f"{self.settings.host} refuses the list {answer.key}: {answer.reason}.",
                remedy=f"Set {self.settings.key_name} to a key that may read it.",
                **self.settings.where,
            )
        remedy = f"Check {self.settings.url_name} and the path."
        if later:  # it may be how the API ends a list, or a fault amid it: what it lacks would be marked as gone
            remedy = "Write `pagination.more`, or a cursor's `next`: by that an answer says that there are no more."
        raise RunError(
            f"{self.settings.host} gives no list at {answer.key}: {answer.reason}.",
            remedy=remedy,
            **self.settings.where,
        )

    def _ask(self, call: Call, stopped: threading.Event) -> Answer | None:
        """Send one request in its slot of time; None: no more may be sent."""
        if not self._may_send(stopped):
            return None
        try:
            reply = self._transport.get(call)
            if self._latency.grows(reply.seconds):
                self._ease("answers take longer and longer")
            return judge(reply, call, self.settings)
        except RecordError as error:
            return Answer(key=call.key, status="failed", reason=error.message, lasting=True)
        except FaultError as error:
            if error.http_status == 429:
                self._ease("it answers 429", rest=error.retry_after)
            raise

    def _may_send(self, stopped: threading.Event) -> bool:
        """Wait for the next slot; whether there is one, and something left of the allowance."""
        with self._lock:
            allowance = self.settings.allowance
            if allowance is not None and self.requests >= allowance:
                self._exhausted = True
                return False
            self.requests += 1
        if self._limiter.wait(stopped):
            return True
        with self._lock:
            self.requests -= 1
        return False

    def _ease(self, why: str, *, rest: float | None = None) -> None:
        slowed = self._limiter.slow_down()
        if slowed is not None:
            rate = self.settings.rate_limit / slowed
            _LOG.info("%s is asked no more than %.3g times a second for a while: %s", self.settings.host, rate, why)
        if rest and rest <= LONGEST_WAIT:
            self._limiter.pause(rest)
            _LOG.info("%s asks for a rest of %g s", self.settings.host, rest)

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
