"""Records that wait for others are read beside what is pending, though nobody has touched them."""

from __future__ import annotations

from typing import Any

import pytest

from sync_pipelines.engine.model import KEY, Scope
from sync_pipelines_tests.sources.helpers import Connection, Reader, make_item, reader, spec_of

SPECS = {
    "trigger": spec_of(changed_at="changed"),
    "cursor": spec_of(capture="cursor", changed_at="changed", lookback_seconds=0.0),
}


@pytest.fixture(params=SPECS)
def target(request: pytest.FixtureRequest, url: str, db: Connection) -> Reader:
    """A reader of rows 1 to 6 after its first run."""
    make_item(db, rows=6)
    found = reader(url, SPECS[request.param])
    if request.param == "trigger":
        found.source.install_capture()
    found.sync()
    return found


def read(target: Reader, scope: Scope) -> tuple[list[str], list[str]]:
    """Keys of the rows and of the deletes that a run reads."""
    with target.source.changes(scope, since=target.watermark) as changes:
        assert not changes.full
        rows: list[Any] = [key for batch in changes.upserts for key in batch.column(KEY).to_pylist()]
        return sorted(rows), sorted(key for keys in changes.deletes for key in keys)


def test_those_that_wait_are_read_once_beside_what_is_pending(target: Reader, db: Connection) -> None:
    db.run("UPDATE item SET amount = 1, changed = clock_timestamp() WHERE id IN (2, 3)")
    before = set(read(target, Scope())[0])
    rows, deletes = read(target, Scope(also=("3", "5", "77")))
    assert (set(rows), deletes) == (before | {"3", "5"}, ["77"])
    assert len(rows) == len(set(rows))


def test_those_that_wait_are_read_where_nothing_is_pending(target: Reader, db: Connection) -> None:
    assert "5" in read(target, Scope(also=("5",)))[0]


def test_those_that_wait_stand_once_in_a_window(target: Reader) -> None:
    rows, _ = read(target, Scope(window=(None, None), also=("3", "5")))
    assert sorted(set(rows)) == rows == ["1", "2", "3", "4", "5", "6"]


def test_a_key_that_is_no_value_of_its_column_is_gone(target: Reader) -> None:
    assert read(target, Scope(also=("5", "no number")))[1] == ["no number"]
