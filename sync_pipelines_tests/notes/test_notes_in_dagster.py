"""Notes under Dagster: from an export to pages, checks over all users, what people have edited."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from sync_pipelines.alerts.sensor import Project, look
from sync_pipelines.alerts.state import State
from sync_pipelines.components.blocks import ChecksBlock, MassDeleteBlock
from sync_pipelines.components.keep_to_notion import KeepToNotion
from sync_pipelines.reporting import status_report
from sync_pipelines_tests.notes.study import Study, document, note


def by_name(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def rows(check: Any) -> dict[str, bool]:
    """User → whether they are good."""
    return {str(row.data["user"]): bool(row.data["passed"]) for row in check.metadata["users"].records}


def test_an_export_becomes_pages_and_a_run_without_news_writes_none(study: Study) -> None:
    notes = [note(number) for number in range(5)]
    workspace = study.add("ann", notes)
    result = study.materialize("ann")
    assert result.success
    assert sorted(study.pages("ann")) == sorted(str(item.created) for item in notes)
    assert study.texts("ann", notes[2]) == ["a line"]
    checks = by_name(result)
    assert {name: check.passed for name, check in checks.items()} == dict.fromkeys(
        ("count", "content", "schema", "backlog", "duplicates", "freshness"), True
    )
    (event,) = result.asset_materializations_for_node("notes__pages")
    assert (event.partition, event.metadata["upserted"].value) == ("ann", 5)
    assert event.metadata["pages_written"].value == 5
    assert 5 < event.metadata["requests"].value == 5 * event.metadata["requests_per_page"].value
    workspace.clear_requests()
    study.materialize("ann")
    asked = [request["endpoint"] for request in workspace.requests() if request["method"] != "GET"]
    assert asked == ["data_sources.query"] * 2  # the listing of the run, and the one that its checks share
    assert study.runs("ann")[0].counts.upserted == 0


@pytest.mark.slow
def test_one_changed_line_is_written_and_a_persons_block_beside_it_stays(study: Study) -> None:
    notes = [note(1, "one\ntwo"), note(2)]
    workspace = study.add("ann", notes)
    study.materialize("ann")
    page = study.page("ann", notes[0])
    workspace.add_block(page, "mine", first=True)
    study.export("ann", [replace(notes[0], text="one\nthree"), notes[1]])
    assert study.materialize("ann").success
    assert study.texts("ann", notes[0]) == ["mine", "one", "three"]
    assert study.runs("ann")[0].counts.upserted == 1


@pytest.mark.slow
def test_a_persons_edit_of_our_block_waits_for_a_review_and_counts_as_excluded(study: Study) -> None:
    notes = [note(1, "one"), note(2)]
    workspace = study.add("ann", notes)
    study.materialize("ann")
    block = workspace.outline(study.page("ann", notes[0]))[0]
    workspace.edit_block(block["id"], "by hand")
    study.export("ann", [replace(notes[0], text="by Keep"), notes[1]])
    result = study.materialize("ann")
    assert result.success
    assert study.texts("ann", notes[0]) == ["by hand"]
    checks = by_name(result)
    assert checks["content"].passed
    assert not checks["backlog"].passed
    assert "1 conflicts wait for a review" in checks["backlog"].description


@pytest.mark.slow
def test_a_note_that_a_complete_export_lacks_is_marked_and_one_of_an_incomplete_stays(study: Study) -> None:
    notes = [note(number) for number in range(4)]
    for name, complete in (("ann", True), ("bob", False)):
        study.add(name, notes, complete=complete)
        study.materialize(name)
        study.export(name, notes[1:])
        result = study.materialize(name)
        assert result.success
        assert by_name(result)["content"].passed
    assert [study.runs(name)[0].counts.deleted for name in ("ann", "bob")] == [1, 0]


def test_a_revoked_token_fails_its_user_alone_and_the_others_are_synced(study: Study) -> None:
    workspace = study.add("ann", [note(1)])
    study.add("bob", [note(1), note(2)])
    workspace.revoke(workspace.token)
    result = study.materialize()
    assert not result.success
    assert {name: study.runs(name)[0].status for name in ("ann", "bob")} == {"ann": "failed", "bob": "completed"}
    assert len(study.pages("bob")) == 2
    status = status_report().assets["notes/pages"]
    assert {name: one.healthy for name, one in (status.users or {}).items()}["ann"] is False


@pytest.mark.slow
def test_a_page_that_somebody_duplicated_is_named_with_its_user(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_ALERT_URLS", "json://127.0.0.1:9/never-asked")
    notes = [note(1), note(2)]
    workspace = study.add("ann", notes)
    other = study.add("bob", notes)
    study.materialize()
    workspace.duplicate_page(study.page("ann", notes[0]))
    found = by_name(study.job("check"))["duplicates"]
    assert not found.passed
    assert rows(found) == {"ann": False, "bob": True}
    assert [row.data["key"] for row in found.metadata["samples"].records] == [str(notes[0].created)]
    known = looked(study, State())
    assert told(known) == [("opened", "notes/pages:ann")]
    assert known.outbox[0].causes[0].samples == (("duplicate", str(notes[0].created)),)
    other.duplicate_page(study.page("bob", notes[1]))
    study.job("check")
    known = looked(study, known)  # though ann's incident goes on
    assert told(known) == [("opened", "notes/pages:ann"), ("opened", "notes/pages:bob")]


def looked(study: Study, known: State) -> State:
    """One look of the alerts' sensor at the check `duplicates`."""
    key = study.component.asset_key
    project = Project(assets=(key,), checks=(dg.AssetCheckKey(key, "duplicates"),), jobs=frozenset())
    return look(known, [study.component], study.resources, study.instance, project, now=datetime.now(UTC))[0]


def told(known: State) -> list[tuple[str, str]]:
    return [(notice.kind, notice.table) for notice in known.outbox]


@pytest.mark.slow
def test_a_page_that_somebody_deleted_stays_deleted_where_peoples_edits_are_kept(study: Study) -> None:
    notes = [note(1), note(2)]
    workspace = study.add("ann", notes)
    study.materialize("ann")
    workspace.trash_page(study.page("ann", notes[1]))
    content = by_name(study.job("check"))["content"]
    assert content.passed
    assert content.metadata["excluded"].value == 1
    assert study.materialize("ann", mode="full").success
    assert sorted(study.pages("ann")) == [str(notes[0].created)]


@pytest.mark.slow
def test_a_page_that_somebody_deleted_is_found_and_repaired_where_keep_wins(study: Study) -> None:
    study.component = KeepToNotion.model_validate({"sync": "notes", "conflicts": {"strategy": "source_wins"}})
    notes = [note(1), note(2)]
    workspace = study.add("ann", notes)
    study.materialize("ann")
    workspace.trash_page(study.page("ann", notes[1]))
    content = by_name(study.job("check"))["content"]
    assert not content.passed
    assert [row.data["key"] for row in content.metadata["samples"].records] == [str(notes[1].created)]
    assert study.job("repair", {"ops": {"notes_repair_tables": {"config": {"table": "pages:ann"}}}}).success
    assert sorted(study.pages("ann")) == [str(item.created) for item in notes]
    assert by_name(study.job("check"))["content"].passed


@pytest.mark.slow
def test_a_complete_export_that_lacks_most_notes_marks_none_of_them_until_that_is_allowed_once(study: Study) -> None:
    notes = [note(number) for number in range(7)]
    study.component = document().model_copy(
        update={"checks": ChecksBlock(mass_delete=MassDeleteBlock(share=0.2, records=1))}
    )
    study.add("ann", notes[:5])
    assert study.materialize("ann").success
    study.export("ann", [notes[0], notes[5]])
    stopped = study.materialize("ann")
    assert not stopped.success
    (run, *_) = study.runs("ann")
    assert "4 of the target's 6 records would be deleted" in run.error
    assert (run.counts.upserted, run.counts.deleted) == (1, 0)
    assert len(study.pages("ann")) == 6
    assert study.materialize("ann", allow_mass_delete=True).success
    assert study.runs("ann")[0].counts.deleted == 4
    study.export("ann", [])
    assert not study.materialize("ann").success  # it was allowed once
    assert "the source is empty" in study.runs("ann")[0].error
