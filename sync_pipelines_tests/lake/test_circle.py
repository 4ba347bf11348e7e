"""The sync `voice` as its documents say it: submission → Delta → analysis → PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.definitions import load
from sync_pipelines.sandbox import analysis
from sync_pipelines_tests.lake.house import House

pytestmark = pytest.mark.slow

SUBMISSION = """INSERT INTO voice_submissions (id, user_id, file_path, file_name, file_size, mime_type, language,
    transcription) VALUES (%s, gen_random_uuid(), 'p', 'f', 1, 'audio/mp4', 'en', 'Thank you, it is wonderful.')"""
NEW = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def voice(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """The application with its samples, and an empty lakehouse."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DELTA_URI", str(tmp_path / "lake"))
    return House(database_url)


def table(name: str) -> Any:
    return next(component for component in load()[1] if component.path == f"voice/{name}")


def out(voice: House) -> None:
    voice.sync(table("voice_submissions"))
    analysis.run(voice.resources.delta.settings())


def test_submissions_go_round_and_both_tables_are_equal(voice: House):
    out(voice)
    counts = voice.sync(table("ai_analyses"))
    assert (counts.upserted, counts.quarantined) == (23, 0)
    for name in ("voice_submissions", "ai_analyses"):
        proof = voice.prove(table(name), "deep")
        assert (proof.equal, proof.excluded, proof.quarantined) == (True, 0, 0)
    (row,) = voice.execute(
        """SELECT a.sentiment, a.emotions, a.topics, a.confidence::text, a.synced_at > s.created_at
        FROM ai_analyses AS a JOIN voice_submissions AS s ON s.id = a.submission_id
        WHERE s.file_name = 'note-20260905-1746.m4a'"""
    )
    assert row == ("positive", {"joy": 1.0}, ["books"], "0.680", True)
    again = voice.sync(table("ai_analyses"), mode="full")
    assert (again.upserted, again.unchanged) == (0, 23)


def test_what_changes_in_the_application_comes_back_changed_and_what_goes_is_gone(voice: House):
    out(voice)
    voice.sync(table("ai_analyses"))
    voice.execute(SUBMISSION, NEW)
    voice.execute("UPDATE voice_submissions SET transcription = 'It is broken.' WHERE file_name LIKE '%%0905-1746%%'")
    voice.execute("DELETE FROM voice_submissions WHERE file_name LIKE '%%0903-1229%%'")
    assert voice.prove(table("ai_analyses")).excluded == 1  # it went with its submission, which Delta still has
    out(voice)
    assert voice.sync(table("ai_analyses")).upserted == 2
    assert voice.execute("SELECT sentiment FROM ai_analyses WHERE submission_id = %s", NEW) == [("positive",)]
    assert voice.execute("SELECT count(*) FROM ai_analyses") == [(23,)]
    for name in ("voice_submissions", "ai_analyses"):
        proof = voice.prove(table(name), "deep")
        assert (proof.equal, proof.excluded) == (True, 0)


def test_an_analysis_that_a_person_corrected_stays_until_a_newer_one_comes(voice: House):
    out(voice)
    voice.sync(table("ai_analyses"))
    voice.execute("UPDATE ai_analyses SET sentiment = 'neutral', updated_at = now() + interval '1 day'")
    voice.execute("UPDATE voice_submissions SET status = 'archived'")
    out(voice)
    assert voice.sync(table("ai_analyses")).upserted == 0
    assert voice.execute("SELECT DISTINCT sentiment FROM ai_analyses") == [("neutral",)]
    assert voice.prove(table("ai_analyses")).excluded == 23
