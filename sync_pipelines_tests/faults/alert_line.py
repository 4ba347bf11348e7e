"""The line of alerts: Dagster's books → one receiver. It has no target; what must not differ is who was told what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from sync_pipelines.alerts import delivery, lag, sensor, state
from sync_pipelines_tests.alerts.receiver import Receiver
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.boundaries import Reach, around, at
from sync_pipelines_tests.faults.matrix import KILLED_RUN, Action, Ended, Moment, Table, strike
from sync_pipelines_tests.faults.systems import FAULTS, System

MOMENTS = {
    "alert: reading": Moment("alert", ("looking", 1), "dagster"),
    "alert: lag": Moment("alert", ("asking", 1), "ledger"),
    "alert: queued": Moment("alert", ("looked", 1), "dagster"),
    "alert: sending": Moment("alert", ("sending", 1), "receiver"),
    "alert: sent": Moment("alert", ("saving", 2), "dagster"),
}

DEATHS = [("looked", 1), ("saved", 1), ("sending", 1), ("sent", 1), ("saved", 2)]
"""Where a tick ends as by SIGKILL, for the so-many-th time."""

_DAEMON = "alerts/test_daemon.py::"

TABLE = Table(
    moments=MOMENTS,
    outcomes={
        # a tick goes on without the lag: that it cannot be asked is told after a while
        **{("alert: lag", fault): "recovers" for fault in FAULTS},
        # nothing but a new connection is tried again within a tick: the next one comes in half a minute
        **{(b, "reset in a request"): "fails" for b, moment in MOMENTS.items() if moment.system != "ledger"},
        ("alert: sending", "reset in an answer"): "fails",
    },
    elsewhere={
        (b, KILLED_RUN): f"{_DAEMON}test_a_kill_in_the_middle_of_a_tick_doubles_nothing_that_was_taken" for b in MOMENTS
    },
    impossible={
        ("alert: lag", "killed server"): "Dagster's storage is killed with it: as 'alert: reading'",
    },
    impossible_for={
        ("dagster", "resets until given up"): "asked once in each tick: as 'reset in a request'",
        ("ledger", "resets until given up"): "as 'reset in a request': a tick goes on without its answer",
        ("receiver", "resets until given up"): "asked once in each tick: as 'reset in a request'",
        ("receiver", "killed server"): "the receiver is a stand-in in the test's process; 'refused' also resets what "
        "is open, which is all that a killed one shows",
        ("receiver", "disk full"): "a receiver's answer of 5xx, whatever its reason, is tested in the daemon",
        ("receiver", "lock time-out"): "as 'disk full'",
        ("receiver", "read-only"): "as 'disk full'",
    },
)


def bend(reach: Reach, put: Any = setattr) -> None:
    """Call `reach` where a tick looks, asks for the lag, sends, and writes down how far it is."""
    put(sensor, "look", around("looking", "looked", reach)(sensor.look))
    put(lag, "ask", around("asking", None, reach)(lag.ask))
    put(state, "save", around("saving", "saved", reach)(state.save))
    put(delivery, "send", around("sending", "sent", reach)(delivery.send))


class Killed(BaseException):
    """Ends a tick where it stands: nothing catches it, and only what is stored is known to the next one."""


@dataclass
class AlertLine:
    """A check that fails, and the sensor's ticks.

    Args:
        world: its component is the table that is told of.
        instance: over a storage of its own, behind its proxy.
        systems: `dagster`, `ledger`, `receiver`.
    """

    world: World
    instance: dg.DagsterInstance
    systems: dict[str, System]
    receiver: Receiver
    patch: pytest.MonkeyPatch
    _may_repeat: bool = field(init=False, default=False)
    _recovered: bool = field(init=False, default=False)

    def arrange(self, action: Action) -> int:
        """A first tick, which tells nothing of what was before; then a check that fails."""
        assert action == "alert"
        self._tick()
        self._evaluate(passed=False)
        return 0

    def _evaluate(self, *, passed: bool) -> None:
        found = dg.AssetCheckEvaluation(
            asset_key=self.world.component.asset_key,
            check_name="content",
            passed=passed,
            severity=dg.AssetCheckSeverity.ERROR,
            description="Equal." if passed else "Differs.",
        )
        self.instance.report_runless_asset_event(found)

    @contextmanager
    def striking(self, moment: Moment, fault: str) -> Iterator[None]:
        """A message whose taking could not be written down, or whose answer was lost, may come once more."""
        lost = moment.system == "receiver" and fault in ("reset in an answer", "time-out")
        self._may_repeat = lost or moment.at == ("saving", 2)
        with self.patch.context() as patch, strike(self.systems, moment, fault) as reach:
            bend(reach, patch.setattr)
            yield

    def die(self, boundary: tuple[str, int]) -> None:
        """A tick that is killed there; one that was sent may come once more."""

        def kill() -> None:
            raise Killed

        self._may_repeat = boundary[0] == "sent"
        with self.patch.context() as patch:
            bend(at(*boundary, kill), patch.setattr)
            with pytest.raises(Killed):
                self._tick()

    def act(self, action: Action) -> Ended:
        try:
            told = self._tick()
        except Exception as error:
            return Ended(ok=False, said=str(error))
        said = [*told.errors, *([str(told.broken)] if told.broken else [])]
        return Ended(ok=not said, said=" ".join(said))

    def _tick(self) -> sensor.Told:
        project = definitions(self.world.component)
        with dg.build_sensor_context(instance=self.instance, repository_def=project.get_repository_def()) as context:
            return sensor.tick([self.world.component], self.world.resources, self.instance, sensor._project(context))

    def confirmed(self) -> Any:
        """The incidents of which the sensor believes that everybody knows."""
        known = state.load(self.instance)
        waits = {notice.incident_id for notice in known.outbox}
        return {one.id: one.told for one in known.open.values() if one.told and one.id not in waits}

    def budgets(self) -> Any:
        return state.load(self.instance).given_up

    def assert_equal(self) -> None:
        """It is told that the table is not good, and then, as if there had been no fault, that it is again."""
        if not self._recovered:
            self._assert_told("opened")
            self._evaluate(passed=True)
            assert self.act("alert").ok
            self._recovered = True
        self._assert_told("opened", "recovered")

    def _assert_told(self, *kinds: str) -> None:
        """These messages, in their order, and none waits."""
        told = {post["alert_id"]: post["kind"] for post in self.receiver.posts}
        assert tuple(told.values()) == kinds
        known = state.load(self.instance)
        assert known.outbox == ()
        assert bool(known.open) == (kinds[-1] == "opened")

    def assert_made_once(self) -> None:
        times = Counter(post["alert_id"] for post in self.receiver.posts)
        assert max(times.values()) <= (2 if self._may_repeat else 1), times
