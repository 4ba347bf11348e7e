"""Time as a workspace has it: it can be moved and stopped, and what is shown of it is rounded down to the minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """The machine's clock, moved by what tests want."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._stopped: datetime | None = None

    def now(self) -> datetime:
        """The moment, in UTC."""
        return self._stopped or datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once; a clock that is stopped stays so, later."""
        self._ahead += timedelta(seconds=seconds)
        if self._stopped is not None:
            self._stopped += timedelta(seconds=seconds)

    def stop(self, at: datetime | None = None) -> None:
        """Stand still, at this moment or now."""
        self._stopped = at or self.now()

    def go_on(self) -> None:
        """Run again, from the moment at which it stands."""
        if self._stopped is not None:
            self._ahead = self._stopped - datetime.now(UTC)
            self._stopped = None


def minute(moment: datetime) -> str:
    """A moment as Notion shows it: its minute."""
    return moment.strftime("%Y-%m-%dT%H:%M:00.000Z")
