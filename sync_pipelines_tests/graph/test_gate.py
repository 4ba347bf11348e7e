"""The gate of an outbox: events of a dump pass it, and one that is shut for long is told."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.draining import Drain
from sync_pipelines.sources.postgres import reading
from sync_pipelines_tests.graph.app import Application, concepts
from sync_pipelines_tests.graph.house import Academy


@pytest.fixture
def restored(app: Application) -> Application:
    """Two events of one concept, and one of another, with the transaction ids of a server that has issued more."""
    app.create("c1")
    app.update("c1", title="new")
    app.create("c2")
    app.run("UPDATE sync.sync_event_log SET tx = (tx::text::numeric + 1000000)::text::xid8")
    return app


def warnings(academy: Academy) -> list[str]:
    return list(academy.bind(concepts()).source.capture_warnings())


def test_events_that_a_dump_brought_from_another_server_are_brought_at_once(
    academy: Academy, restored: Application
) -> None:
    outbox = academy.bind(concepts()).outbox
    assert outbox is not None
    assert outbox.backlog(most=None).due == 3
    assert academy.sync(concepts()).read == 2
    assert {status for *_, status in restored.events()} == {"COMPLETED"}
    assert academy.titles() == ["c0", "c2", "new"]


def test_a_full_sync_covers_the_events_that_a_dump_brought(academy: Academy, restored: Application) -> None:
    academy.sync(concepts(), mode="full")
    assert {status for *_, status in restored.events()} == {"COMPLETED"}


def test_a_full_sync_covers_no_event_that_was_published_after_it_had_read(
    academy: Academy, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.create("c1")
    covered = Drain.covered

    def published_before(drain: Drain, snapshot: str) -> None:
        app.update("c1", title="later")
        covered(drain, snapshot)

    monkeypatch.setattr(Drain, "covered", published_before)
    academy.sync(concepts(), mode="full")
    assert app.statuses("c1") == ["COMPLETED", "PENDING"]
    academy.sync(concepts())
    assert academy.titles() == ["c0", "later"]


def test_a_transaction_that_shuts_the_gate_for_long_is_told_and_a_dump_shuts_none(
    academy: Academy, restored: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LONG_GATED", 0.0)
    assert warnings(academy) == []
    with restored.transaction() as open_one:
        open_one.execute("SELECT pg_current_xact_id()")
        restored.create("c3")
        (said,) = warnings(academy)
        assert "wait for a transaction that is open on this server: look into pg_stat_activity" in said
        monkeypatch.setattr(reading, "_LONG_GATED", 60.0)
        assert warnings(academy) == []
