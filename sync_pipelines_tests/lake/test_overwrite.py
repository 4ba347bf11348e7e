"""Tables that each run replaces (`target.mode: overwrite`): one commit, and all that a merge promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pydantic import ValidationError

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.engine import run as engine_run
from sync_pipelines.engine.errors import MassRefusalError, SyncError
from sync_pipelines.engine.model import Counts, Scope
from sync_pipelines.engine.plan import plan
from sync_pipelines.engine.repair import Wanted, plan_repair, repair
from sync_pipelines.engine.run import Request, Run
from sync_pipelines.io_managers.base import metadata_of
from sync_pipelines.targets.delta import overwriting
from sync_pipelines_tests.lake.house import House, document
from sync_pipelines_tests.lake.opened import InFolder
from sync_pipelines_tests.lake.overwritten import LESS, asked, overwritten, plain, run


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
def twins(items: House) -> Twins:
    """Both tables with three hundred items."""
    found = Twins(items)
    for table in found.both:
        assert run(items, table, asked("full")).upserted == 300
    return found


@pytest.mark.slow
@pytest.mark.spare_where(engine="databricks")
@pytest.mark.usefixtures("engine")
def test_each_run_replaces_all_rows_by_one_commit_and_the_table_stays_what_it_is(items: House):
    table = overwritten(target={"properties": {"delta.enableChangeDataFeed": "true"}})
    run(items, table, asked())
    far = items.opened(table)
    before, itself = far.files(), _itself(items, table)
    assert far.overwrites() == 1
    items.execute("UPDATE item SET amount = 1 WHERE id IN ('k1', 'k2'); DELETE FROM item WHERE id = 'k3'")
    items.execute("INSERT INTO item VALUES ('new', 5, NULL, '{}')")
    counts = run(items, table, asked())
    assert (counts.upserted, counts.unchanged, counts.deleted, counts.read) == (3, 297, 1, 300)
    assert far.overwrites() == 2
    assert not before & far.files(), "every row was written anew"
    assert _itself(items, table) == itself
    assert far.comments()[1]["amount"] == "in euros"
    assert len({row["synced_at"] for row in far.rows()}) == 1
    assert items.prove(table, "deep").equal
    first = far.version() + 1
    assert run(items, table, asked()).unchanged == 300
    assert far.overwrites() == 3, "each run replaces, also what nobody has changed"
    kinds = [row["_change_type"] for row in _feed(items, table, first)]
    assert (kinds.count("delete"), kinds.count("insert"), len(kinds)) == (300, 300, 600)


def _itself(items: House, table: PostgresToDelta) -> tuple[Any, ...]:
    """What makes a table the same one, whatever its rows."""
    far, held = items.opened(table), items.bind(table).target.held()
    assert held is not None
    assert held.properties["delta.enableChangeDataFeed"] == "true"
    own = {name: text for name, text in held.properties.items() if name != "sync_pipelines.stamp"}
    return far.identity(), far.comments(), held.columns, own


def _feed(items: House, table: PostgresToDelta, first: int) -> list[dict[str, Any]]:
    far = items.opened(table)
    if isinstance(far, InFolder):
        return pa.table(DeltaTable(far.place).load_cdf(starting_version=first).read_all()).to_pylist()
    return far._ask(f"SELECT * FROM table_changes('{far.table}', {first})")


@pytest.mark.slow
def test_a_request_for_what_is_pending_becomes_a_full_one_and_says_so(items: House):
    table = overwritten()
    run(items, table, asked())
    items.opened(table).edit("k7", 77)
    held: list[Run] = []
    changes = engine_run.open_run(items.bind(table), asked(), keep=held.append)
    assert (changes.full, changes.rows) == (True, 300)
    counts = engine_run.write(changes)
    said = metadata_of(held[0], counts, 1.0)["mode"]
    assert said == "incremental (target.mode: overwrite replaces the whole table)"
    planned = plan(items.bind(table))
    assert (planned.read, planned.unchanged, planned.reason) == (300, 300, held[0].reason)
    assert items.prove(table, "deep").equal, "what somebody had edited went with the rest"


@pytest.mark.slow
def test_single_records_and_a_repair_are_merged(items: House):
    table = overwritten()
    run(items, table, asked())
    far = items.opened(table)
    items.execute("UPDATE item SET amount = 3 WHERE id IN ('k1', 'k2')")
    assert run(items, table, asked("records", keys=("k1",))).upserted == 1
    far.add_stranger("zzz")
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id="r")
    assert repair(items.bind(table), request, Wanted()).repaired == 1
    assert far.overwrites() == 1
    run(items, table, asked())
    assert items.prove(table, "deep").equal


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_emptied_source_empties_no_table(twins: Twins):
    twins.execute("DELETE FROM item")
    before = twins.house.opened(twins.replaced).files()
    assert "the source is empty" in twins.act()
    assert twins.house.opened(twins.replaced).files() == before
    twins.act(allow=True)
    assert twins.house.rows(twins.replaced) == []


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_run_that_refuses_too_much_leaves_the_table_as_it_was(items: House):
    table = overwritten()
    run(items, table, asked())
    far = items.opened(table)
    before = far.files()
    items.execute("UPDATE item SET day = 'infinity' WHERE id > 'k2'")
    with pytest.raises(MassRefusalError):
        run(items, table, asked())
    assert far.files() == before
    assert items.bind(table).ledger.list_quarantine("shop", "item", limit=None) == []


@pytest.mark.slow
def test_a_table_that_was_merged_is_replaced_from_then_on_and_a_rebuild_is_one(items: House):
    merged = document()
    items.sync(merged)
    table = overwritten()
    run(items, table, asked())
    items.execute("ALTER TABLE item ADD COLUMN colour text DEFAULT 'red'")
    run(items, table, asked())
    assert {row["colour"] for row in items.rows(table)} == {"red"}
    items.execute("ALTER TABLE item DROP COLUMN tags")
    with pytest.raises(SyncError, match="--rebuild"):
        run(items, table, asked())
    run(items, table, asked("rebuild"))
    assert items.prove(table, "deep").equal
    run(items, table, asked())
    assert items.prove(table, "deep").equal


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
