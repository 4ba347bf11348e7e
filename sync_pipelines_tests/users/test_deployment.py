"""Users under a running daemon: schedules, and partitions that are chosen in the UI."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from sync_pipelines_tests.dagster.deployment import Deployment, deployed, wait_for
from sync_pipelines_tests.users.diary import Desk

CODE = """
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.users.diary import diary

defs = definitions(
    diary(sensor={"enabled": False}, schedules={"incremental": "* * * * *", "full": None, "checks": None})
)
"""
BACKFILL = """
mutation { launchPartitionBackfill(backfillParams: {
    assetSelection: [{path: ["diary", "entries"]}], partitionNames: ["ann", "bob"]
}) { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.mark.exhaustive
def test_a_schedule_and_a_backfill_make_one_run_a_user(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_POSTGRES_URL", raising=False)
    desk.add("ann", "bob")
    (tmp_path / "deployed").mkdir()
    with deployed(tmp_path / "deployed", CODE) as deployment:
        by_schedule = wait_for("a run for each user", lambda: _ended(deployment, "dagster/schedule_name"), seconds=180)
        assert {run.tags["sync/user"] for run in by_schedule} == {"diary/ann", "diary/bob"}
        assert (desk.stored("ann"), desk.stored("bob")) == (2, 2)
        assert deployment.graphql(BACKFILL)["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess"
        by_hand = wait_for("the backfill's runs", lambda: _ended(deployment, "dagster/backfill"), seconds=180)
        assert len(by_hand) == 2
    assert desk.runs("ann")[0].trigger in ("manual", "schedule")
    assert {run.run_id for run in by_hand} <= {run.run_id for name in ("ann", "bob") for run in desk.runs(name)}


def _ended(deployment: Deployment, tag: str) -> list[dg.DagsterRun] | None:
    """The runs with this tag, once both users have a good one."""
    good = [run for run in deployment.runs(tag) if run.status == dg.DagsterRunStatus.SUCCESS]
    return good if len(good) >= 2 else None
