"""A receiver's URL that is none: the scheme forgotten, a slash too few, a blank. Whoever complains repeats no token."""

from __future__ import annotations

import json
import os

import pytest
from typer.testing import CliRunner

from sync_pipelines.alerts import delivery
from sync_pipelines.cli import app
from sync_pipelines.commands.alerts import _notice
from sync_pipelines.engine.errors import redact

CANARY = "CANARYq7x9zz81kk"
PATH = f"hooks.slack.com/services/T0AAAAAA/B0BBBBBB/{CANARY}"
MALFORMED = [
    PATH,
    f"https:/{PATH}",
    f"https:{PATH}",
    f"//{PATH}",
    f"https//{PATH}",
    CANARY,
    f"slack:{CANARY}",
    f"me:{CANARY}@hooks.example.com/x",
    f"{PATH}://x",
    f"json://127.0.0.1:9/x, {PATH}",
    f"json://127.0.0.1:9, {CANARY}",
    f"json://127.0.0.1:9 {CANARY}",
    f"json://127.0.0.1:9,{CANARY}",
    f"https://hooks.example.com:{CANARY}/x",
]


@pytest.fixture(autouse=True)
def no_other_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(delivery.VARIABLE)]:
        monkeypatch.delenv(name)
    monkeypatch.delenv(delivery.OLDER_VARIABLE, raising=False)


@pytest.mark.slow
@pytest.mark.parametrize("value", MALFORMED)
@pytest.mark.parametrize("words", [["alerts", "test"], ["alerts", "test", "--json"]])
def test_the_command_names_the_variable_and_repeats_no_token(monkeypatch, capfd, words, value):
    monkeypatch.setenv("SYNC_ALERT_URLS", value)
    result = CliRunner().invoke(app, words)
    printed = "".join([result.output, repr(result.exception), *capfd.readouterr()])
    assert result.exit_code == 1
    assert "SYNC_ALERT_URLS" in printed
    assert CANARY.lower() not in printed.lower()


@pytest.mark.parametrize("value", MALFORMED)
def test_the_line_of_the_daemons_log_is_clean_by_itself(value):
    """The sensor writes it as it is; here the environment, which would hide the value, does not know it."""
    receivers = delivery.of_channel("default", {"SYNC_ALERT_URLS": value})
    lines = [delivery.send(one, _notice()) or "" for one in receivers]
    assert all("SYNC_ALERT_URLS" in line for line in lines)
    assert CANARY.lower() not in json.dumps(lines).lower()


def test_a_forgotten_scheme_is_said_as_that():
    (receiver,) = delivery.of_channel("default", {"SYNC_ALERT_URLS": PATH})
    assert delivery.described(receiver) == "SYNC_ALERT_URLS (a value without scheme://)"


@pytest.mark.parametrize("name", ["SYNC_ALERT_URLS", "SYNC_ALERT_URLS_OPS", "NOTIFICATION_WEBHOOK_URL", "A_WEBHOOK"])
@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_value_is_hidden_whoever_repeats_it(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    for said in (value, value.lower(), CANARY, CANARY.lower(), PATH.lower() if PATH in value else value):
        assert CANARY.lower() not in redact(f"it said {said}!").lower()


def test_a_heartbeat_without_a_scheme_is_hidden_too(monkeypatch):
    monkeypatch.setenv("SYNC_HEARTBEAT_URL", f"hc.example.com/{CANARY}")
    assert redact(f"no host in hc.example.com/{CANARY}") == "no host in ***"


@pytest.mark.parametrize(("name", "value"), [("ALERT_CHANNEL", "knowledge"), ("HEARTBEAT_SECONDS", "30")])
def test_a_plain_word_in_a_variable_of_that_kind_is_left_alone(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert redact("knowledge is synced every 30 s") == "knowledge is synced every 30 s"
