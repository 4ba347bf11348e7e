"""Runs that replace a table, disturbed: killed, overtaken, refused, on a warehouse that loses answers."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine.errors import MassDeleteError, SyncError
from sync_pipelines.engine.overwriting import KeySet, _Look
from sync_pipelines.targets.databricks.staging import Staging
from sync_pipelines.targets.databricks.target import DatabricksTarget
from sync_pipelines.targets.delta.overwriting import DeltaOverwrite
from sync_pipelines_tests.conftest import fresh_database
from sync_pipelines_tests.lake.engines import name_warehouse
from sync_pipelines_tests.lake.house import House
from sync_pipelines_tests.lake.overwritten import LESS, asked, overwritten, plain, run
from sync_pipelines_tests.sandbox.databricks.shared import Schema


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.mark.slow
def test_a_commit_that_fails_quotes_nothing_sensitive_and_leaves_no_file(
    items: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    table = overwritten(sensitive=["tags"], runs={"batch_size": 10})
    run(items, table, asked())
    items.execute("UPDATE item SET tags = ARRAY[md5(id)]")
    before, marks, during = items.opened(table).files(), [items.bind(table).target.stamp()], list[Path]()

    def quoting(target: DeltaOverwrite, *_: Any) -> None:
        marks.append(target.stamp())
        during.extend(tmp_path.rglob("*.arrow"))
        raise SyncError(f"no: {_digest('k2')} {_digest('k299')}")

    monkeypatch.setattr(DeltaOverwrite, "overwrite", quoting)
    with pytest.raises(SyncError) as caught:
        run(items, table, asked())
    assert str(caught.value) == "no: *** ***"
    assert during
    assert list(tmp_path.rglob("*.arrow")) == []
    assert marks[0] != marks[1], "the table knows of the run that is about to write"
    assert items.opened(table).files() == before


@pytest.mark.slow
@pytest.mark.spare_where(engine="databricks")
@pytest.mark.parametrize("moment", ["gathered", "writing"])
def test_a_run_that_is_killed_leaves_the_old_rows_and_the_next_one_works(items: House, engine: str, moment: str):
    table = overwritten()
    run(items, table, asked())
    far = items.opened(table)
    rows = plain(far.rows())
    items.execute("UPDATE item SET amount = 4; DELETE FROM item WHERE id = 'k1'")
    child = [sys.executable, "-m", "sync_pipelines_tests.lake.dying", items.url, engine, moment]
    assert subprocess.run(child, env={**os.environ}, check=False).returncode == -signal.SIGKILL
    assert plain(far.rows()) == rows
    target = items.bind(table).target
    if isinstance(target, DatabricksTarget):
        assert list(target.staging._entries(target.staging.folder)), "what was staged lies there"
    counts = run(items, table, asked())
    assert (counts.upserted, counts.deleted) == (299, 1)
    if isinstance(target, DatabricksTarget):
        assert list(target.staging._entries(target.staging.folder)) == []
    assert items.prove(table, "deep").equal


@pytest.mark.slow
@pytest.mark.parametrize("edits", [True, False], ids=["edits", "appends"])
def test_a_writer_that_was_quicker_loses_nothing(items: House, edits: bool, monkeypatch: pytest.MonkeyPatch):
    table = overwritten()
    run(items, table, asked())
    items.execute(LESS)
    commit, far = DeltaOverwrite.overwrite, items.opened(table)
    once = iter([1])

    def overtaken(*given: Any) -> None:
        for _ in once:
            far.add_stranger("zzz")
            if edits:
                far.edit("k299", 77)
        commit(*given)

    monkeypatch.setattr(DeltaOverwrite, "overwrite", overtaken)
    with pytest.raises(MassDeleteError, match="151 of the target's 301 records"):
        run(items, table, asked("full"))
    rows = {row["id"]: row["amount"] for row in far.rows()}
    assert (len(rows), rows["k299"], rows["zzz"]) == (301, 77 if edits else 0, None)


@pytest.mark.slow
def test_what_comes_between_the_look_and_the_commit_is_looked_at(items: House, monkeypatch: pytest.MonkeyPatch):
    table = overwritten()
    run(items, table, asked())
    _add_between(items, table, monkeypatch)
    assert run(items, table, asked()).deleted == 1


def _add_between(items: House, table: PostgresToDelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody adds a row just after the first look at the old ones."""
    look, once = _Look.__call__, iter([1])

    def overtaken(self: _Look) -> KeySet:
        found = look(self)
        for _ in once:
            items.opened(table).add_stranger("zzz")
            self.run.binding.target.count()
        return found

    monkeypatch.setattr(_Look, "__call__", overtaken)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_warehouse_carries_over_what_a_merge_would_keep(
    items: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch
):
    name_warehouse(databricks_schema, monkeypatch)
    table = overwritten()
    run(items, table, asked())
    far = items.opened(table)
    far.add_stranger("zzz")
    far.copy("k2")
    items.execute(f"{LESS}; UPDATE item SET amount = 2 WHERE id IN ('k2', 'k5'); INSERT INTO item VALUES ('new', 1)")
    items.execute("UPDATE item SET day = 'infinity' WHERE id = 'k2'")
    with pytest.raises(MassDeleteError, match="151 of the target's 303 records would be deleted"):
        run(items, table, asked())
    rows = [(row["id"], row["amount"]) for row in items.rows(table)]
    assert (len(rows), rows.count(("k2", 0)), rows.count(("k5", 2)), rows.count(("zzz", None))) == (303, 2, 1, 1)
    counts = run(items, table, asked(allow=True))
    assert (counts.deleted, counts.unchanged, counts.quarantined) == (151, 150, 1)
    assert sorted(row["id"] for row in items.rows(table) if row["id"][1:] in ("2", "ew", "zz")) == ["k2", "k2", "new"]
    items.execute("DELETE FROM item")
    run(items, table, asked(allow=True))
    assert items.rows(table) == []


@pytest.mark.slow
def test_a_warehouse_that_loses_answers_or_conflicts_doubles_nothing(
    items: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch
):
    name_warehouse(databricks_schema, monkeypatch)
    schema, table = databricks_schema, overwritten()
    run(items, table, asked())
    items.execute("UPDATE item SET day = 'infinity' WHERE id = 'k9'; UPDATE item SET amount = 1 WHERE id = 'k8'")
    schema.fault("drop", match="INSERT OVERWRITE")
    assert run(items, table, asked()).upserted == 1
    assert len(items.rows(table)) == 300
    schema.fault("fail", match="INSERT OVERWRITE", message="[DELTA_CONCURRENT_APPEND] somebody was quicker")
    _add_between(items, table, monkeypatch)
    assert run(items, table, asked()).deleted == 1, "looked at anew"
    schema.fault("fail", match="INSERT OVERWRITE", message="[DIVIDE_BY_ZERO] no")
    with pytest.raises(SyncError, match=r"could not overwrite table main\..*DIVIDE_BY_ZERO"):
        run(items, table, asked())
    target = items.bind(table).target
    assert isinstance(target, DatabricksTarget)
    assert list(Staging(target.warehouse, target.table)._entries(target.staging.folder)) == []
    assert len(items.rows(table)) == 300


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(house: House, postgres_server: Any, house_template: str):
    peaks = {}
    for rows in (60_000, 240_000):
        for url in fresh_database(postgres_server, house_template):
            child = [sys.executable, "-m", "sync_pipelines_tests.lake.heavy", url, str(rows)]
            place = {"DATABASE_URL": url, "DELTA_URI": f"{os.environ['DELTA_URI']}/{rows}"}
            done = subprocess.run(child, env={**os.environ, **place}, check=True, capture_output=True, text=True)
            _, peaks[rows], held = map(int, done.stdout.split())
            assert held == rows + 1
    assert peaks[240_000] < 1.3 * peaks[60_000], peaks
