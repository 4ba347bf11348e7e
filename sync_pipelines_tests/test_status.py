"""From facts to a report: a table of cases, without any system."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sync_pipelines.engine.durations import age, brief
from sync_pipelines.engine.ledger.proofs import ProofRecord
from sync_pipelines.engine.model import Pending
from sync_pipelines.status import Facts, Thresholds, report, table_status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AGO = {
    name: NOW - timedelta(**span)
    for name, span in {
        "minutes": {"minutes": 10},
        "hours": {"hours": 3},
        "days": {"days": 2},
    }.items()
}


def proof(**changed) -> ProofRecord:
    given = {
        "id": 1,
        "sync": "shop",
        "table": "article",
        "kind": "quick",
        "started_at": AGO["minutes"],
        "finished_at": AGO["minutes"],
        "source_count": 10,
        "target_count": 10,
    }
    return ProofRecord(**{**given, **changed})


GOOD = Facts(
    path="shop/article",
    proof=proof(),
    pending=Pending(),
    last_success=AGO["minutes"],
    quarantined=0,
    excluded=0,
    interval=timedelta(hours=6),
    next_run=NOW + timedelta(hours=1),
)


def status(**changed):
    return table_status(replace(GOOD, **changed), now=NOW)


def test_a_proven_table_with_nothing_pending_is_healthy():
    found = status()
    assert found.healthy
    assert found.problems == ()
    assert (found.lag_seconds, found.pending, found.interval) == (0.0, 0, "6h")


CASES = {
    "a record is missing": ({"proof": proof(missing=1)}, "1 missing"),
    "a record is stale": ({"proof": proof(stale=2)}, "2 stale"),
    "a stranger is in the target": ({"proof": proof(extra=3)}, "3 extra"),
    "several sorts of difference": ({"proof": proof(missing=1, extra=3)}, "1 missing, 3 extra"),
    "no proof": ({"proof": None}, "it was never proven"),
    "an old proof": ({"proof": proof(finished_at=AGO["days"])}, "the last proof is older than 26h"),
    "never synced": ({"last_success": None}, "it was never synced"),
    "the last sync failed": ({"failures": 1}, "the last sync failed"),
    "several failed": ({"failures": 3}, "3 failed syncs in a row"),
    "old changes wait": (
        {"pending": Pending(changes=1, oldest=AGO["hours"])},
        "the oldest pending change is 3h old",
    ),
    "all is due since long": (
        {"pending": Pending(full_reason="log purged"), "last_success": AGO["hours"]},
        "the oldest pending change is 3h old",
    ),
    "a system is out of reach": ({"problem": "db:5432 refuses."}, "db:5432 refuses."),
}


@pytest.mark.parametrize(("changed", "problem"), CASES.values(), ids=CASES.keys())
def test_each_of_these_alone_makes_a_table_unhealthy_and_is_named(changed, problem):
    found = status(**changed)
    assert not found.healthy
    assert found.problems == (problem,)


HARMLESS = {
    "records in quarantine": ({"quarantined": 2}, ("2 in quarantine",)),
    "a change of some minutes": (
        {"pending": Pending(changes=4, oldest=NOW - timedelta(minutes=20))},
        ("the oldest pending change is 20m old",),
    ),
    "a fresh change": ({"pending": Pending(changes=4, oldest=NOW - timedelta(minutes=2))}, ()),
    "a conflict in review": ({"excluded": 1, "in_review": 1}, ("1 conflicts wait for a review",)),
    "a word of the capture": ({"warnings": ("the log grows",)}, ("the log grows",)),
    "it runs now": ({"running": True}, ()),
    "records that were dropped": ({"excluded": 5}, ()),
}


@pytest.mark.parametrize(("changed", "warnings"), HARMLESS.values(), ids=HARMLESS.keys())
def test_these_leave_a_table_healthy(changed, warnings):
    found = status(**changed)
    assert found.healthy
    assert found.warnings == warnings


def test_lag_is_the_age_of_the_oldest_pending_change():
    assert status(pending=Pending(changes=2, oldest=AGO["minutes"])).lag_seconds == 600.0
    assert status(pending=None).lag_seconds is None
    behind_an_open_transaction = status(pending=Pending(oldest=NOW - timedelta(hours=3)))
    assert (behind_an_open_transaction.lag_seconds, behind_an_open_transaction.healthy) == (3 * 3600, False)
    assert status(pending=Pending(changes=1, oldest=NOW + timedelta(seconds=5))).lag_seconds == 0.0


def test_where_everything_is_due_the_last_good_sync_bounds_the_lag():
    found = status(pending=Pending(full_reason="log purged"))
    assert (found.lag_seconds, found.full_sync_due) == (600.0, "log purged")
    assert status(pending=Pending(full_reason="first run"), last_success=None).lag_seconds is None


def test_a_reason_that_no_run_ends_is_no_lag_for_a_run_only_reads_everything_once_an_hour():
    lasting = Pending(full_reason="leaf lacks capture triggers", lasting=True)
    found = status(pending=lasting, last_success=NOW - timedelta(minutes=59))
    assert (found.lag_seconds, found.full_sync_due) == (0.0, "leaf lacks capture triggers")
    assert not any("oldest pending change" in text for text in (*found.problems, *found.warnings))
    assert status(pending=lasting, last_success=NOW - timedelta(hours=3)).lag_seconds == 2 * 3600


def test_equal_counts_do_not_hide_what_an_earlier_look_at_the_content_found():
    counted = proof(id=9, kind="count", source_count=12, target_count=12)
    found = status(proof=counted, content=proof(stale=1, finished_at=AGO["hours"]))
    assert (found.source_count, found.stale, found.checked_at) == (12, 1, AGO["hours"])
    assert not found.healthy


def test_a_limit_of_the_document_decides():
    strict = Thresholds(proof_within=timedelta(minutes=5), lag_error=timedelta(seconds=30))
    pending = Pending(changes=1, oldest=NOW - timedelta(minutes=1))
    found = status(thresholds=strict, pending=pending)
    assert found.problems == ("the last proof is older than 5m", "the oldest pending change is 60s old")


def test_the_last_error_is_told_while_syncs_fail_and_not_after():
    assert status(failures=1, last_error="no route").last_error == "no route"
    assert status(failures=0, last_error="no route").last_error is None
    assert status(problem="db down", failures=1, last_error="no route").last_error == "db down"


def test_a_table_that_cannot_be_asked_keeps_what_the_ledger_knows():
    found = status(problem="source refuses", pending=None)
    assert (found.source_count, found.last_success) == (10, AGO["minutes"])
    assert found.lag_seconds is None


SHAPE = [
    "configured",
    "source_count",
    "target_count",
    "missing",
    "stale",
    "extra",
    "quarantined",
    "excluded",
    "last_success",
    "lag_seconds",
    "healthy",
]


def test_the_json_has_the_promised_shape():
    document = report([GOOD], now=NOW).as_dict()
    assert set(document) == {"generated_at", "healthy", "assets"}
    asset = document["assets"]["shop/article"]
    assert list(asset)[: len(SHAPE)] == SHAPE
    assert {"running", "next_run", "interval", "last_error", "checked_at", "pending", "warnings"} <= set(asset)
    assert asset["last_success"] == "2026-03-01T11:50:00+00:00"
    json.dumps(document)


def test_times_are_told_in_utc_whatever_their_zone():
    east = timezone_of(7)
    document = report([replace(GOOD, last_success=AGO["minutes"].astimezone(east))], now=NOW).as_dict()
    assert document["assets"]["shop/article"]["last_success"] == "2026-03-01T11:50:00+00:00"


def timezone_of(hours: int):
    from datetime import timezone

    return timezone(timedelta(hours=hours))


def test_a_table_that_is_not_configured_is_all_null_and_does_not_count():
    away = Facts(path="shop/away", not_configured="CHROMA_URL is not set", quarantined=3, failures=2)
    document = report([GOOD, away], now=NOW).as_dict()
    asset = document["assets"]["shop/away"]
    assert document["healthy"]
    assert asset["configured"] is False
    assert {name: asset[name] for name in SHAPE[1:]} == dict.fromkeys(SHAPE[1:])
    assert asset["reason"] == "CHROMA_URL is not set"


def test_one_unhealthy_table_makes_the_whole_unhealthy_and_the_others_are_told():
    document = report([GOOD, replace(GOOD, path="shop/sick", failures=1)], now=NOW).as_dict()
    assert not document["healthy"]
    assert document["assets"]["shop/article"]["healthy"]
    assert not document["assets"]["shop/sick"]["healthy"]


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(hours=6), "6h"),
        (timedelta(minutes=90), "90m"),
        (timedelta(days=1), "1d"),
        (timedelta(seconds=45), "45s"),
        (timedelta(0), "0s"),
    ],
)
def test_a_span_is_told_in_the_largest_unit_without_a_fraction(span, text):
    assert brief(span) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (119, "119s"), (121, "2m"), (10_801, "3h"), (200_000, "2d")]
)
def test_an_age_is_told_in_whole_units(seconds, text):
    assert age(seconds) == text
