"""Whether an API is down, and whether it takes the key: what single failures cannot tell."""

from __future__ import annotations

from collections.abc import Callable

from sync_pipelines.engine.errors import LONGEST_WAIT
from sync_pipelines.sources.rest.calls import Answer, Call
from sync_pipelines.sources.rest.errors import ApiDownError, FaultError, KeyRefusedError
from sync_pipelines.sources.rest.settings import ClientSettings

DOUBTFUL = 10
"""So many requests in a row have failed: either the API is down, or these records are."""

FORBIDDEN = 5
"""So many first answers are all 403: either it is the key, or these records are forbidden."""

_LONGEST_PROBE_PAUSE = 15.0


class Breaker:
    """Counts failures in a row; in doubt, the API is probed before it counts as down.

    A record that fails for itself must not stop the others, so what is probed is a request that has worked in this run,
    if there is one. Not for several threads at once.

    Args:
        clock: seconds.
    """

    def __init__(self, settings: ClientSettings, clock: Callable[[], float]) -> None:
        self._settings, self._clock = settings, clock
        self.good: Call | None = None
        self.next_probe = 0.0
        self._streak = self._probes = 0
        self._since = self._doubted = 0.0
        self._last: FaultError | None = None

    @property
    def doubtful(self) -> bool:
        """Whether nothing but a probe may be sent."""
        return self._streak >= DOUBTFUL

    def worked(self, answer: Answer, call: Call) -> bool:
        """The API has answered; whether that ends an outage: probes had failed before."""
        ends = self._probes > 1
        self._streak = self._probes = 0
        if answer.status == "found":
            self.good = call
        return ends

    def failed(self, error: FaultError, *, probe: bool) -> ApiDownError | None:
        """A request has failed; the error with which to stop, if that is enough.

        Args:
            probe: it was sent to see whether the API is back.
        """
        now = self._clock()
        if not self._streak:
            self._since = now
        self._streak, self._last = self._streak + 1, error
        if self._streak == DOUBTFUL:
            self._doubted = now
        if probe or self._streak == DOUBTFUL:
            self._postpone(error)
        # a limit that is spent for an hour: whatever is asked meets it
        closed = error.http_status == 429 and error.asks_too_much
        # ten failures may have taken long where the rate is slow: it counts how long it was probed
        lasts = probe and self.doubtful and now - self._doubted >= self._settings.patience
        return self._down() if closed or lasts else None

    def _postpone(self, error: FaultError) -> None:
        pause = min(_LONGEST_PROBE_PAUSE, self._settings.backoff * 2.0**self._probes)
        self._probes += 1
        asked = min(error.retry_after or 0.0, LONGEST_WAIT)
        self.next_probe = self._clock() + max(pause, asked)

    def _down(self) -> ApiDownError:
        assert self._last is not None
        lasted = self._clock() - self._since
        return ApiDownError(
            f"{self._settings.host} is down or shut for now: the last {self._streak} requests, over {lasted:.0f} s, "
            f"have failed; of the last one: {self._last.message}. Nothing more is asked.",
            remedy="What is left stays due; the next run takes it up.",
            **self._settings.where,
        )


class KeyWatch:
    """Whether the key is any good, by the first answers (Cupid gives 403 for a record, too)."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._forbidden, self._reason = 0, ""
        self.known = False

    @property
    def doubtful(self) -> bool:
        """Whether nothing but a probe may be sent: the records that come first may all be forbidden ones."""
        return not self.known and self._forbidden >= FORBIDDEN

    def see(self, answer: Answer) -> None:
        """Look at an answer that is none of 429 and 5xx."""
        self.known = self.known or answer.http_status != 403
        if not self.known:
            self._forbidden, self._reason = self._forbidden + 1, answer.reason

    def refused(self) -> KeyRefusedError | None:
        """The error with which to stop, if nobody can dispel the doubt."""
        if not self.doubtful:
            return None
        return KeyRefusedError(
            f"{self._settings.host} refuses the key: the first {self._forbidden} answers are all 403; of the last one: "
            f"{self._reason}. Nothing more is asked.",
            remedy=f"Set {self._settings.key_name} to a key that may read these records, and start the sync again.",
            **self._settings.where,
        )
