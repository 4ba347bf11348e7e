"""The analysis job: what it finds in a text, and how it writes that into the lakehouse."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from sync_pipelines.sandbox import analysis
from sync_pipelines.sandbox.application import SUBMISSIONS, sample_rows
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.lexicon import analyse
from sync_pipelines.targets.delta.settings import DeltaSettings

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MOMENT = pa.timestamp("us", tz="UTC")
COLUMNS = pa.schema(
    [("id", pa.string()), ("language", pa.string()), ("transcription", pa.string()), ("synced_at", MOMENT)]
)
A, B = (str(uuid.UUID(int=number)) for number in (1, 2))


@pytest.fixture
def lakehouse(tmp_path: Path) -> DeltaSettings:
    return DeltaSettings(uri=str(tmp_path / "lake"))


def submit(lakehouse: DeltaSettings, *given: dict[str, Any], mode: Any = "append") -> None:
    rows = [{"language": "en", "transcription": "Thank you.", "synced_at": NOON, **row} for row in given]
    write_deltalake(lakehouse.table(analysis.SUBMISSIONS), pa.Table.from_pylist(rows, schema=COLUMNS), mode=mode)


def table(lakehouse: DeltaSettings) -> DeltaTable:
    return DeltaTable(lakehouse.table(analysis.ANALYSES))


def found(lakehouse: DeltaSettings) -> dict[str, dict[str, Any]]:
    rows = pa.RecordBatchReader.from_stream(table(lakehouse).scan()).read_all().to_pylist()
    return {row["submission_id"]: row for row in rows}


@pytest.mark.parametrize(
    ("language", "text", "sentiment", "topic"),
    [
        ("en", "The delivery arrived, but the lamp is broken and the invoice is wrong.", "negative", "billing"),
        ("en", "The delivery was not good.", "negative", "delivery"),
        ("en-GB", "Thank you for the wonderful books!", "positive", "books"),
        ("id", "Terima kasih atas bantuannya, motor saya sudah jalan lagi.", "positive", "transport"),
        ("id", "Air mati, tolong kirim petugas.", "negative", "delivery"),
        ("ar", "شكرًا لكم، فقد وصلت الكتب سليمة.", "positive", "books"),
        ("ar", "لم يعمل المصعد منذ يومين.", "negative", "home"),
        ("en", "The gate on the north side is locked after eight.", "neutral", "home"),
    ],
)
def test_a_text_is_understood_in_its_language(language: str, text: str, sentiment: str, topic: str):
    said = analyse(text, language)
    assert (said.sentiment, topic in said.topics) == (sentiment, True)
    assert -1 <= said.sentiment_score <= 1
    assert (sum(said.emotions.values()) > 0.99) == (sentiment != "neutral")
    assert said.keywords
    assert said.summary in text


def test_an_unknown_language_is_analysed_with_little_confidence():
    assert analyse("Danke schön", "de").confidence < analyse("Thank you", "en").confidence


def test_the_samples_are_of_every_sentiment_in_every_language():
    spoken = [row for row in sample_rows(SUBMISSIONS) if row["transcription"]]
    told = {(row["language"], analyse(row["transcription"], row["language"]).sentiment) for row in spoken}
    assert told == {(code, said) for code in ("en", "id", "ar") for said in ("positive", "negative", "neutral")}


def test_every_submission_with_a_text_gets_one_analysis_and_the_table_keeps_a_change_feed(lakehouse: DeltaSettings):
    submit(lakehouse, {"id": A}, {"id": B, "transcription": None})
    assert analysis.run(lakehouse) == analysis.Done(analysed=1)
    (row,) = found(lakehouse).values()
    assert (row["submission_id"], row["sentiment"], row["emotions"]) == (A, "positive", [("gratitude", 1.0)])
    assert (row["synced_at"], row["model_name"]) == (NOON, "sandbox-lexicon")
    assert table(lakehouse).metadata().configuration["delta.enableChangeDataFeed"] == "true"


def test_nothing_new_makes_no_commit(lakehouse: DeltaSettings):
    submit(lakehouse, {"id": A})
    analysis.run(lakehouse)
    version = table(lakehouse).version()
    assert analysis.run(lakehouse) == analysis.Done()
    assert table(lakehouse).version() == version


def test_a_submission_that_was_written_again_is_analysed_again_whatever_the_clock_says(lakehouse: DeltaSettings):
    submit(lakehouse, {"id": A}, {"id": B})
    analysis.run(lakehouse)
    before = found(lakehouse)
    again = {"id": A, "transcription": "It is broken.", "synced_at": NOON - timedelta(days=1)}
    submit(lakehouse, again, {"id": B}, mode="overwrite")
    assert analysis.run(lakehouse) == analysis.Done(analysed=1)
    after = found(lakehouse)
    assert (after[A]["sentiment"], after[A]["id"]) == ("negative", before[A]["id"])
    assert after[A]["created_at"] == before[A]["created_at"] < after[A]["updated_at"]
    assert after[B] == before[B]


def test_an_analysis_goes_with_its_submission_or_with_its_text(lakehouse: DeltaSettings):
    submit(lakehouse, {"id": A}, {"id": B})
    analysis.run(lakehouse)
    submit(lakehouse, {"id": A, "transcription": " "}, mode="overwrite")
    assert analysis.run(lakehouse) == analysis.Done(removed=2)
    assert found(lakehouse) == {}


def test_many_submissions_are_analysed_in_pages(lakehouse: DeltaSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(analysis, "_ROWS", 3)
    submit(lakehouse, *({"id": str(uuid.UUID(int=number))} for number in range(10)))
    assert analysis.run(lakehouse) == analysis.Done(analysed=10)
    assert len(found(lakehouse)) == 10
    submit(lakehouse, {"id": A}, mode="overwrite")
    assert analysis.run(lakehouse) == analysis.Done(removed=9)


def test_before_the_first_submission_it_says_what_to_run(lakehouse: DeltaSettings):
    with pytest.raises(SandboxError, match="sync-pipelines sync voice/voice_submissions"):
        analysis.run(lakehouse)
