"""The stated mapping of a source's values to metadata. Nothing is rounded, cut or dropped in silence.

| source                | metadata                                                                       |
|-----------------------|--------------------------------------------------------------------------------|
| null, empty list      | the field is absent                                                            |
| bool, text            | as it is                                                                       |
| integer               | as it is; beyond 64 bits the record is quarantined                             |
| float                 | as it is (-0.0 is 0.0); NaN and infinity: quarantined                          |
| numeric               | a float, if exactly the same number is written back; else quarantined          |
| timestamp             | microseconds since 1970-01-01 UTC, an integer that can be filtered by range    |
| date                  | the same, of its midnight UTC                                                  |
| time, uuid, …         | text, as it is written                                                         |
| list of one type      | a list; else (mixed, with null, nested) JSON text                              |
| other JSON            | JSON text, names sorted, no spaces                                             |
| bytes                 | quarantined                                                                    |
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sync_pipelines.targets.chroma.values import ValueRefused, check_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime | date) -> int:
    """A moment, or a date's midnight, as microseconds since the epoch, UTC; a naive one means UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def metadata_value(name: str, value: Any) -> Any:
    """What is stored for a value, by the table above; None means that the field is absent.

    Raises:
        ValueRefused: the value cannot be stored as it is; the record goes to quarantine.
    """
    if value is None or (isinstance(value, list | tuple) and not value):
        return None
    if isinstance(value, list | tuple):
        return _list(name, list(value))
    if isinstance(value, Mapping):
        return _json(name, value)
    return _scalar(name, value)


def _scalar(name: str, value: Any) -> bool | int | float | str:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueRefused(f"metadata {name!r}: {value} does not fit into 64 bits")
        return value
    if isinstance(value, float | Decimal):
        return _number(name, value)
    if isinstance(value, datetime | date):
        return microseconds(value)
    if isinstance(value, time | UUID | timedelta):
        return str(value)
    if isinstance(value, str):
        check_text(value, what=f"metadata {name!r}")
        return value
    raise ValueRefused(f"metadata {name!r}: a value of type {type(value).__name__} has no place in metadata")


def _number(name: str, value: float | Decimal) -> float:
    if not math.isfinite(value):
        raise ValueRefused(f"metadata {name!r}: {value} is no number that can be stored")
    number = float(value)
    if isinstance(value, Decimal) and Decimal(repr(number)) != value:
        raise ValueRefused(
            f"metadata {name!r}: {value} has more digits than a float holds exactly; leave the column out, or name "
            "a text column in its place (GENERATED ALWAYS AS … STORED)"
        )
    return number + 0.0  # -0.0 becomes 0.0 here, by rule, and not in the store


def _list(name: str, values: list[Any]) -> Any:
    if any(value is None or isinstance(value, Mapping | list | tuple) for value in values):
        return _json(name, values)
    stored = [_scalar(name, value) for value in values]
    return stored if len({type(value) for value in stored}) == 1 else _json(name, values)


def _json(name: str, value: Any) -> str:
    text = json.dumps(_plain(name, value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    check_text(text, what=f"metadata {name!r}")
    return text


def _plain(name: str, value: Any) -> Any:
    """JSON's own types; numbers keep their digits, or the record is refused."""
    if isinstance(value, Mapping):
        return {str(key): _plain(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal) and value == value.to_integral_value() and abs(value) < Decimal(10) ** 30:
        return int(value)
    return _scalar(name, value)
