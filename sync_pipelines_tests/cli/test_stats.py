"""`stats`: what targets hold, and what runs have done."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.model import Counts
from sync_pipelines.targets import retries
from sync_pipelines_tests.cli.shop import ARTICLE, Shop, new_chroma_database
from sync_pipelines_tests.cli.test_commands import answer, invoke


def test_stats_tell_what_the_target_holds_and_what_runs_did(settled: Shop):
    table = answer("stats", "shop")["tables"][ARTICLE]
    assert (table["records"], table["chunks"], table["dimensions"]) == (2, 2, 16)
    assert table["model"]
    assert table["last_sync"].endswith("+00:00")
    assert table["totals"]["runs"] == 1
    assert table["totals"]["records_upserted"] == 2
    assert table["totals"]["success_rate"] == 1.0
    (day,) = table["days"]
    assert (day["runs"], day["upserted"], day["cost"]) == (1, 2, None)
    assert day["cpu_seconds"] == pytest.approx(table["totals"]["cpu_seconds"], abs=0.001)
    shown = invoke("stats").stdout
    assert ARTICLE in shown
    assert day["day"] in shown


@pytest.mark.slow
def test_stats_are_told_of_a_table_whose_target_cannot_be_asked(settled: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHROMA_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(retries, "_FIRST_PAUSE", 0.01)
    table = answer("stats", "shop")["tables"][ARTICLE]
    assert table["records"] is None
    assert "Chroma does not answer" in table["problem"]
    assert (table["totals"]["runs"], len(table["days"])) == (1, 1)
    assert ARTICLE in invoke("stats").stdout


def test_stats_tell_that_a_target_is_gone_that_a_run_had_written(settled: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHROMA_DATABASE", new_chroma_database(settled.chroma_url))
    table = answer("stats", ARTICLE)["tables"][ARTICLE]
    assert table["records"] == 0
    assert table["problem"] == f"{ARTICLE}: its target is not there any more; the next run writes it anew."


def test_a_repair_is_a_run_and_no_sync(shop: Shop):
    with shop.ledger as ledger:
        run = ledger.begin("shop", "article", mode="repair", trigger="cli", run_id="r")
        ledger.finish(run, status="completed", counts=Counts(upserted=1))
    table = answer("stats", ARTICLE)["tables"][ARTICLE]
    assert (table["last_sync"], table["totals"]["runs"], table["totals"]["records_upserted"]) == (None, 1, 1)


@pytest.mark.slow
def test_stats_before_the_first_sync_are_empty_and_no_error(shop: Shop):
    table = answer("stats", ARTICLE)["tables"][ARTICLE]
    assert (table["records"], table["last_sync"], table["totals"]["runs"]) == (0, None, 0)
