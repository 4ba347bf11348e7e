"""Which graph, and whether one is named at all, is read from the environment; what is wrong is one sentence."""

from __future__ import annotations

import math
import re
from asyncio import CancelledError
from types import SimpleNamespace
from typing import Any

import pytest
from neo4j.exceptions import Neo4jError
from psycopg2 import DatabaseError
from typer.testing import CliRunner

from sync_pipelines import ConflictResolver, ReconciliationJob, run_consumer
from sync_pipelines.cli import app as cli
from sync_pipelines.components.outbox_to_neo4j import OutboxToNeo4j
from sync_pipelines.engine.errors import ConfigurationError, NotConfiguredError, RunError, TransientError
from sync_pipelines.health_systems import FAR_SYSTEMS
from sync_pipelines.resources.neo4j import Neo4jResource
from sync_pipelines.targets.neo4j.client import Graph
from sync_pipelines.targets.neo4j.errors import classify, graph_errors
from sync_pipelines.targets.neo4j.settings import GraphSettings
from sync_pipelines_tests.graph.house import Academy, concept, prerequisite

SOURCE = {"connection": "learning", "table": "concept", "key": ["id"], "changed_at": "updated_at"}
NAMES = ("NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD", "NEO4J_DATABASE")


@pytest.fixture(autouse=True)
def _nothing_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "academy" not in request.fixturenames:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)


def test_without_address_and_password_no_graph_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = Neo4jResource()
    assert not resource.configured()
    with pytest.raises(NotConfiguredError, match="NEO4J_URI and NEO4J_PASSWORD are not set"):
        resource.settings()
    resources = SimpleNamespace(neo4j=resource)
    assert concept().not_configured(resources) == "not configured: NEO4J_URI and NEO4J_PASSWORD are not set"
    assert FAR_SYSTEMS["neo4j"](resources).status == "not configured"
    monkeypatch.setenv("NEO4J_DATABASE", "graph")
    assert not resource.configured()


@pytest.mark.parametrize(("name", "value"), [("NEO4J_URI", "neo4j://h"), ("NEO4J_PASSWORD", "open sesame")])
def test_one_of_them_configures_it_and_the_rest_has_defaults(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    found = Neo4jResource().settings()
    assert (found.user, found.database) == ("neo4j", "neo4j")
    assert found.uri == (value if name == "NEO4J_URI" else "bolt://localhost:7687")
    assert "sesame" not in repr(found)


@pytest.mark.parametrize("scheme", ["bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc"])
def test_every_scheme_of_the_driver_is_taken_and_leads_to_one_lock(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("NEO4J_URI", f"{scheme}://Graph.Example.com")
    assert Neo4jResource().settings().lock_name == "graph:graph.example.com:7687/neo4j"


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://h", "NEO4J_URI begins with none of bolt, bolt"),
        ("localhost:7687", "begins with none of"),
        ("bolt://", "names no host"),
        ("bolt://h:port", "is no address"),
        ("bolt://neo4j:sesame-word@h", "holds a login: set NEO4J_USER and NEO4J_PASSWORD"),
        ("bolt://h/graph", "the database is named by NEO4J_DATABASE"),
        ("bolt://h?policy=eu", "has a query, which only neo4j:// takes"),
    ],
)
def test_a_wrong_address_is_told_in_one_sentence_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, uri: str, why: str
) -> None:
    monkeypatch.setenv("NEO4J_URI", uri)
    with pytest.raises(ConfigurationError, match=why) as caught:
        Neo4jResource().settings()
    assert "sesame-word" not in str(caught.value)


def test_a_graph_is_one_target_for_all_its_labels_and_types() -> None:
    settings = GraphSettings(uri="bolt://h", password="x")
    resources = SimpleNamespace(neo4j=SimpleNamespace(settings=lambda: settings))
    names = {table.target_parts(resources)["lock_name"] for table in (concept(), prerequisite())}
    assert names == {"graph:h:7687/neo4j"}
    assert {concept().pool, prerequisite().pool} == {"graph"}


def test_a_graph_that_answers_is_up_with_what_it_calls_itself(academy: Academy) -> None:
    found = FAR_SYSTEMS["neo4j"](academy.resources)
    assert found.status == "up"
    assert "Neo4j/5.26" in (found.detail or "")
    assert academy.server.password not in (found.detail or "")


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf, 1e9])
def test_a_poll_interval_that_no_clock_waits_is_refused_before_anything_is_read(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO4J_URI", "bolt://nowhere")
    with pytest.raises(ConfigurationError, match=r"poll interval of .* is none"):
        run_consumer(poll_interval=seconds)
    monkeypatch.setenv("SYNC_POLL_INTERVAL", str(seconds))
    with pytest.raises(ConfigurationError, match=r"poll interval of .* is none|expected a number above 0"):
        run_consumer()
    ended = CliRunner().invoke(cli, ["consume", "learning", "--poll-interval", str(seconds)])
    assert (ended.exit_code, "Invalid value for '--poll-interval'" in ended.output) == (2, True)


@pytest.mark.parametrize("size", [0, -1, 2.5, "50", True])
def test_a_consumer_of_batches_that_are_none_is_refused(size: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_URI", "bolt://nowhere")
    with pytest.raises(ConfigurationError, match=f"A batch of {size!r} is none"):
        run_consumer(size)


def test_a_poll_interval_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_URI", "bolt://nowhere")
    for given in ("5", True):
        with pytest.raises(ConfigurationError, match=f"A poll interval of {given!r} s is none"):
            run_consumer(poll_interval=given)  # ty: ignore


def test_of_a_sync_that_is_kept_in_no_graph_nothing_is_consumed() -> None:
    with pytest.raises(ConfigurationError, match=r"knowledge: no table .* in a graph\. Documents of OutboxToNeo4j can"):
        run_consumer(sync="knowledge")


@pytest.mark.parametrize("sync", [5, b"learning", ["learning"]])
def test_what_is_no_name_of_a_sync_is_refused_by_what_was_given(sync: Any) -> None:
    told = rf"{re.escape(repr(sync))} is no name of a sync or table. Give a text, such as"
    for use in (ConflictResolver, ReconciliationJob, run_consumer):
        with pytest.raises(ConfigurationError, match=told):
            use(sync=sync)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"entity_type": "concept"}, "entity_type belongs to events: outbox"),
        ({"events": "outbox", "entity_type": ""}, "entity_type is empty"),
        ({"events": "outbox", "entity_type": "ä" * 129}, "has 258 bytes, and no event can be published of a type of"),
        ({"events": "outbox", "target": {"label": "Ab" * 90}}, "has 269 bytes"),
        ({"events": "outbox", "source": {**SOURCE, "capture": "cursor"}}, "capture: cursor is for events: table"),
    ],
)
def test_an_entity_type_that_no_event_can_have_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OutboxToNeo4j.model_validate({"sync": "learning", "source": SOURCE, "target": {"label": "L"}, **given})


def test_an_entity_type_may_be_as_long_as_events_have_it(academy: Academy) -> None:
    longest = "ä" * 128
    assert concept(events="outbox", entity_type=longest).events_of == longest
    publish = "SELECT sync.publish_event('CONTENT_CREATED', %s, 'c1', '{}')"
    academy.execute(publish, longest)
    with pytest.raises(DatabaseError, match="longer than 256 bytes"):
        academy.execute(publish, longest + "x")


@pytest.mark.parametrize("use", [ReconciliationJob, run_consumer])
def test_what_works_on_one_sync_does_not_take_none_for_all(use: Any) -> None:
    with pytest.raises(ConfigurationError, match="None is no name of a sync or table"):
        use(sync=None)


@pytest.mark.parametrize(
    ("said", "kind", "remedy"),
    [
        ("The credentials of this connection are no longer valid", TransientError, "A server that stops says so"),
        ("Invalid username or password", ConfigurationError, "Check NEO4J_USER and NEO4J_PASSWORD"),
    ],
)
def test_a_login_that_a_stopping_server_takes_back_is_an_outage_and_a_wrong_one_is_not(
    said: str, kind: type[Exception], remedy: str
) -> None:
    error = Neo4jError._hydrate_neo4j(code="Neo.ClientError.Security.Unauthorized", message=said)
    found = classify(error, "write", place="bolt://h", sync="learning", table="concept")
    assert type(found) is kind
    assert remedy in str(found)


def test_an_index_where_the_constraint_would_be_is_told_with_its_remedy() -> None:
    said = "There already exists an index (:Concept {sync_key})."
    error = Neo4jError._hydrate_neo4j(code="Neo.ClientError.Schema.IndexAlreadyExists", message=said)
    found = classify(error, "make the constraint", place="bolt://h", sync="learning", table="concept")
    assert isinstance(found, RunError)
    assert "Drop that index (SHOW INDEXES names it)" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        Neo4jError._hydrate_neo4j(code="Neo.ClientError.Request.Invalid", message="BEGIN not expected"),
        BufferError("Existing exports of data: object cannot be re-sized"),
    ],
)
def test_a_run_that_is_interrupted_as_the_driver_sends_is_not_said_to_have_failed(error: Exception) -> None:
    error.__context__ = KeyboardInterrupt()  # the driver's session raises it as it closes
    with pytest.raises(KeyboardInterrupt), graph_errors("read", place="bolt://h", sync="learning", table="concept"):
        raise error


def test_an_interrupt_drops_the_connection_and_waits_for_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    class Session:
        def execute_read(self, *_: Any) -> None:
            raise KeyboardInterrupt

        def close(self) -> None:
            raise AssertionError("to roll back, it would wait for an answer that may never come")

        def __exit__(self, kind: type[BaseException], *_: Any) -> None:
            ended.append(kind)

    driver = SimpleNamespace(session=lambda **_: Session())
    monkeypatch.setattr("sync_pipelines.targets.neo4j.client.driver_of", lambda _: driver)
    graph = Graph(GraphSettings(uri="bolt://h", user="u"), sync="learning", table="concept")
    with pytest.raises(KeyboardInterrupt):
        graph.read("look", "RETURN 1")
    assert ended == [CancelledError]
