"""How far a run has come, by its row in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from sync_pipelines.engine.ledger.history import RunRecord
from sync_pipelines.engine.model import Counts
from sync_pipelines.run_status import _numbers


def row(status: str, counts: Counts, table: str = "article") -> RunRecord:
    return RunRecord(
        sync_id=uuid4(),
        sync="shop",
        table=table,
        mode="incremental",
        trigger="cli",
        run_id="1",
        status=status,
        started_at=datetime.now(UTC),
        counts=counts,
        due=50,
    )


@pytest.mark.parametrize(
    ("status", "processed"), [("cancelled", 38), ("failed", 38), ("running", 42), ("completed", 42)]
)
def test_a_run_that_was_cut_off_has_processed_what_the_target_has_answered_of(status: str, processed: int):
    counts = Counts(read=40, upserted=30, unchanged=5, quarantined=1, deleted=2)
    assert _numbers([row(status, counts)]) == {"total": 50, "processed": processed, "failed": 1}


@pytest.mark.parametrize(("status", "processed"), [("running", 3), ("cancelled", 3), ("completed", 40)])
def test_a_users_run_has_come_as_far_as_its_pages_are_written_and_not_as_notes_are_read(status: str, processed: int):
    counts = Counts(read=40, upserted=2, unchanged=1)
    assert _numbers([row(status, counts, "pages:ann")])["processed"] == processed
