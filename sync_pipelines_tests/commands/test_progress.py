"""What is said of a run while it goes on, and when it has ended."""

from __future__ import annotations

import io
import logging
from types import SimpleNamespace

import pytest

from sync_pipelines.commands import progress
from sync_pipelines.commands.runs import _sentence
from sync_pipelines.engine.model import Counts
from sync_pipelines.execution import Progress


def at(**how) -> Progress:
    return Progress(**{"run_id": "1", "table": "shop/article", "phase": "running", "seconds": 70.0, **how})


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (at(), "shop/article: starting"),
        (at(counts=Counts()), "shop/article: at its first batch"),
        (at(counts=Counts(), embedded=96), "shop/article: at its first batch, 96 texts embedded"),
        (
            at(counts=Counts(read=100, upserted=100, embedded_texts=100), embedded=164),
            "shop/article: 100 read, 100 upserted, 164 texts embedded",
        ),
        (at(phase="waiting", holder="2"), "shop/article: waiting for the run that has its lock (run 2)"),
    ],
)
def test_how_far_a_run_is_says_what_was_embedded_before_the_first_batch_is_written(found, line):
    assert progress.describe(found) == line


def test_once_it_has_written_a_run_is_checked_and_its_numbers_stay(monkeypatch):
    seen: list[str] = []
    show = progress._remembering(lambda found: seen.append(progress.describe(found)))
    for found in (at(), at(counts=Counts(read=2, upserted=2), embedded=2), at()):
        show(found)
    assert seen == [
        "shop/article: starting",
        "shop/article: 2 read, 2 upserted, 2 texts embedded",
        "shop/article: checking, 2 read, 2 upserted, 2 texts embedded",
    ]


def test_a_line_of_a_log_says_how_long_it_lasts(monkeypatch, caplog):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, logger="sync_pipelines"):
        progress._now_and_then()(at(counts=Counts()))
    assert caplog.messages == ["shop/article: at its first batch, 0:01:10"]


@pytest.mark.parametrize(
    ("state", "done"), [("completed", "nothing to do"), ("failed", "nothing was written"), ("cancelled", "nothing was")]
)
def test_only_a_run_that_completed_had_nothing_to_do(state, done):
    run = SimpleNamespace(state=state, run_id="1", sync="shop", table="article")
    record = SimpleNamespace(counts=Counts(), duration_seconds=12.0)
    assert _sentence(run, record).startswith(f"shop/article: {state}: {done}")


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_which_table_is_asked_and_nobody_else_does(monkeypatch):
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        monkeypatch.setattr("sys.stderr", stream)
        with progress.asking() as asking:
            asking("shop/article")
    assert plain.getvalue() == ""
    assert "asking shop/article" in terminal.getvalue()
