"""The shapes of Notion's answers, as its own TypeScript client declares them, and whether an answer has one of them.

`shapes.json` was made from the declarations of the npm package `@notionhq/client` (MIT), version 5.26.0, whose default
Notion-Version is 2025-09-03: `npm pack @notionhq/client@5.26.0`, then
`python -m sync_pipelines_tests.sandbox.notion.shapes package/build/src/api-endpoints`.

A shape is `["object", {field: [required, shape]}]`, `["array", shape]`, `["union", [shape, …]]`, within a
union `["all", [shape, …]]`, `["is", value]`, `["type", "string" | "number" | "boolean" | "null" | "any"]` or
`["named", name]`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("shapes.json")

WANTED = (
    "PageObjectResponse", "BlockObjectResponse", "DatabaseObjectResponse", "DataSourceObjectResponse",
    "CommentObjectResponse", "FileUploadObjectResponse", "UserObjectResponse", "ListBlockChildrenResponse",
    "QueryDataSourceResponse", "ListUsersResponse", "ListCommentsResponse", "SearchResponse",
    "GetPagePropertyResponse",
)  # fmt: skip

_LEFT_OUT = re.compile(
    "Formula|Rollup|Relation|Verification|UniqueId|Place|MeetingNotes|Transcription|Button|LinkPreview|TabBlock|Template"
    "|AgentId|Heading4|LinkMention|CustomEmoji|IconPageIcon|Group"
)
"""What the stand-in never answers."""

_DECLARED = re.compile(r"^(?:export )?type (\w+) = (.*?);\n(?=(?:export |type |declare |/\*\*|$))", re.S | re.M)
_WORD = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\w$]+|\S)', re.S)
_NAMES = {"string": "string", "number": "number", "boolean": "boolean", "null": "null", "true": True, "false": False}


def problems(value: Any, name: str) -> list[str]:
    """What is wrong with an answer that should have the shape of this name."""
    return list(_problems(value, ["named", name], name))


def _problems(value: Any, shape: Any, path: str) -> Iterator[str]:
    kind, of = shape
    if kind == "named":
        yield from _problems(value, _SHAPES[of], path)
    elif kind == "union":
        yield from _of_union(value, of, path)
    elif kind == "object":
        yield from _of_object(value, of, path)
    elif kind == "array":
        if not isinstance(value, list):
            yield f"{path} is no list"
        else:
            for number, one in enumerate(value):
                yield from _problems(one, of, f"{path}[{number}]")
    elif not (value == of and type(value) is type(of) if kind == "is" else _TYPES[of](value)):
        yield f"{path} is {value!r}, not {of!r}"


def _of_object(value: Any, fields: dict[str, Any], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is no object"
        return
    if "*" in fields:
        for name, one in value.items():
            yield from _problems(one, fields["*"][1], f"{path}.{name}")
        return
    for name, (required, shape) in fields.items():
        if name in value:
            yield from _problems(value[name], shape, f"{path}.{name}")
        elif required:
            yield f"{path}.{name} is missing"
    for name in value.keys() - fields.keys() - {"request_id"}:
        yield f"{path}.{name} is unknown"


def _of_union(value: Any, shapes: list[Any], path: str) -> Iterator[str]:
    """No problem where one shape fits; else those of the one that fits best."""
    found = [list(_problems(value, shape, path)) for shape in _flat(shapes)]
    yield from min(found, key=len)


def _flat(shapes: list[Any]) -> Iterator[Any]:
    """The alternatives of a union, those of an object in it that has unions of its own among them."""
    for shape in shapes:
        resolved = _SHAPES[shape[1]] if shape[0] == "named" else shape
        if resolved[0] == "union":
            yield from _flat(resolved[1])
        elif resolved[0] == "all":
            yield from _products(resolved[1])
        else:
            yield resolved


def _products(shapes: list[Any]) -> Iterator[Any]:
    parts: list[dict[str, Any]] = [{}]
    for shape in shapes:
        parts = [{**before, **one[1]} for before in parts for one in _flat([shape])]
    yield from (["object", part] for part in parts)


_TYPES: dict[Any, Any] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "any": lambda value: True,
}


class _Reader:
    """Reads a TypeScript type."""

    def __init__(self, text: str) -> None:
        plain = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        self._words, self._place = _WORD.findall(plain), 0

    def type(self) -> Any:
        self._skip("|")
        found = [self._both()]
        while self._skip("|"):
            found.append(self._both())
        return found[0] if len(found) == 1 else ["union", found]

    def _both(self) -> Any:
        found = [self._one()]
        while self._skip("&"):
            found.append(self._one())
        return found[0] if len(found) == 1 else ["union", [["all", found]]]

    def _one(self) -> Any:
        word = self._next()
        if word == "{":
            return ["object", dict(self._fields())]
        if word == "(":
            found = self.type()
            self._next()
        elif word in ("Array", "Record"):
            found = self._generic(word)
        elif word.startswith('"'):
            found = ["is", json.loads(word)]
        elif word in _NAMES:
            found = ["is" if word in ("true", "false") else "type", _NAMES[word]]
        else:
            found = ["type", "any"] if word in ("any", "unknown", "never") else ["named", word]
        while self._skip("["):
            self._next()
            found = ["array", found]
        return found

    def _generic(self, word: str) -> Any:
        self._next()
        first = self.type()
        found: Any = ["array", first]
        if word == "Record":
            self._next()
            of = self.type()
            found = ["object", {} if of == ["type", "any"] else {"*": [True, of]}]
        self._next()
        return found

    def _fields(self) -> Iterator[tuple[str, Any]]:
        while not self._skip("}"):
            name = self._next().strip('"')
            required = not self._skip("?")
            self._next()
            yield name, [required, self.type()]
            self._skip(";")

    def _skip(self, word: str) -> bool:
        there = self._place < len(self._words) and self._words[self._place] == word
        self._place += there
        return there

    def _next(self) -> str:
        self._place += 1
        return self._words[self._place - 1]


def _named(shape: Any) -> Iterator[str]:
    if shape[0] == "named":
        yield shape[1]
    elif shape[0] == "object":
        for _, one in shape[1].values():
            yield from _named(one)
    elif shape[0] == "array":
        yield from _named(shape[1])
    elif shape[0] in ("union", "all"):
        shape[1][:] = [one for one in shape[1] if not (one[0] == "named" and _LEFT_OUT.search(one[1]))]
        for one in shape[1]:
            yield from _named(one)


def main() -> None:
    """Write the shapes of a folder of declarations, those that are wanted and what they name."""
    declared: dict[str, str] = {}
    for file in sorted(Path(sys.argv[1]).glob("*.d.ts")):
        declared.update(_DECLARED.findall(file.read_text() + "\ndeclare"))
    found: dict[str, Any] = {}
    waiting = list(WANTED)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _Reader(declared[name]).type()
            waiting.extend(_named(found[name]))
    lines = [f"{json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found)]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


_SHAPES: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}

if __name__ == "__main__":
    main()
