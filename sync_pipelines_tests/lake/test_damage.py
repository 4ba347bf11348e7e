"""A Delta table of which a file is gone or broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from sync_pipelines.engine.errors import MassDeleteError, RunError
from sync_pipelines_tests.lake.house import House, document

pytestmark = pytest.mark.slow

DAMAGE = {
    "gone": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:200]),
}


@pytest.fixture
def folder(house: House) -> Path:
    """Of a table of 300 records."""
    house.execute("CREATE TABLE item (id int PRIMARY KEY, n int)")
    house.capture(document())
    house.execute("INSERT INTO item SELECT i, 0 FROM generate_series(1, 300) AS i")
    house.sync(document())
    return Path(house.resources.delta.settings().table("shop/item"))


def hurt(folder: Path, how: str) -> None:
    (file,) = folder.glob("*.parquet")
    DAMAGE[how](file)


@pytest.mark.parametrize("how", DAMAGE)
def test_a_file_that_is_gone_or_broken_is_told_and_a_rebuild_makes_the_table_anew(house: House, folder: Path, how: str):
    hurt(folder, how)
    house.execute("UPDATE item SET n = 1 WHERE id <= 10")
    for mode in ("incremental", "full"):
        with pytest.raises(RunError, match=r"a file of it is gone or broken: .*made anew by --rebuild"):
            house.sync(document(), mode=mode)
    with pytest.raises(RunError, match=r"a file of it is gone or broken"):
        house.prove(document(), "quick")
    house.sync(document(), mode="rebuild")
    assert house.prove(document(), "deep").equal


def test_the_guard_counts_what_a_damaged_table_held(house: House, folder: Path):
    hurt(folder, "gone")
    house.execute("DELETE FROM item WHERE id > 10")
    with pytest.raises(MassDeleteError, match="290"):
        house.sync(document(), mode="rebuild")


def test_a_log_that_is_cut_off_is_told_with_what_to_do(house: House, folder: Path):
    last = max((folder / "_delta_log").glob("*.json"))
    last.write_bytes(last.read_bytes()[:50])
    with pytest.raises(RunError, match=r"Bring its _delta_log back; .* once its folder is moved away"):
        house.sync(document(), mode="rebuild")
    folder.rename(folder.parent / "away")
    house.sync(document())
    assert house.prove(document(), "deep").equal
