"""The texts by which people name records, in the one spelling that each key has."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipelines.engine.keys import as_postgres, example, normal, split

PAIR = ("tenant", "number")


@pytest.mark.parametrize(
    ("text", "columns", "keys"),
    [
        ("a,b", 1, ["a", "b"]),
        (" a , b ,", 1, ["a", "b"]),
        ('["a", "b,c"]', 1, ["a", "b,c"]),
        ("[1, 2]", 1, ["1", "2"]),
        ("[red]q,b", 1, ["[red]q", "b"]),
        ('["1", "4"]', 2, ['["1", "4"]']),
        ('["1","4"]', 2, ['["1", "4"]']),
        ('["1", "4"], ["2", "5"]', 2, ['["1", "4"]', '["2", "5"]']),
        ('[["1", "4"], ["2", "5"]]', 2, ['["1", "4"]', '["2", "5"]']),
        ('["[\\"1\\", \\"4\\"]", "[\\"2\\", \\"5\\"]"]', 2, ['["1", "4"]', '["2", "5"]']),
        ("1,4", 2, ["1", "4"]),
        ('["1", "4"', 2, ['["1", "4"']),
        (" , ", 1, []),
    ],
)
def test_many_keys_are_parted_by_commas_or_are_json(text: str, columns: int, keys: list[str]) -> None:
    assert split(text, columns) == keys


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ('["1","4"]', '["1", "4"]'),
        (' [ "1" , "4" ] ', '["1", "4"]'),
        ("[1, 4]", '["1", "4"]'),
        ('["Z\\u00fcrich","\\ud83d\\ude00"]', '["Zürich", "😀"]'),
        ('["a\\"b\\\\c\\/d","\\u0001\\t\\u007f"]', '["a\\"b\\\\c/d", "\\u0001\\t\x7f"]'),
        ('["1", null]', '["1", null]'),
    ],
)
def test_a_composite_key_has_one_spelling_whoever_writes_it(text: str, stored: str) -> None:
    assert normal(text, PAIR) == stored


def test_a_key_of_one_column_is_taken_as_it_is() -> None:
    for text in ("a", " a ", "[red]", '["1","4"]', "", "Ü"):
        assert normal(text, ("id",)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1", "JSON array of 2 texts"),
        ('["1", "4"', "JSON array of 2 texts"),
        ('{"tenant": "1"}', "JSON array of 2 texts"),
        ('["1"]', r"has 2 columns \(tenant, number\), and this names 1"),
        ('["1", "4", "5"]', "this names 3"),
        ('["1", 1.50]', "number is to be a text, in quotes"),
        ('[true, "4"]', "tenant is to be a text"),
        ('["1", ["4"]]', "number is to be a text"),
        ('["1", "\\u0000"]', "no text in PostgreSQL"),
        ('["1", "\\ud800"]', "no text in PostgreSQL"),
    ],
)
def test_what_is_no_key_of_these_columns_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        normal(text, PAIR)


@pytest.mark.parametrize("text", ["a\0b", "\udcff"])
def test_what_postgresql_holds_in_no_text_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="no text in PostgreSQL"):
        normal(text, ("id",))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=2, max_size=2))
def test_however_json_is_written_the_key_is_the_same(parts: list[str]) -> None:
    forms = [(escaped, separator) for escaped in (False, True) for separator in (",", ", ", " ,\n")]
    spellings = [json.dumps(parts, ensure_ascii=escaped, separators=(sep, ":")) for escaped, sep in forms]
    assert {normal(text, PAIR) for text in spellings} == {as_postgres(parts)}


def test_a_remedy_shows_how_a_key_is_written() -> None:
    assert example(PAIR) == """Write it like '["<tenant>", "<number>"]'."""
    quoted = example(('the "first" \\', "zweites Größtes"))
    assert json.loads(quoted.split("'")[1]) == ['<the "first" \\>', "<zweites Größtes>"]
    assert example(("id",)) == "Give a value of id."
