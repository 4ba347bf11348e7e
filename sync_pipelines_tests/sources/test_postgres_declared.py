"""Values that no row has yet: whether the columns could hold them."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.sources.postgres.source import PostgresSource
from sync_pipelines_tests.sources.helpers import Connection, spec_of

TABLE = (
    "CREATE TYPE kind AS ENUM ('good')",
    "CREATE DOMAIN share AS int NOT NULL CHECK (VALUE BETWEEN 0 AND 100)",
    "CREATE DOMAIN present AS text NOT NULL",
    "CREATE TABLE item (id int PRIMARY KEY, small int2, big int8, part float4, price numeric(5, 2), code varchar(3), "
    'kind kind, share share, numbers int2[], at timestamptz, own jsonb, "o\'dd\\" text, present present)',
)


@pytest.fixture
def source(url: str, db: Connection) -> PostgresSource:
    db.run(*TABLE)
    return PostgresSource(url, spec_of(columns=()))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("small", 32768), ("id", 2**40), ("big", 2**63), ("part", 1e300), ("price", "1000.00"), ("price", "dear"),
        ("code", "four"), ("kind", "bad"), ("share", 101), ("numbers", [1, 32768]), ("at", "tomorrow or so"),
        ("o'dd\\", "a\0b"), ("own", object()),
    ],
)  # fmt: skip
def test_a_value_that_a_column_cannot_hold_is_refused(source: PostgresSource, column: str, value: Any) -> None:
    assert source.refused({column: value}) == [column]


def test_what_a_column_can_hold_is_not_refused(source: PostgresSource) -> None:
    held = {
        "small": -32768, "big": 2**63 - 1, "part": float("nan"), "price": "999.99", "code": "abc", "kind": "good",
        "share": 100, "numbers": [1, None], "at": "2024-01-01T00:00:00+00:00", "own": {"a": [1]}, "o'dd\\": "%s'\\\"",
    }  # fmt: skip
    assert source.refused(held) == []
    assert source.refused({**held, "small": 32768}) == ["small"]
