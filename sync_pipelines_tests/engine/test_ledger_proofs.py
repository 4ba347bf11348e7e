"""Proofs, settings, and what a clean-up may remove."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from sync_pipelines.engine.compare import Difference
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.ledger.ledger import Ledger
from sync_pipelines.engine.model import Counts, Rejection
from sync_pipelines_tests.engine.ledger_helpers import PLACE, begin, end, row, rows, watermark


@dataclass(frozen=True)
class Found:
    source_count: int = 3
    target_count: int = 3
    missing: int = 0
    stale: int = 0
    extra: int = 0
    quarantined: int = 0
    excluded: int = 0
    pending: int = 0
    samples: dict[str, list[str]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def record(ledger, *, kind: str = "quick", **more):
    started = datetime.now(UTC) - timedelta(seconds=5)
    return ledger.record_proof(*PLACE, kind=kind, **({"started_at": started, "proof": Found()} | more))


def test_a_proof_is_kept_with_its_numbers_and_samples(ledger):
    found = Found(4, 5, 1, 2, 3, 4, 5, 6, {"missing": ["a"], "extra": ["b", "ü\"'"]})
    number = record(ledger, proof=found, run_id="run-1", scope="2026-03", repaired=7)
    assert ledger.last_proof(*PLACE) is None, "a proof of a part says nothing of the table"
    proof = ledger.last_proof(*PLACE, scope="2026-03")
    assert proof.id == number
    assert (proof.source_count, proof.target_count, proof.missing, proof.stale, proof.extra) == (4, 5, 1, 2, 3)
    assert (proof.quarantined, proof.excluded, proof.pending, proof.repaired) == (4, 5, 6, 7)
    assert (proof.samples, proof.run_id, proof.scope) == (found.samples, "run-1", "2026-03")
    assert proof.finished_at - proof.started_at >= timedelta(seconds=5)
    assert not proof.equal


def test_a_proof_answers_what_failed_before_it_began_also_where_the_books_were_closed_later(ledger):
    failed, killed = begin(ledger), begin(ledger, run_id="run-2")
    end(ledger, failed, "failed")
    assert ledger.unanswered_failures(*PLACE) == 1
    record(ledger, started_at=ledger.now(), proof=Found(missing=1))
    assert ledger.unanswered_failures(*PLACE) == 1, "that proof found a difference"
    record(ledger, started_at=ledger.now(), proof=Found(pending=1))
    assert ledger.unanswered_failures(*PLACE) == 1, "what that proof saw waiting may be what the run has not brought"
    record(ledger, started_at=ledger.now())
    ledger.close_dead(killed)
    assert ledger.unanswered_failures(*PLACE) == 0
    end(ledger, begin(ledger, run_id="run-3"), "failed")
    assert (ledger.unanswered_failures(*PLACE), ledger.failure_streak(*PLACE).failures) == (1, 3)


def test_no_more_than_twenty_sample_keys_of_a_kind_are_kept(ledger):
    record(ledger, proof=Found(missing=50, samples={"missing": [str(number) for number in range(50)]}))
    assert len(ledger.last_proof(*PLACE).samples["missing"]) == 20


def test_the_last_proof_is_the_newest_that_ended_and_no_repair(ledger):
    record(ledger, kind="deep")
    record(ledger, kind="count")
    record(ledger, kind="repair")
    record(ledger, kind="quick", proof=None, error="the store is down, password=hunter2")
    assert ledger.last_proof(*PLACE).kind == "count"
    assert ledger.last_proof(*PLACE, "deep").equal
    assert ledger.last_proof(*PLACE, "repair").kind == "repair"
    assert ledger.last_proof(*PLACE, "quick") is None
    assert ledger.last_proof("voice", "submissions") is None


def test_the_proof_of_a_run_is_what_it_found_in_the_content_and_not_its_count(ledger):
    assert ledger.proof_of_run(*PLACE, "run-1") is None
    record(ledger, kind="count", run_id="run-1")
    assert ledger.proof_of_run(*PLACE, "run-1").kind == "count"
    number = record(ledger, proof=Found(stale=1), run_id="run-1")
    record(ledger, proof=Found(missing=1), run_id="run-1", scope="touched")
    record(ledger, kind="count", run_id="run-1")
    record(ledger, kind="deep", run_id="run-2")
    record(ledger, kind="repair", run_id="run-1")
    assert ledger.proof_of_run(*PLACE, "run-1").id == number
    assert ledger.proof_of_run(*PLACE, "run-1", scope="touched").missing == 1


def test_proofs_and_repairs_are_listed_the_newest_first_with_who_asked(ledger):
    begin(ledger, run_id="run-2")
    record(ledger, run_id="run-1")
    opened = ledger.open_repair(*PLACE, started_at=ledger.now(), run_id="run-2")
    record(ledger, kind="deep", proof=None, error="the store is down")
    found = ledger.proofs(*PLACE)
    assert [(proof.kind, proof.trigger) for proof in found] == [("deep", ""), ("repair", "sensor"), ("quick", "")]
    assert (found[0].error, found[1].id, found[1].finished_at) == ("the store is down", opened, None)
    assert [proof.kind for proof in ledger.proofs(*PLACE, kinds=["quick"])] == ["quick"]
    assert [proof.kind for proof in ledger.proofs(limit=1, offset=1)] == ["repair"]
    assert ledger.proofs("voice") == []


def test_an_unknown_kind_of_proof_is_refused(ledger):
    with pytest.raises(Exception, match="kind_check"):
        record(ledger, kind="guess")


def test_a_setting_is_stored_changed_and_removed(ledger):
    ledger.set_setting("hotels.sync_interval", "12h", description="pause between fetches")
    ledger.set_setting("hotels.sync_interval", "24h")
    ledger.set_setting("hotels.rate%", "10")
    ledger.set_setting("hotelsXsync", "0")
    assert ledger.setting("hotels.sync_interval") == "24h"
    assert ledger.setting("hotels.sync") is None
    assert ledger.settings("hotels.") == {"hotels.rate%": "10", "hotels.sync_interval": "24h"}
    assert ledger.settings("hotels%") == {}
    assert ledger.settings("hotels.rate%") == {"hotels.rate%": "10"}
    ledger.set_setting("hotels.sync_interval", None)
    assert ledger.setting("hotels.sync_interval") is None


def test_changing_a_setting_keeps_its_description(ledger, ledger_url):
    ledger.set_setting("a.b", "1", description="why")
    ledger.set_setting("a.b", "2")
    assert row(ledger_url, "SELECT setting_value, description FROM sync.sync_settings") == ("2", "why")


def age(url: str, days: int) -> None:
    """Move every time in the ledger's history into the past."""
    for table, columns in {
        "sync_logs": ("started_at", "completed_at", "created_at"),
        "sync_record_events": ("occurred_at",),
        "reconciliation_runs": ("started_at", "finished_at"),
        "sync_quarantine": ("first_seen", "last_seen", "dropped_at"),
        "sync_watermarks": ("confirmed_at",),
        "sync_metadata": ("created_at", "updated_at", "last_sync_timestamp"),
    }.items():
        changes = ", ".join(f"{column} = {column} - interval '{days} days'" for column in columns)
        rows(url, f"UPDATE sync.{table} SET {changes}")


def test_old_history_goes_and_new_history_stays(ledger, ledger_url):
    for _ in range(3):
        end(ledger, begin(ledger))
        record(ledger)
    ledger.quarantine(begin(ledger, mode="records"), [Rejection(key="a", reason="no text", stage="map")])
    rows(ledger_url, "DELETE FROM sync.sync_logs WHERE status = 'running'")
    age(ledger_url, 91)
    end(ledger, begin(ledger))
    record(ledger)
    assert ledger.clean() == {"sync_logs": 3, "sync_record_events": 1, "reconciliation_runs": 3, "sync_conflicts": 0}
    assert ledger.clean() == {"sync_logs": 0, "sync_record_events": 0, "reconciliation_runs": 0, "sync_conflicts": 0}
    assert len(ledger.logs()) == 1


def test_history_below_the_limit_stays(ledger, ledger_url):
    for _ in range(2):
        end(ledger, begin(ledger))
        record(ledger)
    age(ledger_url, 89)
    assert sum(ledger.clean().values()) == 0
    assert ledger.clean(days=88) == {
        "sync_logs": 1,
        "sync_record_events": 0,
        "reconciliation_runs": 1,
        "sync_conflicts": 0,
    }


def test_what_is_needed_stays_however_old_it_is(ledger, ledger_url):
    end(ledger, begin(ledger), counts=Counts(upserted=5), watermark=watermark())
    end(ledger, begin(ledger))
    end(ledger, begin(ledger), "failed", error="the store is down")
    open_runs = [begin(ledger), begin(ledger)]
    ledger.quarantine(open_runs[0], [Rejection(key="a", reason="no text", stage="map")])
    record(ledger, kind="deep")
    record(ledger, kind="quick")
    ledger.set_setting("a.b", "1")
    age(ledger_url, 1_000)
    assert ledger.clean() == {"sync_logs": 0, "sync_record_events": 1, "reconciliation_runs": 0, "sync_conflicts": 0}
    assert ledger.watermark(*PLACE) == watermark()
    assert ledger.records_synced(*PLACE) == 5
    assert ledger.failure_streak(*PLACE).failures == 1
    assert [run.sync_id for run in ledger.open_runs()] == [run.sync_id for run in open_runs]
    assert ledger.quarantined(*PLACE) == 1
    assert ledger.last_proof(*PLACE, "deep")
    assert ledger.state(*PLACE)
    assert ledger.setting("a.b") == "1"


def test_a_clean_up_keeps_the_last_whole_proof_beside_those_of_touched_keys(ledger, ledger_url):
    whole = record(ledger)
    record(ledger, scope="touched")
    touched = record(ledger, scope="touched")
    for number in range(3):
        record(ledger, kind="repair", scope=f"{number} keys")
    age(ledger_url, 100)
    assert ledger.clean()["reconciliation_runs"] == 3
    assert ledger.last_proof(*PLACE, "quick").id == whole
    assert ledger.last_proof(*PLACE, "quick", scope="touched").id == touched
    assert ledger.last_repair(*PLACE)


@pytest.mark.slow
def test_a_large_clean_up_goes_in_steps(ledger, ledger_url, monkeypatch):
    monkeypatch.setattr("sync_pipelines.engine.ledger.ledger._CHUNK", 10)
    for _ in range(26):
        end(ledger, begin(ledger))
    age(ledger_url, 100)
    assert ledger.clean()["sync_logs"] == 25


@pytest.mark.parametrize("days", [0, -1])
def test_a_clean_up_of_everything_is_refused(ledger, days):
    with pytest.raises(ConfigurationError):
        ledger.clean(days=days)


def test_a_ledger_in_a_schema_of_any_name_works(empty_database_url):
    from sync_pipelines import migrations

    schema = 'my "schema": 50%'
    migrations.upgrade(empty_database_url, branch="ledger", schema=schema)
    with Ledger(empty_database_url, schema=schema) as ledger:
        ledger.check()
        run = begin(ledger)
        ledger.quarantine(run, [Rejection(key="a", reason="no text", stage="map")])
        ledger.settle(*PLACE, ["a"], run)
        assert end(ledger, run, watermark=watermark()).status == "completed"
        assert ledger.clean()["sync_logs"] == 0


def test_a_deep_proof_and_the_keys_that_it_names_stand_in_the_ledger_together_or_not_at_all(ledger):
    def named():
        return {item.key: item.reason for batch in ledger.named_differences(*PLACE) for item in batch}

    def found(*keys):
        yield [Difference(key, "stale", key.upper(), False) for key in keys if key != "dies"]
        if "dies" in keys:
            raise RuntimeError("its process is killed")

    number = record(ledger, kind="deep", named=lambda: found("a", "b"), proof=Found(stale=2))
    with pytest.raises(RuntimeError):
        record(ledger, kind="deep", named=lambda: found("c", "dies"))
    assert (ledger.last_proof(*PLACE).id, named()) == (number, {"a": "A", "b": "B"})
    record(ledger, kind="deep", named=lambda: found("b"))
    assert named() == {"b": "B"}
