"""Columns whose values nobody is shown: `sensitive:` in a table's document.

Where a key column is sensitive, keys are shown as the beginning of their SHA-256 (`printf %s KEY | sha256sum` gives
it), in samples, quarantine, logs and alerts; commands take that form for the key. The ledger holds the keys
themselves: it could neither replay nor repair a hash. What is told of a row (why it was refused, what a provider
says of its text) has the row's sensitive values cut out before anybody writes it down (`engine.veil`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Protocol, TypeVar

from sync_pipelines.engine.secrets import HIDDEN

_MASKED = re.compile(r"sha256:[0-9a-f]{12}")

_PIECE = 8
"""So many characters in a row that a text shares with a sensitive value are cut out: clients quote beginnings."""

_MOST_CHARACTERS = 10_000
"""Of a reason; whoever stores it cuts it further."""


class Shape(Protocol):
    """What of a `TableSpec` is needed here."""

    @property
    def key(self) -> tuple[str, ...]: ...
    @property
    def sensitive(self) -> tuple[str, ...]: ...


class _Sampled(Protocol):
    """A proof, of now or from the ledger, or the plan of a repair."""

    @property
    def samples(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def reasons(self) -> Mapping[str, str]: ...


class _OfRecord(Protocol):
    """A record in quarantine, or what happened to one."""

    @property
    def key(self) -> str: ...
    @property
    def reason(self) -> str | None: ...


S = TypeVar("S", bound=_Sampled)
R = TypeVar("R", bound=_OfRecord)


def masked(key: str) -> str:
    """A key as it is shown: stable, and the same for whoever hashes it."""
    return f"sha256:{hashlib.sha256(key.encode(errors='surrogatepass')).hexdigest()[:12]}"


def is_masked(text: str) -> bool:
    """Whether somebody names a record by what was shown of its key."""
    return bool(_MASKED.fullmatch(text))


@dataclass(frozen=True)
class Mask:
    """How the keys of one table, and what is said of its records, are shown.

    Args:
        hides_keys: a key column is sensitive. Else everything is shown as it is.
    """

    hides_keys: bool = False

    def key(self, key: str) -> str:
        """A key as it is shown; one that is masked already stays."""
        return masked(key) if self.hides_keys and not is_masked(key) else key

    def keys(self, keys: Iterable[str]) -> list[str]:
        return [self.key(key) for key in keys]

    def text(self, text: str, *keys: str) -> str:
        """What is said of these records, without their keys."""
        return without(text, keys) if self.hides_keys else text

    def proof(self, found: S) -> S:
        """A proof or plan with its samples as they are shown."""
        if not self.hides_keys:
            return found
        samples = {kind: self.keys(keys) for kind, keys in found.samples.items()}
        reasons = {self.key(key): self.text(why, key) for key, why in found.reasons.items()}
        return replace(found, samples=samples, reasons=reasons)  # ty: ignore[invalid-argument-type]

    def record(self, found: R) -> R:
        """A record in quarantine, or what happened to one, as it is shown."""
        if not self.hides_keys:
            return found
        reason = found.reason and self.text(found.reason, found.key)
        return replace(found, key=self.key(found.key), reason=reason)  # ty: ignore[invalid-argument-type]

    def real(self, given: Iterable[str], known: Iterable[str]) -> dict[str, str]:
        """Those of `given` that are masked keys of `known`, with the key of each."""
        wanted = {key for key in given if self.hides_keys and is_masked(key)}
        return {mask: key for key in known if wanted and (mask := masked(key)) in wanted}


def mask_of(spec: Shape) -> Mask:
    """The mask of a table."""
    return Mask(hides_keys=bool(set(spec.key) & set(spec.sensitive)))


def without(text: str, values: Iterable[str]) -> str:
    """`text` with `***` in the place of these values, and of any longer piece of one.

    Short values are cut out where they stand alone: the 5 of a price, not that of 2025.
    """
    text, known = text[:_MOST_CHARACTERS], {value for value in values if value}
    short = sorted((value for value in known if len(value) < _PIECE), key=len, reverse=True)
    text = _without_pieces(text, "\0".join(sorted(known - set(short))))
    if short:
        one = "|".join(map(re.escape, short))
        text = re.sub(rf"(?<!\w)(?:{one})(?!\w)", HIDDEN, text, flags=re.I)
    return text


def _without_pieces(text: str, known: str) -> str:
    lower, known = text.lower(), known.lower()
    if len(lower) != len(text):  # a letter whose small form is two
        lower = text
    ends = [start + _PIECE for start in range(len(text) - _PIECE + 1) if lower[start : start + _PIECE] in known]
    shown: list[str] = []
    at = 0
    for first, last in _joined(ends):
        shown += [text[at : first - _PIECE], HIDDEN]
        at = last
    return "".join([*shown, text[at:]])


def _joined(ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last end of each row of pieces that touch or overlap."""
    first = last = None
    for end in ends:
        if last is None or first is None:
            first = end
        elif end - last > _PIECE:
            yield first, last
            first = end
        last = end
    if first is not None and last is not None:
        yield first, last


def spellings(value: Any) -> Iterator[str]:
    """A value as a client may write it: its text, its leaves where it is JSON, a time in microseconds too."""
    if value is None:
        return
    if isinstance(value, str):
        yield from _of_text(value)
    elif isinstance(value, datetime | date):
        yield from (value.isoformat(), str(value))
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
        yield str(round(moment.timestamp() * 1_000_000))
    else:
        yield str(value)


def _of_text(text: str) -> Iterator[str]:
    yield text
    if not text.isascii():
        yield json.dumps(text)[1:-1]  # \\u0627…
    if text[:1] in ("{", "[", '"'):
        try:
            yield from _leaves(json.loads(text))
        except (ValueError, RecursionError):
            return


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value
        if not value.isascii():
            yield json.dumps(value)[1:-1]
    elif value is not None:
        yield str(value)
