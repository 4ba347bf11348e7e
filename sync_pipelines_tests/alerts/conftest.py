"""A receiver for every test, and no variable of the developer's own alerts."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sync_pipelines_tests.alerts.receiver import Receiver

_OURS = ("SYNC_ALERT_URLS", "NOTIFICATION_WEBHOOK_URL", "SYNC_HEARTBEAT_URL", "SYNC_UI_URL", "DAGSTER_WEBSERVER_URL")


@pytest.fixture(autouse=True)
def nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        monkeypatch.delenv(name)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that is up."""
    made = Receiver()
    made.up()
    yield made
    made.down()
