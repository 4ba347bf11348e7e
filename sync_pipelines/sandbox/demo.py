"""`make demo`: every sync on embedded engines, equality shown after each step, nothing left running."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sync_pipelines.engine.errors import SyncError
from sync_pipelines.sandbox import demo_hotels, demo_knowledge, demo_learning, demo_notes, demo_proof, demo_voice
from sync_pipelines.sandbox.environment import Sandbox
from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.story import DemoFailedError, Story

REPORT = Path("demo-report.json")
SETTINGS = {
    "SYNC_BATCH_SIZE": "16",
    "SYNC_LOG_LEVEL": "WARNING",
    "SYNC_RETRY_MAX": "1",
    "HOTELS_PATIENCE": "2s",
    "NOTES_RATE_LIMIT": "200",
}
"""Small batches, so that progress shows every few seconds; the steps say themselves what goes on, and what the graph
refuses, or an API does not answer, is given up soon. Notion's own rate would make a minute of each step of notes."""

WIDTH = 130
SYNCS = (
    demo_knowledge.tell,
    demo_voice.tell,
    demo_learning.tell,
    demo_hotels.tell,
    demo_notes.tell,
    demo_proof.tell,
)
"""One function a sync, in the order in which they are shown, then proof and repair; a new sync adds its own."""


@contextmanager
def environment(variables: dict[str, str]) -> Generator[None]:
    """The sandbox's variables alone: what the user has set for his own systems must not be touched."""
    ours = (
        "DATABASE_URL",
        "CHROMA_",
        "DELTA_",
        "DATABRICKS_",
        "SYNC_",
        "DAGSTER_",
        "POSTGRES_",
        "KNOWLEDGE_",
        "VOICE_",
        "LEARNING_",
        "HOTELS_",
        "CUPID_",
        "NOTES_",
        "NOTION_",
        "KEEP_",
        "NEO4J_",
        "NOTIFICATION_",
    )
    saved = dict(os.environ)
    for name in [name for name in saved if name.startswith(ours)]:
        del os.environ[name]
    os.environ.update(variables | _behind_no_proxy(saved))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def _behind_no_proxy(given: Mapping[str, str]) -> dict[str, str]:
    """All that the demo asks is on this machine; its messages are sent by a library that heeds HTTP_PROXY."""
    exempt = given.get("no_proxy") or given.get("NO_PROXY") or ""
    if exempt != "*":  # which means all hosts only where it stands alone
        exempt = ",".join(filter(None, (exempt, "127.0.0.1", "localhost")))
    return {"no_proxy": exempt, "NO_PROXY": exempt}


def run(console: Console) -> bool:
    """Bring the sandbox up, tell the story of every sync, write the report; whether all was equal."""
    started = time.monotonic()
    console.rule("sync_pipelines: the demo")
    with Sandbox.ephemeral(log=console.print) as sandbox, environment(sandbox.env() | SETTINGS):
        story = Story(console=console)
        for tell in SYNCS:
            tell(story)
        report = write_report()
    console.print(summary(story))
    console.print(f"The last `sync-pipelines status --live --json` is in {REPORT}; nothing is left running.")
    console.print(f"Done in {time.monotonic() - started:.0f} s.")
    return bool(report["healthy"]) and story.good


def write_report() -> dict[str, Any]:
    """Ask every sync now, as `sync-pipelines status --live --json` does, and keep the answer."""
    from sync_pipelines.reporting import live_report

    report = live_report()
    REPORT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def summary(story: Story) -> Table:
    """The table at the end: what each step did, and whether source and target were equal after it."""
    table = Table(title="What was done, and what source and target said after it")
    columns = ("step", "table", "source", "target", "upserted", "metadata", "deleted", "embedded", "seconds", "equal")
    for name in columns:
        table.add_column(name, justify="left" if name in ("step", "table") else "right")
    for line in story.lines:
        table.add_row(*line.cells())
    return table


def main() -> int:
    """Run the demo; 0 if everything was equal."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    console = Console(file=out, width=None if out.isatty() else WIDTH)
    try:
        return 0 if run(console) else 1
    except (SyncError, SandboxError, DemoFailedError) as error:
        console.print(f"[red]The demo failed:[/] {error}")
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; the servers are stopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
