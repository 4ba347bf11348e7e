"""`sync-pipelines trace`: the way of each event, by its correlation id or its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sync_pipelines_tests.graph.app import Application, concepts, publish
from sync_pipelines_tests.graph.house import Academy

pytestmark = [pytest.mark.slow, pytest.mark.spare_where(graph="neo4j")]


def test_a_trace_shows_the_way_of_each_event(academy: Academy, app: Application) -> None:
    with app.transaction() as cursor:
        cursor.execute("INSERT INTO concept (id, title) VALUES ('c1', 'one')")
        publish(cursor, "CONTENT_CREATED", "concept", "c1", {}, correlation_id="request-7")
    academy.sync(concepts())
    app.publish("CONTENT_UPDATED", "c1", {}, correlation_id="request-7")
    found = json.loads(traced("request-7", "--json"))["events"]
    shown = [(event["table"], event["version"], event["status"], event["target_version"]) for event in found]
    assert shown == [("learning/concept", 1, "COMPLETED", 1), ("learning/concept", 2, "PENDING", 1)]
    assert found[0]["seconds"] > 0
    alone = json.loads(traced(found[1]["event_id"].upper(), "--json"))["events"]
    assert [event["version"] for event in alone] == [2]


def test_a_trace_shows_ids_that_look_like_markup_as_they_are(academy: Academy, app: Application) -> None:
    app.publish("CONTENT_UPDATED", "[/x] [red]1", correlation_id="[/request] [b]7")
    assert "concept [/x] [red]1" in traced("[/request] [b]7")


def traced(*arguments: str) -> str:
    """What `sync-pipelines trace` prints."""
    words = [sys.executable, "-m", "sync_pipelines_tests.graph.consuming_child", "", "1", "trace", *arguments]
    child = subprocess.run(words, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    return child.stdout
