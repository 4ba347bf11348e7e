"""Searchable text of the knowledge sync's rows. Pure functions of a row (column → value)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sync_pipelines.targets.documents import human_texts, is_localized

_FIRST_LANGUAGES = {"en": 0, "id": 1, "ar": 2}

_DECORATION = {"icon", "icons", "color", "colors", "colour", "colours", "style", "theme", "animation", "emoji"}
"""Words in a field's name below which nothing is for reading."""

_TECHNICAL = {
    *("id", "ids", "uuid", "key", "slug", "code", "type", "kind", "status", "level", "version", "format"),
    *("url", "urls", "uri", "href", "src", "path", "image", "img", "video", "audio", "file", "email"),
    *("lang", "language", "locale", "unit", "date", "at", "order", "enum"),
}
"""Last words of a field's name whose own text (not the text of objects below) is for programs."""

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_CODE = re.compile(
    r"""(?x)
      [a-z][a-z0-9+.-]*:\S*                          # https://…, mailto:…
    | \#[0-9a-fA-F]{3,8} | (rgb|hsl)a?\(.*\)          # colours
    | \S*[/\\]\S*\.\w+ | /\S+ | [\w-]+\.(png|jpe?g|svg|gif|webp|mp[34]|json|lottie)   # paths, files
    | [A-Z0-9]*[A-Z][A-Z0-9]+ | \w*_\w*               # EASY, DAILY_HABIT, in_progress
    | [a-z]+([A-Z][a-z0-9]*)+                         # camelCase
    | [a-z]+(-[a-z]+)*-?[0-9]+                        # step-1, day3
    | [0-9a-fA-F]{8}-[0-9a-fA-F-]{27}                 # uuid
    | (?=\w*[0-9])(?=\w*[a-zA-Z])\w{12,}              # cuid and other random names
    | \d{4}-\d\d-\d\d([T ].*)?                        # dates
    """
)


def journey_text(row: Mapping[str, Any]) -> str:
    """A journey's goal keywords, tags and every human text of its full JSON, each exactly as it stands there.

    Of the JSON a text is left out when

    - it has no letter (numbers, emoji);
    - it is ASCII without a space and looks like an id, a URL, a path, a colour, a date or an enum's code
      (`EASY`, `in_progress`, `moodCheck`, `step-1`);
    - its field is named for programs: the last word of the name is id, url, type, status, … (so `nextStepId`,
      `imageUrl`), or any word is icon, color, style, theme, … (below these nothing is read).

    In a localized object (all names are language codes, such as en, id, ar) every text is for people, `id`
    meaning Indonesian; English, Indonesian and Arabic come first. An object whose only name is `id` is
    localized if its text has a space or a letter beyond ASCII.

    Args:
        row: `goalKeywords` and `tags` (lists of text), `fullJson` (any JSON); missing and null have no text.
    """
    parts = [", ".join(human_texts(row.get(name))) for name in ("goalKeywords", "tags")]
    parts.append("\n".join(_texts(row.get("fullJson"), name="")))
    return "\n\n".join(part for part in parts if part)


def _texts(value: Any, *, name: str) -> Iterator[str]:
    if isinstance(value, str):
        if _is_human(value) and not _is_technical(name):
            yield value
    elif isinstance(value, Mapping):
        for inner, item in _fields(value):
            yield from _texts(item, name=inner)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, name=name)


def _fields(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """An object's fields that may hold text; a language's name says nothing about its text."""
    if _is_localized(value):
        for language in sorted(value, key=lambda code: (_FIRST_LANGUAGES.get(code, 3), code)):
            yield "", value[language]
        return
    for name, item in value.items():
        if not _DECORATION & set(_words(name)):
            yield name, item


def _is_localized(value: Mapping[str, Any]) -> bool:
    if set(value) == {"id"}:
        text = value["id"]
        return isinstance(text, str) and (" " in text.strip() or not text.isascii())
    return is_localized(value) and not _TECHNICAL & (set(value) - {"id"})


def _is_human(text: str) -> bool:
    if not any(letter.isalpha() for letter in text):
        return False
    trimmed = text.strip()
    return not (trimmed.isascii() and " " not in trimmed and _CODE.fullmatch(trimmed))


def _is_technical(name: str) -> bool:
    words = _words(name)
    return bool(words) and words[-1] in _TECHNICAL


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]
