"""A page read back: as the mapper would have made it, and as people are shown it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sync_pipelines.engine.deciding import Sides
from sync_pipelines.engine.merging import leaves
from sync_pipelines.targets.notion.blocks import FILES, Block
from sync_pipelines.targets.notion.judgement import Case
from sync_pipelines.targets.notion.looking import Seen
from sync_pipelines.targets.notion.places import Wish, places_of
from sync_pipelines.targets.notion.properties import VALUES
from sync_pipelines.targets.notion.region import Standing
from sync_pipelines.targets.notion.uploads import name_in


def page_text(seen: Seen) -> str:
    """The canonical JSON of what stands on a page, as the mapper gives a note's."""
    values = seen.head.values
    page = {
        "title": values["title"],
        "properties": {item: values[item] for item in VALUES},
        "blocks": [_block(item) for item in seen.region.standing],
    }
    return json.dumps(page, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _block(item: Standing) -> dict[str, Any]:
    block, entry = dict(item.live.block), item.entry
    if item.is_as_left and entry.type in FILES:
        name = block["name"] if entry.shown is None else name_in(_text(block), entry.mime or "")
        sha = "" if entry.lost else entry.sha
        block = {"type": entry.type, "name": name, "mime": entry.mime, "size": entry.size, "sha256": sha}
    below = [_block(child) for child in item.children]
    if below or block["type"] == "to_do":
        block["children"] = below
    return block


def _text(block: Block) -> str:
    return "".join(run["text"] for run in block.get("text", ()))


def readable(case: Case, sides: Sides) -> Sides:
    """The sides of a case with what can be read in the place of hashes; of the base that is what one side has still."""
    source = _of_source(case)
    target = _of_target(case)
    words: dict[Any, Any] = {}
    for state, read in ((sides.source, source), (sides.target, target)):
        for name, value in leaves(state or {}).items():
            words[_frozen(value)] = (read or {}).get(name, value)
    base = None if sides.base is None else leaves(sides.base)
    known = None if base is None else {name: words.get(_frozen(mark), mark) for name, mark in base.items()}
    # in which order people have put the blocks is no block's text
    moved = None if target is None else {**leaves(sides.target or {}), **target}
    return replace(sides, source=source, target=moved, base=known)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _of_source(case: Case) -> dict[str, Any] | None:
    if case.row is None:
        return None
    values = {item: value for item, value in case.row.values.items() if value is not None}
    return {**values, **{f"blocks.{wish.place}": _words(wish.block) for wish in _all(case.wishes)}}


def _all(wishes: Sequence[Wish]) -> Iterator[Wish]:
    for wish in wishes:
        yield wish
        yield from _all(wish.children)


def _of_target(case: Case) -> dict[str, Any] | None:
    if case.seen is None:
        return None
    values = {item: value for item, value in case.seen.head.values.items() if value is not None}
    places = places_of(case.seen.region)
    return {**values, **{f"blocks.{place}": _words(item.live.block) for place, item in places.items()}}


def _words(block: Block) -> str:
    """A block in a line."""
    kind = block["type"]
    if kind == "to_do":
        return f"[{'x' if block.get('checked') else ' '}] {_text(block)}"
    if kind == "bookmark":
        return f"{_text(block)} {block['url']}".strip()
    return f"({kind}) {block['name']}" if kind in FILES else _text(block) or f"({kind})"
