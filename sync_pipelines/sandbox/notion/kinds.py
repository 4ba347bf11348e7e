"""The types of blocks: what a request may say of each, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sync_pipelines.sandbox.notion import files
from sync_pipelines.sandbox.notion.files import Attach
from sync_pipelines.sandbox.notion.given import MOST_TEXT, Given
from sync_pipelines.sandbox.notion.refusals import invalid
from sync_pipelines.sandbox.notion.texts import COLORS, rich_text

Read = Callable[[Given, Attach], Any]
"""Makes of a field of a request what is kept."""


@dataclass(frozen=True)
class Kind:
    """A type of block.

    Args:
        fields: what reads each field.
        defaults: what stands there where a request says nothing; a field without one must be given.
        fixed: fields that an update may not change.
        children: which types may lie in it: `any`, one type, or none of them.
        media: whether it is a file.
    """

    fields: dict[str, Read] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    children: str = ""
    media: bool = False


def _text(given: Given, _: Attach) -> Any:
    return rich_text(given)


def _color(given: Given, _: Attach) -> str:
    return given.one_of(*COLORS)


def _flag(given: Given, _: Attach) -> bool:
    return given.of(bool)


def _url(given: Given, _: Attach) -> str:
    return given.url()


def _language(given: Given, _: Attach) -> str:
    return given.one_of(*LANGUAGES)


def _expression(given: Given, _: Attach) -> str:
    return given.text(1000)


def _name(given: Given, _: Attach) -> str:
    return given.text(MOST_TEXT)


def _width(given: Given, _: Attach) -> int | float:
    width = given.number()
    if not 1 <= width <= 100:
        raise given.wrong("should be between `1` and `100`")
    return width


def _cells(given: Given, _: Attach) -> list[Any]:
    return [rich_text(cell) for cell in given.elements()]


def _ratio(given: Given, _: Attach) -> float | int:
    return given.number()


def _source(given: Given, _: Attach) -> Any:
    return {"type": "block_id", "block_id": given.field("block_id").identity()} if given.filled else None


def _link(name: str) -> Read:
    return lambda given, _: given.identity() if name.endswith("_id") else given.of(str)


LANGUAGES = (
    "abap", "abc", "agda", "arduino", "ascii art", "assembly", "bash", "basic", "bnf", "c", "c#", "c++", "clojure",
    "coffeescript", "coq", "css", "dart", "dhall", "diff", "docker", "ebnf", "elixir", "elm", "erlang", "f#", "flow",
    "fortran", "gherkin", "glsl", "go", "graphql", "groovy", "haskell", "hcl", "html", "idris", "java", "javascript",
    "json", "julia", "kotlin", "latex", "less", "lisp", "livescript", "llvm ir", "lua", "makefile", "markdown",
    "markup", "matlab", "mathematica", "mermaid", "nix", "notion formula", "objective-c", "ocaml", "pascal", "perl",
    "php", "plain text", "powershell", "prolog", "protobuf", "purescript", "python", "r", "racket", "reason", "ruby",
    "rust", "sass", "scala", "scheme", "scss", "shell", "smalltalk", "solidity", "sql", "swift", "toml", "typescript",
    "vb.net", "verilog", "vhdl", "visual basic", "webassembly", "xml", "yaml", "java/c/c++/c#",
)  # fmt: skip

_WORDS: dict[str, Read] = {"rich_text": _text, "color": _color}
_WORDS_SAY: dict[str, Any] = {"color": "default"}
_HEADING = Kind({**_WORDS, "is_toggleable": _flag}, {**_WORDS_SAY, "is_toggleable": False}, children="any")
_LINE = Kind(_WORDS, _WORDS_SAY, children="any")
_ICON = Kind({**_WORDS, "icon": files.icon}, {**_WORDS_SAY, "icon": None}, children="any")
_MEDIA = Kind({"caption": _text}, {"caption": []}, media=True)
_LINKED = Kind({"url": _url, "caption": _text}, {"caption": []})

KINDS: dict[str, Kind] = {
    "paragraph": _ICON,
    "bulleted_list_item": _LINE,
    "numbered_list_item": _LINE,
    "quote": _LINE,
    "toggle": _LINE,
    "to_do": Kind({**_WORDS, "checked": _flag}, {**_WORDS_SAY, "checked": False}, children="any"),
    "heading_1": _HEADING,
    "heading_2": _HEADING,
    "heading_3": _HEADING,
    "callout": _ICON,
    "code": Kind({"rich_text": _text, "caption": _text, "language": _language}, {"caption": []}),
    "equation": Kind({"expression": _expression}),
    "divider": Kind(),
    "breadcrumb": Kind(),
    "table_of_contents": Kind({"color": _color}, {"color": "default"}),
    "bookmark": _LINKED,
    "embed": _LINKED,
    "image": _MEDIA,
    "video": _MEDIA,
    "pdf": _MEDIA,
    "audio": _MEDIA,
    "file": Kind({"caption": _text, "name": _name}, {"caption": [], "name": ""}, media=True),
    "table": Kind(
        {"table_width": _width, "has_column_header": _flag, "has_row_header": _flag},
        {"has_column_header": False, "has_row_header": False},
        fixed=("table_width",),
        children="table_row",
    ),
    "table_row": Kind({"cells": _cells}),
    "column_list": Kind(children="column"),
    "column": Kind({"width_ratio": _ratio}, {"width_ratio": 1}, children="any"),
    "synced_block": Kind({"synced_from": _source}, {"synced_from": None}, children="any"),
    "link_to_page": Kind({"page_id": _link("page_id"), "database_id": _link("database_id"), "type": _link("type")}),
}

_OPTIONAL = frozenset({"page_id", "database_id", "type"})


def content(kind: str, given: Given, attach: Attach) -> dict[str, Any]:
    """What a new block of a type holds, as a request says it."""
    rules = KINDS[kind]
    found: dict[str, Any] = dict(rules.defaults)
    for name, read in rules.fields.items():
        value = given.field(name)
        if value.there:
            found[name] = read(value, attach)
        elif name not in found and name not in _OPTIONAL:
            raise value.wrong("should be defined")
    return {**files.file(given, attach), **found} if rules.media else found


def changed(kind: str, before: dict[str, Any], given: Given, attach: Attach) -> dict[str, Any]:
    """What a block holds after an update: fields that are not given stay."""
    rules = KINDS[kind]
    given.only(*_allowed(rules))
    after = dict(before)
    for name, value in given.fields():
        if name in rules.fixed:
            raise invalid(f"{name} cannot be updated.")
        if name in rules.fields:
            after[name] = rules.fields[name](value, attach)
    if rules.media and (given.field("external").there or given.field("file_upload").there):
        after = {name: value for name, value in after.items() if name not in ("type", "external", "upload")}
        after = {**files.file(given, attach), **after}
    return after


def _allowed(rules: Kind) -> tuple[str, ...]:
    return (*rules.fields, *(("type", "external", "file_upload") if rules.media else ()))


def kind_of(given: Given) -> str:
    """The type of the block that a request describes.

    Raises:
        Refusal: it names none, an unknown one, or one that cannot be made so.
    """
    names = [name for name in given.of(dict) if name not in ("object", "type", "id")]
    said = given.field("type")
    kind = said.of(str) if said.there else next(iter(names), "")
    if kind not in KINDS:
        at = said if said.there else given.field("type")
        raise at.wrong("should be " + " or ".join(f'`"{name}"`' for name in KINDS))
    extra = [name for name in names if name != kind]
    if extra:
        raise given.field(extra[0]).wrong("should be not present")
    return kind
