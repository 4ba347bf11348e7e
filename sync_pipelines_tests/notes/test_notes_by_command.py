"""Notes as a person at a terminal meets them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from cryptography.fernet import Fernet

import sync_pipelines.definitions
from sync_pipelines import client
from sync_pipelines.components.keep_to_notion import KeepToNotion
from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.sandbox.keep.model import SandboxFile
from sync_pipelines.sandbox.keep.takeout import write_takeout
from sync_pipelines_tests.cli.test_commands import answer, invoke
from sync_pipelines_tests.dagster.deployment import wait_for
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.notes.study import PATH, Study, note
from sync_pipelines_tests.targets.notion.test_copies import late


@pytest.mark.slow
def test_a_user_is_added_synced_asked_about_and_removed(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = answer("status")["assets"][PATH]
    assert (asset["configured"], "users add" in asset["reason"]) == (False, True)
    workspace = study.workspaces["ann"] = study.server.workspace("ann")
    write_takeout([note(1), note(2)], tmp_path / "takeout")
    monkeypatch.setenv("NOTION_TOKEN", workspace.token)
    given = ("--takeout", str(tmp_path / "takeout"), "--complete", "--parent-page", workspace.page)
    assert invoke("users", "add", "ann", *given).exit_code == 0
    assert invoke("users", "test", "ann").exit_code == 0
    assert study.instance.get_dynamic_partitions("notes_users") == ["ann"]
    (run,) = answer("sync", "notes")["runs"]
    assert (run["status"], run["user"], run["counts"]["upserted"]) == ("completed", "ann", 2)
    job = answer("jobs", "status", run["run_id"])
    assert (job["total"], job["processed"], job["failed"]) == (2, 2, 0)
    plan = invoke("plan", "notes", "--full").stdout
    assert [line.split() for line in plan.splitlines()[1:] if line.strip()] == [
        ["records", "read", "2"], ["to", "write", "0"], ["unchanged", "2"], ["to", "delete", "0"],
        ["to", "quarantine", "0"],
    ]  # fmt: skip
    asset = answer("status")["assets"][PATH]
    assert (asset["source_count"], asset["target_count"], asset["healthy"]) == (2, 2, True)
    assert list(asset["users"]) == ["ann"]
    assert answer("check", "notes", "--deep")["equal"]
    assert invoke("users", "remove", "ann", "--yes").exit_code == 0
    assert study.instance.get_dynamic_partitions("notes_users") == []
    assert answer("status")["assets"][PATH]["configured"] is False
    assert len(study.pages("ann")) == 2


def test_an_interval_is_not_stored_for_a_sync_of_notes_and_nothing_is_switched(study: Study) -> None:
    assert not any(item["running"] for item in answer("stop", "notes")["switches"])
    refused = invoke("start", "notes", "--interval", "2h")
    assert refused.exit_code == 3
    assert "notes stores no interval" in refused.stderr
    assert "sync_interval" not in refused.stderr
    assert not any(item["running"] for item in answer("stop", "notes")["switches"])
    assert all(item["running"] for item in answer("start", "notes")["switches"])


@pytest.mark.slow
def test_health_says_of_keep_and_notion_whether_they_are_up(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    before = answer("health")["dependencies"]
    assert {before[name]["status"] for name in ("keep", "notion")} == {"not configured"}
    workspace = study.add("ann", [note(1)])
    found = answer("health")["dependencies"]
    assert {found[name]["status"] for name in ("keep", "notion")} == {"up"}
    workspace.revoke(workspace.token)
    found = answer("health", code=1)["dependencies"]
    assert (found["keep"]["status"], found["notion"]["status"]) == ("up", "down")
    assert "ann: " in found["notion"]["error"]
    assert workspace.token not in str(found)
    monkeypatch.setenv("SYNC_DATABASE_URL", "postgresql://app:s3cret-word@127.0.0.1:9/app")  # nobody is asked
    found = answer("health", code=1)["dependencies"]
    assert {found[name]["status"] for name in ("keep", "notion")} == {"unknown"}
    assert "the ledger, in which its users stand" in found["keep"]["detail"]
    assert found["database:ledger"]["status"] == "down"


@pytest.mark.slow
def test_a_conflict_is_listed_shown_and_settled_by_command(study: Study) -> None:
    one = note(1, "one")
    workspace = study.add("ann", [one])
    study.materialize("ann")
    workspace.edit_block(workspace.outline(study.page("ann", one))[0]["id"], "by hand")
    study.export("ann", [replace(one, text="by Keep")])
    study.materialize("ann")
    (conflict,) = answer("conflicts", "list", "notes")["conflicts"]
    assert (conflict["table"], conflict["key"]) == ("pages:ann", str(one.created))
    assert answer("conflicts", "show", f"{PATH}:ann", str(one.created))["fields"]
    settled = answer("conflicts", "resolve", f"{PATH}:ann", str(one.created), "--take", "source")
    assert (settled["status"], settled["still"]) == ("completed", None)
    assert study.texts("ann", one) == ["by Keep"]


@pytest.mark.slow
def test_edits_of_blocks_and_titles_are_named_by_a_check_and_repaired_where_keep_wins(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.component = KeepToNotion.model_validate({"sync": "notes", "conflicts": {"strategy": "source_wins"}})
    found = (definitions(study.component), (study.component,))
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: found)
    notes = [note(1, "one"), note(2, "two"), note(3)]
    workspace = study.add("ann", notes)
    study.materialize("ann")
    workspace.advance(61)
    workspace.edit_block(workspace.outline(study.page("ann", notes[0]))[0]["id"], "by hand")
    workspace.set_title(study.page("ann", notes[1]), "by hand")
    table = answer("check", "notes", code=1)["tables"][f"{PATH}:ann"]
    assert (table["missing"], table["stale"], table["extra"]) == (0, 2, 0)
    answer("repair", PATH)
    assert study.texts("ann", notes[0]) == ["one"]
    assert answer("check", "notes", "--deep")["equal"]


def _take_labels(study: Study, change: str, *more: str) -> Any:
    """Two notes are pages, and a minute later somebody changes their database's property Labels so; the workspace."""
    workspace = study.add("ann", [note(1, labels=("a", "b")), note(2)])
    study.materialize("ann")
    workspace.advance(61)
    found = workspace.client().search(filter={"property": "object", "value": "data_source"})["results"]
    getattr(workspace, change)(found[0]["id"], "Labels", *more)
    return workspace


@pytest.mark.slow
@pytest.mark.parametrize("how", ["", "--deep"])
def test_a_property_that_was_renamed_is_told_by_a_check_and_filled_in_by_a_repair(study: Study, how: str) -> None:
    _take_labels(study, "rename_property", "Tags")
    told = invoke("check", "notes", *filter(None, [how]))
    assert told.exit_code == 1
    assert "The Notion database lacks 'Labels'." in told.stderr
    assert "1 stale, 0 extra found, 1 mended" in invoke("repair", PATH).stdout
    assert answer("check", "notes", "--deep")["equal"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [("rename_property", "Tags"), ("delete_property",)])
def test_a_property_that_is_gone_is_filled_in_by_the_next_run(study: Study, how: tuple[str, ...]) -> None:
    workspace = _take_labels(study, *how)
    (run,) = answer("sync", "notes")["runs"]
    assert (run["status"], run["counts"]["upserted"]) == ("completed", 1)
    assert answer("check", "notes", "--deep")["equal"]
    workspace.advance(61)
    (run,) = answer("sync", "notes")["runs"]
    assert (run["counts"]["read"], run["counts"]["upserted"]) == (0, 0)


@pytest.mark.slow
def test_a_copy_of_the_syncs_own_is_planned_and_removed_by_a_repair(study: Study) -> None:
    one = note(1, "one")
    workspace = study.add("ann", [one])
    study.materialize("ann")
    page = study.page("ann", one)
    copy = late(workspace, page)
    plan = answer("repair", PATH, "--dry-run", code=1)["tables"][f"{PATH}:ann"]
    assert (plan["copies"], plan["missing"], plan["stale"], plan["extra"]) == (1, 0, 0, 0)
    assert "put 1 copy of the sync's own into the trash" in invoke("repair", PATH, "--dry-run").stdout
    assert "0 extra found, 0 mended, 1 copy of the sync's own removed" in invoke("repair", PATH).stdout
    found = {page: workspace.client().pages.retrieve(page)["in_trash"] for page in (page, copy)}
    assert found == {page: False, copy: True}
    assert answer("repair", PATH, "--dry-run")["tables"][f"{PATH}:ann"]["copies"] == 0


@pytest.mark.slow
def test_a_note_that_cannot_be_a_page_is_quarantined_alone_and_tried_again_at_the_next_sync(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    picky = KeepToNotion.model_validate({"sync": "notes", "page": "sync_pipelines_tests.notes.study:picky"})
    found = (definitions(picky), (picky,))
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: found)
    bad, good = note(1, "unbearable"), note(2)
    study.add("ann", [bad, good])
    (run,) = answer("sync", "notes")["runs"]
    assert (run["status"], run["total"], run["processed"], run["failed"]) == ("completed", 2, 2, 1)
    (record,) = answer("quarantine", "list", f"{PATH}:ann")["records"]
    assert (record["table"], record["key"], record["stage"]) == ("pages:ann", str(bad.created), "map")
    assert "this text is unbearable" in record["reason"]
    assert answer("status")["assets"][PATH]["users"]["ann"]["quarantined"] == 1
    study.export("ann", [replace(bad, text="bearable"), good])
    answer("sync", "notes")
    assert answer("quarantine", "list", "notes")["records"] == []
    assert sorted(study.pages("ann")) == [str(bad.created), str(good.created)]


@pytest.mark.slow
def test_runs_in_the_background_are_jobs_that_are_listed_and_end_by_themselves(study: Study) -> None:
    study.add("ann", [note(1)])
    study.add("bob", [note(1), note(2)])
    started = answer("sync", "notes", "--no-wait")["runs"]
    assert [run["user"] for run in started] == ["ann", "bob"]
    listed = {run["run_id"] for run in answer("jobs", "list", "notes")["runs"]}
    assert {run["run_id"] for run in started} == listed
    ended = [wait_for("its end", lambda run=run: _ended(run["run_id"])) for run in started]
    assert [(run["status"], run["total"], run["processed"]) for run in ended] == [
        ("completed", 1, 1),
        ("completed", 2, 2),
    ]


def _ended(run_id: str) -> dict[str, Any] | None:
    found = client.status(run_id)
    return found.as_dict() if found.over else None


def test_a_file_that_is_too_large_is_named_by_status_and_nothing_else_fails(study: Study) -> None:
    large = SandboxFile(name="film.mov", mime="video/quicktime", size=20 * 2**20 + 1)
    study.add("ann", [note(1, files=(large,)), note(2)])
    assert study.materialize("ann").success
    asset = answer("status")["assets"][PATH]
    assert asset["healthy"]
    (warning,) = [sentence for sentence in asset["warnings"] if "film.mov" in sentence]
    assert warning.startswith("ann: 1 pages are not all that their notes are.")
    assert "it has 20.0 MiB, of 20 at most" in warning
    assert answer("check", "notes", "--deep")["equal"]


@pytest.mark.slow
def test_a_conflict_is_shown_line_by_line_and_put_together_line_by_line(study: Study) -> None:
    one = note(1, "one\ntwo\nthree")
    workspace = study.add("ann", [one])
    study.materialize("ann")
    page, key = study.page("ann", one), str(one.created)
    for block, text in zip(workspace.outline(page), ("one by hand", "two by hand"), strict=False):
        workspace.edit_block(block["id"], text)
    study.export("ann", [replace(one, title="By Keep", text="one\ntwo by Keep\nthree by Keep")])
    study.materialize("ann")
    place = (f"{PATH}:ann", key)
    fields = {item.pop("field"): item for item in answer("conflicts", "diff", *place)["fields"]}
    told = {name: [item[side] for side in ("source", "target", "merged")] for name, item in fields.items()}
    assert told == {
        "blocks.00001": ["one", "one by hand", "target"],
        "blocks.00002": ["two by Keep", "two by hand", "clash"],
        "blocks.00003": ["three by Keep", "three", "source"],
        "title": ["By Keep", one.title, "source"],
    }
    assert "two by hand" in invoke("conflicts", "show", *place).output
    refused = invoke("conflicts", "resolve", *place, "--take", "merge")
    assert (refused.exit_code, "blocks.00002" in refused.output, "--property" in refused.output) == (3, True, True)
    merged = ("conflicts", "resolve", *place, "--take", "merge", "--property", "blocks.00002=source")
    refused = invoke(*merged, "--set", 'title="of neither"')
    assert (refused.exit_code, "title" in refused.output) == (3, True)
    assert study.texts("ann", one) == ["one by hand", "two by hand", "three"]
    assert invoke(*merged).exit_code == 0
    assert study.texts("ann", one) == ["one by hand", "two by Keep", "three by Keep"]


@pytest.mark.slow
def test_a_page_that_was_accepted_is_not_said_to_be_merged_and_a_line_of_keeps_can_be_taken(study: Study) -> None:
    one = note(1, "one\ntwo")
    workspace = study.add("ann", [one])
    study.materialize("ann")
    workspace.edit_block(workspace.outline(study.page("ann", one))[0]["id"], "by hand")
    study.export("ann", [replace(one, text="one\nby Keep")])
    study.materialize("ann")
    place = ("conflicts", "resolve", f"{PATH}:ann", str(one.created))
    assert invoke(*place, "--take", "target", "--by", "ada").exit_code == 0
    refused = invoke(*place, "--take", "merge")
    assert refused.exit_code == 3
    assert "the target's version was accepted (target_wins, by ada)" in refused.output.replace("\n", " ")
    assert study.texts("ann", one) == ["by hand", "two"]
    assert invoke(*place, "--take", "merge", "--property", "blocks.00002=source").exit_code == 0
    assert study.texts("ann", one) == ["by hand", "by Keep"]
    assert invoke(*place, "--take", "merge").exit_code == 0
    assert study.texts("ann", one) == ["by hand", "by Keep"]


@pytest.mark.slow
def test_a_user_whose_tokens_no_key_opens_keeps_nobody_from_their_turn(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.add("ann", [note(1)])
    monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    study.add("bob", [note(2)])
    found = answer("sync", "notes", code=3)
    assert [(run["user"], run["status"]) for run in found["runs"]] == [("bob", "completed")]
    assert list(found["problems"]) == [f"{PATH}:ann"]
    assert "SYNC_ENCRYPTION_KEYS" in found["problems"][f"{PATH}:ann"]
    for command in ("repair", "stats"):
        assert list(answer(command, "notes", code=3)["problems"]) == [f"{PATH}:ann"]
    assert [run["user"] for run in answer("jobs", "list")["runs"]] == ["bob", "bob"]
    planned = study.job("plan")
    assert not planned.success
    failures = [str(event.event_specific_data) for event in planned.all_events if event.is_step_failure]
    assert "1 of 2 could not be planned" in failures[0]
    # what an op logged before it failed is in Dagster's log, though not among what it gave
    observed = study.instance.all_logs(planned.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION)
    assert len(observed) == 1
    with pytest.raises(ConfigurationError, match="user 'ann'") as raised:
        client.trigger("notes", wait=True)
    assert list(raised.value.started) == [client.recent("notes")[0].run_id]
    assert str(raised.value).endswith(f" These runs were started all the same: {raised.value.started[0]}.")
    assert [run.user for run in client.recent("notes")] == ["bob", None, "bob", "bob"]


@pytest.mark.slow
def test_a_user_whose_key_is_lost_is_removed_and_added_anew_and_the_pages_stay_theirs(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = study.add("ann", [note(1), note(2)])
    study.materialize("ann")
    before = study.pages("ann")
    monkeypatch.setenv("SYNC_ENCRYPTION_KEYS", Fernet.generate_key().decode())
    monkeypatch.setenv("NOTION_TOKEN", workspace.token)
    assert "remove and add the user" in invoke("users", "test", "ann").stderr.replace("\n", " ")
    assert invoke("users", "remove", "ann", "--yes").exit_code == 0
    given = ("--takeout", str(study.folder / "ann"), "--complete", "--parent-page", workspace.page)
    assert invoke("users", "add", "ann", *given).exit_code == 0
    (run,) = answer("sync", "notes")["runs"]
    assert (run["status"], run["counts"]["upserted"], study.pages("ann")) == ("completed", 0, before)
