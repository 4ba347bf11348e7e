"""Events that the graph refuses: tried again with pauses, given up, and freed."""

from __future__ import annotations

import dagster as dg
import pytest
from typer.testing import CliRunner

from sync_pipelines.cli import app as cli
from sync_pipelines.engine.consuming import Bout, TableConsumer
from sync_pipelines.engine.errors import MassRefusalError, TransientError
from sync_pipelines.targets.neo4j.writing import NodeWriter
from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.graph.app import Application, concepts
from sync_pipelines_tests.graph.house import Academy

# what Neo4j itself makes of it, its neighbours ask: nodes, types, relationships, proof, conflicts
pytestmark = pytest.mark.spare_where(graph="neo4j")

_STATES = "status, attempts, round(extract(epoch FROM retry_at - updated_at))::int"


@pytest.fixture
def app(academy: Academy) -> Application:
    """The application; somebody has told the graph that no two concepts have one title, and c0 has one."""
    academy.add("c0")
    academy.sync(concepts())
    academy.cypher("CREATE CONSTRAINT IF NOT EXISTS FOR (x:Concept) REQUIRE x.title IS UNIQUE")
    return Application(academy.url)


@pytest.fixture(autouse=True)
def no_rule_is_left(academy: Academy):
    yield
    for row in academy.cypher("SHOW CONSTRAINTS YIELD name, properties WHERE 'title' IN properties RETURN name"):
        academy.cypher(f"DROP CONSTRAINT `{row['name']}`")


def _refuse(academy: Academy, app: Application, *, times: int = 3) -> None:
    """Let the event of c1 be refused so often, without its pauses."""
    for _ in range(times):
        academy.sync(concepts())
        app.run("UPDATE sync.sync_event_log SET retry_at = now() WHERE retry_at IS NOT NULL")


def _drop(key: str, *, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody does it by command."""
    with monkeypatch.context() as patched:
        patched.setattr("sync_pipelines.definitions.load", lambda: (None, (concepts(),)))
        ended = CliRunner().invoke(cli, ["quarantine", "drop", "learning/concept", "--key", key])
    assert ended.exit_code == 0, ended.output


def _states(app: Application, name: str) -> list[tuple[object, ...]]:
    return app.run(f"SELECT {_STATES} FROM sync.sync_event_log WHERE entity_id = %s ORDER BY source_version", name)


def test_a_refused_event_is_tried_again_after_longer_and_longer_pauses_then_given_up(
    academy: Academy, app: Application
) -> None:
    app.create("c1", title="c0")
    app.update("c1", difficulty=2)
    app.create("c2")
    seen = []
    for _ in range(3):
        academy.sync(concepts())
        seen.append(_states(app, "c1")[0])
        app.run("UPDATE sync.sync_event_log SET retry_at = retry_at + interval '1 minute'")  # a busy machine is slow
        assert academy.sync(concepts()).read == 0  # not before its time
        app.run("UPDATE sync.sync_event_log SET retry_at = now() WHERE retry_at IS NOT NULL")
    assert seen == [("PENDING", 1, 1), ("PENDING", 2, 2), ("FAILED", 3, None)]
    assert app.statuses("c1") == ["FAILED", "BLOCKED"]
    assert app.statuses("c2") == ["COMPLETED"]
    correlation = app.events("correlation_id")[0][0]
    assert correlation in academy.quarantined(concepts())["c1"]
    pending = "SELECT entity_id, has_pending_changes FROM sync.sync_status ORDER BY 1"
    assert academy.execute(pending) == [("c1", True), ("c2", False)]


def test_a_consumer_tells_an_event_once_however_often_it_was_tried(academy: Academy, app: Application) -> None:
    told: list[Bout] = []
    consumer = TableConsumer(binding=academy.bind(concepts()), report=told.append)
    app.create("c1", title="c0")
    app.create("c2", "c3")
    assert [consumer.step() for _ in range(2)] == [3, 0]
    consumer.end()
    for _ in range(2):
        app.run("UPDATE sync.sync_event_log SET retry_at = now() WHERE retry_at IS NOT NULL")
        consumer.step()
    consumer.end()
    assert app.statuses("c1") == ["FAILED"]
    assert [bout.events for bout in told] == [2, 1]


def test_what_was_deleted_stays_so_on_record_while_its_new_creation_is_refused(
    academy: Academy, app: Application
) -> None:
    app.create("c1", title="first")
    app.delete("c1")
    academy.sync(concepts())
    app.create("c1", title="c0")
    academy.sync(concepts())
    states = "SELECT tombstone, source_version, target_version, has_pending_changes FROM sync.sync_status"
    assert academy.execute(states) == [(True, 3, 2, True)]


def test_an_event_is_given_up_after_as_many_tries_as_the_setting_says(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.create("c1", title="c0")
    monkeypatch.setenv("SYNC_RETRY_MAX", "1")
    with dg.DagsterInstance.ephemeral() as instance:
        World(url=academy.url, chroma=None, instance=instance, component=concepts()).materialize()
    assert app.statuses("c1") == ["FAILED"]


def test_what_was_given_up_blocks_the_later_events_of_its_own_entity_alone(academy: Academy, app: Application) -> None:
    app.create("c1", title="c0")
    _refuse(academy, app)
    app.update("c1", title="mended")
    app.create("c2")
    academy.sync(concepts())
    assert (app.statuses("c1"), app.statuses("c2")) == (["FAILED", "BLOCKED"], ["COMPLETED"])
    assert academy.titles() == ["c0", "c2"]


def test_a_replay_frees_the_events_of_its_record(academy: Academy, app: Application) -> None:
    app.create("c1", title="c0")
    _refuse(academy, app)
    app.update("c1", title="mended")
    academy.sync(concepts(), mode="records", keys=("c1",))
    assert not academy.quarantined(concepts())
    assert app.statuses("c1") == ["PENDING", "PENDING"], "whoever consumes now takes it"
    academy.sync(concepts())
    assert app.events("status, attempts") == [("COMPLETED", 0), ("COMPLETED", 0)]  # it had its tries anew
    assert academy.titles() == ["c0", "mended"]


def test_a_drop_leaves_the_event_out_and_lets_those_behind_it_go_on(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.create("c1", title="c0")
    _refuse(academy, app)
    app.update("c1", title="mended")
    _drop("c1", monkeypatch=monkeypatch)
    assert app.statuses("c1") == ["COMPLETED", "PENDING"]
    academy.sync(concepts())
    assert app.statuses("c1") == ["COMPLETED", "COMPLETED"]
    assert "dropped" in app.events("last_error")[0][0]
    assert academy.titles() == ["c0", "mended"]
    assert academy.prove(concepts()).equal


def test_an_event_that_spells_its_key_otherwise_is_given_up_and_dropped_as_every_other(
    academy: Academy, monkeypatch: pytest.MonkeyPatch
) -> None:
    academy.execute("ALTER TABLE concept ALTER id TYPE int USING id::int")
    app = Application(academy.url)
    academy.add("0")
    academy.sync(concepts())
    academy.cypher("CREATE CONSTRAINT IF NOT EXISTS FOR (x:Concept) REQUIRE x.title IS UNIQUE")
    academy.execute("INSERT INTO concept (id, title) VALUES (1, '0')")
    app.publish("CONTENT_CREATED", "01")
    _refuse(academy, app, times=4)
    academy.sync(concepts(), mode="full")
    assert (app.statuses("01"), list(academy.quarantined(concepts()))) == (["FAILED"], ["1"])
    _drop("1", monkeypatch=monkeypatch)
    assert app.statuses("01") == ["COMPLETED"]
    states = "SELECT entity_id, record_key, target_version, has_pending_changes FROM sync.sync_status"
    assert academy.execute(states) == [("01", "1", None, False)], "of what was left out nothing is pending"


@pytest.mark.parametrize("times", [1, 2])
def test_what_stands_after_refusals_and_an_outage_is_nobodys_edit(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    table = concepts(conflicts={"strategy": "manual_review"})
    app.create("c1")
    academy.sync(table)
    app.update("c1", title="c0")
    monkeypatch.setenv("SYNC_RETRY_MAX", str(times))
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(times):
            World(url=academy.url, chroma=None, instance=instance, component=table).materialize()
            app.run("UPDATE sync.sync_event_log SET retry_at = now() WHERE retry_at IS NOT NULL")
    _drop("c1", monkeypatch=monkeypatch)
    app.update("c1", title="second")

    def lost(*_: object) -> int:
        raise TransientError("the graph does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(NodeWriter, "put", lost)
        with pytest.raises(TransientError):
            academy.sync(table)
    app.update("c1", title="third")
    academy.sync(table)
    assert academy.titles() == ["c0", "third"]
    assert not academy.bind(table).ledger.conflict_history("learning", "concept")


def test_a_full_sync_leaves_the_events_of_what_the_graph_refused(academy: Academy, app: Application) -> None:
    app.create("c1", title="c0")
    app.create("c2")
    academy.sync(concepts(), mode="full")
    assert "c1" in academy.quarantined(concepts())
    assert (app.statuses("c1"), app.statuses("c2")) == (["PENDING"], ["COMPLETED"])
    app.update("c1", title="mended")
    academy.sync(concepts())
    assert app.statuses("c1") == ["COMPLETED", "COMPLETED"]
    assert academy.titles() == ["c0", "c2", "mended"]
    assert not academy.quarantined(concepts())


def test_more_refused_events_than_bad_records_explain_stop_the_run_and_the_events_stay(
    academy: Academy, app: Application
) -> None:
    few = concepts(checks={"mass_delete": {"records": 4, "share": 0.5}})
    app.create("x1", "x2", "x3", "x4", "x5", title="c0")
    _refuse(academy, app, times=2)  # with its third try an event is given up
    with pytest.raises(MassRefusalError, match="5 of 5 records were refused"):
        academy.sync(few)
    assert {status for *_, status in app.events()} == {"PENDING"}
    assert not academy.quarantined(few)
    app.create("y1", "y2", "y3", "y4", "y5")  # so that it is no more than half of what is due
    academy.sync(few)
    assert sorted(academy.quarantined(few)) == ["x1", "x2", "x3", "x4", "x5"]
    assert (app.statuses("x5"), app.statuses("y5")) == (["FAILED"], ["COMPLETED"])


def test_a_full_sync_completes_what_was_given_up_when_its_record_is_mended_without_an_event(
    academy: Academy, app: Application
) -> None:
    app.create("c1", title="c0")
    _refuse(academy, app)
    app.update("c1", difficulty=2)
    academy.sync(concepts())
    assert app.statuses("c1") == ["FAILED", "BLOCKED"]
    app.run("UPDATE concept SET title = 'mended' WHERE id = 'c1'")
    academy.sync(concepts(), mode="full")
    assert app.statuses("c1") == ["COMPLETED", "COMPLETED"]
    assert not academy.quarantined(concepts())
