"""Where the limits of a document lie, and which place decides a setting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from sync_pipelines.checks import Asked
from sync_pipelines.rest_checks import failures
from sync_pipelines_tests.rest.hotels import Hotels, documents

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


CHECKS = """TRUNCATE property_checks;
INSERT INTO property_checks (part, record_key, asked, status, reason)
SELECT 'properties', key::text, key < 100,
    CASE WHEN key BETWEEN %s AND 99 THEN 'current' WHEN key %% 2 = 0 THEN 'failed' ELSE 'refused' END,
    CASE WHEN key < 100 THEN 'it is odd' ELSE 'nobody asks for it any more' END
FROM generate_series(0, 104) AS key"""
"""A hundred hotels, of which the first ones failed or are refused; and five that nobody asks for."""


def test_a_share_of_failures_above_the_first_limit_warns_and_above_the_second_is_an_error(hotels: Hotels) -> None:
    table = documents()["properties"]
    asked = Asked(component=table, binding=hotels.house.bind(table), context=None, sync_run=None)
    for bad, passed, severity in ((5, True, WARN), (6, False, WARN), (20, False, WARN), (21, False, ERROR)):
        hotels.execute(CHECKS, bad)
        found = failures(asked)
        assert (found.passed, found.severity) == (passed, severity)
        assert found.metadata["failure_rate"].value == bad / 100
        assert {record.data["why"] for record in found.metadata["reasons"].records} == {"it is odd"}


def test_minutes_hold_where_no_interval_is_set_by_its_own_name(hotels: Hotels, monkeypatch: pytest.MonkeyPatch) -> None:
    def interval() -> timedelta:
        return hotels.house.bind(documents()["properties"]).source.settings().interval

    assert interval() == timedelta(hours=12)
    monkeypatch.setenv("SYNC_INTERVAL_MINUTES", "90")
    assert interval() == timedelta(minutes=90)
    monkeypatch.setenv("SYNC_INTERVAL", "6h")
    assert interval() == timedelta(hours=6)
    hotels.ledger.set_setting("hotels.sync_interval", "24h")
    assert interval() == timedelta(hours=24)


def test_languages_are_parted_by_commas_with_and_without_blanks_and_each_is_asked_for_once(hotels: Hotels) -> None:
    (only,) = hotels.cupid.ids(1)
    hotels.ask_for(only)
    hotels.ledger.set_setting("hotels.lang", "fr,es ,fr, ")
    asked: Any = hotels.house.bind(documents()["translations"]).source
    assert list(asked.asked.keys()) == [f'["{only}", "fr"]', f'["{only}", "es"]']
