"""What is read from a payload, and where it breaks."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.sources.rest.contract import (
    ContractError,
    Flag,
    Many,
    Moment,
    Number,
    Shape,
    Text,
    Texts,
    Whole,
    unwrapped,
)
from sync_pipelines.sources.rest.errors import NoJsonError, parse_json


class Part(Shape):
    needed = ("id",)
    usual = ("id", "size")

    id: Whole = None
    size: Number = None


class Thing(Shape):
    usual = ("count",)

    count: Whole = None
    score: Number = None
    there: Flag = None
    name: Text = None
    notes: Texts
    at: Moment = None
    part: Part | None = None
    parts: Many[Part]


@pytest.mark.parametrize(
    ("field", "given", "read"),
    [
        ("count", 3, 3),
        ("count", " 3 ", 3),
        ("count", 3.0, 3),
        ("count", "3.0", 3),
        ("count", "9007199254740993", 9007199254740993),
        ("count", "", None),
        ("score", "8.50", 8.5),
        ("score", ".5", 0.5),
        ("score", "1e2", 100.0),
        ("score", 7, 7.0),
        ("there", "Yes", True),
        ("there", 0, False),
        ("there", " ", None),
        ("name", " Hôtel\tde  Ville ", "Hôtel\tde  Ville"),
        ("name", 12, "12"),
        ("name", True, "true"),
        ("name", "  ", None),
        ("notes", "one", ["one"]),
        ("notes", None, []),
        ("notes", [" one ", "", 2], ["one", "2"]),
        ("at", "2026-03-01T12:30:00+02:00", "2026-03-01 10:30:00"),
        ("at", "2026-03-01 12:30:00", "2026-03-01 12:30:00"),
        ("at", "2026-03-01", "2026-03-01 00:00:00"),
        ("at", "0000-00-00 00:00:00", None),
        ("parts", None, []),
    ],
)
def test_what_is_only_spelled_otherwise_is_read(field: str, given: Any, read: Any):
    found = getattr(Thing.read({field: given}), field)
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ({"count": "three"}, "count: a number is expected, found 'three'"),
        ({"count": 3.5}, "count: a whole number is expected, found 3.5"),
        ({"count": True}, "count: a number is expected, found True"),
        ({"count": 2**63}, f"count: a whole number is expected, found {2**63}"),
        ({"score": "nan"}, "score: a number is expected, found 'nan'"),
        ({"score": "4,5"}, "score: a number is expected, found '4,5'"),
        ({"score": "9" * 400}, f"score: a number is expected, found '{'9' * 39}…"),
        ({"there": "maybe"}, "there: true or false is expected, found 'maybe'"),
        ({"name": ["a"]}, "name: a text is expected, found a list of 1"),
        ({"at": "soon"}, "at: a time like 2026-03-01 12:30:00 is expected, found 'soon'"),
        ({"part": [1]}, "part: an object is expected, found a list of 1"),
        ({"parts": {"id": 1}}, "parts: a list is expected, found an object of 1"),
        ({"parts": [{"id": 1}, 7]}, "parts[1]: an object is expected, found 7"),
        ({"parts": [{"id": 1}, {"id": 2, "size": "big"}]}, "parts[1].size: a number is expected, found 'big'"),
        ({"parts": [{"size": 1}]}, "parts[0].id: it is missing"),
        ({"part": {"id": " "}}, "part.id: it is empty"),
        ([], "the payload: an object is expected, found a list of 0"),
        ({"name": "a\0b"}, "name: it holds a NUL character or half a surrogate pair, which PostgreSQL cannot store"),
        ({"other": [{"x": "\ud800"}]}, "other[0].x: it holds a NUL character or half a surrogate pair"),
        ({"other": {"a\0": 1}}, "other: the name of a field in it holds a NUL character"),
        ({"other": 1e999}, "other: it holds a number beyond what a float can be"),
    ],
)
def test_what_breaks_the_contract_is_named_with_its_path(payload: Any, sentence: str):
    with pytest.raises(ContractError) as caught:
        Thing.read(payload)
    assert str(caught.value).startswith(sentence)


def test_new_and_vanished_fields_are_told_with_their_paths():
    found = Thing.read({"new": 1, "parts": [{"id": 1, "size": 2, "colour": "red"}, {"id": 2}], "part": None})
    assert found.unknown() == {"new", "parts[].colour"}
    assert found.missing() == {"count", "parts[].size"}


def test_an_envelope_is_taken_off_and_a_field_of_that_name_is_none():
    assert unwrapped({"data": {"id": 1}}) == {"id": 1}
    assert unwrapped({"data": "2026-03-01", "id": 1}) == {"data": "2026-03-01", "id": 1}


@pytest.mark.parametrize("text", [b"", b"<html>", b'{"a": NaN}', b'{"a": 1', b"\xff\xfe\xfd", b"[" * 100_000])
def test_what_is_no_json_is_refused(text: bytes):
    with pytest.raises(NoJsonError):
        parse_json(text)
