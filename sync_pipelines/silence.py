"""What Dagster and native libraries print of a run that this process executes leads nowhere meanwhile."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def silenced() -> Generator[TextIO]:
    """Standard error as it was; meanwhile what this process and its children print leads nowhere.

    By descriptor, since Dagster's capture of a step's output and native libraries work there. What a step
    prints is kept by Dagster, in the run's compute logs.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    stream = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    try:
        for number in saved:
            os.dup2(nowhere, number)
        yield stream
    finally:
        for number, original in saved.items():
            os.dup2(original, number)
            os.close(original)
        os.close(nowhere)
        stream.close()
