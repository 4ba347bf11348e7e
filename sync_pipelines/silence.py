"""What Dagster and native libraries print of a run that this process executes leads nowhere meanwhile."""

from __future__ import annotations

import errno
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
    open_the_closed()
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


def open_the_closed() -> None:
    """Give standard streams that this process was started without (`>&-`) a way that leads nowhere.

    To be called before anything else is opened: a file or a connection would get the number of the closed one, and
    take what is printed there.
    """
    for number in range(3):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest free number
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


@contextmanager
def told_when_full() -> Generator[None]:
    """End the process with a sentence where a disk takes nothing more (`> /dev/full`), quietly for a closed pipe.

    What is still in the buffer is written here: at the interpreter's end nobody could tell of it.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter's end tries the rest again
        if error.errno == errno.ENOSPC:
            sys.stderr.write("There is no space left where this command writes: its output, or its temporary files.\n")
        sys.exit(1)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return False
    return True
