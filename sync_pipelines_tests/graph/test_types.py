"""Every PostgreSQL type has a stated place among a graph's properties, and no value changes in silence."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.targets.neo4j.input import native
from sync_pipelines.targets.neo4j.types import TABLE
from sync_pipelines_tests.graph.house import Academy, concept

KEPT: list[tuple[str, str, Any]] = [
    ("text", "ä\u200f\U0001f600'\"\\`$x", "ä\u200f\U0001f600'\"\\`$x"),
    ("text", "", ""),
    ("text", "line\r\nbreak\ttab", "line\r\nbreak\ttab"),
    ("varchar(9)", " x ", " x "),
    ("char(5)", "ab", "ab"),
    ("smallint", "-32768", -32768),
    ("bigint", "9223372036854775807", 2**63 - 1),
    ("bigint", "-9223372036854775808", -(2**63)),
    ("real", "1.5", 1.5),
    ("double precision", "0.1", 0.1),
    ("double precision", "2", 2.0),
    ("double precision", "-0", -0.0),
    ("double precision", "5e-324", 5e-324),
    ("double precision", "-Infinity", -math.inf),
    ("boolean", "t", True),
    ("boolean", "f", False),
    ("numeric", "1.500", "1.500"),
    ("numeric(6,2)", "NaN", "NaN"),
    ("date", "0001-01-01", date(1, 1, 1)),
    ("date", "9999-12-31", date(9999, 12, 31)),
    ("date", "1582-10-10", date(1582, 10, 10)),
    ("timestamp", "2024-02-29 23:59:59.999999", datetime(2024, 2, 29, 23, 59, 59, 999999)),
    ("timestamptz", "2024-01-01 00:00:00+05:30", datetime(2023, 12, 31, 18, 30, tzinfo=UTC)),
    ("timestamptz", "1900-01-01 00:00:00.000001+00", datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
    ("time", "24:00:00", "24:00:00"),
    ("interval", "1 mon 2 days", "1 mon 2 days"),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("bytea", "\\x00ff10", "00ff10"),
    ("json", '{"b": 1, "a":  [1.50]}', '{"b": 1, "a":  [1.50]}'),
    ("jsonb", '{"b": 1, "a":  [1.50]}', '{"a": [1.50], "b": 1}'),
    ("int4range", "[1,5)", "[1,5)"),
    ("inet", "192.168.0.1/24", "192.168.0.1/24"),
    ("mood", "happy", "happy"),
    ("grade", "3", 3),
    ("text[]", "{}", []),
    ("text[]", '{x,"a,b","NULL","[1]"}', ["x", "a,b", "NULL", "[1]"]),
    ("text[]", "{x,NULL}", '["x",null]'),
    ("text[]", "{{a,b},{c,d}}", '[["a","b"],["c","d"]]'),
    ("int[]", "{1,-2}", [1, -2]),
    ("bigint[]", "{9223372036854775807}", [2**63 - 1]),
    ("double precision[]", "{1,2.5,Infinity}", [1.0, 2.5, math.inf]),
    ("boolean[]", "{t,f}", [True, False]),
    ("numeric[]", "{1.50,NaN}", ["1.50", "NaN"]),
    ("date[]", "{2024-01-01}", ["2024-01-01"]),
    ("jsonb[]", '{"{\\"a\\": 1.50}"}', '[{"a": 1.50}]'),
]

UNFIT = [
    ("date", "infinity", "is infinite, BC or after the year 9999"),
    ("timestamp", "-infinity", "is infinite, BC or after the year 9999"),
    ("timestamptz", "0044-03-15 00:00+00 BC", "is infinite, BC or after the year 9999"),
]

TYPES = "CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE DOMAIN grade AS int CHECK (VALUE > 0)"


def things(academy: Academy, values: list[tuple[str, str]]) -> Any:
    """A table with a column for each value, and its document."""
    academy.execute(TYPES)
    columns = ", ".join(f"c{number} {kind}" for number, (kind, _) in enumerate(values))
    academy.execute(f"CREATE TABLE thing (id int PRIMARY KEY, {columns})")
    thing = concept(source={"connection": "learning", "table": "thing", "key": ["id"]}, target={"label": "Thing"})
    academy.capture(thing)
    marks = ", ".join(["%s"] * len(values))
    academy.execute(f"INSERT INTO thing VALUES (1, {marks})", *(value for _, value in values))
    return thing


def test_values_of_every_type_arrive_and_are_read_back_as_they_were(academy: Academy) -> None:
    thing = things(academy, [(kind, value) for kind, value, _ in KEPT])
    assert academy.sync(thing).upserted == 1, academy.quarantined(thing)
    node = academy.node("1", "Thing") or {}
    found = [native(node.get(f"c{number}")) for number in range(len(KEPT))]
    assert [repr(value) for value in found] == [repr(value) for _, _, value in KEPT]
    assert academy.prove(thing, "deep").equal


def test_not_a_number_is_kept_and_proven_alone_and_in_lists(academy: Academy) -> None:
    thing = things(academy, [("double precision", "NaN"), ("double precision[]", "{1,NaN}")])
    academy.sync(thing)
    node = academy.node("1", "Thing") or {}
    assert math.isnan(node["c0"])
    assert math.isnan(node["c1"][1])
    assert academy.prove(thing, "deep").equal


def test_a_null_is_no_property(academy: Academy) -> None:
    academy.execute("CREATE TABLE thing (id int PRIMARY KEY, a text, b int[], c timestamptz)")
    thing = concept(source={"connection": "learning", "table": "thing", "key": ["id"]}, target={"label": "Thing"})
    academy.capture(thing)
    academy.execute("INSERT INTO thing VALUES (1, 'x', '{1}', now())")
    academy.sync(thing)
    academy.execute("UPDATE thing SET a = NULL, b = NULL, c = NULL")
    academy.sync(thing)
    assert academy.node("1", "Thing") == {"id": 1}
    assert academy.prove(thing, "deep").equal


@pytest.mark.parametrize(("kind", "value", "why"), UNFIT)
def test_a_value_that_does_not_fit_quarantines_its_record_alone(
    academy: Academy, kind: str, value: str, why: str
) -> None:
    thing = things(academy, [(kind, value)])
    academy.execute("INSERT INTO thing VALUES (2, '2024-01-01')")
    assert academy.sync(thing).upserted == 1
    assert academy.quarantined(thing) == {"1": f"column 'c0' {why}"}
    assert academy.node("2", "Thing") is not None


@pytest.mark.slow
def test_a_record_too_large_and_a_key_too_long_are_quarantined_alone(academy: Academy) -> None:
    academy.add("good", "k" * 8001)
    academy.execute("INSERT INTO concept (id, title) VALUES ('huge', repeat('x', 17 * 1024 * 1024))")
    assert academy.sync(concept()).upserted == 1
    found = academy.quarantined(concept())
    assert "bytes, and a graph is given up to 16,777,216 a record" in found["huge"]
    assert "its key has 8,001 bytes" in found["k" * 8001]
    assert academy.titles() == ["good"]


@pytest.mark.slow
def test_a_property_of_a_megabyte_arrives_whole_and_many_of_them_in_messages_of_their_own(academy: Academy) -> None:
    academy.execute(
        "INSERT INTO concept (id, title) SELECT n, repeat(n || 'é', 349526) FROM generate_series(1, 20) AS n"
    )
    assert academy.sync(concept()).upserted == 20
    assert (academy.node("7") or {})["title"] == "7é" * 349526
    assert academy.prove(concept(), "deep").equal


def test_what_the_graph_itself_refuses_is_found_by_halves(academy: Academy) -> None:
    academy.cypher("CREATE CONSTRAINT IF NOT EXISTS FOR (n:Solo) REQUIRE n.title IS UNIQUE")
    academy.cypher("MATCH (n:Solo) DETACH DELETE n")
    solo = concept(target={"label": "Solo"})
    academy.add(*(f"c{number}" for number in range(20)))
    academy.execute("UPDATE concept SET title = 'the same' WHERE id IN ('c3', 'c14')")
    assert academy.sync(solo).upserted == 19
    ((key, why),) = academy.quarantined(solo).items()
    assert key in ("c3", "c14")
    assert "ConstraintValidationFailed" in why


def test_the_readme_prints_the_mapping() -> None:
    assert TABLE in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_a_sensitive_value_stands_in_no_reason(academy: Academy) -> None:
    academy.cypher("CREATE CONSTRAINT IF NOT EXISTS FOR (n:Veiled) REQUIRE n.title IS UNIQUE")
    veiled = concept(target={"label": "Veiled"}, sensitive=["title"])
    academy.add("c1", "c2")
    academy.execute("UPDATE concept SET title = 'a very private word'")
    academy.sync(veiled)
    ((_, why),) = academy.quarantined(veiled).items()
    assert why.endswith("label Veiled: the server answers Neo.ClientError.Schema.ConstraintValidationFailed.")
