"""`sync-pipelines conflicts`: what an operator sees of records that were edited in PostgreSQL too, and decides."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sync_pipelines.definitions
from sync_pipelines.cli import app
from sync_pipelines.engine.sensitive import masked
from sync_pipelines_tests.dagster.homes import fresh_home
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.lake.house import House, Lake, back, document
from sync_pipelines_tests.lake.reviews import NOON, held, row, rows

REVIEW = "shop/review"
LATER = NOON + timedelta(hours=1)


def use(monkeypatch: pytest.MonkeyPatch, *tables: Any) -> None:
    """Put these documents in the place of those below `defs/`."""
    found = definitions(*tables), tables
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: found)


def table(**more: Any) -> Any:
    return back(conflicts={"strategy": "last_write_wins", "by": "updated_at"}, **more)


@pytest.fixture
def contested(review: House, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """`a` was changed on both sides, later in PostgreSQL; `gone` was edited there, and the source has deleted it."""
    home = fresh_home(tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    use(monkeypatch, table())
    lake.write(rows(row("a"), row("b"), row("gone")))
    review.sync(table())
    review.execute("UPDATE review SET note = 'theirs', updated_at = %s WHERE id <> 'b'", LATER)
    lake.merge(rows(row("a", note="ours", topics=["y"])))
    lake.table.delete("id = 'gone'")
    review.sync(table())
    return review


def run(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["conflicts", *words])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if "--json" in words else result.output


def test_conflicts_are_listed_with_their_reason(contested: House):
    listed = run("list", "--json")["conflicts"]
    assert [(item["key"], item["accepted_at"]) for item in listed] == [("a", None), ("gone", None)]
    assert "last_write_wins" in listed[0]["reason"]
    text = run("list", REVIEW)
    assert all(part in text for part in ("shop/review", "gone", "open", "the source lacks it"))


@pytest.mark.slow
def test_both_versions_are_shown_field_by_field(contested: House):
    shown = run("show", REVIEW, "a", "--json")
    assert (shown["source_is"], shown["target_is"]) == ("changed", "changed")
    fields = {item["field"]: (item["source"], item["target"], item["differs"]) for item in shown["fields"]}
    assert fields["note"] == ("ours", "theirs", True)
    assert fields["topics"] == ("['y']", "['x']", True)
    assert fields["stars"] == (3, 3, False)
    assert "theirs" in run("show", REVIEW, "a")
    assert run("show", REVIEW, "gone", "--json")["source_is"] == "gone"


@pytest.mark.slow
def test_the_sources_version_is_taken(contested: House):
    done = run("resolve", REVIEW, "a", "--take", "source", "--json")
    assert (done["status"], done["still"]) == ("completed", None)
    assert held(contested)["a"][1] == "ours"
    assert [item["key"] for item in run("list", "--json")["conflicts"]] == ["gone"]
    assert contested.prove(table(), "deep").equal


@pytest.mark.slow
def test_a_record_that_the_source_lacks_is_deleted_when_the_source_is_taken(
    contested: House, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    # pytest's own stream writes past the descriptor
    with open(2, "w", buffering=1, closefd=False) as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        app(["conflicts", "resolve", REVIEW, "gone", "--take", "source"], standalone_mode=False)
    shown = capfd.readouterr()
    assert "'gone'" in shown.out
    assert "RUN_START" not in shown.out + shown.err, "a run shows how far it is, not each event of Dagster's"
    assert held(contested).keys() == {"a", "b"}
    assert [item["key"] for item in run("list", "--json")["conflicts"]] == ["a"]


@pytest.mark.slow
def test_an_edit_after_the_decision_wins_again(contested: House):
    contested.bind(table()).target.give_way(["a"])
    contested.execute("UPDATE review SET note = 'theirs again' WHERE id = 'a'")
    contested.sync(table(), mode="full")
    assert held(contested)["a"][1] == "theirs again"


@pytest.mark.slow
def test_the_targets_version_is_accepted_until_the_sources_row_changes(contested: House, lake: Lake):
    run("resolve", REVIEW, "a", "--take", "target")

    def accepted() -> bool:
        return bool(run("list", "--json")["conflicts"][0]["accepted_at"])

    assert accepted()
    contested.sync(table(), mode="full")
    assert (accepted(), held(contested)["a"][1]) == (True, "theirs")
    assert "accepted" in run("list")
    lake.merge(rows(row("a", note="ours, otherwise")))
    contested.sync(table())
    assert (accepted(), held(contested)["a"][1]) == (False, "theirs")


@pytest.mark.slow
def test_sensitive_columns_and_keys_are_masked(contested: House, monkeypatch: pytest.MonkeyPatch):
    use(monkeypatch, table(sensitive=["id", "note"]))
    mask = masked("a")
    (first, _) = run("list", "--json")["conflicts"]
    assert first["key"] == mask
    shown = run("show", REVIEW, mask, "--json")
    fields = {item["field"]: (item["source"], item["target"], item["differs"]) for item in shown["fields"]}
    assert fields["note"] == ("***", "***", True)
    assert fields["id"] == ("***", "***", False)
    said = [run("list"), run("show", REVIEW, mask), run("resolve", REVIEW, mask, "--take", "source")]
    assert not [text for text in said if "theirs" in text or "ours" in text or "'a'" in text]
    assert held(contested)["a"][1] == "ours"


def test_a_record_without_a_conflict_or_a_table_without_any_is_one_sentence(
    contested: House, monkeypatch: pytest.MonkeyPatch
):
    assert "no such record is in conflict" in run("show", REVIEW, "b", code=1)
    contested.execute("CREATE TABLE item (id text PRIMARY KEY)")
    use(monkeypatch, table(), document())
    assert "has several tables" in run("show", "shop", "b", code=3)
    assert "this target is the sync's own" in run("resolve", "shop/item", "b", "--take", "source", code=3)
