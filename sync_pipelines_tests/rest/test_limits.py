"""Where the limits of a document lie, and which place decides a setting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from sync_pipelines.checks import Asked
from sync_pipelines.components.fetching import FetchBlock, Held, fetch_settings
from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.rest_checks import failures
from sync_pipelines_tests.rest.catalogue import DOCUMENT
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


def test_those_that_the_api_has_not_are_counted_and_are_no_failures(hotels: Hotels) -> None:
    table = documents()["properties"]
    hotels.execute(CHECKS, 5)
    hotels.execute("UPDATE property_checks SET status = 'absent' WHERE record_key::int BETWEEN 70 AND 99")
    found = failures(Asked(component=table, binding=hotels.house.bind(table), context=None, sync_run=None))
    told = "5.0% of 100 records failed or were refused: 65 current, 30 absent, 3 failed, 2 refused."
    assert (found.passed, found.description) == (True, told)


def test_without_a_word_of_anybody_a_sync_of_an_api_has_the_values_that_the_readme_names() -> None:
    for table in documents().values():
        found = fetch_settings(table.fetch, Held(sync="hotels", stored={}, environment={}))
        assert (found.interval, found.patience) == (timedelta(hours=12), timedelta(minutes=1))
        assert (found.rate_limit, found.max_concurrent, found.retry_attempts) == (10.0, 5, 3)
        assert (found.budget, found.sample, table.default_batch_size) == (None, 20, 10)


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


@pytest.mark.parametrize("variable", ["HOTELS_LANG", "SYNC_LANG"])
def test_a_list_of_no_language_is_refused_wherever_it_stands(
    hotels: Hotels, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    hotels.ask_for(*hotels.cupid.ids(1))
    monkeypatch.setenv(variable, " , ")
    told = r"is ' , ': expected at least one value; several are parted by commas\. Correct"
    with pytest.raises(ConfigurationError, match=f"{variable} {told} {variable}"):
        hotels.sync("translations")
    hotels.ledger.set_setting("hotels.lang", ",")  # as somebody may write it by SQL
    with pytest.raises(ConfigurationError, match=r"sync_settings hotels\.lang is ',': expected at least one value"):
        hotels.sync("translations")


def test_a_list_of_numbers_may_be_set_where_the_document_has_one_number() -> None:
    ids = {"values": ["aud"]}
    source = {"connection": "rates", "path": "{id}/{year}", "key": ["id", "year"], "ids": ids, "each": {"year": 2024}}
    columns = {**DOCUMENT["columns"], "year": "year"}
    parse = RestToPostgres.model_validate({**DOCUMENT, "source": source, "columns": columns}).known_settings()["year"][
        1
    ]
    assert parse("2024, 2025") == "2024, 2025"
    with pytest.raises(ValueError, match="expected a whole number"):
        parse("2024, next")


@pytest.mark.parametrize(
    ("variable", "highest", "beyond", "told"),
    [
        ("MAX_CONCURRENT", "100", "101", "expected a whole number from 1 to 100"),
        ("RETRY_ATTEMPTS", "20", "21", "expected a whole number from 1 to 20"),
        ("RATE_LIMIT", "0.00001", "1e-320", "expected a number of 1e-05 or more"),
        ("INTERVAL", "36500d", "36501d", "expected a duration of up to 36500d"),
        ("INTERVAL", "36500d", "99999999999d", "'99999999999d' is longer than any time that is counted"),
        ("INTERVAL_MINUTES", "52560000", "52560001", "expected a whole number from 1 to 52560000"),
        ("PATIENCE", "36500d", "36501d", "expected a duration of up to 36500d"),
    ],
)
def test_a_setting_beyond_what_a_run_can_do_is_refused_wherever_it_stands(
    variable: str, highest: str, beyond: str, told: str
) -> None:
    def held(text: str) -> Held:
        return Held(sync="hotels", stored={}, environment={f"SYNC_{variable}": text})

    fetch_settings(FetchBlock(), held(highest))
    with pytest.raises(ConfigurationError) as caught:
        fetch_settings(FetchBlock(), held(beyond))
    assert str(caught.value) == f"SYNC_{variable} is {beyond!r}: {told}. Correct SYNC_{variable}."


@pytest.mark.parametrize(
    "block", [{"interval": "36501d"}, {"rate_limit": 1e-320}, {"max_concurrent": 101}, {"patience": "99999999999d"}]
)
def test_a_document_has_the_limits_that_settings_have(block: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"up to|greater than|less than|longer than"):
        FetchBlock(**block)


def test_the_longest_interval_is_a_time_that_postgresql_and_python_can_count(hotels: Hotels) -> None:
    (only,) = hotels.cupid.ids(1)
    hotels.ask_for(only)
    hotels.ledger.set_setting("hotels.sync_interval", "36500d")
    assert hotels.sync().upserted == 1
    bound = hotels.house.bind(documents()["properties"])
    since = bound.ledger.watermark("hotels", "properties")
    assert bound.source.pending(since).changes == 0
    due: Any = bound.source
    assert due.next_due(since) - datetime.now(UTC) > timedelta(days=36_499)
