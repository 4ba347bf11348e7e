"""The checks of notes alone, without their systems."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from sync_pipelines import reporting
from sync_pipelines.engine.durations import seconds
from sync_pipelines.note_checks import freshness
from sync_pipelines_tests.notes.study import document


@pytest.mark.parametrize(
    ("minutes", "passed", "severity"), [(-1, True, "ERROR"), (1, False, "ERROR"), (None, False, "WARN")]
)
def test_a_user_who_was_not_synced_for_too_long_is_not_fresh(
    monkeypatch: pytest.MonkeyPatch, minutes: int | None, passed: bool, severity: str
) -> None:
    component = document().for_user("ann")
    limit = timedelta(seconds=seconds(component.checks.fresh_within))
    last = None if minutes is None else datetime.now(UTC) - limit - timedelta(minutes=minutes)
    monkeypatch.setattr(reporting, "last_success", lambda *_: last)
    asked: Any = SimpleNamespace(binding=SimpleNamespace(ledger=None, place=None), component=component)
    found = freshness(asked)
    assert (found.passed, found.severity) == (passed, dg.AssetCheckSeverity[severity])
