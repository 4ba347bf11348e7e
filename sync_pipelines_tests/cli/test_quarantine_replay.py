"""`sync-pipelines quarantine` on real systems: a poison row, replayed while it is bad, when it is good, dropped."""

from __future__ import annotations

import json
import subprocess

import pytest

from sync_pipelines import client
from sync_pipelines.engine.ledger.ledger import QuarantinedRecord
from sync_pipelines_tests.cli.shop import ARTICLE, Shop, run

pytestmark = pytest.mark.slow


@pytest.fixture
def poisoned(shop: Shop) -> Shop:
    """The shop, synced; of its two articles one has a time that no target holds."""
    shop.put("good", "bad")
    shop.execute("""UPDATE "Article" SET "updatedAt" = 'infinity' WHERE id = 'bad'""")
    run_id = client.trigger(ARTICLE, wait=True)
    assert client.status(run_id).state == "completed"
    assert shop.stored() == {"good"}
    (record,) = _records(shop)
    assert (record.key, record.attempts, record.run_id) == ("bad", 1, run_id)
    return shop


def _records(shop: Shop) -> list[QuarantinedRecord]:
    with shop.ledger as ledger:
        return ledger.list_quarantine("shop", "article")


def _events(shop: Shop) -> list[str]:
    with shop.ledger as ledger:
        return [event.event for event in ledger.record_events("shop", "article", key="bad")]


def _replay(*words: str) -> tuple[subprocess.CompletedProcess[str], dict]:
    result = run("quarantine", "replay", ARTICLE, *words, "--json")
    (replayed,) = json.loads(result.stdout)["runs"]
    return result, replayed


def test_a_replay_brings_a_mended_row_to_the_target_and_out_of_quarantine(poisoned: Shop):
    poisoned.put("bad", body="a mended body")
    result, replayed = _replay()
    assert result.returncode == 0, result.stderr
    assert "DEBUG" not in result.stderr  # of Dagster's events
    assert (replayed["keys"], replayed["status"], replayed["still_out"]) == (["bad"], "completed", [])
    assert poisoned.stored() == {"good", "bad"}
    assert _records(poisoned) == []
    assert _events(poisoned) == ["recovered", "failed"]
    last = poisoned.last_run()
    assert (last.run_id, last.mode, last.counts.upserted) == (replayed["run_id"], "records", 1)


def test_a_replay_of_a_row_that_is_still_bad_counts_the_attempt_and_leaves_it_there(poisoned: Shop):
    (before,) = _records(poisoned)
    result, replayed = _replay("--key", "bad")
    assert result.returncode == 1
    assert (replayed["status"], replayed["still_out"]) == ("completed", ["bad"])
    (after,) = _records(poisoned)
    assert (after.attempts, after.run_id) == (2, replayed["run_id"])
    assert after.first_seen == before.first_seen < after.last_seen
    assert poisoned.stored() == {"good"}
    shown = run("quarantine", "show", ARTICLE, "--key", "bad")
    assert f"failed run {replayed['run_id']}" in shown.stdout
    assert "2 tries" in shown.stdout


def test_a_dropped_row_is_no_longer_replayed_nor_counted_until_it_changes(poisoned: Shop):
    assert "1 dropped" in run("quarantine", "drop", ARTICLE, "--key", "bad").stdout
    (listed,) = json.loads(run("quarantine", "list", ARTICLE, "--json").stdout)["records"]
    assert listed["dropped_at"]
    result = run("quarantine", "replay", ARTICLE)
    assert (result.returncode, result.stdout.startswith("Nothing of it is to be tried again: 1 dropped")) == (0, True)
    client.trigger(ARTICLE, full=True, wait=True)  # reads the same bad row again
    with poisoned.ledger as ledger:
        assert ledger.quarantine_counts("shop", "article") == (0, 1)
    poisoned.put("bad", body="a mended body")
    client.trigger(ARTICLE, wait=True)
    assert poisoned.stored() == {"good", "bad"}
    assert _records(poisoned) == []
