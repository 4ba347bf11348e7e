"""Watermarks as the ledger keeps them: exactly what was given comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.model import SourceIdentity, Watermark

_VERSION = 1


def dump(watermark: Watermark) -> dict[str, Any]:
    """A document for a jsonb column.

    Raises:
        RunError: the position holds something that would not come back as it is, or the time has no zone.
    """
    position = dict(watermark.position)
    if _through_json(position) != position or watermark.taken_at.tzinfo is None:
        raise RunError(
            f"A watermark of {watermark.capture!r} capture cannot be kept as it is.",
            remedy="This is a fault of sync-pipelines: please report it.",
        )
    return {
        "version": _VERSION,
        "capture": watermark.capture,
        "position": position,
        "source": asdict(watermark.source),
        "key": list(watermark.key),
        "mapping": watermark.mapping,
        "taken_at": watermark.taken_at.isoformat(),
        "target": watermark.target,
        "stamp": watermark.stamp,
        "records": watermark.records,
    }


def load(document: Mapping[str, Any]) -> Watermark:
    """The watermark of a document.

    Raises:
        RunError: a newer version of the package wrote it.
    """
    if document.get("version") != _VERSION:
        raise RunError(
            f"A watermark of version {document.get('version')!r} cannot be read.",
            remedy="Install the version of sync-pipelines that wrote it, or run a full sync.",
        )
    return Watermark(
        capture=document["capture"],
        position=document["position"],
        source=SourceIdentity(**document["source"]),
        key=tuple(document["key"]),
        mapping=document["mapping"],
        taken_at=datetime.fromisoformat(document["taken_at"]),
        target=document["target"],
        stamp=document.get("stamp"),
        records=document.get("records"),
    )


def _through_json(value: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return None
