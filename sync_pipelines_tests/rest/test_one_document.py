"""Another REST API becomes a table by one document of YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines.engine.errors import RunError, TransientError
from sync_pipelines.engine.plan import plan
from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.rest.catalogue import DOCUMENT, Catalogue, currency

pytestmark = pytest.mark.slow


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


def test_what_the_list_has_no_more_is_marked_and_stays_and_comes_back_by_itself(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    rates.sync(table)
    gone = catalogue.items.pop(1)
    counts = rates.sync(table, mode="full")
    assert (counts.unchanged, counts.metadata_only) == (4, 1)
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


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"note": "a\0b"}, "note: it holds a NUL character or half a surrogate pair"),
        ({"notes": ["\ud800"]}, "notes[0]: it holds a NUL character or half a surrogate pair"),
        ({"note": {"a\0": 1}}, "note: the name of a field in it holds a NUL character"),
        ({"note": nested(900)}, "the payload: it is nested more than 200 levels deep"),
    ],
)
def test_an_item_that_cannot_be_kept_is_quarantined_alone_and_what_was_kept_of_it_stays(
    rates: House, catalogue: Catalogue, table: RestToPostgres, odd: dict[str, Any], told: str
) -> None:
    rates.sync(table)
    catalogue.items[1:3] = [currency("brl", 2.0, **odd), currency("chf", 2.0)]
    counts = rates.sync(table, mode="full")
    assert (counts.upserted, counts.unchanged, counts.quarantined) == (1, 3, 1)
    waiting = rates.bind(table).ledger.list_quarantine("rates", "currency")
    assert [(item.key, item.stage) for item in waiting] == [("brl", "map")]
    assert waiting[0].reason.startswith(f"the payload breaks the contract: {told}")
    assert rates.execute("SELECT status, http_status FROM currency_checks WHERE status <> 'current'") == [
        ("refused", 200)
    ]
    assert rates.execute("SELECT code, rate::int FROM currency WHERE code IN ('brl', 'chf')") == [
        ("brl", 1),
        ("chf", 2),
    ]
    assert rates.prove(table, "deep").equal
    catalogue.items[1] = currency("brl", 2.0)
    assert rates.sync(table, mode="full").upserted == 1
    assert rates.bind(table).ledger.quarantined("rates", "currency") == 0


def test_whole_numbers_and_texts_are_kept_to_the_digit(rates: House, catalogue: Catalogue) -> None:
    whole, text = 2**53 + 1, "12345678901234567890.123456789"
    catalogue.items[:] = [currency("aud", text, id=whole, longer=10**30 + 1, name="é" * 200_000)]
    more = {"whole": {"path": "id", "type": "integer"}, "longer": {"path": "longer", "type": "numeric"}, "name": "name"}
    table = RestToPostgres.model_validate({**DOCUMENT, "columns": {**DOCUMENT["columns"], **more}})
    rates.sync(table)
    held = "SELECT code, whole, longer::text, rate::text, length(name) FROM currency"
    assert rates.execute(held) == [(str(whole), whole, str(10**30 + 1), text, 200_000)]
    assert rates.prove(table, "deep").equal
    assert rates.sync(table, mode="full").unchanged == 1


def test_what_is_no_number_and_what_is_endless_are_kept_as_that_and_are_no_change_the_next_time(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    words = {"aud": "NaN", "brl": "Infinity", "chf": "-inf", "dkk": "-NaN1"}
    catalogue.items[:] = [currency(code, word) for code, word in words.items()]
    rates.sync(table, batch_size=4)
    held = rates.execute("SELECT rate::text FROM currency ORDER BY code")
    assert held == [("NaN",), ("Infinity",), ("-Infinity",), ("NaN",)]
    assert rates.sync(table, mode="full").unchanged == 4
    assert rates.prove(table, "deep").equal
    catalogue.items[0] = currency("aud", "Infinity")
    assert rates.sync(table, mode="full").upserted == 1
    assert rates.execute("SELECT rate::text FROM currency WHERE code = 'aud'") == [("Infinity",)]


@pytest.mark.parametrize("key", [7.0, 7])
def test_a_key_that_is_a_whole_number_is_one_however_the_api_writes_it(
    rates: House, catalogue: Catalogue, table: RestToPostgres, key: float
) -> None:
    catalogue.items[:] = [currency("aud", id=key)]
    rates.sync(table)
    assert rates.execute("SELECT code FROM currency") == [("7",)]


@pytest.mark.parametrize("key", ["a\0b", "\ud800", "", None, True, []])
def test_an_item_without_a_key_that_can_be_kept_is_quarantined_and_the_others_arrive(
    rates: House, catalogue: Catalogue, table: RestToPostgres, key: Any
) -> None:
    catalogue.items[1] = currency("brl", id=key)
    counts = rates.sync(table)
    assert (counts.upserted, counts.quarantined) == (4, 1)
    (waiting,) = rates.bind(table).ledger.list_quarantine("rates", "currency")
    assert waiting.reason.startswith("the list breaks the contract: id: an item w")


def test_of_items_without_a_key_nothing_is_left_when_all_have_one(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    known = "SELECT record_key, status FROM currency_checks WHERE status <> 'current'"
    catalogue.items[1] = currency("brl", id=None)
    rates.sync(table)
    assert rates.execute(known) == [("(no key)", "failed")]
    catalogue.items[1] = currency("brl")
    catalogue.items.pop()
    rates.sync(table, mode="full")
    assert rates.execute(known) == [("eur", "absent")]  # it was there once, and is kept
    assert rates.bind(table).ledger.quarantined("rates", "currency") == 0
    proof = rates.prove(table)
    assert (proof.source_count, proof.target_count, proof.excluded, proof.equal) == (5, 5, 0, True)


@pytest.mark.parametrize(
    ("key", "columns"),
    [(["id"], {"code": {"path": "id", "type": "integer"}}), (["id", "land"], {"code": "id", "land": "land"})],
)
def test_whatever_the_key_is_made_of_nothing_is_left_of_items_without_their_own_when_each_has_one(
    rates: House, catalogue: Catalogue, key: list[str], columns: dict[str, Any]
) -> None:
    source = {**DOCUMENT["source"], "key": key}
    table = RestToPostgres.model_validate({**DOCUMENT, "source": source, "columns": {**columns, "title": "title"}})
    one, other = currency("1", land="au"), currency("2", land="br")
    catalogue.items[:] = [one, {**one, "title": "another"}, other, currency("3", id=None)]
    for _ in range(2):
        assert rates.sync(table, mode="full").quarantined == 2
    catalogue.items[:] = [one, other]
    assert rates.sync(table, mode="full").quarantined == 0
    assert rates.bind(table).ledger.quarantined("rates", "currency") == 0
    assert rates.execute("SELECT DISTINCT status FROM currency_checks") == [("current",)]
    assert rates.prove(table, "deep").equal


def test_of_two_items_of_one_key_the_first_is_kept_and_that_they_differ_is_told(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    first, again = currency("aud", 1.0), currency("aud", 2.0)
    catalogue.items[:] = [first, first, again, currency("brl"), first, again]  # in pages of two
    for upserted in (2, 0):
        counts = rates.sync(table, mode="full", batch_size=1)
        assert (counts.upserted, counts.quarantined) == (upserted, 1)
    assert rates.execute("SELECT code, rate::int, data_version FROM currency ORDER BY code") == [
        ("aud", 1, 1),
        ("brl", 1, 1),
    ]
    (told,) = rates.bind(table).ledger.list_quarantine("rates", "currency")
    assert told.reason == (
        "the list has two items of the key aud that differ; `source.key` does not tell them apart, "
        "or the first has changed while the list was read."
    )
    catalogue.items[:] = [again, currency("brl"), again]
    assert rates.sync(table, mode="full").upserted == 1
    assert rates.bind(table).ledger.quarantined("rates", "currency") == 0
    assert rates.execute("SELECT record_key FROM currency_checks ORDER BY 1") == [("aud",), ("brl",)]


def test_ids_come_from_a_file_as_an_editor_writes_it(
    rates: House, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text("aud  # the first\r\n\r\n# none\r\nbrl\r\naud\r\n", encoding="utf-8-sig", newline="")
    table = by_id(file=str(listed))
    assert plan(rates.bind(table)).requests == 2
    assert rates.sync(table).upserted == 2
    assert sorted(catalogue.requests) == ["/api/currency/aud", "/api/currency/brl"]
    assert rates.prove(table).equal
    assert plan(rates.bind(by_id(values=["aud", "chf", "chf"]))).requests == 1
    listed.unlink()
    with pytest.raises(RunError, match=r"the file of ids 'ids\.txt' cannot be read: No such file") as caught:
        rates.sync(table)
    assert "source.ids.file" in str(caught.value)


def test_ids_come_from_a_table_without_blanks_and_a_blank_one_is_none(
    rates: House, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_DATABASE_URL", rates.url)
    rates.execute("CREATE TABLE wanted (code text)")
    rates.execute("INSERT INTO wanted VALUES ('aud'), (NULL), (''), ('  '), (' brl '), ('brl'), ('a/b')")
    catalogue.items.append(currency("a/b"))
    table = by_id(connection="app", table="wanted", column="code")
    assert plan(rates.bind(table)).requests == 3
    assert rates.prove(table, "count").source_count == 3
    rates.sync(table)
    assert sorted(catalogue.requests) == ["/api/currency/a%2Fb", "/api/currency/aud", "/api/currency/brl"]
    assert rates.execute("SELECT record_key FROM currency_checks ORDER BY 1") == [("a/b",), ("aud",), ("brl",)]
    proof = rates.prove(table, "deep")
    assert (proof.equal, proof.source_count) == (True, 3)


def test_a_plan_counts_pages_of_what_is_held_and_sends_no_more_than_the_budget_of_the_day_has_left(
    rates: House, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged = {**DOCUMENT["source"]["pagination"], "size_param": "n", "size": 2}
    table = RestToPostgres.model_validate({**DOCUMENT, "source": {**DOCUMENT["source"], "pagination": paged}})
    assert plan(rates.bind(table)).requests == 1
    rates.sync(table)
    assert plan(rates.bind(table), mode="full").requests == len(catalogue.requests) == 3
    monkeypatch.setenv("RATES_REQUESTS_A_DAY", "5")
    assert plan(rates.bind(table), mode="full").requests == 2


def by_id(**ids: Any) -> RestToPostgres:
    """The currencies, each asked for by itself."""
    source = {"connection": "rates", "path": "currency/{id}", "key": ["id"], "ids": ids}
    return RestToPostgres.model_validate({**DOCUMENT, "source": source})


def test_a_list_that_a_budget_cuts_short_marks_nothing_absent(
    rates: House, catalogue: Catalogue, table: RestToPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates.sync(table)
    monkeypatch.setenv("RATES_REQUESTS_A_DAY", "5")
    rates.sync(table, mode="full")
    assert len(catalogue.requests) == 5
    assert rates.execute("SELECT DISTINCT sync_status FROM currency") == [("synced",)]


def test_an_outage_fails_the_run_and_marks_nothing_absent(
    rates: House, catalogue: Catalogue, table: RestToPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates.sync(table)
    catalogue.broken = True
    monkeypatch.setenv("RATES_RETRY_ATTEMPTS", "1")
    with pytest.raises(TransientError, match="does not give a page"):
        rates.sync(table, mode="full")
    assert rates.execute("SELECT DISTINCT sync_status FROM currency") == [("synced",)]
