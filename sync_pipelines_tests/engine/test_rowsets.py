"""The form in which the values of documents' rows are compared and written."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from sync_pipelines.engine.errors import RecordError
from sync_pipelines.engine.rowsets import RowTable, canonical, changes_of, told

LONG = "123456789012345678901234567890123456789"


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("text", " a\r\nb\r", "a\nb"),
        ("text", 7, "7"),
        ("integer", 7.0, "7"),
        ("numeric", "7.00", 7),
        ("numeric", 1.5, " 1.50 "),
        ("numeric", "-0.0", 0),
        ("numeric", "1.5e3", 1500),
        ("numeric", int(LONG), f"{LONG}.000"),
        ("numeric", f"{LONG}.{LONG}", Decimal(f"{LONG}.{LONG}0")),
        ("float", "7", 7.0),
        ("real", 0.1, 0.10000000149011612),
        ("timestamptz", "2026-03-01T12:30:00Z", "2026-03-01 13:30+01:00"),
        ("timestamptz", "2026-03-01T12:30", "2026-03-01T12:30:00+00:00"),
        ("date", "2026-03-01", "2026-03-01T00:00:00Z"),
        ("json", {"a": 1, "b": [2.0]}, {"b": [2], "a": 1.0}),
    ],
)
def test_one_value_has_one_form_however_it_is_spelled(kind: Any, one: Any, other: Any):
    assert repr(canonical(one, kind)) == repr(canonical(other, kind))


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("text", "", None),
        ("numeric", f"{LONG}.1", f"{LONG}.2"),
        ("numeric", f"0.{LONG}1", f"0.{LONG}2"),
        ("json", [1, 2], [2, 1]),
        ("json", True, 1),
        ("json", "1", 1),
    ],
)
def test_what_differs_has_two_forms(kind: Any, one: Any, other: Any):
    assert repr(canonical(one, kind)) != repr(canonical(other, kind))


def test_the_order_of_the_elements_of_a_set_does_not_count():
    one, other = ([{"a": 1}, "b", 3], ["b", 3.0, {"a": 1.0}])
    assert canonical(one, "json", is_set=True) == canonical(other, "json", is_set=True)


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("integer", "7.5", "a whole number is expected, and this is '7.5'"),
        ("integer", "NaN", "a whole number is expected, and this is 'NaN'"),
        ("numeric", True, "a number is expected, and this is true or false"),
        ("numeric", "1,5", "a number is expected, and this is '1,5'"),
        ("numeric", "1e131072", "PostgreSQL's numeric cannot hold 1e131072"),
        ("numeric", "1e-99999999", "PostgreSQL's numeric cannot hold 1e-99999999"),
        ("boolean", 1, "true or false is expected, and this is 1"),
        ("date", "2026-03-01T12:00", "a date is expected, and '2026-03-01T12:00' has a time of day"),
        ("text", [], "a text is expected, and this is a list"),
        ("text", "a\0", "it holds a NUL character, which PostgreSQL's text cannot hold"),
    ],
)
def test_what_is_no_value_of_its_column_is_told(kind: Any, value: Any, told: str):
    table = RowTable(name="rates", record=("code",), kinds={"code": "text", "value": kind})
    with pytest.raises(RecordError) as caught:
        table.canonical({"code": "aud", "value": value})
    assert caught.value.message == f"rates.value: {told}."


def test_what_a_column_would_round_is_refused_and_zeros_behind_its_digits_are_not():
    table = RowTable(name="rates", record=("code",), kinds={"code": "text", "value": "numeric"}, scales={"value": 2})
    for value in (f"{LONG}.12", f"{LONG}.1200", "0.5", 7):
        assert table.canonical({"code": "aud", "value": value})["value"] == Decimal(value)
    for value in (f"{LONG}.123", "0.125", 0.001):
        with pytest.raises(RecordError, match="keeps 2 digits behind the point, and would round"):
            table.canonical({"code": "aud", "value": value})


def test_the_history_names_each_row_by_a_path_of_its_own():
    places = [("a", "b"), ("x", "y,z"), ("x,y", "z"), ('"x', 'y"'), ('"x,y"', "z"), ("", "")]
    table = RowTable(
        name="m", record=("id",), key=("one", "two"), kinds=dict.fromkeys(("id", "one", "two", "value"), "text")
    )

    def rows(value: str) -> list[dict[str, Any]]:
        return [{"id": "1", "one": one, "two": two, "value": value} for one, two in places]

    change = changes_of(table, rows("old"), rows("new"))
    paths = [item.path for item in told(change, rows("old"), main=False)]
    assert paths[:3] == ["m[a,b].value", 'm[x,"y,z"].value', 'm["x,y",z].value']
    assert len(set(paths)) == len(places)
