"""What is wrong in a document of an API is told when it is read, not by a run."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from pydantic import ValidationError

from sync_pipelines.components.rest_to_postgres import RestToPostgres
from sync_pipelines_tests.rest.catalogue import DOCUMENT


def document(**changes: Any) -> dict[str, Any]:
    """The document of currencies; `source__path` is a field of a block, and None leaves one out."""
    made: Any = deepcopy(DOCUMENT)
    for place, value in changes.items():
        block = made
        *above, name = place.split("__")
        for part in above:
            block = block.setdefault(part, {})
        block[name] = value
        if value is None:
            del block[name]
    return made


BY_ID: dict[str, Any] = {"source__path": "c/{id}", "source__pagination": None}
"""What makes one request an id of the list."""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"source__path": " /"}, "write what stands below the API's address"),
        ({"source__path": "https://other.example/list"}, "write what stands below the API's address"),
        ({"source__path": "list/{id"}, "path: 'list/{id': expected '}'"),
        ({"source__path": "list/{id.__class__}"}, "a name alone"),
        ({"source__path": "list/{id!r}"}, "a name alone"),
        ({"source__path": "list/{id}"}, "{id} is neither a part of the key nor"),
        ({"source__params": {"at": "{day}"}}, "params.at: {day} is neither"),
        ({"source__key": [""]}, "each part once"),
        ({"source__key": ["id", "id"]}, "each part once"),
        ({"source__key": []}, "each part once"),
        ({"source__key": ["a.id", "b.id"]}, "two parts of the key would be one column"),
        ({"source__key": ["attributes.code"]}, "columns.code: it would hold the key, attributes.code, too"),
        ({"source__pagination__next": None}, "a cursor needs `next`"),
        ({"source__pagination__kind": "page"}, "`next` belongs to `kind: cursor`"),
        ({"source__pagination__kind": None}, "`next` belongs to `kind: cursor`"),
        ({"source__pagination": {"items": "data.rows", "more": "more"}}, "`param` and `more` belong to a kind"),
        ({"source__pagination__size": 5}, "`size` and `size_param` go together"),
        ({"source__ids": {"values": [1]}, "source__path": "c/{id}"}, "pagination: it belongs to a list"),
        ({"source__ids": {"values": [1]}, "source__pagination": None}, "{id} is missing, so each id would be answered"),
        ({"columns__rate": ""}, "columns.rate: write its path"),
        ({"columns__rate": {"type": "numeric"}}, "columns.rate: write its path"),
        ({"columns__rate": {"path": ["quote"]}}, "columns.rate: ['quote'] is no path into the payload"),
        ({"columns__rate": {"path": True}}, "columns.rate: True is no path into the payload"),
        ({"columns__rate": ["quote"]}, "columns.rate: write a path, or path, type and required"),
        ({"columns__rate": {"path": "quote", "type": ["text"]}}, "columns.rate: ['text'] is none of the types"),
        ({"columns__rate": {"path": "quote", "required": "no"}}, "required is true or false, and not 'no'"),
        ({"source__base_url": "api.example"}, "source.base_url\n  Value error, it begins with neither http:// nor"),
        ({"source__base_url": "https://a.example/?key=1"}, "it has a query or a fragment"),
        ({"source__auth": {"kind": "header", "header": "x api key"}}, "'x api key' is no name of an HTTP header"),
        ({"source__auth": {"kind": "header", "header": ""}}, "'' is no name of an HTTP header"),
        ({"columns__data_version": "version"}, "the sync keeps a column of that name itself"),
        ({"plausible": {"rat": [0, 1]}}, "plausible.rat: the document has the columns code, title, rate"),
        ({"plausible": {"title": [0, 1]}}, "plausible.title: its type is text, and numbers have a range"),
        ({"plausible": {"rate": [float("nan"), 1]}}, "plausible.rate: write the lowest and the highest value"),
        ({"fetch__failures_warn": 0.3}, "failures_warn 0.3 is more than failures_error 0.2"),
        ({"fetch__failures_error": 0.01}, "failures_warn 0.05 is more than failures_error 0.01"),
        ({"target__table": ""}, "target.table\n  Value error, '': write a name"),
        ({"target__schema_name": " "}, "target.schema_name\n  Value error, ' ': write a name"),
        ({"target__books": ""}, "target.books\n  Value error, '': write a name"),
        ({"target__table": "t" * 55}, "is too long for the tables that are named after it (…_payloads)"),
        ({**BY_ID, "source__ids": {"values": []}}, "source.ids.values\n  Value error, []: name at least one id"),
        ({**BY_ID, "source__ids": {"values": [1, " "]}}, "name at least one id, and no empty one"),
        (
            {**BY_ID, "source__each": {"lang": " , "}},
            "source.each\n  Value error, lang: ' , ': name at least one value",
        ),
        ({**BY_ID, "source__ids": {"file": ""}}, "source.ids.file\n  Value error, '': write a name"),
    ],
)
def test_a_mistake_is_told_with_the_field_that_it_stands_in(changes: dict[str, Any], told: str) -> None:
    RestToPostgres.model_validate(DOCUMENT)
    with pytest.raises(ValidationError) as caught:
        RestToPostgres.model_validate(document(**changes))
    assert told in str(caught.value)


def test_an_id_may_stand_in_a_parameter_alone() -> None:
    made = document(source__ids={"values": [1]}, source__pagination=None, source__params={"id": "{id}"})
    assert RestToPostgres.model_validate(made).source.key == ["id"]


@pytest.mark.parametrize("column", [7, "7", {"path": 7}, {"path": "7"}])
def test_a_field_whose_name_is_a_number_may_be_a_column(column: Any) -> None:
    made = RestToPostgres.model_validate(document(columns__rate=column))
    assert made.rows_of()({"id": "aud", "7": "seven"}, ("aud",))["currency"] == [
        {"code": "aud", "title": None, "rate": "seven"}
    ]
