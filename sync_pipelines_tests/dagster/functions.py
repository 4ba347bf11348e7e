"""Functions of a sync's own, for documents of tests; one breaks when it is told to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

BROKEN = "TEST_BREAKS_TEXTS_FROM"
"""The `stock` from which on `body` raises."""


def body(row: Mapping[str, Any]) -> str:
    """The text of an article."""
    if row["stock"] >= float(os.environ.get(BROKEN, "inf")):
        raise KeyError("a bug in the user's function")
    return str(row["body"])
