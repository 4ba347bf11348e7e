"""Temporary files of change sets."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from sync_pipelines.engine import spool as module
from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.spool import KeyWriter, Progress, RecordWriter, Spool, SpooledRecords, clean, columns_of

SCHEMA = pa.schema([pa.field("a", pa.int64())])


def _batch(start: int, rows: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array(range(start, start + rows))], schema=SCHEMA)


def test_records_and_keys_can_be_read_again_and_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with RecordWriter(spool, "rows", SCHEMA) as rows, KeyWriter(spool, "keys") as keys:
        for start in range(0, 5000, 1000):
            rows.write(_batch(start, 1000))
            keys.write([str(n) for n in range(start, start + 999)])
        rows.write(_batch(0, 0))
    assert (rows.rows, keys.rows) == (5000, 4995)
    stored = keys.keys()
    for _ in range(2):
        assert [n for batch in rows.records() for n in batch.column(0).to_pylist()] == list(range(5000))
        assert [len(found) for found in stored] == [1000, 1000, 1000, 1000, 995]
    spool.close()
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_two_readers_do_not_disturb_each_other(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with RecordWriter(spool, "rows", SCHEMA) as rows:
        rows.write(_batch(0, 2))
        rows.write(_batch(2, 2))
    one, two = iter(rows.records()), iter(rows.records())
    next(one)
    assert next(two).column(0).to_pylist() == [0, 1]
    assert next(one).column(0).to_pylist() == [2, 3]
    spool.close()


def test_folders_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    living = Spool(tmp_path)
    code = (
        "import os, sys, pathlib; from sync_pipelines.engine.spool import Spool\n"
        "spool = Spool(pathlib.Path(sys.argv[1])); print(spool.folder, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    dead = Path(done.stdout.strip())
    assert dead.is_dir()
    assert clean(tmp_path) == 0
    old = time.time() - 3600
    for folder in (living.folder, dead):
        os.utime(folder, (old, old))
    Spool(tmp_path).close()
    assert not dead.exists()
    assert living.folder.is_dir()
    living.close()


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(RunError, match=r"belongs to another user.*SYNC_SPOOL_DIR"):
        Spool(tmp_path)


def test_a_folder_of_the_system_that_cannot_be_made_names_the_variable_that_moves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(RunError, match="set TMPDIR to another folder"):
        Spool()


def test_a_full_disk_stops_the_run_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    monkeypatch.setattr(Spool, "path", lambda *_: Path("/dev/full"))
    writer = RecordWriter(spool, "rows", SCHEMA)
    with pytest.raises(RunError, match=r"No space left.*SYNC_SPOOL_DIR"):
        _fill(writer)
    spool.close()


def _fill(writer: RecordWriter) -> None:
    for start in range(0, 10_000_000, 100_000):
        writer.write(_batch(start, 100_000))


@pytest.mark.slow
def test_a_spool_that_an_interrupt_lost_goes_with_its_last_reader(tmp_path: Path) -> None:
    def lost() -> SpooledRecords:
        spool = Spool(tmp_path)
        with RecordWriter(spool, "rows", SCHEMA) as rows:
            rows.write(_batch(0, 2))
        return rows.records()

    records = lost()
    gc.collect()
    assert [batch.num_rows for batch in records] == [2]
    del records
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_some_columns_of_a_spooled_stream_and_of_any_other_are_the_same(tmp_path: Path) -> None:
    batch = pa.record_batch({"a": [1, 2], "b": ["x", "y"], "c": [0.5, None]})
    with RecordWriter(Spool(tmp_path), "rows", batch.schema) as rows:
        rows.write(batch)
    stored = rows.records()
    for stream in (stored, [batch]):
        (found,) = columns_of(stream, ["c", "a"])
        assert found.to_pydict() == {"c": [0.5, None], "a": [1, 2]}
    (read,) = stored.only(["b"])
    assert read.schema.names == ["b"]


def test_who_reads_while_rows_are_written_waits_for_them_and_learns_what_ended_them(tmp_path: Path) -> None:
    spool, progress = Spool(tmp_path), Progress()
    with ThreadPoolExecutor(1) as pool, RecordWriter(spool, "rows", SCHEMA, progress=progress) as rows:
        first = pool.submit(next, iter(rows.records()))
        rows.write(_batch(0, 2))
        assert first.result(timeout=60).column(0).to_pylist() == [0, 1]
        whole = pool.submit(lambda: [batch.num_rows for batch in rows.records()])
        rows.write(_batch(2, 3))
        progress.end()
        assert whole.result(timeout=60) == [2, 3]
    progress.end(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        list(rows.records())
    spool.close()


def test_who_reads_a_file_whose_writing_failed_meets_that_failure_and_no_end(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    rows = RecordWriter(spool, "rows", SCHEMA)
    found = iter(rows.records())
    with suppress(ZeroDivisionError), rows:
        rows.write(_batch(0, 10))
        raise ZeroDivisionError
    assert next(found).num_rows == 10
    with pytest.raises(ZeroDivisionError):
        next(found)
    spool.close()
