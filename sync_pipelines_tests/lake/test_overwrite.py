"""Tables that each run replaces (`target.mode: overwrite`): one commit, and all that a merge promises."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pydantic import ValidationError

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine import run as engine_run
from sync_pipelines.engine.errors import MassDeleteError, MassRefusalError, SyncError
from sync_pipelines.engine.model import Counts, Scope
from sync_pipelines.engine.overwriting import KeySet, _Look
from sync_pipelines.engine.plan import plan
from sync_pipelines.engine.repair import Wanted, plan_repair, repair
from sync_pipelines.engine.run import Request, Run
from sync_pipelines.io_managers.base import metadata_of
from sync_pipelines.targets.databricks.staging import Staging
from sync_pipelines.targets.databricks.target import DatabricksTarget
from sync_pipelines.targets.delta import overwriting
from sync_pipelines.targets.delta.overwriting import DeltaOverwrite
from sync_pipelines_tests.conftest import fresh_database
from sync_pipelines_tests.lake.engines import name_warehouse
from sync_pipelines_tests.lake.house import House, document
from sync_pipelines_tests.lake.opened import InFolder
from sync_pipelines_tests.sandbox.databricks.shared import Schema

DDL = """CREATE TABLE item (id text PRIMARY KEY, amount numeric(8,2), day date, tags text[]);
    COMMENT ON TABLE item IS 'what is sold'; COMMENT ON COLUMN item.amount IS 'in euros';
    INSERT INTO item SELECT 'k' || i, 0, '2024-01-01', ARRAY['a'] FROM generate_series(1, 300) AS i"""
LESS = "DELETE FROM item WHERE length(id) = 4 AND id > 'k150'"
"""Half of them, more than the guard lets go."""


def overwritten(**more: Any) -> PostgresToDelta:
    target = {"table": "shop/item", "mode": "overwrite", **more.pop("target", {})}
    return document(target=target, **more)


def asked(mode: str = "incremental", *, keys: tuple[str, ...] | None = None, allow: bool = False) -> Request:
    scope = Scope(full=mode != "incremental", keys=keys)
    return Request(mode=mode, scope=scope, trigger="manual", run_id=str(uuid.uuid4()), allow_mass_delete=allow)


def run(house: House, table: PostgresToDelta, request: Request) -> Counts:
    return engine_run.write(engine_run.open_run(house.bind(table), request))


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the time of writing, copies and strangers among them, in one order."""
    return sorted(({**row, "synced_at": None} for row in rows), key=str)


@pytest.fixture
def shop(house: House) -> House:
    """Three hundred items, not synced yet."""
    house.execute(DDL)
    house.capture(document())
    return house


@dataclass
class Twins:
    """The same source in two tables: one is merged, the other one replaced by each run."""

    house: House

    def __post_init__(self) -> None:
        self.merged = document(name="merged", target={"table": "shop/merged"})
        self.replaced = overwritten(name="replaced", target={"table": "shop/replaced"})

    @property
    def both(self) -> tuple[PostgresToDelta, PostgresToDelta]:
        return self.merged, self.replaced

    def execute(self, statement: str) -> None:
        self.house.execute(statement)

    def act(self, *, allow: bool = False) -> str:
        """A full run of both: planned, made, and looked at from all sides; what it came to, the same for both."""
        told = [self._told(table, allow) for table in self.both]
        assert told[1] == told[0]
        assert plain(self.house.rows(self.replaced)) == plain(self.house.rows(self.merged))
        return told[0]

    def _told(self, table: PostgresToDelta, allow: bool) -> str:
        planned = plan(self.house.bind(table), mode="full").as_dict()
        outcome = self._outcome(table, allow)
        found = (planned, outcome, self._put_aside(table), self._proven(table), self._mending(table))
        return str(found).replace(table.table_name, "TABLE")

    def _outcome(self, table: PostgresToDelta, allow: bool) -> Any:
        try:
            counts = run(self.house, table, asked("full", allow=allow))
        except SyncError as error:
            (last,) = self.house.bind(table).ledger.logs("shop", table.table_name, limit=1)
            return type(error).__name__, str(error), self._numbers(last.counts)
        return self._numbers(counts)

    @staticmethod
    def _numbers(counts: Counts) -> tuple[int, ...]:
        return counts.read, counts.upserted, counts.unchanged, counts.deleted, counts.quarantined

    def _put_aside(self, table: PostgresToDelta) -> list[tuple[str, str, bool]]:
        found = self.house.bind(table).ledger.list_quarantine("shop", table.table_name, limit=None)
        return sorted((item.key, item.reason, item.dropped_at is not None) for item in found)

    def _proven(self, table: PostgresToDelta) -> tuple[Any, ...]:
        proof = self.house.prove(table, "deep")
        return proof.equal, proof.missing, proof.stale, proof.extra, proof.quarantined, proof.samples

    def _mending(self, table: PostgresToDelta) -> dict[str, Any]:
        return plan_repair(self.house.bind(table), Wanted(deep=True)).as_dict()


@pytest.fixture
def twins(shop: House) -> Twins:
    """Both tables with three hundred items."""
    found = Twins(shop)
    for table in found.both:
        assert run(shop, table, asked("full")).upserted == 300
    return found


@pytest.mark.usefixtures("engine")
def test_each_run_replaces_all_rows_by_one_commit_and_the_table_stays_what_it_is(shop: House):
    table = overwritten(target={"properties": {"delta.enableChangeDataFeed": "true"}})
    run(shop, table, asked())
    far = shop.opened(table)
    before, itself = far.files(), _itself(shop, table)
    assert far.overwrites() == 1
    shop.execute("UPDATE item SET amount = 1 WHERE id IN ('k1', 'k2'); DELETE FROM item WHERE id = 'k3'")
    shop.execute("INSERT INTO item VALUES ('new', 5, NULL, '{}')")
    counts = run(shop, table, asked())
    assert (counts.upserted, counts.unchanged, counts.deleted, counts.read) == (3, 297, 1, 300)
    assert far.overwrites() == 2
    assert not before & far.files(), "every row was written anew"
    assert _itself(shop, table) == itself
    assert far.comments()[1]["amount"] == "in euros"
    assert len({row["synced_at"] for row in far.rows()}) == 1
    assert shop.prove(table, "deep").equal
    first = far.version() + 1
    assert run(shop, table, asked()).unchanged == 300
    assert far.overwrites() == 3, "each run replaces, also what nobody has changed"
    kinds = [row["_change_type"] for row in _feed(shop, table, first)]
    assert (kinds.count("delete"), kinds.count("insert"), len(kinds)) == (300, 300, 600)


def _itself(shop: House, table: PostgresToDelta) -> tuple[Any, ...]:
    """What makes a table the same one, whatever its rows."""
    far, held = shop.opened(table), shop.bind(table).target.held()
    assert held is not None
    assert held.properties["delta.enableChangeDataFeed"] == "true"
    own = {name: text for name, text in held.properties.items() if name != "sync_pipelines.stamp"}
    return far.identity(), far.comments(), held.columns, own


def _feed(shop: House, table: PostgresToDelta, first: int) -> list[dict[str, Any]]:
    far = shop.opened(table)
    if isinstance(far, InFolder):
        return pa.table(DeltaTable(far.place).load_cdf(starting_version=first).read_all()).to_pylist()
    return far._ask(f"SELECT * FROM table_changes('{far.table}', {first})")


def test_a_request_for_what_is_pending_becomes_a_full_one_and_says_so(shop: House):
    table = overwritten()
    run(shop, table, asked())
    shop.opened(table).edit("k7", 77)
    held: list[Run] = []
    changes = engine_run.open_run(shop.bind(table), asked(), keep=held.append)
    assert (changes.full, changes.rows) == (True, 300)
    counts = engine_run.write(changes)
    said = metadata_of(held[0], counts, 1.0)["mode"]
    assert said == "incremental (target.mode: overwrite replaces the whole table)"
    planned = plan(shop.bind(table))
    assert (planned.read, planned.unchanged, planned.reason) == (300, 300, held[0].reason)
    assert shop.prove(table, "deep").equal, "what somebody had edited went with the rest"


def test_single_records_and_a_repair_are_merged(shop: House):
    table = overwritten()
    run(shop, table, asked())
    far = shop.opened(table)
    shop.execute("UPDATE item SET amount = 3 WHERE id IN ('k1', 'k2')")
    assert run(shop, table, asked("records", keys=("k1",))).upserted == 1
    far.add_stranger("zzz")
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id="r")
    assert repair(shop.bind(table), request, Wanted()).repaired == 1
    assert far.overwrites() == 1
    run(shop, table, asked())
    assert shop.prove(table, "deep").equal


@pytest.mark.parametrize("few", [1000, 10], ids=["looked up", "read"])
def test_what_the_guard_stops_stays_and_the_rest_arrives_as_in_a_merge(
    twins: Twins, few: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(overwriting, "_FEW", few)
    twins.execute(f"{LESS}; UPDATE item SET amount = 2 WHERE id = 'k5'; INSERT INTO item VALUES ('new', 1)")
    twins.house.opened(twins.merged).add_stranger("zzz")
    twins.house.opened(twins.replaced).add_stranger("zzz")
    said = twins.act()
    assert "MassDeleteError" in said
    assert "151 of the target's 302 records would be deleted" in said
    rows = {row["id"]: row for row in twins.house.rows(twins.replaced)}
    assert len(rows) == 302
    assert (rows["k5"]["amount"], rows["new"]["amount"], rows["zzz"]["amount"]) == (2, 1, None)
    assert rows["k300"]["synced_at"] < rows["k5"]["synced_at"], "the old row itself"
    assert twins.act() == twins.act(), "again and again"
    assert "MassDeleteError" not in twins.act(allow=True)
    assert len(twins.house.rows(twins.replaced)) == 151
    assert twins.house.prove(twins.replaced, "deep").equal


def test_an_emptied_source_empties_no_table(twins: Twins):
    twins.execute("DELETE FROM item")
    before = twins.house.opened(twins.replaced).files()
    assert "the source is empty" in twins.act()
    assert twins.house.opened(twins.replaced).files() == before
    twins.act(allow=True)
    assert twins.house.rows(twins.replaced) == []


def test_a_record_that_does_not_fit_keeps_its_last_good_state(twins: Twins):
    twins.execute("UPDATE item SET day = 'infinity', amount = 9 WHERE id IN ('k1', 'k2')")
    twins.execute("INSERT INTO item VALUES ('bad', 1, 'infinity'); DELETE FROM item WHERE id = 'k3'")
    assert "infinite" in twins.act()
    rows = {row["id"]: row for row in twins.house.rows(twins.replaced)}
    assert (rows["k1"]["amount"], "bad" in rows, "k3" in rows) == (0, False, False)
    for table in twins.both:
        twins.house.bind(table).ledger.drop_quarantined("shop", table.table_name, ["k2"])
    assert "True" in twins.act(), "one is dropped, and stays as it was"
    twins.execute(f"UPDATE item SET day = NULL WHERE id = 'k1'; {LESS}")
    assert "MassDeleteError" in twins.act()
    rows = {row["id"]: row for row in twins.house.rows(twins.replaced)}
    assert (rows["k1"]["amount"], rows["k2"]["amount"], "bad" in rows) == (9, 0, False)
    twins.execute("UPDATE item SET day = NULL WHERE id IN ('bad', 'k2')")
    twins.act()
    found = twins.house.bind(twins.replaced).ledger.list_quarantine("shop", "replaced", limit=None)
    assert found == []
    assert twins.house.prove(twins.replaced, "deep").equal


def test_copies_and_rows_of_strangers_go_as_in_a_merge(twins: Twins):
    for table in twins.both:
        far = twins.house.opened(table)
        far.copy("k1", amount=5)
        far.copy("k2")
        far.add_stranger("k4")
    twins.execute("UPDATE item SET day = 'infinity' WHERE id = 'k2'")
    twins.act()
    rows = twins.house.rows(twins.replaced)
    assert sorted(row["id"] for row in rows if row["id"] in ("k1", "k2", "k4")) == ["k1", "k2", "k2", "k4"]


def test_a_run_that_refuses_too_much_leaves_the_table_as_it_was(shop: House):
    table = overwritten()
    run(shop, table, asked())
    far = shop.opened(table)
    before = far.files()
    shop.execute("UPDATE item SET day = 'infinity' WHERE id > 'k2'")
    with pytest.raises(MassRefusalError):
        run(shop, table, asked())
    assert far.files() == before
    assert shop.bind(table).ledger.list_quarantine("shop", "item", limit=None) == []


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_a_commit_that_fails_quotes_nothing_sensitive_and_leaves_no_file(
    shop: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    table = overwritten(sensitive=["tags"], runs={"batch_size": 10})
    run(shop, table, asked())
    shop.execute("UPDATE item SET tags = ARRAY[md5(id)]")
    before, marks, during = shop.opened(table).files(), [shop.bind(table).target.stamp()], list[Path]()

    def quoting(target: DeltaOverwrite, *_: Any) -> None:
        marks.append(target.stamp())
        during.extend(tmp_path.rglob("*.arrow"))
        raise SyncError(f"no: {_digest('k2')} {_digest('k299')}")

    monkeypatch.setattr(DeltaOverwrite, "overwrite", quoting)
    with pytest.raises(SyncError) as caught:
        run(shop, table, asked())
    assert str(caught.value) == "no: *** ***"
    assert during
    assert list(tmp_path.rglob("*.arrow")) == []
    assert marks[0] != marks[1], "the table knows of the run that is about to write"
    assert shop.opened(table).files() == before


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["gathered", "writing"])
def test_a_run_that_is_killed_leaves_the_old_rows_and_the_next_one_works(shop: House, engine: str, moment: str):
    table = overwritten()
    run(shop, table, asked())
    far = shop.opened(table)
    rows = plain(far.rows())
    shop.execute("UPDATE item SET amount = 4; DELETE FROM item WHERE id = 'k1'")
    child = [sys.executable, "-m", "sync_pipelines_tests.lake.dying", shop.url, engine, moment]
    assert subprocess.run(child, env={**os.environ}, check=False).returncode == -signal.SIGKILL
    assert plain(far.rows()) == rows
    target = shop.bind(table).target
    if isinstance(target, DatabricksTarget):
        assert list(target.staging._entries(target.staging.folder)), "what was staged lies there"
    counts = run(shop, table, asked())
    assert (counts.upserted, counts.deleted) == (299, 1)
    if isinstance(target, DatabricksTarget):
        assert list(target.staging._entries(target.staging.folder)) == []
    assert shop.prove(table, "deep").equal


@pytest.mark.parametrize("edits", [True, False], ids=["edits", "appends"])
def test_a_writer_that_was_quicker_loses_nothing(shop: House, edits: bool, monkeypatch: pytest.MonkeyPatch):
    table = overwritten()
    run(shop, table, asked())
    shop.execute(LESS)
    commit, far = DeltaOverwrite.overwrite, shop.opened(table)
    once = iter([1])

    def overtaken(*given: Any) -> None:
        for _ in once:
            far.add_stranger("zzz")
            if edits:
                far.edit("k299", 77)
        commit(*given)

    monkeypatch.setattr(DeltaOverwrite, "overwrite", overtaken)
    with pytest.raises(MassDeleteError, match="151 of the target's 301 records"):
        run(shop, table, asked("full"))
    rows = {row["id"]: row["amount"] for row in far.rows()}
    assert (len(rows), rows["k299"], rows["zzz"]) == (301, 77 if edits else 0, None)


def test_what_comes_between_the_look_and_the_commit_is_looked_at(shop: House, monkeypatch: pytest.MonkeyPatch):
    table = overwritten()
    run(shop, table, asked())
    _add_between(shop, table, monkeypatch)
    assert run(shop, table, asked()).deleted == 1


def _add_between(shop: House, table: PostgresToDelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody adds a row just after the first look at the old ones."""
    look, once = _Look.__call__, iter([1])

    def overtaken(self: _Look) -> KeySet:
        found = look(self)
        for _ in once:
            shop.opened(table).add_stranger("zzz")
            self.run.binding.target.count()
        return found

    monkeypatch.setattr(_Look, "__call__", overtaken)


@pytest.mark.slow
def test_a_warehouse_carries_over_what_a_merge_would_keep(
    shop: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch
):
    name_warehouse(databricks_schema, monkeypatch)
    table = overwritten()
    run(shop, table, asked())
    far = shop.opened(table)
    far.add_stranger("zzz")
    far.copy("k2")
    shop.execute(f"{LESS}; UPDATE item SET amount = 2 WHERE id IN ('k2', 'k5'); INSERT INTO item VALUES ('new', 1)")
    shop.execute("UPDATE item SET day = 'infinity' WHERE id = 'k2'")
    with pytest.raises(MassDeleteError, match="151 of the target's 303 records would be deleted"):
        run(shop, table, asked())
    rows = [(row["id"], row["amount"]) for row in shop.rows(table)]
    assert (len(rows), rows.count(("k2", 0)), rows.count(("k5", 2)), rows.count(("zzz", None))) == (303, 2, 1, 1)
    counts = run(shop, table, asked(allow=True))
    assert (counts.deleted, counts.unchanged, counts.quarantined) == (151, 150, 1)
    assert sorted(row["id"] for row in shop.rows(table) if row["id"][1:] in ("2", "ew", "zz")) == ["k2", "k2", "new"]
    shop.execute("DELETE FROM item")
    run(shop, table, asked(allow=True))
    assert shop.rows(table) == []


@pytest.mark.slow
def test_a_warehouse_that_loses_answers_or_conflicts_doubles_nothing(
    shop: House, databricks_schema: Schema, monkeypatch: pytest.MonkeyPatch
):
    name_warehouse(databricks_schema, monkeypatch)
    schema, table = databricks_schema, overwritten()
    run(shop, table, asked())
    shop.execute("UPDATE item SET day = 'infinity' WHERE id = 'k9'; UPDATE item SET amount = 1 WHERE id = 'k8'")
    schema.fault("drop", match="INSERT OVERWRITE")
    assert run(shop, table, asked()).upserted == 1
    assert len(shop.rows(table)) == 300
    schema.fault("fail", match="INSERT OVERWRITE", message="[DELTA_CONCURRENT_APPEND] somebody was quicker")
    _add_between(shop, table, monkeypatch)
    assert run(shop, table, asked()).deleted == 1, "looked at anew"
    schema.fault("fail", match="INSERT OVERWRITE", message="[DIVIDE_BY_ZERO] no")
    with pytest.raises(SyncError, match=r"could not overwrite table main\..*DIVIDE_BY_ZERO"):
        run(shop, table, asked())
    target = shop.bind(table).target
    assert isinstance(target, DatabricksTarget)
    assert list(Staging(target.warehouse, target.table)._entries(target.staging.folder)) == []
    assert len(shop.rows(table)) == 300


def test_a_table_that_was_merged_is_replaced_from_then_on_and_a_rebuild_is_one(shop: House):
    merged = document()
    shop.sync(merged)
    table = overwritten()
    run(shop, table, asked())
    shop.execute("ALTER TABLE item ADD COLUMN colour text DEFAULT 'red'")
    run(shop, table, asked())
    assert {row["colour"] for row in shop.rows(table)} == {"red"}
    shop.execute("ALTER TABLE item DROP COLUMN tags")
    with pytest.raises(SyncError, match="--rebuild"):
        run(shop, table, asked())
    run(shop, table, asked("rebuild"))
    assert shop.prove(table, "deep").equal
    run(shop, table, asked())
    assert shop.prove(table, "deep").equal


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"target": {"engine": "spark"}}, "set target.engine: databricks"),
        ({"target": {"properties": {"delta.appendOnly": "True"}}}, "delta.appendOnly forbids"),
        ({"layout": {"z_order": ["amount"]}}, "would undo it"),
        ({"target": {"mode": "replace"}}, "'merge', 'append' or 'overwrite'"),
    ],
)
def test_a_document_that_asks_for_what_the_mode_undoes_is_refused(more: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said):
        overwritten(**more)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(house: House, postgres_server: Any, house_template: str):
    peaks = {}
    for rows in (120_000, 360_000):
        for url in fresh_database(postgres_server, house_template):
            child = [sys.executable, "-m", "sync_pipelines_tests.lake.heavy", url, str(rows)]
            place = {"DATABASE_URL": url, "DELTA_URI": f"{os.environ['DELTA_URI']}/{rows}"}
            done = subprocess.run(child, env={**os.environ, **place}, check=True, capture_output=True, text=True)
            _, peaks[rows], held = map(int, done.stdout.split())
            assert held == rows + 1
    assert peaks[360_000] < 1.3 * peaks[120_000], peaks
