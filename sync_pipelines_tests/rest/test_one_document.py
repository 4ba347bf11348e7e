"""Another REST API becomes a table by one document of YAML."""

from __future__ import annotations

import pytest

from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines.engine.errors import TransientError
from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.rest.catalogue import DOCUMENT, Catalogue, currency


@pytest.fixture
def table() -> RestToPostgres:
    return RestToPostgres.model_validate(DOCUMENT)


def test_a_list_in_pages_becomes_a_table_and_is_proven_equal(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    counts = rates.sync(table)
    assert counts.upserted == 5
    held = rates.execute("SELECT code, title, rate::text, data_version, sync_status FROM currency ORDER BY code")
    assert held[0] == ("aud", "The aud", "1", 1, "synced")
    assert len(held) == 5
    assert len(catalogue.requests) == 3
    for kind in ("count", "quick", "deep"):
        assert rates.prove(table, kind).equal


@pytest.mark.slow
def test_what_the_list_has_no_more_is_marked_and_stays_and_comes_back_by_itself(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    rates.sync(table)
    gone = catalogue.items.pop(1)
    rates.sync(table, mode="full")
    status = "SELECT sync_status, data_version FROM currency WHERE code = 'brl'"
    assert rates.execute(status) == [("not_found", 1)]
    assert rates.prove(table).equal
    catalogue.items.append(gone)
    rates.sync(table, mode="full")
    assert rates.execute(status) == [("synced", 1)]


def test_an_item_that_breaks_the_contract_is_quarantined_alone_with_its_path(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    catalogue.items[2] = currency("chf", None)
    catalogue.items[3] = currency("dkk", "dear")
    counts = rates.sync(table)
    assert (counts.upserted, counts.quarantined) == (3, 2)
    waiting = {item.key: item.reason for item in rates.bind(table).ledger.list_quarantine("rates", "currency")}
    assert waiting["chf"] == "the payload breaks the contract: attributes.quote.rate: it is not there."
    assert waiting["dkk"] == "the payload breaks the contract: currency.rate: a number is expected, and this is 'dear'."
    assert rates.prove(table).equal
    catalogue.items[2:4] = [currency("chf"), currency("dkk")]
    rates.sync(table, mode="full")
    assert rates.bind(table).ledger.quarantined("rates", "currency") == 0
    assert rates.execute("SELECT count(*) FROM currency") == [(5,)]


def test_an_outage_fails_the_run_and_marks_nothing_absent(
    rates: House, catalogue: Catalogue, table: RestToPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates.sync(table)
    catalogue.broken = True
    monkeypatch.setenv("RATES_RETRY_ATTEMPTS", "1")
    with pytest.raises(TransientError, match="does not give a page"):
        rates.sync(table, mode="full")
    assert rates.execute("SELECT DISTINCT sync_status FROM currency") == [("synced",)]
