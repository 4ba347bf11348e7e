"""The document of notes: what it takes, what it refuses, and what holds for a run."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.components.keep_parts import keep_settings, rate_limit
from sync_pipelines.components.keep_to_notion import KeepToNotion
from sync_pipelines.documents import problems
from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError
from sync_pipelines.registry import tables
from sync_pipelines_tests.notes.study import Study, document, note

GOOD = "type: sync_pipelines.KeepToNotion\nattributes:\n  sync: notes\n"


def kind(**more: Any) -> KeepToNotion:
    return KeepToNotion.model_validate({"sync": "notes", **more})


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("partitions: {every: day}", "partitions: a partition of this sync is a user"),
        ("page: nothing", "page: 'nothing' is no function: write package.module:function"),
        ("page: json:dump_it", "page: json:dump_it: AttributeError"),
        ("sensitive: [note]", "sensitive: notes have no columns"),
        ("source: {interval: 0s}", "source.interval: '0s': expected a duration above 0"),
        ("source: {interval: soon}", "source.interval: 'soon' is no duration"),
        ("source: {connection: x}", "source.connection: there is no such field"),
        ("target: {properties: {colour: Farbe}}", "target: properties: colour is none of a note's"),
        ("target: {on_delete: forget}", "target.on_delete: 'forget' is not one of"),
        ("target: {rate_limit: 0}", "target.rate_limit: 0 is less than or equal to the minimum of 0"),
        ("conflicts: {strategy: nobody}", "conflicts.strategy: 'nobody' is not one of"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(tmp_path: Path, line: str, sentence: str) -> None:
    (tmp_path / "defs.yaml").write_text(f"{GOOD}  {line}\n")
    (found,) = problems(tmp_path)
    assert sentence in found


def test_everything_but_the_syncs_name_has_a_default(tmp_path: Path) -> None:
    (tmp_path / "defs.yaml").write_text(GOOD)
    assert problems(tmp_path) == []
    made = kind()
    assert (made.path, made.conflicts.strategy, made.checks.deep_cron) == ("notes/pages", "manual_review", "0 3 * * 0")
    assert (made.spec.key, made.spec.capture) == (("id",), "listing")
    assert made.for_user("ann").spec.path == "notes/pages:ann"
    assert made.spec.path == "notes/pages"


def test_another_mapping_is_another_fingerprint() -> None:
    made = (kind(), kind(target={"max_file": 5}), kind(page="json:dumps"), kind(name="x"))
    assert len({one.spec.mapping_hash for one in made}) == 3  # the name of the table says nothing of the pages


@pytest.mark.slow
def test_loading_it_imports_no_client() -> None:
    code = (
        "import sys\nfrom sync_pipelines.definitions import load\nload()\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('notion_client', 'gkeepapi', 'cryptography')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_rate_is_that_of_settings_then_of_the_syncs_variable_then_of_yaml(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNC_RATE_LIMIT", "1")  # of REST syncs
    with study.resources.ledger.ledger() as ledger:
        assert rate_limit(document(), ledger) == 10000
        monkeypatch.delenv("NOTES_RATE_LIMIT")
        assert rate_limit(kind(target={"rate_limit": 2.5}), ledger) == 2.5
        assert rate_limit(kind(), ledger) == 3.0
        ledger.set_setting("notes.rate_limit", "7")
        assert rate_limit(kind(target={"rate_limit": 2.5}), ledger) == 7


def test_an_account_is_asked_where_the_environment_says(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEEP_API_URL", "KEEP_AUTH_URL", "KEEP_MEDIA_URL"):
        monkeypatch.setenv(name, f"http://127.0.0.1:9/{name}")
    found = keep_settings(kind(source={"interval": "2h", "deadline": "30s"}), study.resources)
    assert (found.api_url, found.auth_url, found.media_url) == (
        "http://127.0.0.1:9/KEEP_API_URL",
        "http://127.0.0.1:9/KEEP_AUTH_URL",
        "http://127.0.0.1:9/KEEP_MEDIA_URL",
    )
    assert (found.every, found.deadline) == (timedelta(hours=2), 30.0)


def test_a_mode_that_notes_have_not_is_refused_with_the_one_they_have() -> None:
    for mode in ("rebuild", "reparse"):
        with pytest.raises(ConfigurationError, match=f"mode {mode} is none of notes.*--full"):
            document().require_mode(mode)


def test_whoever_is_removed_or_whose_key_is_lost_is_told_so(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.add("ann", [note(1)])
    ann = document().for_user("ann")
    monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", "")
    with pytest.raises(ConfigurationError, match="SYNC_ENCRYPTION_KEYS is not set"):
        ann.bind(study.resources)
    with pytest.raises(ConfigurationError, match="there is no user 'bob'"):
        document().for_user("bob").bind(study.resources)
    study.users().remove("ann")
    with pytest.raises(NotConfiguredError, match="users add"):
        tables("notes/pages:ann")
