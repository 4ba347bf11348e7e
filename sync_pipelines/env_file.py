"""The `.env` file of the checkout, for the console script. Here the environment wins.

Dagster's own commands and code servers read the same file by themselves, before anything of ours is loaded, and
there a plain `NAME=value` wins over the environment (1.13: `dagster._cli.utils._inject_local_env_file`); what we
could not undo there, `.env.example` avoids by its form `NAME=${NAME:-value}`.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
NAME = ".env"


def find(start: Path, *, checkout: Path = CHECKOUT) -> Path | None:
    """The nearest `.env` from `start` upwards to the checkout; outside of the checkout only that of `start`."""
    start, checkout = start.resolve(), checkout.resolve()
    inside = start == checkout or checkout in start.parents
    for folder in (start, *start.parents) if inside else (start,):
        if (folder / NAME).is_file():
            return folder / NAME
        if folder == checkout:
            break
    return None


def load(start: Path | None = None, *, environment: MutableMapping[str, str] = os.environ) -> Path | None:
    """Set what the file names and the environment does not; the file that was read, or None.

    Args:
        start: the folder to begin at; the current one if left out.
    """
    path = find(start or Path.cwd())
    if path is None:
        return None
    from dotenv import dotenv_values

    for name, value in dotenv_values(path).items():
        if value is not None:
            environment.setdefault(name, value)
    return path
