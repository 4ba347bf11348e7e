"""Cupid as its clients see it: three endpoints, a key, hotels that can be changed and taken away."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sync_pipelines.sandbox.cupid import hotels
from sync_pipelines.sandbox.cupid.faults import Fault
from sync_pipelines.sandbox.cupid.front import Asked, Front, Reply, refusal
from sync_pipelines.sandbox.folders import read_json, write_json
from sync_pipelines.sandbox.stand_ins import front
from sync_pipelines.sandbox.stand_ins.service import StandIn

VERSION = "v3.0"
CONTROLS = ("change", "review", "remove", "restore", "fault", "clear_faults", "limit", "seen", "clear_seen", "reset")
"""What may be asked of a stand-in beside Cupid's own endpoints."""


class Cupid(StandIn):
    """The stand-in, whose key is also that of its clients.

    Args:
        key: what `x-api-key` must hold.
        port: 0 takes a free one.
        kept: a file that keeps the edits, where they are to outlive this process.
    """

    controls: ClassVar[tuple[str, ...]] = CONTROLS
    front_type: ClassVar[type[front.Front]] = Front
    front: Front

    def __init__(self, *, key: str, port: int = 0, kept: Path | None = None) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._edits: dict[str, dict[str, Any]] = dict(read_json(kept)) if kept else {}
        super().__init__(key=key, port=port)

    @property
    def url(self) -> str:
        """As CUPID_BASE_URL takes it."""
        return f"{self.front.address}/{VERSION}"

    def ids(self, count: int) -> list[int]:
        """So many ids of hotels, always the same."""
        return hotels.some_ids(count)

    def change(
        self,
        key: int | str,
        fields: Mapping[str, Any] | None = None,
        *,
        lang: str | None = None,
        drop: Sequence[str] = (),
    ) -> None:
        """Give fields of a hotel other values from now on.

        Args:
            fields: whole values of top-level fields.
            lang: of its translation into this language; None: of the property.
            drop: fields that are left out.
        """
        with self._lock:
            edit = self._edits.setdefault(str(key), {}).setdefault(lang or "", {"fields": {}, "drop": []})
            edit["fields"].update(fields or {})
            edit["drop"] = sorted({*edit["drop"], *drop} - set(fields or {}))
            self._keep()

    def review(self, key: int | str, **fields: Any) -> None:
        """Somebody writes a review of a hotel: fields that are not given are those of a content guest."""
        usual = {"average_score": 8, "country": "gb", "type": "couple", "name": "Ann", "date": "2026-10-01 10:00:00"}
        words = {"headline": "Fine", "language": "en", "pros": "Quiet.", "cons": ""}
        with self._lock:
            self._edits.setdefault(str(key), {}).setdefault("reviews", []).insert(0, {**usual, **words, **fields})
            self._keep()

    def remove(self, key: int | str) -> None:
        """Take a hotel away: it answers 404."""
        with self._lock:
            self._edits.setdefault(str(key), {})["removed"] = True
            self._keep()

    def restore(self, key: int | str) -> None:
        """Bring a hotel back as it was at first."""
        with self._lock:
            self._edits.pop(str(key), None)
            self._keep()

    def fault(self, kind: str, **options: Any) -> None:
        """Let requests meet a fault; the options are those of `faults.Fault`."""
        self.front.faults.add(Fault(kind, **options))

    def clear_faults(self) -> None:
        """Forget all faults."""
        self.front.faults.clear()

    def limit(self, rate: int | None, *, retry_after: str | None = None) -> None:
        """Refuse with 429 what exceeds so many requests in any second; None refuses nothing."""
        self.front.limit.set(rate, retry_after=retry_after)

    def reset(self) -> None:
        """No edits, no faults, no limit, an empty log."""
        with self._lock:
            self._edits.clear()
            self._keep()
        self.clear_faults()
        self.limit(None)
        self.clear_seen()

    def _keep(self) -> None:
        if self._kept:
            write_json(self._kept, self._edits)

    def _served(self, asked: Asked) -> Reply:
        endpoint, key = _subject(asked.parts)
        if not hmac.compare_digest(asked.headers.get("x-api-key", "").encode(), self.key.encode()):
            return refusal(401, endpoint, key)
        document = self._document(asked.parts[1:], endpoint, key)
        return refusal(404, endpoint, key) if document is None else Reply(200, document, endpoint, key)

    def _document(self, parts: tuple[str, ...], endpoint: str, key: str) -> Any:
        """The answer's document; None where there is none."""
        if not (key.isascii() and key.isdigit() and hotels.FIRST_ID <= int(key) <= hotels.LAST_ID):
            return None
        edits = self._edits.get(key, {})
        if not endpoint or edits.get("removed"):
            return None
        if endpoint == "reviews":
            return [*edits.get("reviews", ()), *hotels.reviews(int(key))][: int(parts[3])]
        if endpoint == "property":
            return _edited(hotels.hotel(int(key)), edits.get(""))
        found = hotels.translation(int(key), parts[3])
        if found is None:
            return None
        translated = _edited(found, edits.get(parts[3]))
        return {"data": translated} if int(key) % 2 == 0 else translated


def _edited(document: dict[str, Any], edit: Mapping[str, Any] | None) -> dict[str, Any]:
    if edit is None:
        return document
    return {name: value for name, value in {**document, **edit["fields"]}.items() if name not in edit["drop"]}


def _subject(parts: tuple[str, ...]) -> tuple[str, str]:
    """Endpoint and hotel of a path."""
    match parts:
        case (_, "property", "reviews", key, count) if parts[0] == VERSION and count.isdigit():
            return "reviews", key
        case (_, "property", key, "lang", _) if parts[0] == VERSION:
            return "lang", key
        case (_, "property", key) if parts[0] == VERSION:
            return "property", key
    return "", ""
