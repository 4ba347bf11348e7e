"""Many events at once: taken, read and completed beside the writing of others, in transactions of the batch size."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from sync_pipelines.engine.errors import LockLostError, TransientError
from sync_pipelines.sources.postgres import connection, few
from sync_pipelines.sources.postgres.events import PostgresOutbox
from sync_pipelines.targets.neo4j.staging import StagedRows
from sync_pipelines.targets.neo4j.target import GraphTarget
from sync_pipelines.targets.neo4j.writing import NodeWriter
from sync_pipelines_tests.graph.app import Application, concepts, prerequisites, publish
from sync_pipelines_tests.graph.house import Academy
from sync_pipelines_tests.graph.test_conflicts import conflicts, edit

MANY = [f"c{number:02}" for number in range(1, 41)]
_DONE = "SELECT count(*) FROM sync.sync_event_log WHERE status = 'COMPLETED'"
_BOTH = "MATCH (n:Concept) RETURN n.title AS t, coalesce(n.difficulty, 0) AS d"


@pytest.fixture
def app(academy: Academy) -> Application:
    academy.add("c0")
    academy.require(("c0", "c0"))
    for table in (concepts(), prerequisites()):
        academy.sync(table)
    return Application(academy.url)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The keys of each transaction that writes nodes."""
    put, found = NodeWriter.put, []

    def told(writer: NodeWriter, rows: Sequence[list[Any]], held: Any) -> int:
        found.append([row[0] for row in rows])
        return put(writer, rows, held)

    monkeypatch.setattr(NodeWriter, "put", told)
    return found


@pytest.mark.parametrize("detection", [True, False])
def test_many_events_come_in_transactions_of_the_batch_size(
    academy: Academy, app: Application, written: list[list[str]], detection: bool
) -> None:
    table = concepts(conflict_detection=detection)
    academy.sync(table, mode="full")
    app.create(*MANY)
    for name in MANY[::4]:
        app.update(name, title=f"{name} 2")
    app.delete(*MANY[1::4])
    assert academy.sync(table, batch_size=3).upserted == 30
    assert max(map(len, written)) == 3
    assert {key for keys in written for key in keys} == {*MANY} - {*MANY[1::4]}
    assert {status for *_, status in app.events()} == {"COMPLETED"}
    assert academy.prove(table, "deep").equal


def test_what_is_under_way_and_all_of_its_entities_is_left_alone(academy: Academy, app: Application) -> None:
    app.create("c1", "c2", "c3")
    app.update("c1", title="later")
    outbox = academy.bind(concepts()).outbox
    assert outbox is not None
    first = outbox.take(2)
    assert [event.entity_id for event in first] == ["c1", "c2"]
    beside = outbox.take(10, beside=["c1", "c2"])
    assert [event.entity_id for event in beside] == ["c3"]
    assert app.statuses("c1") == ["PROCESSING", "PENDING"]
    outbox.complete([event.number for event in first])
    assert {(event.entity_id, event.version) for event in outbox.take(10)} == {("c1", 2), ("c3", 1)}


def test_where_one_transaction_fails_those_before_it_count_and_the_others_events_wait_untried(
    academy: Academy, app: Application, written: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    app.create(*MANY)
    put = NodeWriter.put

    def fails(writer: NodeWriter, *given: Any) -> int:
        if len(written) == 5:
            raise TransientError("the graph has gone")
        return put(writer, *given)

    with monkeypatch.context() as broken:
        broken.setattr(NodeWriter, "put", fails)
        with pytest.raises(TransientError):
            academy.sync(concepts(), batch_size=3)
    done = app.run(_DONE)[0][0]
    assert 0 < done < len(MANY)
    assert app.run("SELECT DISTINCT status, attempts FROM sync.sync_event_log WHERE completed_at IS NULL") == [
        ("PENDING", 0)
    ]
    academy.sync(concepts())
    assert app.run(_DONE) == [(len(MANY),)]
    assert academy.prove(concepts(), "deep").equal


def test_what_was_taken_by_a_writer_that_lost_its_lock_is_left_to_the_one_that_has_it_now(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.create("c1")

    def lost(*_: object) -> Iterator[Any]:
        raise LockLostError("the lock was lost.")

    with monkeypatch.context() as broken:
        broken.setattr(StagedRows, "write", lost)
        with pytest.raises(LockLostError):
            academy.sync(concepts())
    assert app.statuses("c1") == ["PROCESSING"], "perhaps by somebody else, who has taken it meanwhile"
    academy.sync(concepts())
    assert app.statuses("c1") == ["COMPLETED"]


def test_rows_that_are_large_together_are_read_in_parts(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.create(*MANY)
    app.delete(*MANY[:5])
    monkeypatch.setattr(few, "MOST_BYTES", 1)
    monkeypatch.setattr(connection, "_BATCH_BYTES", 10)
    academy.sync(concepts())
    assert {status for *_, status in app.events()} == {"COMPLETED"}
    assert academy.titles() == ["c0", *MANY[5:]]


def test_an_edit_that_comes_between_the_look_and_the_write_is_judged_too(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = concepts(conflicts={"strategy": "merge"})
    app.create("c1", "c2")
    academy.sync(table)
    write, edits = StagedRows.write, iter(["n.difficulty = 5"])

    def late(rows: StagedRows) -> Iterator[Any]:
        for change in edits:
            edit(academy, change)
        return write(rows)

    monkeypatch.setattr(StagedRows, "write", late)
    app.update("c1", title="ours")
    app.update("c2", title="ours")
    academy.sync(table)
    assert sorted((row["t"], row["d"]) for row in academy.cypher(_BOTH)) == [("c0", 0), ("ours", 0), ("ours", 5)]
    assert [(item.key, item.state) for item in conflicts(academy)] == [("c1", "resolved")]
    assert academy.prove(table).stale == 0


@pytest.mark.parametrize(
    ("weight", "strategy"),
    [*itertools.product([None, 9.0], ["last_write_wins", "manual_review"]), (None, None)],
)
def test_two_entities_that_name_one_record_leave_it_as_its_row_is(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch, weight: float | None, strategy: str | None
) -> None:
    """The second is looked at when the first is not written yet, and its row may be again what the graph holds.

    Without a strategy nobody looks for edits, and nobody looks again as it is written.
    """
    table = prerequisites(**({"conflicts": {"strategy": strategy}} if strategy else {"conflict_detection": False}))
    flipped, looked = threading.Event(), threading.Event()
    take, stage, write = PostgresOutbox.take, GraphTarget.stage, StagedRows.write

    def say(name: str, weight: float | None) -> None:
        ends = {side: {"type": "concept", "id": "c0"} for side in ("start", "end")}
        with app.transaction() as cursor:
            cursor.execute("UPDATE prerequisite SET weight = %s", (weight,))
            payload = {"type": "PREREQUISITE_OF", "properties": {}, **ends}
            publish(cursor, "RELATIONSHIP_CREATED", "prerequisite_of", name, payload)

    def taken(outbox: PostgresOutbox, most: int, *, beside: Sequence[str] = ()) -> Any:
        if beside:
            assert flipped.wait(20)
        return take(outbox, most, beside=beside)

    def staged(target: GraphTarget, *given: Any, **named: Any) -> Any:
        found = stage(target, *given, **named)
        if flipped.is_set():
            looked.set()
        return found

    def late(rows: StagedRows) -> Iterator[Any]:
        if not flipped.is_set():
            say("another name", weight)
            flipped.set()
            assert looked.wait(20)
        return write(rows)

    say("one name", 7.0)
    monkeypatch.setattr(PostgresOutbox, "take", taken)
    monkeypatch.setattr(GraphTarget, "stage", staged)
    monkeypatch.setattr(StagedRows, "write", late)
    academy.sync(table, batch_size=1)
    assert academy.prove(table, "deep").equal
    assert academy.cypher("MATCH ()-[r:PREREQUISITE_OF]->() RETURN r.weight AS w") == [{"w": weight}]
    assert not academy.bind(table).ledger.conflict_history("learning", table.table_name)


def test_what_waited_for_a_node_that_came_and_went_at_once_waits_no_more(academy: Academy, app: Application) -> None:
    table = prerequisites()
    app.require(("c0", "c1"))
    academy.sync(table)
    assert app.statuses("c0-c1") == ["BLOCKED"]
    app.create("c1")
    with app.transaction() as cursor:
        cursor.execute("DELETE FROM prerequisite WHERE concept_id = 'c1'")
        publish(cursor, "RELATIONSHIP_DELETED", "prerequisite_of", "c0-c1", {"type": "X", "properties": {}})
    app.delete("c1")
    for each in (concepts(), table):
        academy.sync(each)
    assert {status for *_, status in app.events()} == {"COMPLETED"}
