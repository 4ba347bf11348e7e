"""A key that the columns of a table cannot hold stops its own record alone."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines.targets.rowsets.fitting import misfit
from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.rest.catalogue import DOCUMENT, Catalogue, currency

NUMBERED = {"code": {"path": "id", "type": "integer"}, "title": "attributes.title"}


def listed() -> RestToPostgres:
    return RestToPostgres.model_validate({**DOCUMENT, "columns": NUMBERED})


def by_id(*ids: str, **more: Any) -> RestToPostgres:
    source = {"connection": "rates", "path": "currency/{id}", "key": ["id"], "ids": {"values": list(ids)}}
    return RestToPostgres.model_validate({**DOCUMENT, "columns": NUMBERED, "source": source, **more})


def reasons(house: House, table: RestToPostgres) -> dict[str, str]:
    waiting = house.bind(table).ledger.list_quarantine("rates", table.table_name)
    return {item.key: item.reason for item in waiting}


def test_an_item_whose_key_is_no_number_of_the_column_is_quarantined_and_the_others_stay_in_step(
    rates: House, catalogue: Catalogue
) -> None:
    table, more = listed(), [currency("abc"), currency(str(2**63))]
    catalogue.items[:] = [currency("1"), *more, currency("2")]
    assert rates.sync(table).upserted == 2
    assert reasons(rates, table) == {
        "abc": "the payload breaks the contract: currency.code: a number is expected, and this is 'abc'.",
        str(2**63): f"the payload breaks the contract: currency.code: bigint cannot hold '{2**63}'.",
    }
    for mode in ("full", "reparse"):
        assert rates.sync(table, mode=mode).unchanged == 2
        assert rates.prove(table, "deep").equal
    catalogue.items[0] = currency("1", attributes={"title": "One"})
    catalogue.items[1:3] = []
    assert rates.sync(table, mode="full").upserted == 1
    assert (reasons(rates, table), rates.prove(table, "count").source_count) == ({}, 2)


def test_an_id_that_the_column_cannot_hold_and_the_api_does_not_know_marks_no_other(
    rates: House, catalogue: Catalogue
) -> None:
    catalogue.items[:] = [currency("1"), currency("abc")]
    table = by_id("1", "xyz", "abc", str(10**25))
    for _ in range(2):
        counts = rates.sync(table, mode="full", batch_size=1)
        assert counts.quarantined == 1
    assert reasons(rates, table).keys() == {"abc"}
    assert dict(rates.execute("SELECT record_key, status FROM currency_checks")) == {
        "1": "current",
        "abc": "refused",
        "xyz": "absent",
        str(10**25): "absent",
    }
    assert rates.prove(table, "deep").equal


def test_a_key_that_is_longer_than_its_column_is_not_taken_for_the_one_that_it_begins_with(
    rates: House, catalogue: Catalogue
) -> None:
    rates.execute("CREATE TABLE currency (code varchar(3) PRIMARY KEY, title text, sync_status text)")
    catalogue.items.append(currency("chfx"))
    table = by_id("aud", "audx", "chf", "chfx", columns={"code": "id", "title": "attributes.title"})
    rates.sync(table)
    assert rates.execute("SELECT code, title, sync_status FROM currency ORDER BY 1") == [
        ("aud", "The aud", "synced"),
        ("chf", "The chf", "synced"),
    ]
    assert reasons(rates, table) == {
        "chfx": "the payload breaks the contract: currency.code: character varying(3) cannot hold 'chfx'."
    }
    assert rates.prove(table, "deep").equal


@pytest.mark.parametrize(
    ("kind", "pg_type", "fits", "does_not"),
    [
        ("integer", "smallint", ["-32768", "32767", "0"], ["32768", "-32769", "007", "7.0", "x", ""]),
        ("integer", "integer", ["2147483647"], ["2147483648"]),
        ("integer", "bigint", [str(2**63 - 1), str(-(2**63))], [str(2**63), str(-(2**63) - 1)]),
        ("text", "text", ["a", "é" * 900, "7"], [" a", "a\r\n"]),
        ("text", "character varying(3)", ["abc"], ["abcd"]),
        ("text", "character(3)", ["ab"], ["abcd"]),
        ("numeric", "numeric", ["7.25", "1" * 40], ["7.250", "one"]),
        ("numeric", "numeric(5,2)", ["999.99", "-999.9", "0.5"], ["1000", "0.125"]),
        ("float", "double precision", ["7.5"], ["7.50", "1e400"]),
        ("date", "date", ["2026-02-28"], ["2026-02-30", "0000-00-00", "today"]),
    ],
)
def test_what_a_column_can_hold_as_a_key(kind: Any, pg_type: str, fits: list[str], does_not: list[str]) -> None:
    assert [text for text in fits if misfit(text, kind, pg_type) is not None] == []
    assert [text for text in does_not if misfit(text, kind, pg_type) is None] == []
