"""Secrets are known by their values, in whatever words and spelling somebody else repeats them."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from sync_pipelines.engine import secrets
from sync_pipelines.engine.errors import RunError, redact
from sync_pipelines.engine.urls import normalise_url

KEY = "CANARY-key/with +odd&chars-1"


@pytest.mark.parametrize(
    "spelling",
    [KEY, quote(KEY), quote(KEY, safe=""), quote_plus(KEY), KEY.upper(), quote(KEY).lower(), json.dumps(KEY)],
)
@pytest.mark.parametrize(
    "sentence", ["Incorrect API Key provided: {}. See https://x/", "You gave {}", "https://x/?key={}&b=1", "[{}]"]
)
def test_a_value_of_the_environment_is_hidden_in_every_spelling(monkeypatch, spelling, sentence):
    monkeypatch.setenv("SOME_API_KEY", KEY)
    assert "canary" not in redact(sentence.format(spelling)).lower()


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API Key provided: CANARY99.",
        "See https://x/?key=CANARY99&a=1",
        "Received API Key = CANARY99",
        "sk-CANARY99",
    ],
)
def test_a_key_that_nobody_knows_is_hidden_by_its_form(text):
    assert "CANARY99" not in redact(text)


@pytest.mark.parametrize(
    ("name", "value", "hidden"),
    [
        ("SHOP_DATABASE_URL", "postgresql://app:CAN/ARY@1?2@db/x", "CAN/ARY@1?2"),
        ("DATABASE_URL", "postgresql://app:CAN%2FARY1@db/x", "CAN/ARY1"),
        ("DATABASE_URL", "postgresql://db/x?password=CANARY1", "CANARY1"),
        ("HTTPS_PROXY", "http://me:CANARY1@proxy:3128", "CANARY1"),
        ("CHROMA_URL", "https://CANARY1@chroma:8000", "CANARY1"),
        ("CHROMA_HEADERS", '{"Authorization": "Bearer CANARY1"}', "CANARY1"),
        ("PGPASSWORD", "CANARY1", "CANARY1"),
        ("SYNC_ALERT_URLS", "json://h.example/x, slack://CANARY0001/CANARY0002/CANARY0003", "CANARY0002"),
        ("SYNC_ALERT_URLS_OPS", "mailto://me:CANARY1@example.com?to=a@example.com", "CANARY1"),
        ("NOTIFICATION_WEBHOOK_URL", "https://hooks.example.com/services/T00/CANARY0001", "CANARY0001"),
        ("SYNC_HEARTBEAT_URL", "https://hc.example.com/0b5c2c1e-CANARY", "0b5c2c1e-CANARY"),
        ("A_WEBHOOK", "https://x.example.com/hook?sig=CANARY1", "CANARY1"),
    ],
)
def test_what_is_secret_in_a_variable_is_found(monkeypatch, name, value, hidden):
    monkeypatch.setenv(name, value)
    assert secrets.hide_known(f"it said {hidden}!") == "it said ***!"


def test_the_user_and_password_of_basic_authentication_are_hidden(monkeypatch):
    monkeypatch.setenv("CHROMA_URL", "http://me:CANARY1@chroma:8000")
    assert redact(f"sent {base64.b64encode(b'me:CANARY1').decode()}") == "sent ***"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("POSTGRES_PASSWORD", "app", "the app is here"),
        ("POSTGRES_PASSWORD", "postgres", 'role "postgres" at postgresql://db'),
        ("POSTGRES_PASSWORD", "journey", "journeys end"),
        ("CHROMA_URL", "http://chroma.example.com:8000", "http://chroma.example.com:8000/api"),
        ("SYNC_UI_URL", "https://dagster.example.com/team-2024-one", "https://dagster.example.com/team-2024-one/runs"),
        ("NOTIFICATION_WEBHOOK_URL", "https://hooks.example.com/webhook", "the webhook of hooks.example.com"),
        ("PWD", "/home/somebody/checkout", "/home/somebody/checkout/x"),
        ("TLS_KEY", __file__, __file__),
    ],
)
def test_what_is_no_secret_is_not_cut_out_of_texts(monkeypatch, name, value, text):
    monkeypatch.setenv(name, value)
    assert secrets.hide_known(text) == text


def test_a_password_that_came_in_no_variable_is_known_once_its_url_was_read():
    normalise_url("postgresql://app:CANARY%201@db/x")
    assert redact("it was CANARY 1, CANARY%201, CANARY+1") == "it was ***, ***, ***"


def test_a_variable_that_a_providers_config_names_is_known(monkeypatch):
    monkeypatch.setenv("MY_PROVIDER", "CANARY1")
    assert "CANARY1" in redact("it was CANARY1")
    secrets.know_variables({"api_key_env_var": "MY_PROVIDER", "model": "m"})
    assert redact("it was CANARY1") == "it was ***"


def test_an_errors_key_and_remedy_hide_what_is_known(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "CANARY1")
    error = RunError("It broke.", key="CANARY1", remedy="Not CANARY1, but token: example.")
    assert "CANARY1" not in f"{error} {error!r}"
    assert "token: example" in str(error)
