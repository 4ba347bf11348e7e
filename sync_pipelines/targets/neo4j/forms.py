"""The values of a record as JSON: as they are compared, merged and kept in the ledger; and back again."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.engine.merging import same
from sync_pipelines.engine.secrets import HIDDEN
from sync_pipelines.targets.neo4j.names import END_NAME, START_NAME
from sync_pipelines.targets.neo4j.properties import Properties, received
from sync_pipelines.targets.neo4j.types import LISTS, Kind

_LONGEST = 64_000
"""Characters of a value that is kept as it is; of a longer one its hash is, which tells that it has changed."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""What jsonb cannot hold."""

_SHOWN = 200


class Forms:
    """How the values of one label or type are written.

    Args:
        properties: their kinds. hidden: the sensitive ones, of which a hash is made.
        salt: differs between tables, so that a hash of one tells nothing of another.
    """

    def __init__(self, properties: Properties, *, hidden: Collection[str] = (), salt: str = "") -> None:
        self.kinds = {**dict.fromkeys((START_NAME, END_NAME), Kind.text), **properties.kinds}
        self._hidden, self._salt, self._readable = hidden, salt, False

    def readable(self) -> Forms:
        """The same for people: whole values, and `***` for those that nobody is shown."""
        found = copy(self)
        found._readable = True
        return found

    def veiled(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A state that was kept, as people are shown it."""
        return {name: HIDDEN if name in self._hidden else value for name, value in state.items()}

    def state(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A mapped row, without what is null in it."""
        found = {name: self._form(name, row.get(name)) for name in self.kinds}
        return {name: value for name, value in found.items() if value is not None}

    def held(self, row: Mapping[str, Any], raw: Mapping[str, Any], base: Mapping[str, Any] | None) -> dict[str, Any]:
        """What the graph holds, whose values may be of other types than the sync would write.

        Args:
            row: as `Properties.batch` reads it; raw: the values themselves, by property. base: what was last synced,
                of types that may be of another time.
        """
        found = self.state(row)
        for name, value in raw.items():
            if value is not None and row.get(name) is None:
                found[name] = self._strange(name, value, (base or {}).get(name))
        return found

    def is_state(self, values: Sequence[Any], ends: tuple[Any, Any], state: Mapping[str, Any]) -> bool:
        """Whether what the graph holds is this state: as `held` would find, with no batch made of it.

        Args:
            values: of the properties, in their order. ends: the keys of a relationship's nodes. state: as it is kept.
        """
        pairs = zip(self.kinds, (*ends, *values), strict=True)
        return all(self._is(name, value, state.get(name)) for name, value in pairs)

    def _is(self, name: str, value: Any, form: Any) -> bool:
        if value is None or form is None:
            return value is form
        if value == form and type(value) is str and type(form) is str and name not in self._hidden:
            return self.kinds[name] is Kind.text
        read = received(value, self.kinds[name])
        return same(self._strange(name, value, form) if read is None else self._form(name, read), form)

    def of_now(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """What was last synced of the properties that there are now."""
        return {name: value for name, value in base.items() if name in self.kinds}

    def _form(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name in self._hidden:
            return HIDDEN if self._readable else {"sha256": self._hash(name, str(value))}
        return self._plain(name, _json(value, self.kinds[name]))

    def native(self, name: str, value: Any) -> Any:
        """A value that a merge or a person has made, as a batch carries it.

        Raises:
            ConfigurationError: a property of this kind cannot hold it.
        """
        kind = self.kinds[name]
        if is_unlike(value):  # no batch could carry it, and without it the property would go
            raise ConfigurationError(
                f"the graph's value of {name!r} is no {kind.value}, so no merge can keep it.",
                remedy=f"Take the source's ({name}=source), give another, or let the graph's version stand (target).",
            )
        try:
            return None if value is None else _made(value, kind)
        except (KeyError, ValueError, TypeError, OverflowError):
            raise ConfigurationError(f"the property {name!r} is a {kind.value} and cannot hold this value.") from None

    def _plain(self, name: str, value: Any) -> Any:
        if self._readable:
            return value
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if len(text) > _LONGEST or _UNSTORABLE.search(text):
            return {"sha256": self._hash(name, text), "characters": len(text)}
        return value

    def _hash(self, name: str, text: str) -> str:
        return hashlib.sha256(f"{self._salt}\0{name}\0{text}".encode(errors="surrogatepass")).hexdigest()

    def _strange(self, name: str, value: Any, base: Any) -> Any:
        """A value of another type; the base's where it is that, of before the column's type was changed."""
        if self._readable:
            return HIDDEN if name in self._hidden else repr(value)
        if name in self._hidden:
            return {"unlike": self._hash(name, repr(value))}
        for kind in Kind:
            read = received(value, kind)
            if read is not None and same(form := self._plain(name, _json(read, kind)), base):
                return form
        return {"unlike": _UNSTORABLE.sub("?", repr(value))[:_SHOWN], "sha256": self._hash(name, repr(value))}


def is_unlike(value: Any) -> bool:
    """Whether it is of a type that the sync would not write, so that no merge can take it over."""
    return isinstance(value, dict) and "unlike" in value


def _json(value: Any, kind: Kind) -> Any:
    if kind in LISTS:
        return json.loads(value)
    if isinstance(value, date):  # a time is one, too
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def with_maps(*states: Mapping[str, Any] | None) -> list[dict[str, Any] | None]:
    """The states with the maps that texts of them spell (of a column of type json), where all of them spell one."""
    names = {name for state in states for name in state or ()}
    read = {name: maps for name in names if (maps := _maps([(state or {}).get(name) for state in states]))}
    found: list[dict[str, Any] | None] = []
    for number, state in enumerate(states):
        own = {name: maps[number] for name, maps in read.items() if maps[number] is not None}
        found.append(None if state is None else {**state, **own})
    return found


def _maps(values: list[Any]) -> list[dict[str, Any] | None] | None:
    if not all(value is None or (isinstance(value, str) and value[:1] == "{") for value in values):
        return None
    try:
        read = [None if value is None else json.loads(value, parse_float=_exact) for value in values]
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return read if any(read) else None


def _exact(text: str) -> float:
    """A number that is written again as it was; of one that a merge would round, a ValueError: the text stays one."""
    if Decimal(text) != Decimal(repr(found := float(text))):
        raise ValueError(text)
    return found


def _made(value: Any, kind: Kind) -> Any:
    """A value of JSON as a batch carries it; a KeyError, ValueError, TypeError or OverflowError where there is none."""
    if kind is Kind.text:
        return _encodable(json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else _exactly(str)(value))
    if kind in LISTS and isinstance(value, list):
        return _encodable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return _NATIVE[kind](value)


def _encodable(text: str) -> str:
    """A lone surrogate has no form in UTF-8: the error is a ValueError."""
    text.encode()
    return text


def _bigint(value: Any) -> int:
    if not -(2**63) <= _exactly(int)(value) < 2**63:
        raise OverflowError
    return value


def _moment(value: Any) -> datetime:
    found = datetime.fromisoformat(value)
    return found.astimezone(UTC) if found.tzinfo else found


def _exactly(*kinds: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) not in kinds:
            raise TypeError
        return kinds[0](value)

    return read


_NATIVE: dict[Kind, Callable[[Any], Any]] = {
    Kind.integer: _bigint,
    Kind.float: _exactly(float, int),
    Kind.boolean: _exactly(bool),
    Kind.date: date.fromisoformat,
    Kind.local: datetime.fromisoformat,
    Kind.moment: _moment,
}
