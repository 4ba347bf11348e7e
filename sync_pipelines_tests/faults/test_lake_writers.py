"""Twenty writers at once, beside syncs into Delta and back: when it is quiet, both sides are equal."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines_tests.dagster.project import ARTICLE_DDL
from sync_pipelines_tests.faults.writers import Writers
from sync_pipelines_tests.lake.engines import ENGINES, name_warehouse
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import row, rows

TWENTY = 20
UNGUARDED = {"mass_delete": {"share": 1.0, "records": 10_000}}


def article() -> PostgresToDelta:
    source = {"connection": "shop", "table": "Article", "key": ["id"], "changed_at": "updatedAt"}
    target = {"table": "shop/article"}
    return PostgresToDelta.model_validate({"sync": "shop", "source": source, "target": target, "checks": UNGUARDED})


def until(seconds: float, sync: Callable[[], object]) -> int:
    """Sync for so long, twice at least; how often."""
    deadline, number = time.monotonic() + seconds, 0
    while time.monotonic() < deadline or number < 2:
        sync()
        number += 1
    return number


@pytest.mark.spare_where(engine="databricks")
@pytest.mark.parametrize("engine", ENGINES)
def test_whatever_twenty_applications_commit_or_roll_back_is_in_delta(
    request: pytest.FixtureRequest, house: House, monkeypatch: pytest.MonkeyPatch, engine: str
):
    if engine == "databricks":
        name_warehouse(request.getfixturevalue("databricks_schema"), monkeypatch)
    table = article()
    house.execute(ARTICLE_DDL)
    house.capture(table)
    writers = Writers(house.url, threads=TWENTY, keys=1000, delay=1.0, seed=3)
    with writers:
        until(5, lambda: house.sync(table))
    house.sync(table)
    assert min(writers.done[ending] for ending in ("committed", "rolled back", "back to a savepoint")) > 0
    held = sorted((found["id"], found["body"], found["stock"]) for found in house.rows(table))
    assert held == sorted(house.execute("""SELECT id, body, stock FROM "Article" """))
    for kind in ("quick", "deep"):
        assert house.prove(table, kind).equal
    assert house.sync(table).read == 0


@contextmanager
def committing(lake: Lake, done: dict[str, int]) -> Iterator[None]:
    """Twenty threads that append to, change and delete from the Delta table, each keys of its own."""
    over = threading.Event()
    errors: list[BaseException] = []

    def write(number: int) -> None:
        chance, made = random.Random(number), 0
        while not over.is_set():
            key = f"w{number:02d}-{made}"
            try:
                table, what = DeltaTable(lake.place), chance.random()
                if what < 0.6 or not made:
                    write_deltalake(table, rows(row(key)), mode="append")
                    made += 1
                elif what < 0.8:
                    table.update({"stars": "1"}, predicate=f"id LIKE 'w{number:02d}-%'")
                else:
                    table.delete(f"id = 'w{number:02d}-{chance.randrange(made)}'")
            except CommitFailedError:
                done["conflicts"] = done.get("conflicts", 0) + 1
            except BaseException as error:
                errors.append(error)
                return
            done["commits"] = done.get("commits", 0) + 1
            over.wait(chance.random() * 2)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(TWENTY)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert errors == []


@pytest.mark.spare_where(feed=False)
def test_whatever_twenty_writers_commit_to_a_delta_table_is_in_postgresql(review: House, lake: Lake, feed: bool):
    table = back(checks=UNGUARDED)
    lake.write(rows(*(row(f"n{number}") for number in range(50))), feed=feed)
    done: dict[str, int] = {}
    with committing(lake, done):
        until(4, lambda: review.sync(table))
    review.sync(table)
    assert done["commits"] > TWENTY
    assert sorted((one["id"], one["stars"]) for one in lake.rows()) == sorted(
        review.execute("SELECT id, stars FROM review")
    )
    for kind in ("quick", "deep"):
        assert review.prove(table, kind).equal
    assert review.sync(table).read == 0
