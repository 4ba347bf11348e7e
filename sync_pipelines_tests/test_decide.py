"""The sensor's decision, as a table of cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sync_pipelines.decide import Facts, Request, Skip, decide, pause_after
from sync_pipelines.engine.model import Pending

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(seconds=1)
SOME = Pending(changes=3)
LASTING = Pending(full_reason="leaf lacks triggers", lasting=True)


def facts(**changed: object) -> Facts:
    return Facts(**{"pending": SOME, "now": NOW, **changed})


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (facts(), Request, "3 changes pending"),
        (facts(pending=Pending()), Skip, "nothing pending"),
        (facts(pending=Pending(full_reason="log purged")), Request, "log purged"),
        (facts(not_configured="CHROMA_URL is not set"), Skip, "CHROMA_URL"),
        (facts(active_runs=("abc",)), Skip, "abc is queued or running"),
        (facts(failures=1, last_failure=NOW - timedelta(seconds=29)), Skip, "next try at"),
        (facts(failures=1, last_failure=NOW - timedelta(seconds=30)), Request, "pending"),
        (facts(failures=4, last_failure=NOW - timedelta(seconds=239)), Skip, "4 failures"),
        (facts(failures=4, last_failure=NOW - timedelta(seconds=240)), Request, "pending"),
        (facts(failures=50, last_failure=NOW - timedelta(minutes=59)), Skip, "50 failures"),
        (facts(failures=50, last_failure=NOW - timedelta(minutes=60)), Request, "pending"),
        (facts(pending=LASTING), Request, "leaf lacks"),
        (facts(pending=LASTING, last_full=NOW - timedelta(minutes=59)), Skip, "leaf lacks triggers, which no run ends"),
        (facts(pending=LASTING, last_full=NOW - timedelta(minutes=60)), Request, "leaf lacks"),
        (facts(pending=Pending(full_reason="purged"), last_full=NOW), Request, "purged"),
        (facts(pending=Pending(), position=EARLIER, seen=NOW), Request, "older than it was"),
        (facts(pending=Pending(), position=EARLIER, seen=NOW, active_runs=("abc",)), Skip, "abc is queued"),
        (facts(pending=Pending(), position=EARLIER, seen=NOW, failures=9, last_failure=NOW), Skip, "9 failures"),
        (facts(pending=Pending(), position=NOW, seen=NOW), Skip, "nothing pending"),
        (facts(pending=Pending(), position=NOW, seen=EARLIER), Skip, "nothing pending"),
    ],
)
def test_the_decision_follows_from_the_facts(given, kind, words):
    decision = decide(given)
    assert type(decision) is kind
    assert words in decision.reason


def test_the_pause_grows_and_never_exceeds_an_hour():
    pauses = [pause_after(n) for n in range(1, 40)]
    assert pauses == sorted(pauses)
    assert pauses[0] == timedelta(seconds=30)
    assert pauses[-1] == timedelta(hours=1)
