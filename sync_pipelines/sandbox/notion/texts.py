"""Rich text: what a request may say, and what Notion makes of it."""

from __future__ import annotations

from typing import Any

from sync_pipelines.sandbox.notion.given import MOST_ELEMENTS, Given

_BASE = ("gray", "brown", "orange", "yellow", "green", "blue", "purple", "pink", "red")
COLORS = ("default", *_BASE, "default_background", *(f"{name}_background" for name in _BASE))
OPTION_COLORS = ("default", *_BASE)

_MARKS = ("bold", "italic", "strikethrough", "underline", "code")
_PLAIN = {**dict.fromkeys(_MARKS, False), "color": "default"}
_MOST_EXPRESSION = 1000


def rich_text(given: Given, most: int = MOST_ELEMENTS) -> list[dict[str, Any]]:
    """Rich text as Notion answers it: runs without content are gone, plain_text, href and annotations are there."""
    found = [_run(one) for one in given.elements(most)]
    return [run for run in found if run["plain_text"]]


def run(content: str, url: str | None = None, annotations: dict[str, Any] | None = None) -> dict[str, Any]:
    """A run of text."""
    return {
        "type": "text",
        "text": {"content": content, "link": {"url": url} if url else None},
        "annotations": annotations or _PLAIN,
        "plain_text": content,
        "href": url,
    }


def merged(text: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours that look alike as one run."""
    found: list[dict[str, Any]] = []
    for one in text:
        last = found[-1] if found else None
        if last and last["type"] == one["type"] == "text" and _look(last) == _look(one):
            found[-1] = run(last["plain_text"] + one["plain_text"], one["href"], one["annotations"])
        else:
            found.append(one)
    return found


def _look(one: dict[str, Any]) -> tuple[Any, Any]:
    return one["href"], one["annotations"]


def _run(given: Given) -> dict[str, Any]:
    given.only("type", "text", "mention", "equation", "annotations", "plain_text", "href")
    annotations = _annotations(given.field("annotations"))
    kind = _kind(given)
    if kind == "equation":
        expression = given.field("equation").field("expression").text(_MOST_EXPRESSION)
        return _other("equation", {"expression": expression}, annotations, expression)
    if kind == "mention":
        return _mention(given.field("mention"), annotations)
    text = given.field("text").only("content", "link")
    link = text.field("link")
    return run(text.field("content").text(), link.field("url").url() if link.filled else None, annotations)


def _kind(given: Given) -> str:
    kind = given.field("type")
    if kind.there:
        return kind.one_of("text", "mention", "equation")
    found = next((name for name in ("text", "mention", "equation") if given.field(name).there), None)
    if found is None:
        raise given.field("text").wrong("should be defined")
    return found


def _annotations(given: Given) -> dict[str, Any]:
    if not given.there:
        return _PLAIN
    given.only(*_MARKS, "color")
    found = {name: given.field(name).boolean(False) for name in _MARKS}
    color = given.field("color")
    return {**found, "color": color.one_of(*COLORS) if color.there else "default"}


def _mention(given: Given, annotations: dict[str, Any]) -> dict[str, Any]:
    kind = next((name for name in ("page", "database", "user", "date") if given.field(name).there), None)
    if kind is None:
        raise given.field("page").wrong("should be defined")
    said = given.field(kind).of(dict)
    named = said["start"] if kind == "date" else given.field(kind).field("id").identity()
    return _other("mention", {"type": kind, kind: said}, annotations, f"@{named}")


def _other(kind: str, content: dict[str, Any], annotations: dict[str, Any], plain: str) -> dict[str, Any]:
    return {"type": kind, kind: content, "annotations": annotations, "plain_text": plain, "href": None}
