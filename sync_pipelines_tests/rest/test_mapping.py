"""What a mapping that changes asks for, and what stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines.defs.hotels import cupid
from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.model import Scope
from sync_pipelines.engine.run import Request, open_run, write
from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.rest.catalogue import DOCUMENT, Catalogue, currency
from sync_pipelines_tests.rest.hotels import Hotels, documents

pytestmark = pytest.mark.slow


@pytest.fixture
def table() -> RestToPostgres:
    return RestToPostgres.model_validate(DOCUMENT)


def by_id(title: str) -> RestToPostgres:
    """Two currencies, each asked for by itself; their title stands at this path."""
    ids = {"values": ["aud", "brl"]}
    source = {"connection": "rates", "path": "currency/{id}", "key": ["id"], "ids": ids}
    columns = {**DOCUMENT["columns"], "title": title}
    return RestToPostgres.model_validate({**DOCUMENT, "source": source, "columns": columns})


def pending(house: House, table: RestToPostgres) -> Any:
    binding = house.bind(table)
    return binding.source.pending(binding.ledger.watermark("rates", "currency"))


def test_another_path_fills_the_column_without_a_request_and_a_run_of_one_record_does_not_settle_that(
    rates: House, catalogue: Catalogue
) -> None:
    catalogue.items[:] = [currency(code, name=f"{code} by name") for code in ("aud", "brl")]
    rates.sync(by_id("attributes.title"))
    seen = "SELECT first_seen_at FROM currency_payloads ORDER BY record_key"
    before, titles = rates.execute(seen), "SELECT title FROM currency ORDER BY code"
    after = by_id("name")
    assert pending(rates, after).full_reason == "the mapping, or a column, changed"
    rates.sync(after, keys=("aud",))
    assert rates.execute(titles) == [("aud by name",), ("The brl",)]
    assert pending(rates, after).full_reason == "the mapping, or a column, changed"
    catalogue.requests.clear()
    rates.sync(after)
    assert rates.execute(titles) == [("aud by name",), ("brl by name",)]
    assert (catalogue.requests, pending(rates, after).full_reason) == ([], None)
    assert rates.execute(seen) == before  # the payloads are the same


def test_rows_that_are_made_anew_do_not_put_off_the_next_look_at_a_list(rates: House, catalogue: Catalogue) -> None:
    table = RestToPostgres.model_validate(DOCUMENT)
    rates.sync(table)
    binding = rates.bind(table)
    first = binding.source.next_due(binding.ledger.watermark("rates", "currency"))
    rates.sync(table, mode="reparse")
    assert binding.source.next_due(binding.ledger.watermark("rates", "currency")) == first


def test_a_column_that_a_sequence_numbers_is_the_applications(hotels: Hotels) -> None:
    (only,) = hotels.cupid.ids(1)
    hotels.execute("ALTER TABLE photos ADD COLUMN number bigserial")
    hotels.ask_for(only)
    assert hotels.sync().upserted == 1
    numbers = "SELECT array_agg(number ORDER BY number) FROM photos"
    before = hotels.execute(numbers)
    assert None not in before[0][0]
    assert hotels.sync(mode="full").unchanged == 1
    assert hotels.execute(numbers) == before


def typed(name: str, kind: str) -> RestToPostgres:
    """The currencies, with a type of one column."""
    columns = {**DOCUMENT["columns"], name: {"path": f"attributes.{name}", "type": kind}}
    return RestToPostgres.model_validate({**DOCUMENT, "columns": columns})


def test_a_type_that_the_document_states_and_the_table_has_not_is_told_before_anything_is_asked(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    rates.sync(table)
    catalogue.requests.clear()
    with pytest.raises(RunError, match=r"'title' is text, and the document says that its type is integer\.") as caught:
        rates.sync(typed("title", "integer"))
    assert 'ALTER COLUMN "title" TYPE bigint USING "title"::bigint' in (caught.value.remedy or "")
    assert catalogue.requests == []
    rates.execute("ALTER TABLE currency ALTER COLUMN title TYPE varchar(40)")
    assert rates.sync(typed("title", "text"), mode="full").unchanged == 5


@pytest.mark.parametrize(
    ("held", "stated", "fits"),
    [
        ("numeric(10, 2)", "number", True),
        ("int", "number", False),
        ("int", "integer", True),
        ("numeric", "integer", True),
        ("real", "numeric", False),
        ("timestamp", "timestamp", True),
        ("date", "timestamp", False),
        ("json", "json", True),
        ("text", "json", False),
    ],
)
def test_a_column_that_was_there_may_have_any_type_that_holds_what_the_document_states(
    rates: House, held: str, stated: str, fits: bool
) -> None:
    rates.execute(f"CREATE TABLE currency (code text PRIMARY KEY, title text, rate numeric, more {held})")
    if fits:
        assert rates.sync(typed("more", stated)).upserted == 5
    else:
        with pytest.raises(RunError, match=f"says that its type is {stated}"):
            rates.sync(typed("more", stated))


def test_a_column_that_postgresql_computes_is_left_to_it_and_cannot_be_named(
    rates: House, catalogue: Catalogue
) -> None:
    rates.execute(
        "CREATE TABLE currency (code text PRIMARY KEY, title text, rate numeric, "
        "loud text GENERATED ALWAYS AS (upper(title)) STORED, "
        "data_version bigint GENERATED ALWAYS AS (length(title)) STORED)"
    )
    table = RestToPostgres.model_validate(DOCUMENT)
    assert rates.sync(table).upserted == 5
    assert rates.execute("SELECT loud, data_version FROM currency WHERE code = 'aud'") == [("THE AUD", 7)]
    assert rates.prove(table, "deep").equal
    wrong = RestToPostgres.model_validate({**DOCUMENT, "columns": {**DOCUMENT["columns"], "loud": "attributes.title"}})
    with pytest.raises(RunError, match=r"PostgreSQL computes the column 'loud'\. Leave it out of `columns`\."):
        rates.sync(wrong)


def test_a_percent_sign_in_a_name_is_told_before_anything_is_asked(hotels: Hotels) -> None:
    for wrong in (
        {"columns": {**DOCUMENT["columns"], "100%": "attributes.title"}},
        {"target": {"connection": "rates", "table": "cur%rency"}},
        {"target": {"connection": "rates", "table": "currency", "books": "%s"}},
    ):
        with pytest.raises(ValueError, match="takes a % for the place of a value"):
            RestToPostgres.model_validate({**DOCUMENT, **wrong})
    hotels.execute('ALTER TABLE properties ADD COLUMN "occupancy %" numeric')
    with pytest.raises(RunError, match=r"the % in the name of the column 'occupancy %'.*Leave it out of `columns`"):
        hotels.sync()


def test_a_mapping_function_that_gives_rows_of_another_hotel_is_refused(hotels: Hotels) -> None:
    ids = hotels.cupid.ids(2)
    hotels.ask_for(*ids)
    bound = hotels.house.bind(documents()["properties"])
    source: Any = bound.source

    def mixed_up(payload: Any, key: tuple[str, ...]) -> Any:
        found = {name: [dict(row) for row in rows] for name, rows in cupid.property_rows(payload, key).items()}
        if key == (str(ids[0]),):
            found["rooms"][0]["hotel_id"] = ids[1]
        return found

    object.__setattr__(source.endpoint, "rows_of", mixed_up)
    request = Request(mode="incremental", scope=Scope(), trigger="manual", run_id="mixed")
    assert write(open_run(bound, request)).quarantined == 1
    assert hotels.quarantine()[str(ids[0])] == (
        f"the payload breaks the contract: rooms: it is of {ids[1]}, and {ids[0]} was asked for."
    )


def test_a_table_that_somebody_dropped_is_made_and_filled_anew(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    rates.sync(table)
    rates.execute("DROP TABLE currency")
    proof = rates.prove(table)
    assert (proof.source_count, proof.target_count, proof.equal) == (5, 0, False)
    assert rates.sync(table).upserted == 5
    assert rates.execute("SELECT count(*), sum(rate)::int FROM currency") == [(5, 5)]
    assert rates.prove(table, "deep").equal


def test_books_of_an_earlier_version_get_the_column_that_they_lack_with_what_is_known(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    rates.sync(table)
    catalogue.items.pop(1)
    assert rates.sync(table, mode="full").metadata_only == 1
    rates.execute("ALTER TABLE currency_checks DROP COLUMN gone")
    assert rates.sync(table, mode="full").metadata_only == 0
    assert rates.execute("SELECT record_key FROM currency_checks WHERE gone") == [("brl",)]


def test_tables_that_share_their_books_are_each_made(rates: House, catalogue: Catalogue) -> None:
    for name in ("currency", "coin"):
        table = RestToPostgres.model_validate(
            {**DOCUMENT, "target": {"connection": "rates", "table": name, "books": "money"}}
        )
        assert rates.sync(table).upserted == 5
        assert rates.prove(table).equal
    held = "SELECT part, count(*) FROM money_payloads GROUP BY 1 ORDER BY 1"
    assert rates.execute(held) == [("coin", 5), ("currency", 5)]


def test_a_column_that_is_new_in_a_document_is_told_with_the_statement_that_adds_it(
    rates: House, catalogue: Catalogue, table: RestToPostgres
) -> None:
    rates.sync(table)
    columns = {**DOCUMENT["columns"], "paid": {"path": "paid", "type": "boolean"}}
    more = RestToPostgres.model_validate({**DOCUMENT, "columns": columns})
    statement = 'ALTER TABLE "public"."currency" ADD COLUMN "paid" boolean'
    with pytest.raises(RunError, match=rf"has no column 'paid'\. It has: .*If it is new: {statement}\."):
        rates.sync(more)
    rates.execute(statement)
    assert rates.sync(more).unchanged == 5
