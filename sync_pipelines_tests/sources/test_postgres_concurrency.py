"""Nothing is lost under concurrent writers, and by trigger nothing is read twice."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.model import Scope
from sync_pipelines_tests.sources.helpers import Connection, Reader, make_item, reader, spec_of
from sync_pipelines_tests.sources.writers import Writers

FAST = pytest.param(5.0, 1.0, id="1s")
SLOW = pytest.param(25.0, 3.0, id="3s", marks=[pytest.mark.slow, pytest.mark.exhaustive])


def _table(db: Connection) -> dict[str, tuple[str, int]]:
    return {str(key): (name, amount) for key, name, amount in db.all("SELECT id, name, amount FROM item")}


def _held(target: Reader) -> dict[str, tuple[str, int]]:
    return {key: (row["name"], row["amount"]) for key, row in target.rows.items()}


def _differences(target: Reader, db: Connection) -> dict[str, list[str]]:
    """Keys that are missing, extra and stale in the target."""
    source, held = _table(db), _held(target)
    return {
        "missing": sorted(source.keys() - held.keys()),
        "extra": sorted(held.keys() - source.keys()),
        "stale": sorted(key for key in source.keys() & held.keys() if source[key] != held[key]),
    }


NONE: dict[str, list[str]] = {"missing": [], "extra": [], "stale": []}


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "delay"), [FAST, SLOW])
def test_twenty_writers_lose_nothing_and_each_change_is_read_once(
    url: str, db: Connection, seconds: float, delay: float
) -> None:
    make_item(db, rows=1000)
    target = reader(url)
    target.sync()
    target.reads.clear()
    runs = 0

    def meanwhile() -> None:
        nonlocal runs
        runs += 1
        target.sync()

    Writers(url=url, seconds=seconds, delay=delay).run(meanwhile)
    while target.source.pending(target.watermark):
        target.sync()
    assert _differences(target, db) == NONE
    assert target.fulls == ["first run"]
    once = {key: times for key, times in target.reads.items() if int(key) >= 1_000_000}
    assert len(once) > 20
    assert set(once.values()) == {1}
    assert runs > 5


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "delay"), [FAST, SLOW])
def test_twenty_writers_lose_nothing_by_cursor_but_their_deletes(
    url: str, db: Connection, seconds: float, delay: float
) -> None:
    make_item(db, rows=1000)
    # A lookback shorter than the transactions: the bound has to do the work.
    target = reader(url, spec_of(capture="cursor", changed_at="changed", lookback_seconds=0.01))
    target.sync()
    Writers(url=url, seconds=seconds, delay=delay, deletes=False).run(lambda: target.sync() and None)
    while target.source.pending(target.watermark):
        target.sync()
    assert _differences(target, db) == NONE
    assert target.fulls == ["first run"]
    db.run("DELETE FROM item WHERE id < 10")
    target.sync()
    assert _differences(target, db) == {**NONE, "extra": [str(n) for n in range(10)]}
    target.sync(Scope(full=True, reason="daily"))
    assert _differences(target, db) == NONE
