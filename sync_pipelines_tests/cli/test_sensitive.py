"""Sensitive columns on real systems: nobody is shown a key or a value, and what is shown names the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

import sync_pipelines.definitions
from sync_pipelines import client
from sync_pipelines.cli import app
from sync_pipelines.engine.sensitive import masked
from sync_pipelines.sandbox.demo_proof import _alerts_tick
from sync_pipelines.sandbox.receiver import Receiver
from sync_pipelines_tests.cli import hidden
from sync_pipelines_tests.cli.hidden import BODY, KEY, PRICE, leaks, put
from sync_pipelines_tests.cli.shop import ARTICLE, Shop
from sync_pipelines_tests.dagster.project import article

pytestmark = pytest.mark.slow
MASK = masked(KEY)


@pytest.fixture
def private(shop: Shop, monkeypatch) -> Shop:
    """The shop, whose articles' key, text and price are sensitive; one is good."""
    found = hidden.loaded()
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: found)
    shop.execute('ALTER TABLE "Article" ADD COLUMN price numeric')
    put(shop, "good")
    return shop


@pytest.fixture
def said() -> list[str]:
    """Everything that commands have printed in this test."""
    return []


@pytest.fixture
def run(said: list[str]):
    """Run a command in this process; its JSON, or what it printed."""

    def command(*words: str, code: int | None = 0) -> Any:
        result = CliRunner().invoke(app, words)
        said.append(result.output)
        assert code is None or result.exit_code == code, result.output
        return json.loads(result.stdout) if "--json" in words else result.output

    return command


def nothing_leaked(shop: Shop, said: Sequence[str]) -> None:
    told = [*said, shop.execute(hidden.TOLD)[0][0] or ""]
    assert not [word for word in (KEY, BODY[:20], PRICE[:10]) if any(word in text for text in told)]
    assert list(leaks(shop.home)) == []


@pytest.mark.parametrize(
    ("row", "stage", "reason"),
    [({"body": f"{BODY} POISON"}, "embed", "cannot be embedded"), ({"price": PRICE}, "map", "more digits")],
)
def test_a_record_in_quarantine_is_shown_without_its_key_and_values(private: Shop, run, said, row, stage, reason):
    put(private, KEY, **row)
    run("sync", ARTICLE, code=None)
    (listed,) = run("quarantine", "list", "--json")["records"]
    (shown,) = run("quarantine", "show", ARTICLE, "--key", MASK, "--json")["records"]
    (event,) = run("logs", ARTICLE, "--key", MASK, "--json")["events"]
    assert {listed["key"], shown["key"], event["key"]} == {MASK}
    assert {listed["stage"], shown["stage"], event["stage"]} == {stage}
    assert all(reason in told["reason"] and "***" in told["reason"] for told in (listed, shown, event))
    for words in (["quarantine", "list"], ["quarantine", "show", ARTICLE], ["logs", ARTICLE, "--key", MASK]):
        assert MASK in run(*words)
    run("status", code=None)
    nothing_leaked(private, said)


def test_a_record_is_replayed_and_dropped_by_its_masked_key(private: Shop, run, said):
    put(private, KEY, price=PRICE)
    run("sync", ARTICLE, code=None)
    (still,) = run("quarantine", "replay", ARTICLE, "--key", MASK, "--json", code=1)["runs"]
    assert (still["keys"], still["still_out"]) == ([MASK], [MASK])
    (dropped,) = run("quarantine", "drop", ARTICLE, "--key", MASK, "--json")["dropped"]
    assert dropped["keys"] == [MASK]
    put(private, KEY, price="1.5")
    (replayed,) = run("quarantine", "replay", ARTICLE, "--key", MASK, "--json")["runs"]
    assert replayed["still_out"] == []
    assert private.stored() == {"good", KEY}
    nothing_leaked(private, said)


def test_differences_are_shown_and_repaired_by_their_masked_keys(private: Shop, run, said):
    """A record is lost behind the sync's back; the checks in the UI show it too (their events are among the files)."""
    put(private, KEY, body=BODY)
    run("sync", ARTICLE)
    collection = private.bound().binding().target
    collection.delete([KEY])
    (found,) = run("check", ARTICLE, "--deep", "--json", code=1)["tables"].values()
    assert found["samples"] == {"missing": [MASK]}
    (planned,) = run("repair", ARTICLE, "--keys", MASK, "--dry-run", "--json", code=1)["tables"].values()
    assert planned["samples"] == {"missing": [MASK]}
    (mended,) = run("repair", ARTICLE, "--key", MASK, "--json")["runs"]
    assert mended["repaired"] == 1
    assert private.stored() == {"good", KEY}
    nothing_leaked(private, said)


def test_an_alert_names_a_record_by_its_masked_key(private: Shop, run, said, monkeypatch):
    put(private, KEY, body=BODY)
    run("sync", ARTICLE)
    with Receiver() as receiver:
        monkeypatch.setenv("SYNC_ALERT_URLS", receiver.url)
        _alerts_tick()
        private.bound().binding().target.delete([KEY])
        run("check", ARTICLE, code=1)
        _alerts_tick()
    (message,) = receiver.messages
    assert MASK in message["message"]
    (listed,) = run("alerts", "list", "--json")["incidents"]
    assert [key["key"] for cause in listed["causes"] for key in cause["samples"]].count(MASK) >= 1
    nothing_leaked(private, [*said, json.dumps(message)])


def test_a_single_record_is_synced_by_its_masked_key_or_its_own(private: Shop, run, said):
    run("sync", ARTICLE)
    put(private, KEY, body=BODY)
    run("sync", ARTICLE, "--key", MASK)
    assert private.stored() == {"good", KEY}
    private.execute('DELETE FROM "Article" WHERE id = %s', KEY)
    client.trigger(ARTICLE, keys=[KEY], wait=True)
    assert private.stored() == {"good"}
    nothing_leaked(private, said)


def test_a_sensitive_column_that_the_document_does_not_read_is_refused():
    with pytest.raises(ValidationError, match="sensitive: boby: the document reads id, updatedAt, title, body, stock"):
        article(sensitive=["boby"])
    assert article(sensitive=["id", "body"]).spec.sensitive == ("id", "body")
