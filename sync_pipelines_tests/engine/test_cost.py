"""What a run has used, and what that costs."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from sync_pipelines.engine.cost import Prices, price
from sync_pipelines.engine.model import Counts
from sync_pipelines.engine.usage import Meter, Spent, Usage

HOUR = Usage(seconds=3600.0, warehouse_seconds=1800.0)


class Target:
    """One that says what it has had done."""

    spent = Spent(warehouse_seconds=2.0, files_rewritten=3)


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        (Prices(), None),
        (Prices(hour=Decimal("0.5")), Decimal("0.5")),
        (Prices(warehouse_hour=Decimal(7)), Decimal("3.5")),
        (Prices(million_tokens=Decimal("0.02")), Decimal("0.01")),
        (Prices(hour=Decimal(1), warehouse_hour=Decimal(7), million_tokens=Decimal(2)), Decimal("5.5")),
        (Prices(hour=Decimal(0)), Decimal(0)),
    ],
)
def test_a_run_costs_what_the_prices_that_are_set_say(prices: Prices, cost: Decimal | None):
    assert prices.cost(HOUR, Counts(embedded_tokens=500_000)) == cost


def test_a_run_without_a_warehouse_costs_nothing_there():
    assert Prices(warehouse_hour=Decimal(7)).cost(Usage(seconds=60.0), Counts()) == 0


@pytest.mark.parametrize("text", ["free", "-1", "nan", "inf", "1,5", "1e30", "1e400"])
def test_what_is_no_amount_of_money_is_no_price(text: str):
    with pytest.raises(ValueError, match="an amount of money"):
        price(text)


def test_a_meter_tells_what_was_used_since_it_began():
    target = Target()
    meter = Meter(target)
    target.spent = Spent(warehouse_seconds=2.5, files_rewritten=10)
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    used = meter.read()
    assert (used.warehouse_seconds, used.files_rewritten) == (0.5, 7)
    assert used.cpu_seconds is not None
    assert 0.02 <= used.cpu_seconds <= 5
    assert used.seconds >= 0.02
    assert used.peak_memory is not None
    assert used.peak_memory > 10_000_000


def test_a_target_that_says_nothing_leaves_its_figures_unknown():
    used = Meter(object()).read()
    assert (used.warehouse_seconds, used.files_rewritten) == (None, None)
