"""The demo of proof and repair: somebody edits a target behind the sync's back, and it is found, told and mended."""

from __future__ import annotations

import os
from typing import Any

from rich.table import Table

from sync_pipelines.sandbox.receiver import Receiver
from sync_pipelines.sandbox.story import Story

TABLE = "knowledge/knowledge_reference"
STRANGER = "not_of_this_source"


def tell(story: Story) -> None:
    """One document changed, one removed, one stranger added; one alert, one repair, one word of recovery."""
    from sync_pipelines.registry import tables

    story.tell("proof and repair: what was done behind the sync's back")
    bound = tables(TABLE)[0]
    with Receiver() as receiver:
        os.environ["SYNC_ALERT_URLS"] = receiver.url
        try:
            _alerts_tick()
            wanted = _tamper(bound)
            _show_check(story, bound, wanted)
            _show_message(story, receiver, 1)
            line = story.repair(TABLE, records=3)
            story.expect("records read, and deleted", (line.counts.read, line.counts.deleted), (2, 1))
            _show_message(story, receiver, 2)
        finally:
            del os.environ["SYNC_ALERT_URLS"]


def _tamper(bound: Any) -> dict[str, str]:
    """Straight through chromadb, as a script of somebody's would; key → what a proof must call it."""
    from sync_pipelines.targets.chroma.target import open_collection

    collection = open_collection(bound.resources.chroma.settings(), bound.component.target.collection)
    changed, removed = collection.get(limit=2, where={"sync_chunks": 1}, include=[])["ids"]
    collection.update(ids=[changed], documents=["Somebody has written something else here."])
    collection.delete(ids=[removed])
    collection.add(ids=[STRANGER], documents=["Nobody knows where this comes from."])
    return {changed: "stale", removed: "missing", STRANGER: "extra"}


def _show_check(story: Story, bound: Any, wanted: dict[str, str]) -> None:
    """What `sync-pipelines check --deep` does."""
    from sync_pipelines.checks import report
    from sync_pipelines.launch import dagster_instance

    proof = bound.prove("deep")
    with dagster_instance() as instance:
        report(instance, bound.component, proof, "count", "content", "deep")
    shown = Table(title=f"sync-pipelines check {TABLE} --deep")
    for name in ("difference", "key", "why"):
        shown.add_column(name)
    found = {key: kind for kind, keys in proof.samples.items() for key in keys}
    for key, kind in found.items():
        shown.add_row(kind, key, proof.reasons.get(key, ""))
    story.console.print(shown)
    story.expect("what the deep check named", found, wanted)


def _alerts_tick() -> None:
    """What the daemon does every 30 seconds."""
    import dagster as dg

    from sync_pipelines.definitions import default_resources, load
    from sync_pipelines.launch import dagster_instance

    repository = load()[0].get_repository_def()
    sensor = repository.get_sensor_def("sync_alerts")
    resources = {name: found for name, found in default_resources().items() if name in sensor.required_resource_keys}
    with (
        dagster_instance() as instance,
        dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources) as context,
    ):
        sensor.evaluate_tick(context)


def _show_message(story: Story, receiver: Receiver, number: int) -> None:
    _alerts_tick()
    story.expect("messages that arrived", len(receiver.messages), number)
    message = receiver.messages[-1]
    story.console.print(f"arrived at the webhook: {message.get('title', '')}", style="bold")
    story.console.print(str(message.get("message", "")).strip(), highlight=False)
