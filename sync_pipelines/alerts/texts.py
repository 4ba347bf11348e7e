"""Texts of others, made fit for a message."""

from __future__ import annotations

from sync_pipelines.engine.errors import redact

LENGTH = 500


def sentence(text: str) -> str:
    """One line without a secret, of a length that a pager shows; the state is stored with it."""
    # cut first: a redaction must not be undone by cutting, and a text of megabytes is not worth searching
    line = redact(" ".join(text[: LENGTH * 4].split()))
    return line if len(line) <= LENGTH else line[: LENGTH - 1] + "…"
