"""Rows to documents: which text, in which order, and which metadata; pure, without any store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.model import SYSTEM_FIELDS
from sync_pipelines.targets.chroma.values import ValueRefused
from sync_pipelines.targets.document_values import metadata_value, microseconds
from sync_pipelines.targets.documents import DOCUMENTS_SCHEMA, Document, DocumentMapper, human_texts

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
ARABIC = "بِسْمِ ٱللَّهِ \u200fٱلرَّحْمَٰنِ e\u0301"
HERE = __name__


def source_batch(*rows: Mapping[str, Any], **types: str) -> pa.RecordBatch:
    """Rows as a source gives them: JSON and arrays as text, with `pg_type` on each column."""
    fields = [*SYSTEM_FIELDS]
    for name, pg_type in types.items():
        arrow = {"timestamp": pa.timestamp("us", tz="UTC"), "integer": pa.int64(), "boolean": pa.bool_()}
        fields.append(
            pa.field(name, arrow.get(pg_type, pa.string()), metadata={"pg_type": pg_type, "pg_base": pg_type})
        )
    full = [{"_key": f"k{n}", "_fingerprint": f"f{n}", "_changed_at": NOON, **row} for n, row in enumerate(rows)]
    return pa.RecordBatch.from_pylist(full, schema=pa.schema(fields))


def text_of(value: Any) -> str:
    return DocumentMapper(text=["c"]).document({"c": value}).text


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("plain", ["plain"]),
        (None, []),
        ("", []),
        ("  ", []),
        ({"ar": "ع", "id": "i", "en": "e"}, ["e", "i", "ع"]),
        ({"fr": "f", "ar": "ع", "de": "d", "en": "e"}, ["e", "ع", "d", "f"]),
        ({"en": None, "id": "", "ar": "ع"}, ["ع"]),
        ({"en": {"body": "deep", "head": "er"}}, ["deep", "er"]),
        ({"zeta": "first", "alpha": "second"}, ["first", "second"]),
        ([{"en": "one"}, "two", ["three", None, 4, True]], ["one", "two", "three"]),
        ({"note": 5, "more": {"x1": [{"y1": "leaf"}]}}, ["leaf"]),
        ({"pt-BR": "p", "en": "e"}, ["e", "p"]),
        ({}, []),
        ([], []),
        (7, []),
        (True, []),
    ],
)
def test_every_text_leaf_comes_in_a_stated_order(value: Any, texts: list[str]):
    assert list(human_texts(value)) == texts


@pytest.mark.parametrize(
    ("value", "text"),
    [(5, "5"), (Decimal("1.50"), "1.50"), (True, "true"), (date(2024, 5, 1), "2024-05-01"), (None, "")],
)
def test_a_text_column_that_is_a_number_or_a_date_is_as_it_is_written(value: Any, text: str):
    assert text_of(value) == text


def test_text_stays_byte_for_byte():
    padded = f"  {ARABIC}\n"
    mapper = DocumentMapper(text=["title", "content"], separator="\n--\n")
    assert mapper.document({"title": {"ar": padded}, "content": padded}).text == f"{padded}\n--\n{padded}"


def test_columns_come_in_the_order_of_the_yaml_and_blank_ones_leave_no_gap():
    mapper = DocumentMapper(text=["b", "a", "c"])
    assert mapper.document({"a": "A", "b": "B", "c": None}).text == "B\n\nA"


def test_languages_are_those_with_text_in_any_column():
    mapper = DocumentMapper(text=["t"], languages=["t", "c"])
    values = {"t": {"en": "e", "ar": " "}, "c": {"id": ["i"], "ar": None}}
    assert mapper.document(values).metadata == {"languages": ["en", "id"]}
    assert mapper.document({"t": "plain", "c": None}).metadata == {}


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, True),
        (5, 5),
        (2**63 - 1, 2**63 - 1),
        (1.5, 1.5),
        ("x", "x"),
        (ARABIC, ARABIC),
        (None, None),
        ([], None),
        (Decimal("1.50"), 1.5),
        (Decimal("0.1"), 0.1),
        (Decimal("100"), 100.0),
        (NOON, 1_714_564_800_000_000),
        (datetime(1960, 1, 1, tzinfo=UTC), -315_619_200_000_000),
        (date(2024, 5, 1), 1_714_521_600_000_000),
        (time(9, 30), "09:30:00"),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [1, 2]),
        ([Decimal("1.5"), 2.5], [1.5, 2.5]),
        (["a", None], '["a",null]'),
        ([1, "a"], '[1,"a"]'),
        ([["a"], ["b"]], '[["a"],["b"]]'),
        ({"b": 1, "a": {"ü": [Decimal("1.5"), None, Decimal(3)]}}, '{"a":{"ü":[1.5,null,3]},"b":1}'),
    ],
)
def test_values_become_metadata_by_the_stated_rules(value: Any, stored: Any):
    found = metadata_value("v", value)
    assert (type(found), found) == (type(stored), stored)


def test_minus_zero_is_zero_before_the_store_makes_it_so():
    assert str(metadata_value("v", -0.0)) == "0.0"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**63, "64 bits"),
        ([2**63], "64 bits"),
        (float("nan"), "number"),
        (float("inf"), "number"),
        (Decimal("NaN"), "number"),
        (Decimal("0.1234567890123456789"), "digits"),
        (Decimal(2**53 + 1), "digits"),
        ({"a": Decimal("0.1234567890123456789")}, "digits"),
        ("a\0b", "NUL"),
        ("\ud83d", "surrogate"),
        ({"a": "\ud83d"}, "surrogate"),
        (b"x", "bytes"),
    ],
)
def test_a_value_that_would_not_come_back_is_refused(value: Any, reason: str):
    with pytest.raises(ValueRefused, match=reason) as caught:
        metadata_value("price", value)
    assert "price" in str(caught.value)


def test_moments_of_any_zone_are_microseconds_utc():
    assert microseconds(datetime(1970, 1, 1, 0, 0, 0, 1)) == 1
    assert microseconds(datetime.fromisoformat("2024-05-01T14:00:00+02:00")) == microseconds(NOON)


def test_a_batch_is_mapped_and_bad_rows_fail_alone():
    rows = source_batch(
        {"title": '{"ar":"ع","en":"e"}', "tags": '["x","y"]', "price": "1.50", "seen": NOON, "n": 3, "on": True},
        {"title": '{"en":', "price": "1"},
        {"title": '"t"', "price": "0.1234567890123456789"},
        {"title": '"t"', "_problem": "column 'at' is infinite"},
        {"title": "null"},
        title="jsonb",
        tags="text[]",
        price="numeric",
        seen="timestamp",
        n="integer",
        on="boolean",
    )
    mapper = DocumentMapper(
        text=["title"], metadata=["tags", "price", "seen", "n", "on"], languages=["title"], place="s/t"
    )
    mapped, rejected = mapper.map(rows)
    assert mapped.schema == DOCUMENTS_SCHEMA
    first, last = mapped.to_pylist()
    assert (first["_key"], first["_fingerprint"], first["_changed_at"], first["document"]) == (
        "k0",
        "f0",
        NOON,
        "e\n\nع",
    )
    assert json.loads(first["metadata"]) == {
        "languages": ["ar", "en"],
        "n": 3,
        "on": True,
        "price": 1.5,
        "seen": microseconds(NOON),
        "tags": ["x", "y"],
    }
    assert (last["_key"], last["document"], last["metadata"]) == ("k4", "", "{}")
    assert [(r.key, r.stage) for r in rejected] == [("k1", "read"), ("k2", "map"), ("k3", "read")]
    assert "price" in rejected[1].reason


def shout(row: dict[str, Any]) -> Document | str | None:
    """A user's function."""
    if row["c"] == "none":
        return None
    if row["c"] == "break":
        raise KeyError("inside")
    if row["c"] == "text":
        return "just text"
    if row["c"] == "odd":
        return 5  # type: ignore[return-value]
    return Document(row["c"].upper(), {"n": 99, "own": [NOON]})


def test_a_function_makes_the_document_and_its_metadata_win():
    rows = source_batch(*({"c": c, "n": 1} for c in ("loud", "text", "none", "break", "odd")), c="text", n="integer")
    mapped, rejected = DocumentMapper(text=f"{HERE}:shout", metadata=["n"]).map(rows)
    found = {row["document"]: json.loads(row["metadata"]) for row in mapped.to_pylist()}
    assert found == {"LOUD": {"n": 99, "own": [microseconds(NOON)]}, "just text": {"n": 1}, "": {"n": 1}}
    assert [(r.key, r.stage) for r in rejected] == [("k3", "map"), ("k4", "map")]
    assert "KeyError" in rejected[0].reason


def reserved(row: dict[str, Any]) -> Document:
    return Document("x", {"sync_key": 1})


@pytest.mark.parametrize(
    ("mapper", "words"),
    [
        ({"text": f"{HERE}:nothing"}, "nothing"),
        ({"text": "no.such.module:f"}, "no"),
        ({"text": f"{HERE}:reserved"}, "sync_key"),
        ({"text": ["missing", "c"]}, "no column missing"),
        ({"text": ["c"], "metadata": ["gone"]}, "no column gone"),
    ],
)
def test_a_fault_of_the_configuration_is_no_rows_fault(mapper: dict, words: str):
    with pytest.raises(ConfigurationError, match=words):
        DocumentMapper(**mapper, place="s/t").map(source_batch({"c": "x"}, c="text"))


@pytest.mark.parametrize(
    "mapper",
    [
        {"text": []},
        {"text": "no colon"},
        {"text": ["c"], "metadata": ["sync_x"]},
        {"text": ["c"], "metadata": ["chroma:x"]},
        {"text": ["c"], "metadata": ["languages"], "languages": ["c"]},
    ],
)
def test_a_mapping_that_cannot_be_is_refused_at_load(mapper: dict):
    with pytest.raises(ConfigurationError, match="s/t"):
        DocumentMapper(**mapper, place="s/t")


def test_the_signature_changes_with_the_mapping_and_with_its_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def of(**changes: Any) -> str:
        return DocumentMapper(**{"text": ["a"], "metadata": ["b"], **changes}).signature

    assert of() == of()
    assert len({of(), of(text=["b"]), of(metadata=[]), of(languages=["a"]), of(separator=" ")}) == 5
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number, code in enumerate(
        ["def f(row): return 'a'", "def f(row):  # why\n    return 'a'\n", "def f(row): return 'b'"]
    ):
        (tmp_path / f"m{number}.py").write_text(code)
        found.append(json.loads(of(text=f"m{number}:f"))[-1])
    assert found[0] == found[1] != found[2]


def test_an_empty_batch_stays_empty():
    mapped, rejected = DocumentMapper(text=["c"]).map(source_batch(c="text"))
    assert (mapped.num_rows, mapped.schema, rejected) == (0, DOCUMENTS_SCHEMA, [])
