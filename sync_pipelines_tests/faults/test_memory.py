"""However large the table, a sync's memory stays the same."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sync_pipelines_tests.dagster.world import World

RECORDS = 9_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nine_thousand_records_of_eight_kilobytes_need_less_than_400_mb(world: World):
    command = [sys.executable, "-m", "sync_pipelines_tests.faults.memory", str(RECORDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["all"] - found["baseline"] < 400, found
    # nothing grows with the table: holding it once would take 48 MB more, as Arrow or Python have it
    assert found["all"] - found["third"] < 45, found
    assert world.execute("""SELECT count(*) FROM "Article" WHERE length(body) = 8000""") == [(RECORDS,)]
    assert world.collection.count() == RECORDS
