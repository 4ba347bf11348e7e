"""What a run says of its use and cost: in the ledger, in the asset's metadata, in `stats`."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from sync_pipelines.engine.ledger.history import Day
from sync_pipelines.engine.model import Counts
from sync_pipelines.engine.usage import Usage
from sync_pipelines.plots import plot
from sync_pipelines_tests.dagster.world import World

PICTURE = re.compile(r"!\[.*\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)")


@pytest.mark.slow
def test_a_run_leaves_what_it_used_and_cost_in_the_ledger_and_with_the_asset(world: World, monkeypatch):
    monkeypatch.setenv("SYNC_PRICE_HOUR", "3600")
    monkeypatch.setenv("SHOP_PRICE_MILLION_TOKENS", "1000000")
    world.put("a")
    (event,) = world.materialize().asset_materializations_for_node(world.component.op_name)
    run = world.last_run()
    assert run.usage.cpu_seconds
    assert run.usage.peak_memory
    assert run.counts.bytes_read > 100
    assert run.cost is not None
    # a second costs one, and a token one
    assert float(run.cost) - run.counts.embedded_tokens == pytest.approx(run.duration_seconds, abs=0.5)
    said = {name: getattr(value, "value", value) for name, value in event.metadata.items()}
    assert said["cost"] == float(run.cost)
    assert said["bytes_read"] == run.counts.bytes_read
    assert said["bytes_written"] == run.counts.bytes
    assert said["peak_memory_bytes"] == run.usage.peak_memory
    assert said["cpu_seconds"] > 0
    assert "warehouse_seconds" not in said
    picture = drawn(said["history"])
    assert "records written or deleted, at most 1<" in picture
    assert "cost, at most" in picture


@pytest.mark.slow
def test_without_a_price_a_run_costs_nothing_that_anybody_knows(world: World):
    world.put("a")
    (event,) = world.materialize().asset_materializations_for_node(world.component.op_name)
    assert world.last_run().cost is None
    assert "cost" not in event.metadata
    assert "cost" not in drawn(event.metadata["history"].value)


def test_a_setting_comes_before_the_variable(world: World, monkeypatch):
    monkeypatch.setenv("SYNC_PRICE_HOUR", "1")
    ledger = world.resources.ledger.ledger()
    ledger.set_setting("shop.price_hour", "2")
    assert world.component.prices_now(ledger).hour == 2
    ledger.set_setting("shop.price_hour", None)
    assert world.component.prices_now(ledger).hour == 1


@pytest.mark.slow
def test_a_wrong_price_is_told_with_its_place_before_anything_is_done(world: World, monkeypatch):
    monkeypatch.setenv("SYNC_PRICE_HOUR", "cheap")
    world.put("a")
    said = world.failure(world.materialize(raises=False))
    assert "SYNC_PRICE_HOUR is 'cheap': expected an amount of money" in said
    refused(world, said)
    monkeypatch.delenv("SYNC_PRICE_HOUR")
    assert world.sync().upserted == 1


def test_a_wrong_batch_size_is_told_and_written_down(world: World, monkeypatch):
    monkeypatch.setenv("SYNC_BATCH_SIZE", "many")
    world.put("a")
    said = world.failure(world.materialize(raises=False))
    assert "SYNC_BATCH_SIZE is 'many': expected a whole number above 0" in said
    refused(world, said)


def refused(world: World, said: str) -> None:
    """A run that failed with this sentence, before it read anything, stands in the books."""
    (run,) = world.resources.ledger.ledger().logs("shop", "article")
    assert (run.status, run.counts.read) == ("failed", 0)
    assert run.error is not None
    assert run.error in said


@pytest.mark.slow
def test_the_days_are_summed_with_the_most_of_the_memory(world: World):
    world.put("a")
    world.sync()
    world.put("b")
    world.sync()
    world.execute(
        "UPDATE sync.sync_logs SET started_at = started_at - interval '2 days' "
        "WHERE id = (SELECT min(id) FROM sync.sync_logs)"
    )
    world.execute("UPDATE sync.sync_logs SET cost = 0.5, peak_memory = id, cpu_seconds = 1")
    world.put("c")
    world.sync()
    ledger = world.resources.ledger.ledger()
    today, before = ledger.days("shop", "article")
    assert (today.day - before.day, today.runs, before.runs) == (timedelta(days=2), 2, 1)
    assert (today.counts.upserted, before.counts.upserted) == (2, 1)
    assert (today.cost, before.cost) == (Decimal("0.5"), Decimal("0.5"))
    assert today.usage.peak_memory is not None
    assert today.usage.peak_memory > 1_000_000
    assert before.usage.cpu_seconds == 1
    assert len(ledger.days("shop", "article", limit=1)) == 1


def day(number: int, *, upserted: int = 0, cost: Decimal | None = None) -> Day:
    return Day(
        day=(datetime(2026, 3, 31, tzinfo=UTC) - timedelta(days=number)).date(),
        runs=1,
        counts=Counts(upserted=upserted),
        usage=Usage(seconds=1.0),
        cost=cost,
    )


def drawn(markdown: str) -> str:
    found = PICTURE.fullmatch(markdown)
    assert found, markdown
    return base64.b64decode(found[1]).decode()


def test_a_picture_has_a_bar_for_each_of_the_last_thirty_days_that_did_something():
    picture = drawn(plot([day(0, upserted=10), day(1), day(3, upserted=5), day(40, upserted=99)]))
    (bars,) = re.findall(r' d="([^"]*)"', picture)
    assert re.findall(r"v-([\d.]+)", bars) == ["35.0", "70.0"]
    assert "at most 10<" in picture
    assert "2026-03-02" in picture
    assert "2026-03-31" in picture


def test_a_picture_of_days_that_did_nothing_is_empty_and_that_of_no_days_none():
    assert re.findall(r' d="([^"]*)"', drawn(plot([day(0, cost=Decimal(0))]))) == ["", ""]
    assert plot([]) == ""


@pytest.mark.parametrize("days", [1, 30])
def test_a_picture_stays_small(days: int):
    assert len(plot([day(number, upserted=number + 1, cost=Decimal(number)) for number in range(days)])) < 6000
