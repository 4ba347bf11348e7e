"""The way back from tables that others have written: a value arrives as it is, or its row is refused, alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from sync_pipelines.engine.errors import RunError
from sync_pipelines_tests.lake.house import House, Lake, back

pytestmark = pytest.mark.slow

TEXT, TEXTS = pa.string(), pa.list_(pa.string())
CASES: list[tuple[str, pa.DataType, str, Any, Any]] = [
    ("r", TEXT, "real", "0.1", "0.123456789012"),
    ("f", TEXT, "double precision", "-Infinity", "0.12345678901234567890123"),
    ("d", TEXT, "date", "2024-01-01 00:00Z", "2024-01-01 10:00"),
    ("ts", TEXT, "timestamp", "2024-01-01T10:00:00.120000000Z", "2024-01-01T10:00:00+02:00"),
    ("t", TEXT, "time", "24:00:00", "10:00:00+02"),
    ("tz", TEXT, "timestamptz", "2024-01-01 10:00+02", "2024-01-01 10:00:00.1234567"),
    ("nw", TEXT, "timestamptz", "epoch", "Now"),
    ("m", pa.decimal128(10, 3), "money", Decimal("-1.550"), Decimal("1.555")),
    ("i", TEXT, "integer", " 12 ", "3000000000"),
    ("ds", pa.list_(pa.timestamp("us")), "date[]", [0], [36_000_000_000]),
    ("rs", pa.list_(pa.float64()), "real[]", [0.1, None, float("nan")], [0.123456789012]),
    ("fs", pa.list_(pa.int64()), "double precision[]", [2**53], [2**53 + 1]),
    ("vs", TEXTS, "varchar(3)[]", ["abc"], ["abcd"]),
    ("cs", TEXTS, "char(3)[]", ["ab"], ["abcd"]),
    ("ns", TEXTS, "name[]", ["x" * 63], ["x" * 64]),
]
"""A column, its type in Delta and in PostgreSQL, a value that fits, and one that PostgreSQL would change silently."""


def test_what_postgresql_would_round_or_cut_off_is_refused_alone(house: House):
    house.execute(f"CREATE TABLE review (id text PRIMARY KEY, {', '.join(f'{n} {pg}' for n, _, pg, *_ in CASES)})")
    names = [name for name, *_ in CASES]
    rows = [{"id": "good", **{name: good for name, _, _, good, _ in CASES}}]
    rows += [{"id": name, name: bad} for name, *_, bad in CASES]
    write(Lake(house), rows, [(name, kind) for name, kind, *_ in CASES])
    table = back()
    counts = house.sync(table)
    assert (counts.upserted, counts.quarantined) == (1 + len(FINE), len(CASES))
    reasons = {held.key: held.reason for held in house.bind(table).ledger.list_quarantine("shop", "review")}
    assert sorted(reasons) == sorted(names)
    assert reasons["i"] == "column 'i': it is out of the type's range"
    assert house.prove(table, "deep").equal
    assert house.sync(table, mode="full").upserted == 0


FINE = [f"fine {number}" for number in range(len(CASES))]
"""So many more that those that are refused are no half of all."""


def write(lake: Lake, rows: list[dict[str, Any]], columns: list[tuple[str, pa.DataType]]) -> None:
    schema = pa.schema([("id", pa.string()), *columns])
    write_deltalake(lake.place, pa.Table.from_pylist([*rows, *({"id": key} for key in FINE)], schema=schema))


def test_bytes_in_a_document_are_written_as_postgresql_writes_them_and_a_key_twice_is_refused(house: House):
    house.execute("CREATE TABLE review (id text PRIMARY KEY, doc jsonb, words jsonb)")
    doc = pa.struct([("sound", pa.binary()), ("more", pa.list_(pa.binary()))])
    rows = [
        {"id": "a", "doc": {"sound": b"\x00\xff", "more": [b"a"]}, "words": [("x", 1), ("y", 2)]},
        {"id": "b", "words": [("x", 1), ("x", 2)]},
    ]
    write(Lake(house), rows, [("doc", doc), ("words", pa.map_(pa.string(), pa.int64()))])
    assert house.sync(back()).quarantined == 1
    assert house.execute("SELECT doc, words FROM review WHERE id = 'a'") == [
        ({"sound": "\\x00ff", "more": ["\\x61"]}, {"x": 1, "y": 2})
    ]
    assert [held.reason for held in house.bind(back()).ledger.list_quarantine("shop", "review")] == [
        "column 'words': a map in it has a key twice"
    ]


def test_an_array_of_arrays_is_one_clear_error(house: House):
    house.execute("CREATE TABLE review (id text PRIMARY KEY, tags text[])")
    write(Lake(house), [{"id": "a", "tags": [["x"], ["y"]]}], [("tags", pa.list_(TEXTS))])
    with pytest.raises(RunError, match=r"array<array<string>> in the source and text\[\] in PostgreSQL: no rule"):
        house.sync(back())
