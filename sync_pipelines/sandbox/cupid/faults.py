"""Faults on demand: what an API on the internet does now and then, when a test wants it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sync_pipelines.sandbox.stand_ins import faults
from sync_pipelines.sandbox.stand_ins.front import WIRE

STATUSES = ("400", "401", "403", "404", "422", "429", "500", "501", "502", "503", "504")
SHAPES = ("wrong_types", "strings", "old_checkin", "wrapped", "flat", "missing", "extra")
KINDS = (*STATUSES, *WIRE, *SHAPES)
"""A status; trouble on the wire; another shape of the body.

`wrong_types`, `missing`, `extra`: `fields` are replaced, left out or
added. `strings`: numbers as strings. `old_checkin`, `wrapped`, `flat`: the shapes that are known of Cupid.
"""

_NONSENSE = {"latitude": "north", "rooms": "none", "average_score": "great"}


@dataclass
class Fault(faults.Fault):
    """One fault and whom it meets; `fields` are what the shapes speak of, an endpoint is property, reviews or lang."""

    kinds: ClassVar[tuple[str, ...]] = KINDS

    fields: Mapping[str, Any] = field(default_factory=dict)

    def shaped(self, document: Any) -> Any:
        """The body in the shape that the fault wants."""
        if isinstance(document, list):
            return [self.shaped(one) for one in document]
        if set(document) == {"data"} and self.kind not in ("wrapped", "flat"):
            return {"data": self.shaped(document["data"])}
        return _SHAPED[self.kind](dict(document), self.fields)


def _wrong(document: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    nonsense = fields or {name: value for name, value in _NONSENSE.items() if name in document}
    return {**document, **nonsense}


def _strings(document: dict[str, Any], _fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _string(value) for name, value in document.items()}


def _string(value: Any) -> Any:
    if isinstance(value, dict):
        return _strings(value, {})
    if isinstance(value, list):
        return [_string(one) for one in value]
    return json.dumps(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _old_checkin(document: dict[str, Any], _fields: Mapping[str, Any]) -> dict[str, Any]:
    checkin = document.pop("checkin", None) or {}
    return {
        **document,
        **{name: checkin[name] for name in ("checkin_start", "checkin_end", "checkout") if name in checkin},
    }


def _wrapped(document: dict[str, Any], _fields: Mapping[str, Any]) -> dict[str, Any]:
    return document if "data" in document else {"data": document}


def _flat(document: dict[str, Any], _fields: Mapping[str, Any]) -> dict[str, Any]:
    return document.get("data", document)


def _missing(document: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in fields}


def _extra(document: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**document, **fields}


_SHAPED = {
    "wrong_types": _wrong,
    "strings": _strings,
    "old_checkin": _old_checkin,
    "wrapped": _wrapped,
    "flat": _flat,
    "missing": _missing,
    "extra": _extra,
}
