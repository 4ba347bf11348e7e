"""A value of a request and where it stands in it, so that a refusal can name the place as Notion does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from sync_pipelines.sandbox.notion.refusals import Refusal, invalid

MOST_TEXT = 2000
"""Units of UTF-16 in a text and in a URL: Notion is written in JavaScript and counts as it does."""

MOST_ELEMENTS = 100

_QUOTED = 55
_ABSENT: Final = object()
_KINDS: Final[dict[type, str]] = {str: "a string", bool: "a boolean", list: "an array", dict: "an object"}
_SCHEMES = ("http", "https", "mailto", "tel", "ftp")
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)


def units(text: str) -> int:
    """The length of a text as JavaScript counts it: an emoji has two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@dataclass(frozen=True)
class Given:
    """A value of a request.

    Args:
        value: what stands there.
        path: where: `body.children[0].paragraph`.
    """

    value: Any
    path: str = "body"

    @property
    def there(self) -> bool:
        """Whether anything stands there, be it null."""
        return self.value is not _ABSENT

    @property
    def filled(self) -> bool:
        """Whether anything but null stands there."""
        return self.there and self.value is not None

    def wrong(self, rule: str) -> Refusal:
        """A refusal that names this place: `should be …`."""
        shown = "undefined" if not self.there else _quoted(json.dumps(self.value, ensure_ascii=False))
        return invalid(f"{self._root} failed validation: {self.path} {rule}, instead was `{shown}`.")

    def too_many(self, most: int, number: int, what: str = ".length") -> Refusal:
        """A refusal of what exceeds a limit."""
        return invalid(
            f"{self._root} failed validation: {self.path}{what} should be ≤ `{most}`, instead was `{number}`."
        )

    @property
    def _root(self) -> str:
        """Whether it stands in the body or in the query."""
        return self.path.partition(".")[0]

    def of(self, kind: type) -> Any:
        """The value, which must be of this kind."""
        if not isinstance(self.value, kind):
            raise self.wrong(f"should be {_KINDS[kind]}" if self.there else "should be defined")
        return self.value

    def field(self, name: str) -> Given:
        """A field of an object; it may be absent."""
        return Given(self.of(dict).get(name, _ABSENT), f"{self.path}.{name}")

    def fields(self) -> Iterator[tuple[str, Given]]:
        """All fields of an object."""
        return ((name, self.field(name)) for name in self.of(dict))

    def only(self, *names: str) -> Given:
        """This object, which may have no other fields."""
        for name in self.of(dict):
            if name not in names:
                raise self.field(name).wrong("should be not present")
        return self

    def elements(self, most: int = MOST_ELEMENTS) -> list[Given]:
        """The elements of an array, which may not have more than so many."""
        found = self.of(list)
        if len(found) > most:
            raise self.too_many(most, len(found))
        return [Given(one, f"{self.path}[{number}]") for number, one in enumerate(found)]

    def text(self, most: int = MOST_TEXT) -> str:
        """A text of no more than so many units."""
        found = self.of(str)
        if units(found) > most:
            raise self.too_many(most, units(found))
        if "\x00" in found or any("\ud800" <= letter <= "\udfff" for letter in found):
            raise self.wrong("should be a string without NUL and lone surrogates")
        return found

    def url(self) -> str:
        """A URL that Notion takes: of a scheme that it knows, with something behind it."""
        found = self.text()
        try:
            parts = urlsplit(found)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme.lower() not in _SCHEMES or not (parts.netloc or parts.path) or " " in parts.netloc:
            raise invalid("Invalid URL for link.")
        return found

    def boolean(self, default: bool) -> bool:
        """A truth value, or the default where none is given."""
        return self.of(bool) if self.there else default

    def number(self) -> float | int:
        """A number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.wrong("should be a number")
        return self.value

    def one_of(self, *values: str) -> str:
        """One of these values."""
        if self.value not in values:
            raise self.wrong("should be " + " or ".join(f'`"{value}"`' for value in values))
        return self.value

    def identity(self) -> str:
        """An id, with hyphens, in lower case."""
        return identity(self.of(str), self.path)


def _quoted(text: str) -> str:
    """A value as a refusal shows it: no more than 55 units of UTF-16 of it."""
    if units(text) <= _QUOTED:
        return text
    return text.encode("utf-16-le")[: 2 * _QUOTED].decode("utf-16-le", "ignore") + "..."


def identity(text: str, path: str = "path failed validation: path.id") -> str:
    """An id as Notion writes it; it takes one without hyphens, too."""
    if not _UUID.fullmatch(text):
        prefix = "" if "failed" in path else "body failed validation: "
        raise invalid(f"{prefix}{path} should be a valid uuid, instead was `{json.dumps(text)}`.")
    plain = text.replace("-", "").lower()
    return "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))


def parsed(text: bytes) -> Given:
    """The body of a request.

    Raises:
        Refusal: it is no JSON object.
    """
    try:
        found = json.loads(text) if text else {}
    except ValueError as error:
        raise Refusal(400, "invalid_json", "Error parsing JSON body.") from error
    if not isinstance(found, dict):
        raise invalid("body failed validation: body should be an object.")
    return Given(found)
