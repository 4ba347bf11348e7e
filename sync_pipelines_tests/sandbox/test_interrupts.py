"""What has begun is undone, whatever signals come."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import suppress

import pytest

from sync_pipelines.sandbox.interrupts import undone


def twice(number: signal.Signals, went: list[str]) -> None:
    """A block that is cut off by a signal, and while it unwinds by the same one."""
    with undone(lambda: went.append("undone")):
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            went.append("on")


def swallowed() -> None:
    """A block that goes on after a signal, and is cut off by a later one."""
    with undone(lambda: None):
        with suppress(SystemExit):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


@pytest.fixture(params=[signal.SIG_DFL, signal.default_int_handler], ids=["the system's", "Dagster's"])
def handlers(request: pytest.FixtureRequest) -> Generator[None]:
    """What signals do before the block, whatever tests before this one have left: a plain one would end the worker."""
    wanted = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: request.param, signal.SIGHUP: request.param}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_before_undoing_begins_does_not_cut_it_off(number: signal.Signals):
    went: list[str] = []
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        twice(number, went)
    assert went == ["on", "undone"]


@pytest.mark.usefixtures("handlers")
def test_a_later_signal_is_heard_where_the_first_was_swallowed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sync_pipelines.sandbox.interrupts._AT_ONCE", 0.0)
    with pytest.raises(SystemExit):
        swallowed()
