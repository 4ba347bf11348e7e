"""What the sensor remembers, in Dagster's own cursor storage.

It is not the sensor's `cursor`: that one is stored with every tick (2,880 a day) and only when the tick
has ended. This one is a single row, written right after each message that was taken, so that neither a
restart in the middle of a tick nor a try-out of the sensor in the UI sends a message twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from sync_pipelines.alerts.incidents import Frozen, Incident, Notice

if TYPE_CHECKING:
    import dagster as dg

KEY = "sync_pipelines/alerts"


class State(Frozen):
    """Everything that lasts from tick to tick.

    Args:
        position: the id of the last run event that was taken; None before the first tick.
        checks: `asset:check` → ids of its newest evaluations that were taken.
        unanswered: tables whose lag cannot be asked, since when.
        open, numbers: the incidents by table, and how many each table ever had.
        given_up: messages that no receiver took in time, since the first tick.
    """

    position: int | None = None
    checks: dict[str, tuple[int, ...]] = Field(default={})
    unanswered: dict[str, datetime] = Field(default={})
    open: dict[str, Incident] = Field(default={})
    numbers: dict[str, int] = Field(default={})
    outbox: tuple[Notice, ...] = ()
    given_up: int = 0

    def changed(self, **values: object) -> State:
        return self.model_copy(update=values)


def load(instance: dg.DagsterInstance) -> State:
    """The stored state; a new one where none is, or where another version stored what this one cannot read."""
    text = instance.daemon_cursor_storage.get_cursor_values({KEY}).get(KEY)
    if not text:
        return State()
    try:
        return State.model_validate_json(text)
    except ValidationError:
        return State()


def save(instance: dg.DagsterInstance, state: State) -> None:
    """Store the state."""
    instance.daemon_cursor_storage.set_cursor_values({KEY: state.model_dump_json(exclude_defaults=True)})
