"""/Volumes for a job's own Python: what Databricks mounts into the file system, mapped to a folder here."""

from __future__ import annotations

import builtins
import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ROOT = "/Volumes"

_ONE_PATH = (
    *("access", "chmod", "listdir", "lstat", "mkdir", "open", "remove"),
    *("rmdir", "scandir", "stat", "truncate", "unlink", "utime"),
)
_TWO_PATHS = ("link", "rename", "replace", "symlink")


def mount(folder: Path) -> None:
    """Let Python's own functions find below ``folder`` what is asked for below /Volumes.

    A real mount needs rights that tests do not have. Libraries that open files without Python (pyarrow by a path) are
    not reached; Spark has a file system of its own for this.

    Args:
        folder: what stands for /Volumes.
    """
    opening = _mapped(builtins.open, str(folder), 1)
    setattr(builtins, "open", opening)  # noqa: B010
    setattr(io, "open", opening)  # noqa: B010
    for names, paths in ((_ONE_PATH, 1), (_TWO_PATHS, 2)):
        for name in names:
            setattr(os, name, _mapped(getattr(os, name), str(folder), paths))


def _mapped(function: Callable[..., Any], folder: str, paths: int) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        return function(*(local(one, folder) for one in given[:paths]), *given[paths:], **named)

    return call


def local(path: Any, folder: str) -> Any:
    """Return where a path lies: below the folder when it begins with /Volumes, and as it is otherwise."""
    if not isinstance(path, str | os.PathLike):
        return path
    text = os.fspath(path)
    inside = isinstance(text, str) and (text == _ROOT or text.startswith(f"{_ROOT}/"))
    return folder + text[len(_ROOT) :] if inside else path
