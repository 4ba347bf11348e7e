"""`sync` says of a table what the run's own checks have found in it, by its exit code too."""

from __future__ import annotations

from typing import Any

import pytest

import sync_pipelines.definitions
from sync_pipelines import client
from sync_pipelines_tests.cli.shop import ARTICLE, Shop
from sync_pipelines_tests.cli.test_commands import answer
from sync_pipelines_tests.dagster.project import article, definitions


@pytest.fixture
def synced(shop: Shop) -> Shop:
    """Three articles, synced and proven."""
    shop.put("a", "b", "c")
    client.trigger(ARTICLE, wait=True)
    return shop


@pytest.fixture
def large(synced: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The same; from now on a run proves the keys that it touched alone."""
    found = (article(checks={"content_limit": 1}),)
    monkeypatch.setattr(sync_pipelines.definitions, "load", lambda *_: (definitions(*found), found))
    return synced


def make_stale(key: str) -> None:
    from sync_pipelines.registry import tables

    store = tables(ARTICLE)[0].binding().target.store()
    store.handle.update(ids=[key], metadatas=[{"sync_fingerprint": "another"}])


def proof_after_sync(*, code: int) -> dict[str, Any]:
    return answer("sync", ARTICLE, code=code)["runs"][0]["proof"]


@pytest.mark.slow
def test_a_difference_that_the_counts_do_not_show_ends_a_sync_with_1(synced: Shop):
    make_stale("b")
    assert proof_after_sync(code=1) == {"equal": False, "missing": 0, "stale": 1, "extra": 0}
    assert answer("repair", ARTICLE)["runs"][0]["proof"]["equal"]
    assert proof_after_sync(code=0)["equal"]


@pytest.mark.slow
def test_a_touched_record_that_did_not_arrive_ends_a_sync_with_1(large: Shop, monkeypatch: pytest.MonkeyPatch):
    from sync_pipelines.engine import run as engine

    write = engine.write

    def lossy(changes: Any) -> Any:
        counts = write(changes)
        make_stale("b")
        return counts

    monkeypatch.setattr(engine, "write", lossy)
    large.put("b", body="changed")
    assert proof_after_sync(code=1)["stale"] == 1


@pytest.mark.slow
def test_a_difference_that_stands_from_the_last_whole_proof_ends_a_sync_with_1(large: Shop):
    make_stale("b")
    assert not answer("check", ARTICLE, code=1)["equal"]
    large.put("c", body="changed")
    assert proof_after_sync(code=1)["stale"] == 1
    large.put("b", body="changed")
    client.trigger(ARTICLE, wait=True)
    assert answer("check", ARTICLE)["equal"]
    assert proof_after_sync(code=0)["equal"]
