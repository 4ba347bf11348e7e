"""Errors name the place and the remedy, and no secret."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.errors import RunError, SyncError, redact


def test_an_error_names_sync_table_key_and_remedy():
    text = str(RunError("It broke.", sync="knowledge", table="k", key="a'b", remedy="Mend it."))
    assert text == 'knowledge/k: It broke. (key "a\'b") Mend it.'


@pytest.mark.parametrize(
    "text",
    [
        "connection to postgresql://app:CANARY@db:5432/x failed",
        "postgresql+psycopg2://app:CA:NARY@db/x",
        "postgres://app:CA/NARY@db/x",
        "postgresql+psycopg2://app:CA/N@RY?CANARY@db/x?sslmode=require",
        "host=db password=CANARY user=x",
        'password="CANARY"',
        "Authorization: Bearer CANARY",
        "x-chroma-token: CANARY",
        '{"api_key": "CANARY"}',
        "token=CANARY&x=1",
    ],
)
def test_a_password_never_appears(text):
    assert "NARY" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text",
    ["postgresql://db:5432/x has no token here", "http://127.0.0.1:8000/path of me@home", "http://h:8000/a/me@home"],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("PostgreSQL: is the server running?.", "PostgreSQL: is the server running?"),
        ("it said: no!. Then nothing", "it said: no! Then nothing"),
        ("a long text….", "a long text…"),
        ("what? 1.5 and ?.x", "what? 1.5 and ?.x"),
    ],
)
def test_a_sentence_that_holds_anothers_ends_once(message: str, shown: str) -> None:
    assert str(SyncError(message)) == shown
