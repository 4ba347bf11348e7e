"""What a process has used."""

from __future__ import annotations

import subprocess
import sys

MEGABYTE = 1024 * 1024
CHILD = "from sync_pipelines.engine.usage import peak_memory; print(peak_memory())"
FILLED = "held = bytearray(b'x') * (200 << 20); del held; " + CHILD


def peak_of(code: str) -> int:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_memory_that_was_given_back_counts():
    assert peak_of(FILLED) - peak_of(CHILD) > 190 * MEGABYTE


def test_the_memory_of_whoever_started_a_process_is_not_its_own():
    small = peak_of(CHILD)
    held = bytearray(b"x") * (300 * MEGABYTE)
    assert peak_of(CHILD) < small + 50 * MEGABYTE
    del held
