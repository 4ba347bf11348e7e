"""What a payload has to be: tolerant of spelling, exact about where it breaks.

A model takes numbers and flags that are written as texts, fields that are missing and fields that nobody knows; what
cannot be read as what it should be is a `ContractError` with the path of the field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

Item = TypeVar("Item")

_MOST = 40
"""Characters of a value that stand in a sentence."""

_BIGINT = 2**63
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_NESTED = 200
"""Levels of a payload: Python's own limit is 1000 calls, and whoever reads a payload is some hundred deep already."""

_NO_DATE = re.compile(r"0000-00-00([T ]00:00(:00)?)?")


class ContractError(ValueError):
    """A payload is not what the API promises.

    Args:
        path: of the offending field (`rooms[3].max_adults`); empty for the payload itself.
        message: what is wrong with it.
    """

    def __init__(self, path: str, message: str) -> None:
        self.path, self.message = path, message
        super().__init__(f"{path or 'the payload'}: {message}")


def whole(value: Any) -> int | None:
    """A whole number that PostgreSQL's bigint holds; `3.0` and `" 3 "` are 3, a blank text is None."""
    found = number(value)
    if found is None:
        return None
    exact = int(value) if isinstance(value, int) else int(value) if _is_digits(value) else int(found)
    if found != math.floor(found) or not -_BIGINT <= exact < _BIGINT:
        raise ValueError(f"a whole number is expected, found {shown(value)}")
    return exact


def number(value: Any) -> float | None:
    """A number, also written as a text; a blank text is None."""
    if isinstance(value, str) and not value.strip():
        return None
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        found = value
    elif isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        found = value.strip()
    else:
        raise ValueError(f"a number is expected, found {shown(value)}")
    try:
        result = None if found is None else float(found)
    except OverflowError:
        result = math.inf
    if result is not None and not math.isfinite(result):
        raise ValueError(f"a number is expected, found {shown(value)}")
    return result


def _is_digits(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lstrip("+-").isdecimal()


def flag(value: Any) -> bool | None:
    """True or false, also as yes, no, 1, 0 or a text of these; a blank text is None."""
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, str | int) else "?"
    if text not in ("", *_FLAGS):
        raise ValueError(f"true or false is expected, found {shown(value)}")
    return _FLAGS.get(text)


def text(value: Any) -> str | None:
    """A text without blanks at its ends; a number as it is written, true and false as words; a blank text is None."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"a text is expected, found {shown(value)}")
    return None if value is None else str(value).strip() or None


def texts(value: Any) -> list[str]:
    """A list of texts; one text stands for a list of it, null for none; blank ones are left out."""
    if value is not None and not isinstance(value, str | list):
        raise ValueError(f"a list of texts is expected, found {shown(value)}")
    items = value if isinstance(value, list) else [value]
    return [found for item in items if (found := text(item)) is not None]


def listed(value: Any) -> Any:
    """A list; null and a blank text stand for an empty one (PHP's APIs write them)."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if not isinstance(value, list):
        raise ValueError(f"a list is expected, found {shown(value)}")
    return value


def moment(value: Any) -> str | None:
    """A time as `YYYY-MM-DD HH:MM:SS`; one with a zone in UTC; blank and `0000-00-00` are None."""
    found = text(value)
    if found is None or _NO_DATE.fullmatch(found):
        return None
    try:
        read = datetime.fromisoformat(found)
    except ValueError:
        raise ValueError(f"a time like 2026-03-01 12:30:00 is expected, found {shown(value)}") from None
    read = read if read.tzinfo is None else read.astimezone(UTC)
    return read.strftime("%Y-%m-%d %H:%M:%S")


Whole = Annotated[int | None, BeforeValidator(whole)]
Number = Annotated[float | None, BeforeValidator(number)]
Flag = Annotated[bool | None, BeforeValidator(flag)]
Text = Annotated[str | None, BeforeValidator(text)]
Texts = Annotated[list[str], BeforeValidator(texts), Field(default_factory=list)]
Moment = Annotated[str | None, BeforeValidator(moment)]
Many = Annotated[list[Item], BeforeValidator(listed), Field(default_factory=list)]


class Shape(BaseModel):
    """The base of models of payloads: fields that it does not name are kept, and told by `unknown`.

    Attributes:
        needed: fields that must be there and hold something.
        usual: fields that every payload had when the model was written: one that is missing is told by `missing`.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    needed: ClassVar[tuple[str, ...]] = ()
    usual: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def read(cls, payload: Any) -> Self:
        """The payload as this model.

        Raises:
            ContractError: it is not of this shape, or holds what PostgreSQL cannot.
        """
        insist_on_storable(payload)
        try:
            found = cls.model_validate(payload)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ContractError(_path(first["loc"]), _sentence(first)) from None
        found.insist_on_needed()
        return found

    def insist_on_needed(self, path: str = "") -> None:
        """Look for fields that are needed and empty, here and below.

        Raises:
            ContractError: for the first one.
        """
        for name in self.needed:
            if getattr(self, name) is None:
                raise ContractError(
                    _joined(path, name), "it is missing" if name not in self.model_fields_set else "it is empty"
                )
        for place, shape in self._inner(path, indexed=True):
            shape.insist_on_needed(place)

    def unknown(self, path: str = "") -> set[str]:
        """The paths of fields that the model does not know, such as `rooms[].balcony`."""
        own = {_joined(path, name) for name in self.model_extra or ()}
        return own.union(*(shape.unknown(place) for place, shape in self._inner(path)))

    def missing(self, path: str = "") -> set[str]:
        """The paths of usual fields that are not there."""
        own = {_joined(path, name) for name in self.usual if name not in self.model_fields_set}
        return own.union(*(shape.missing(place) for place, shape in self._inner(path)))

    def _inner(self, path: str, *, indexed: bool = False) -> Iterator[tuple[str, Shape]]:
        for name in type(self).model_fields:
            value, place = getattr(self, name), _joined(path, name)
            if isinstance(value, Shape):
                yield place, value
            elif isinstance(value, list):
                for index, item in enumerate(value):
                    if isinstance(item, Shape):
                        yield f"{place}[{index if indexed else ''}]", item


def unwrapped(payload: Any) -> Any:
    """What stands in `{"data": …}`, or the payload itself."""
    if isinstance(payload, Mapping) and isinstance(payload.get("data"), dict | list):
        return payload["data"]
    return payload


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold it: neither NUL characters nor half surrogate pairs."""
    return not _UNSTORABLE.search(text)


def insist_on_storable(payload: Any, path: str = "", *, level: int = 0) -> None:
    """Look for what JSON can say and PostgreSQL's jsonb, or Python's stack, cannot hold.

    Raises:
        ContractError: a NUL character, half a surrogate pair, a number beyond all measure, or nesting without end.
    """
    if level > _NESTED:
        raise ContractError("", f"it is nested more than {_NESTED} levels deep")
    if isinstance(payload, str):
        if not is_storable(payload):
            raise ContractError(
                path, "it holds a NUL character or half a surrogate pair, which PostgreSQL cannot store"
            )
    elif isinstance(payload, float):
        if not math.isfinite(payload):
            raise ContractError(path, "it holds a number beyond what a float can be")
    elif isinstance(payload, Mapping):
        for name, value in payload.items():
            if not is_storable(name):
                raise ContractError(path, "the name of a field in it holds a NUL character or half a surrogate pair")
            insist_on_storable(value, _joined(path, name), level=level + 1)
    elif isinstance(payload, list):
        for index, value in enumerate(payload):
            insist_on_storable(value, f"{path}[{index}]", level=level + 1)


def _path(places: tuple[int | str, ...]) -> str:
    path = ""
    for place in places:
        path = f"{path}[{place}]" if isinstance(place, int) else _joined(path, place)
    return path


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _sentence(error: Mapping[str, Any]) -> str:
    if error["type"] == "missing":
        return "it is missing"
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return f"an object is expected, found {shown(error['input'])}"
    return str(error.get("ctx", {}).get("error") or error["msg"])


def shown(value: Any) -> str:
    """A value for a sentence: lists and objects by what they are."""
    if isinstance(value, Mapping | list):
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value)}"
    words = "null" if value is None else repr(value)
    return words if len(words) <= _MOST else f"{words[:_MOST]}…"
