"""Beside the matrix: an S3 server that comes back in time, a folder that takes no commit, and a full disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sync_pipelines.engine.errors import RunError, TransientError
from sync_pipelines.targets.delta.errors import delta_errors
from sync_pipelines_tests.faults.boundaries import at
from sync_pipelines_tests.faults.far_proxy import FarProxy
from sync_pipelines_tests.faults.lake_boundaries import bend
from sync_pipelines_tests.faults.lake_line import DeltaLine
from sync_pipelines_tests.lake.house import House, document
from sync_pipelines_tests.lake.s3 import name_store


def test_an_s3_server_that_comes_back_in_time_is_waited_for_by_the_same_run(
    house: House, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    host, port = s3.removeprefix("http://").split(":")
    with FarProxy(host, int(port)) as proxy:
        name_store(f"http://127.0.0.1:{proxy.port}", tmp_path.name, monkeypatch)
        line = DeltaLine(house, document(), {}, monkeypatch)
        line.arrange("sync")

        def away_for_a_moment() -> None:
            proxy.refuse()
            threading.Timer(1, proxy.heal).start()

        with monkeypatch.context() as patch:
            bend(at("committing", 1, away_for_a_moment), patch.setattr)
            assert house.sync(document()).upserted == line.due
        line.assert_equal()


def test_a_folder_that_takes_no_commit_fails_with_a_sentence_and_the_next_run_ends_equal(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    line = DeltaLine(house, document(), {}, monkeypatch)
    line.arrange("sync")
    before, log = line.confirmed(), tmp_path / "lake" / "shop" / "item" / "_delta_log"
    kept = log.with_name("kept")

    def close() -> None:
        log.rename(kept)
        log.symlink_to("/dev/full")

    with monkeypatch.context() as patch:
        bend(at("committing", 1, close), patch.setattr)
        with pytest.raises(RunError, match="could not write table 'shop/item'"):
            house.sync(document())
    log.unlink()
    kept.rename(log)
    assert line.confirmed() == before
    assert line.act("sync").ok
    line.assert_equal()
    line.assert_made_once()


def test_a_full_disk_is_told_with_its_remedy():
    write = "write table 'shop/item'"
    told = r"shop/item: Delta: could not write .*there is no room: .*Errno 28.*Free space there"
    with pytest.raises(RunError, match=told), delta_errors(write, sync="shop", table="item"):
        Path("/dev/full").write_text("x")


@pytest.mark.parametrize("text", ["Operation not permitted (os error 1)", "Read-only file system (os error 30)"])
def test_a_folder_that_may_not_be_written_is_told_with_its_remedy(text: str):
    told = r"access was refused: .*Check the rights"
    with pytest.raises(RunError, match=told), delta_errors("write table 'shop/item'", sync="shop", table="item"):
        raise OSError(f"Generic LocalFileSystem error Unable to open file {text}")


@pytest.mark.parametrize("name", ["shop/item_503", "shop/429", "part-00000-5034290a-4293-4503.parquet"])
def test_a_number_in_a_name_is_no_outage(name: str):
    with pytest.raises(RunError, match=name), delta_errors("read table", sync="shop", table="item"):
        raise OSError(f"no such file: {name} is gone")


@pytest.mark.parametrize("text", ["Server returned 503 Service Unavailable", "status: 429, slow down", "error (503)"])
def test_a_store_that_is_busy_is_an_outage(text: str):
    with pytest.raises(TransientError), delta_errors("read table", sync="shop", table="item"):
        raise OSError(text)
