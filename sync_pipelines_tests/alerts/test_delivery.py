"""Who gets a message, in which words, and that no secret stands in them."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from sync_pipelines.alerts import delivery
from sync_pipelines.alerts.incidents import Cause, Notice
from sync_pipelines.alerts.message import message, ui_url
from sync_pipelines.alerts.outbox import Receiver as Target
from sync_pipelines.cli import app
from sync_pipelines_tests.alerts.receiver import Receiver

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def notice(**changed: Any) -> Notice:
    cause = Cause(
        name="check:content",
        severity="error",
        since=NOW,
        summary="Differs.",
        run_id="run-1",
        numbers={"source_count": 3, "missing": 1},
        samples=(("missing", "m-1"),),
    )
    given = {
        "alert_id": "abc",
        "incident_id": "inc",
        "kind": "opened",
        "table": "shop/article",
        "severity": "error",
        "created": NOW,
        "started": NOW,
        "causes": (cause,),
        **changed,
    }
    return Notice.model_validate(given)


def target(url: str, channel: str = "default") -> Target:
    return Target(channel=channel, mark="m", url=url)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", []),
        ("json://a", ["json://a"]),
        ("json://a, slack://x/y ,mailto://u:p@h?to=a@h,b@h", ["json://a", "slack://x/y", "mailto://u:p@h?to=a@h,b@h"]),
        ("json://a\n  jsons://b", ["json://a", "jsons://b"]),
    ],
)
def test_urls_are_parted_by_commas_or_spaces(text: str, urls: list[str]):
    assert delivery.split_urls(text) == urls


def test_a_channel_has_its_own_variable_and_the_default_stands_in():
    environment = {
        "SYNC_ALERT_URLS": "json://default",
        "SYNC_ALERT_URLS_OPS": "json://ops",
        "NOTIFICATION_WEBHOOK_URL": "https://older.example.com/x",
    }
    chosen = {name: [one.url for one in delivery.receivers(name, environment)] for name in (("ops",), ("other",))}
    assert chosen == {("ops",): ["json://ops"], ("other",): ["json://default", "https://older.example.com/x"]}
    both = delivery.receivers(("ops", "default"), environment)
    assert [one.url for one in both] == ["json://ops", "json://default", "https://older.example.com/x"]
    assert delivery.channels(environment) == ["default", "ops"]
    assert delivery.receivers(("ops",), {}) == []


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "NotifySlack"),
        ("https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "NotifyDiscord"),
        (
            "https://prod-12.westus.logic.azure.com:443/workflows/643e69f83c8944438d68119179a10a64/triggers/manual/"
            "paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=KODuebWbDGYFr0z0eu1234",
            "NotifyWorkflows",
        ),
        ("https://example.com/hook?token=abc", "NotifyJSON"),
        ("pagerduty://A1BRTD4JD@T1JJ3T3L2", "NotifyPagerDuty"),
        ("sns://AHIAJGNT76XIMXDBIJYA/bu1dHSdO22pfaaVy/wmNsdjsdfe/us-east-2/12223334444", "NotifySNS"),
    ],
)
def test_web_addresses_of_known_services_are_theirs_and_others_are_plain_webhooks(url: str, service: str):
    assert type(delivery._service(url)).__name__ == service


def test_a_plain_webhook_keeps_its_path_and_query(receiver: Receiver):
    assert delivery.send(target(f"{receiver.url}/a%20b/c?token=x&format=y"), notice()) is None
    assert receiver.posts[0]["path"] == "/a%20b/c?token=x&format=y"


def test_what_a_url_says_of_the_message_wins_over_our_own_fields(receiver: Receiver):
    url = receiver.url.replace("http", "json", 1)
    assert delivery.send(target(f"{url}/?:text=ours&:team=data"), notice()) is None
    (post,) = receiver.posts
    assert (post["text"], post["team"], post["kind"]) == ("ours", "data", "opened")


def test_the_message_has_what_an_operator_needs():
    made = message(notice(), ui="http://ui", now=NOW)
    assert made.title == "[ERROR] shop/article: check content failed"
    for part in (
        "check content (error): Differs.",
        "missing 1, source_count 3",
        "missing: m-1",
        "http://ui/runs/run-1",
    ):
        assert part in made.body
    assert "alert_id: abc" in made.body
    assert made.fields["causes"][0]["samples"] == [{"difference": "missing", "key": "m-1"}]


def test_no_secret_stands_in_a_message():
    leaks = "postgresql://app:s3cret-word@db/app token=s3cret-word"
    cause = Cause(name="run:full", severity="error", since=NOW, summary=leaks, samples=(("missing", leaks),))
    made = message(notice(causes=(cause,)), ui="http://ui", now=NOW)
    assert "s3cret" not in made.title + made.body + json.dumps(made.fields)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://127.0.0.1:3000"),
        ({"DAGSTER_WEBSERVER_URL": "https://d/"}, "https://d"),
        ({"SYNC_UI_URL": "https://s", "DAGSTER_WEBSERVER_URL": "https://d"}, "https://s"),
    ],
)
def test_the_link_leads_to_the_named_webserver(environment: dict[str, str], url: str):
    assert ui_url(environment) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/s3cret-path?token=s3cret-query",
        "json://s3cret-user:s3cret-password@127.0.0.1:9/s3cret-path",
        "slack://s3cret-token/not/readable",
        "nonsense://s3cret-token",
        "https://[s3cret",
    ],
)
def test_a_receiver_that_cannot_be_reached_is_named_without_its_secret(url: str, capfd: pytest.CaptureFixture[str]):
    error = delivery.send(target(url), notice())
    assert error
    assert "SYNC_ALERT_URLS" in error
    assert "s3cret" not in error
    assert "s3cret" not in "".join(capfd.readouterr())


def test_the_words_of_a_far_system_are_shown_without_any_part_of_the_url():
    class Result:
        def logs(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(message="No route to /a-hidden-path?key=t0p%2Fs3cret as t0p/s3cret of w0rd")]

    told = delivery._why(Result(), "json://user:w0rd@host/a-hidden-path?key=t0p%2Fs3cret")
    assert told == ": No route to /***?key=*** as *** of ***"


def test_the_log_of_apprise_which_repeats_urls_stays_out_of_ours(monkeypatch: pytest.MonkeyPatch):
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    monkeypatch.setattr(logging.getLogger("apprise"), "propagate", True)
    listener = Listener()
    logging.getLogger().addHandler(listener)
    try:
        delivery.send(target("nonsense://s3cret-token"), notice())
    finally:
        logging.getLogger().removeHandler(listener)
    assert heard == []


@pytest.mark.slow
def test_a_receiver_that_hangs_is_given_up_in_time(receiver: Receiver):
    receiver.pause = 30
    started = time.monotonic()
    assert delivery.send(target(receiver.url), notice())
    assert time.monotonic() - started < delivery.SEND_SECONDS + 9  # the receiver hangs for 30


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_receiver_that_sends_elsewhere_has_not_taken_the_message(receiver: Receiver, status: int):
    """Of a POST that is sent elsewhere by 301 to 303 a GET is made, without the message: a page for logins says 200."""
    login = Receiver()
    login.up()
    receiver.status, receiver.moved_to = status, f"{login.url}/login"
    try:
        said = [delivery.send(target(url), notice()) for url in (receiver.url, receiver.url.replace("http", "json", 1))]
    finally:
        login.down()
    assert all(str(status) in (error or "") for error in said)
    assert (receiver.refused, login.pings, login.posts) == (2, [], [])


def test_the_command_sends_a_test_message_to_every_channel(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYNC_ALERT_URLS", f"{receiver.url}/one")
    monkeypatch.setenv("SYNC_ALERT_URLS_OPS", f"{receiver.url}/two")
    result = CliRunner().invoke(app, ["alerts", "test"])
    assert (result.exit_code, receiver.kinds()) == (0, ["test", "test"])
    assert [post["path"] for post in receiver.posts] == ["/one", "/two"]
    assert CliRunner().invoke(app, ["alerts", "test", "--channel", "ops"]).exit_code == 0
    assert receiver.posts[2]["path"] == "/two"


def test_the_older_variable_is_a_plain_webhook(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOTIFICATION_WEBHOOK_URL", f"{receiver.url}/older")
    assert CliRunner().invoke(app, ["alerts", "test"]).exit_code == 0
    assert receiver.posts[0]["path"] == "/older"


def test_the_command_says_who_refused_and_ends_with_1(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    receiver.status = 401
    monkeypatch.setenv("SYNC_ALERT_URLS", f"{receiver.url}/s3cret-path")
    result = CliRunner().invoke(app, ["alerts", "test"])
    assert result.exit_code == 1
    assert "SYNC_ALERT_URLS (http://127.0.0.1) did not take the message" in result.stderr
    assert "401" in result.stderr
    assert "s3cret" not in result.output
    asked = json.loads(CliRunner().invoke(app, ["alerts", "test", "--json"]).stdout)
    assert asked["receivers"][0]["taken"] is False


@pytest.mark.parametrize(
    ("words", "variable"), [([], "SYNC_ALERT_URLS"), (["--channel", "ops"], "SYNC_ALERT_URLS_OPS")]
)
def test_the_command_names_the_variable_that_is_not_set(words: list[str], variable: str):
    result = CliRunner().invoke(app, ["alerts", "test", *words])
    assert result.exit_code == 3
    assert f"{variable} is not set" in result.output
