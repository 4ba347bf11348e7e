"""Source batches as Python values."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_pipelines.engine.model import SYSTEM_FIELDS
from sync_pipelines.engine.rows import Row, rows


def _one(pg_type: str, text: Any, *, arrow: pa.DataType | None = None, problem: str | None = None) -> Row:
    field = pa.field("c", arrow or pa.string(), metadata={"pg_type": pg_type, "pg_base": pg_type})
    schema = pa.schema([*SYSTEM_FIELDS, field])
    batch = pa.RecordBatch.from_pylist(
        [{"_key": "k", "_fingerprint": "1:f", "_changed_at": None, "_problem": problem, "c": text}], schema=schema
    )
    (row,) = rows(batch)
    return row


@pytest.mark.parametrize(
    ("pg_type", "text", "value"),
    [
        ("text", "[1]", "[1]"),
        ("jsonb", '{"a": [1, null, true]}', {"a": [1, None, True]}),
        ("jsonb", "123456789012345678901234567890", 123456789012345678901234567890),
        ("jsonb", "0.1", 0.1),
        ("jsonb", "0.12345678901234567890123", Decimal("0.12345678901234567890123")),
        ("jsonb", "1e400", Decimal("1e400")),
        ("json", '"\\u0061"', "a"),
        ("text[]", '["a",null]', ["a", None]),
        ("integer[]", "[[1,2],[3,4]]", [[1, 2], [3, 4]]),
        ("numeric(10,2)[]", "[1.50,2]", [Decimal("1.5"), Decimal(2)]),
        ("double precision[]", '[0.1,"Infinity"]', [0.1, float("inf")]),
        ("numeric(10,2)", "1.50", Decimal("1.50")),
        ("numeric", "Infinity", Decimal("Infinity")),
        ("uuid", "x", "x"),
        ("jsonb", None, None),
        ("numeric", None, None),
    ],
)
def test_texts_are_parsed_by_their_type(pg_type: str, text: str | None, value: object) -> None:
    row = _one(pg_type, text)
    assert row.values == {"c": value}
    assert type(row.values["c"]) is type(value)
    assert row.problem is None


@pytest.mark.parametrize(
    ("pg_type", "text", "words"),
    [
        ("json", "{", "cannot be parsed"),
        ("json", "NaN", "cannot be parsed"),
        ("json", "[Infinity]", "cannot be parsed"),
        ("json", "[" * 100_000, "cannot be parsed"),
        ("json", '{"a": ["\\u0000"]}', "NUL"),
        ("json", '{"\\u0000": 1}', "NUL"),
        ("json", '"\\ud800"', "surrogate"),
        ("json", '"\\uDFFF"', "surrogate"),
        ("text[]", '["\\ud83d"]', "surrogate"),
        ("numeric", "many", "no number"),
        ("numeric[]", '["many"]', "cannot be parsed"),
    ],
)
def test_what_cannot_be_parsed_is_a_problem_of_its_row(pg_type: str, text: str, words: str) -> None:
    row = _one(pg_type, text)
    assert "column 'c'" in (row.problem or "")
    assert words in (row.problem or "")
    assert row.values == {}


def test_a_problem_of_the_source_is_kept_beside_ones_own() -> None:
    assert _one("json", "{", problem="column 'd' is odd").problem == (
        "column 'd' is odd; column 'c' holds JSON that cannot be parsed (JSONDecodeError)"
    )


def test_an_escaped_backslash_before_a_u_is_no_nul() -> None:
    assert _one("json", '"\\\\u0000 \\\\ud800"').values == {"c": "\\u0000 \\ud800"}


def test_times_are_utc() -> None:
    moment = datetime(2024, 2, 29, tzinfo=UTC)
    row = _one("timestamptz", moment, arrow=pa.timestamp("us", "UTC"))
    assert row.values["c"] == moment
    assert row.values["c"].tzinfo is UTC


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc\\u0d8"), inner),
)


@pytest.mark.slow
@given(_JSON, st.booleans())
def test_any_json_comes_back_as_it_is(value: object, ascii_only: bool) -> None:
    row = _one("jsonb", json.dumps(value, ensure_ascii=ascii_only))
    assert row.values == {"c": value}
    assert row.problem is None
