"""Sensitive columns: how keys are shown, and what is cut out of the sentences on a row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from sync_pipelines.engine.errors import RunError, TransientError
from sync_pipelines.engine.model import KEY, BatchResult, Counts, Rejection
from sync_pipelines.engine.proof import Proof
from sync_pipelines.engine.sensitive import Mask, is_masked, mask_of, masked, spellings, without
from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.engine.veil import Veil

TEXT = "Anna Example, born 1970, has a diagnosis that nobody else should read"


def spec(*sensitive: str, key: tuple[str, ...] = ("id",)) -> TableSpec:
    columns = ("body", "price")
    return TableSpec(sync="shop", name="article", table="Article", key=key, columns=columns, sensitive=sensitive)


def batch(**columns: list) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({KEY: columns["id"], **columns})


def test_a_key_is_shown_as_the_beginning_of_its_hash():
    assert masked("anna") == "sha256:" + hashlib.sha256(b"anna").hexdigest()[:12]
    assert is_masked(masked("anna"))
    assert not is_masked("anna")


def test_keys_are_hidden_where_one_of_their_columns_is_sensitive():
    assert mask_of(spec("id")).hides_keys
    assert mask_of(spec("id", key=("tenant", "id"))).hides_keys
    assert not mask_of(spec("body")).hides_keys


def test_a_masked_key_is_not_masked_again_and_is_found_among_the_known():
    mask = Mask(hides_keys=True)
    assert mask.key(mask.key("anna")) == masked("anna")
    assert mask.real([masked("anna"), "ben"], ["x", "anna"]) == {masked("anna"): "anna"}
    assert Mask().real([masked("anna")], ["anna"]) == {}


def test_a_proof_shows_no_key():
    proof = Proof(
        source_count=1, target_count=1, stale=1, samples={"stale": ["anna"]}, reasons={"anna": "'anna#1': its vector"}
    )
    shown = Mask(hides_keys=True).proof(proof)
    assert shown.samples == {"stale": [masked("anna")]}
    assert shown.reasons == {masked("anna"): "'***#1': its vector"}
    assert Mask().proof(proof) is proof


@pytest.mark.parametrize(
    "reason",
    [
        f"cannot embed {TEXT!r}",
        f"cannot embed {TEXT[:20]}…",
        f"cannot embed …{TEXT[-20:]}",
        f"cannot embed {TEXT.upper()}",
        f"invalid literal: {TEXT[5:20]}",
    ],
)
def test_any_longer_piece_of_a_value_is_cut_out(reason):
    shown = without(reason, [TEXT])
    assert not any(word in shown.lower() for word in ("anna", "example", "born", "diagnosis", "read"))
    assert shown.startswith(reason.partition(" ")[0])


def test_a_short_value_is_cut_out_where_it_stands_alone():
    assert without("metadata 'price': 5 of 2025 at 15:05", ["5"]) == "metadata 'price': *** of 2025 at 15:05"


def test_what_is_no_value_stays():
    assert without("no vector for 3 texts", ["", TEXT]) == "no vector for 3 texts"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('{"ar": "سر كبير", "n": [12345]}', "سر كبير"),
        ('{"ar": "سر كبير"}', "\\u0633\\u0631 \\u0643\\u0628\\u064a\\u0631"),
        ('{"n": [12345]}', "12345"),
        (datetime(2024, 1, 2, tzinfo=UTC), "1704153600000000"),
        (datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00:00:00+00:00"),
        (1.5, "1.5"),
    ],
)
def test_a_value_is_known_as_clients_write_it(value, written):
    assert written in list(spellings(value))


@dataclass
class Refuses:
    """A mapper and a target that quote what they refuse."""

    said: list[str] = field(default_factory=list)

    def map(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Rejection]]:
        found = rows.to_pylist()
        return rows, [Rejection(key=row[KEY], reason=f"metadata: {row['body']}", stage="map") for row in found]

    def upsert(self, rows: pa.RecordBatch):
        found = rows.to_pylist()
        rejected = [Rejection(key=row[KEY], reason=f"{row[KEY]} has {row['price']}", stage="embed") for row in found]
        yield BatchResult(counts=Counts(), rejected=rejected)
        raise TransientError(f"no answer for {found[0]['body']}")


ROWS = {"id": ["anna", "ben"], "body": [TEXT, "another text of some length"], "price": [12345, 7]}


def test_refusals_quote_the_sensitive_columns_of_no_row():
    veil = Veil(spec("id", "body", "price"))
    _, rejected = veil.mapping(Refuses().map)(batch(**ROWS))
    results = veil.results(Refuses().upsert(batch(**ROWS)), rows=list)
    assert {item.reason for item in rejected} == {"metadata: ***"}
    assert [item.reason for item in next(results).rejected] == ["*** has ***"] * 2
    assert [item.key for item in rejected] == ["anna", "ben"]
    with pytest.raises(TransientError, match=r"no answer for \*\*\*"):
        next(results)


def test_a_column_that_is_not_sensitive_is_quoted():
    veil = Veil(spec("body"))
    veil.mapping(Refuses().map)(batch(**ROWS))
    assert next(veil.results(Refuses().upsert(batch(**ROWS)), rows=list)).rejected[0].reason == "anna has 12345"


class RefusesTheFirst:
    """A target that answers after it has taken everything."""

    def upsert(self, batches: list[pa.RecordBatch]):
        (first, *_) = [row for rows in batches for row in rows.to_pylist()]
        yield BatchResult(
            counts=Counts(), rejected=[Rejection(key=first[KEY], reason=f"no {first['body']}", stage="write")]
        )
        raise RunError(f"no answer for {first['body']}")


def batches(number: int) -> list[pa.RecordBatch]:
    return [batch(id=[f"r{row}"], body=[f"the text of row {row}."], price=[row]) for row in range(number)]


def test_small_batches_are_remembered_until_a_target_has_refused_what_it_refuses():
    veil, given = Veil(spec("body")), batches(300)
    mapper = veil.mapping(lambda rows: (rows, []))
    results = veil.results(RefusesTheFirst().upsert([mapper(rows)[0] for rows in given]), rows=list)
    assert next(results).rejected[0].reason == "no ***"
    with pytest.raises(RunError, match=r"no answer for \*\*\*"):
        next(results)


def test_an_error_that_speaks_of_rows_long_gone_quotes_none_of_them(monkeypatch: pytest.MonkeyPatch):
    for name, most in {"_BATCHES": 2, "_ROWS": 5, "_BYTES": 1}.items():
        monkeypatch.setattr(f"sync_pipelines.engine.veil.{name}", most)
    veil, given = Veil(spec("body")), batches(300)
    mapper = veil.mapping(lambda rows: (rows, []))
    results = veil.results(RefusesTheFirst().upsert([mapper(rows)[0] for rows in given]), rows=lambda: given)
    assert len(veil._rows) == 2
    next(results)
    with pytest.raises(RunError, match=r"no answer for \*\*\*"):
        next(results)


def test_rows_that_cannot_be_read_again_hide_no_error():
    def gone() -> list[pa.RecordBatch]:
        raise OSError("the spool is gone")

    veil, given = Veil(spec("body")), batches(3)
    mapper = veil.mapping(lambda rows: (rows, []))
    results = veil.results(RefusesTheFirst().upsert([mapper(rows)[0] for rows in given]), rows=gone)
    next(results)
    with pytest.raises(RunError, match=r"no answer for \*\*\*"):
        next(results)


def test_without_sensitive_columns_nothing_is_remembered():
    veil = Veil(spec())
    _, rejected = veil.mapping(Refuses().map)(batch(**ROWS))
    assert rejected[0].reason == f"metadata: {TEXT}"
    assert not veil._rows


def test_sensitive_columns_change_no_fingerprint():
    assert spec("body").mapping_hash == spec().mapping_hash
