"""What is said of documents, without the values of their sensitive fields (`engine.sensitive`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sync_pipelines.engine.rowsets import canonical
from sync_pipelines.engine.sensitive import spellings, without
from sync_pipelines.targets.rowsets.paths import ANY, general

_WRAPPER = "data"
"""Answers may be an object in one of this name; a field has one path in both."""


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """The fields of a document kind whose values nobody is shown.

    Args:
        paths: into payloads, dotted; lists on the way need no mark: `rooms[].name` and `rooms.name` are one.
            `*` is each name of a map.
        keys: whether the documents' keys are hidden, too.
    """

    paths: tuple[str, ...] = ()
    keys: bool = False

    def __bool__(self) -> bool:
        return self.keys or bool(self.paths)

    def text(self, text: str, key: Sequence[str], payload: Any = None) -> str:
        """What is said of a document, with `***` in the place of each hidden value.

        Args:
            key: its parts.
        """
        if not self:
            return text
        values = {spelling for value in self._values(payload) for spelling in _spelled(value)}
        return without(text, [*values, *(key if self.keys else ())])

    def unknown(self, found: Mapping[str, Any]) -> list[str]:
        """Those paths that none of these fields has, which are named as the check `drift` names them."""
        known = {tuple(_parts(path)) for path in found}
        known |= {path[1:] for path in known if path[:1] == (_WRAPPER,)}
        return [path for path in self.paths if known.isdisjoint(_ways(path))]

    def _values(self, payload: Any) -> Iterator[Any]:
        inner = payload.get(_WRAPPER) if isinstance(payload, Mapping) else None
        for path in self.paths:
            yield from _at(payload, _parts(path))
            yield from _at(inner, _parts(path))


NOTHING = Hidden()
"""Every field may be shown."""


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("[]", "").split(".") if part]


def _ways(path: str) -> Iterator[tuple[str, ...]]:
    """How `drift` may name the field of a path: a name that is data as `*`, and the number of a list's item not."""
    yield tuple(_parts(general(path)))
    yield tuple(part for part in _parts(path) if not part.isdigit())


def _at(found: Any, parts: Sequence[str]) -> Iterator[Any]:
    """The leaves below a path, of every item of a list on the way."""
    if isinstance(found, list):
        numbered = bool(parts) and parts[0].isdigit()  # as `columns` may name an item: those of all are hidden
        for item in found:
            yield from _at(item, parts[1:] if numbered else parts)
    elif isinstance(found, Mapping):
        inner = found.values() if not parts or parts[0] == ANY else [found.get(parts[0])]
        for item in inner:
            yield from _at(item, parts[1:])
    elif not parts:
        yield found


def _spelled(value: Any) -> Iterator[str]:
    """A leaf as a sentence may write it: as it came, without blanks, with escapes, and in its column's form."""
    yield from spellings(value)
    if isinstance(value, str):
        yield from (value.strip(), repr(value)[1:-1], repr(value.strip())[1:-1])
    for kind in ("numeric", "float"):
        with suppress(ValueError, TypeError, ArithmeticError):
            yield str(canonical(value, kind))
