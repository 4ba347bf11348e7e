"""The same table on a folder and on an S3 server, with another writer at work meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from sync_pipelines.engine.errors import ConfigurationError, RunError
from sync_pipelines.targets.delta.settings import DeltaSettings
from sync_pipelines_tests.lake.house import House, document
from sync_pipelines_tests.lake.s3 import name_store


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which store the environment names."""
    if request.param == "s3":
        name_store(request.getfixturevalue("s3"), tmp_path.name, monkeypatch)
    return request.param


@pytest.mark.slow
def test_a_table_is_made_changed_rebuilt_and_proven(house: House, store: str):
    house.execute("CREATE TABLE item (id int PRIMARY KEY, n int)")
    table = document()
    house.capture(table)
    house.execute("INSERT INTO item SELECT i, 0 FROM generate_series(1, 300) AS i")
    house.sync(table)
    house.execute("UPDATE item SET n = 1 WHERE id <= 10; DELETE FROM item WHERE id > 295")
    counts = house.sync(table)
    assert (counts.upserted, counts.deleted) == (10, 5)
    assert house.prove(table, "deep").equal
    house.sync(table, mode="rebuild")
    assert house.prove(table, "deep").equal
    assert len(house.rows(table)) == 295


@pytest.mark.slow
def test_commits_of_another_writer_are_met_and_nothing_is_lost(house: House, store: str):
    """Somebody else rewrites files of the same table in a loop; each conflict is planned anew."""
    house.execute("CREATE TABLE item (id int PRIMARY KEY, n int)")
    table = document()
    house.capture(table)
    house.execute("INSERT INTO item SELECT i, 0 FROM generate_series(1, 200) AS i")
    house.sync(table)
    stop = threading.Event()
    commits: list[int] = []

    def compact() -> None:
        place = house.resources.delta.settings().table("shop/item")
        while not stop.is_set():
            try:
                DeltaTable(place).update({"synced_at": "synced_at"})
                commits.append(1)
            except CommitFailedError:
                pass  # its own conflicts are not ours
            stop.wait(0.02 if store == "folder" else 0.5)

    other = threading.Thread(target=compact)
    other.start()
    try:
        for number in range(1, 9):
            house.execute("UPDATE item SET n = %s WHERE id %% 8 = %s", number, number % 8)
            house.sync(table)
    finally:
        stop.set()
        other.join()
    assert commits
    assert house.prove(table, "deep").equal


@pytest.mark.slow
def test_a_table_that_something_else_made_is_left_alone(house: House, store: str):
    house.execute("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1)")
    table = document()
    house.capture(table)
    place = house.resources.delta.settings().table("shop/item")
    write_deltalake(place, pa.table({"id": [7]}))
    with pytest.raises(RunError, match="made by something else"):
        house.sync(table)
    assert DeltaTable(place).version() == 0


@pytest.mark.parametrize(
    "form", ["{}/lake/", "file://{}/my%20lake", "file:{}/lake", "FILE://{}/lake", "file://localhost{}/lake"]
)
def test_a_folder_is_named_as_a_path_or_as_a_url(
    house: House, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DELTA_URI", form.format(tmp_path))
    settings = house.resources.delta.settings()
    assert settings.is_folder
    assert settings.table("shop/item") in (f"{tmp_path}/lake/shop/item", f"{tmp_path}/my lake/shop/item")
    house.execute("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1)")
    house.capture(document())
    assert house.sync(document()).upserted == 1
    assert len(house.opened(document()).files()) == 1
    assert Path(settings.table("shop/item"), "_delta_log").is_dir()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("file://srv/lake", r"the machine 'srv'.*file:///srv/lake"),
        ("/srv/%41/lake", r"takes the % in '/srv/%41/lake'"),
        ("file:///srv/%2541", r"takes the % in '/srv/%41'"),
    ],
)
def test_a_folder_that_would_be_another_is_refused(uri: str, said: str):
    with pytest.raises(ConfigurationError, match=said):
        DeltaSettings(uri=uri)


@pytest.mark.parametrize("name", ["../other", "shop/../../other", "./item", "", "shop//item", "/item"])
@pytest.mark.parametrize("uri", ["/srv/lake", "s3://bucket/lake"])
def test_a_table_stands_below_its_root(name: str, uri: str):
    with pytest.raises(ConfigurationError, match="a name stands below DELTA_URI"):
        DeltaSettings(uri=uri).table(name)
