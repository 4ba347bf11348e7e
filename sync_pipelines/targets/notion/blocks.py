"""Blocks of a page: as the mapper makes them, as Notion is asked to make them, and as Notion gives them back.

A block of ours is a dict: `type`, then `text` (runs: `text`, and `marks` where a person formatted it) and `checked` of
a to-do, `url` of a bookmark, `name`, `mime`, `size` and `sha256` of an image or file; `children` of a to-do. What
Notion gives back of such a block has the same `mark`; what nobody could have sent has another one, or another type.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync_pipelines.targets.notion.text import pieces

Block = Mapping[str, Any]
FILES = ("image", "file")
UNKNOWN = "other"
"""The type of a block that the sync never makes."""


def digest(value: Any) -> str:
    """Sixteen hex digits that equal values of JSON share."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def mark_of(block: Block) -> str:
    """A hash of what a reader sees of a block itself, without its children."""
    return digest({name: value for name, value in block.items() if name not in ("children", "mime", "size", "sha256")})


def sha_of(block: Block) -> str | None:
    """The hash of a file's bytes; None of other blocks. Notion does not give it back."""
    return block.get("sha256")


def upload_of(block: Block) -> str:
    """What a file's upload is known by among those of its page: its hash, or, where the source has none, its name."""
    return sha_of(block) or f"of {block.get('name', '')}"


def children_of(block: Block) -> Sequence[Block]:
    return block.get("children") or ()


def size_of(blocks: Iterable[Block]) -> int:
    """How many blocks these are, with those below them."""
    return sum(1 + size_of(children_of(block)) for block in blocks)


# What Notion is asked


def rich_text(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs of text as a request's rich text, in pieces that Notion takes."""
    return [{"type": "text", "text": {"content": piece}} for run in runs for piece in pieces(run["text"])]


def content_of(block: Block, upload: str | None = None) -> dict[str, Any]:
    """What stands below the type in a request that makes or changes a block.

    Args:
        upload: the id of the file's upload; where it is left out the file stays.
    """
    kind = block["type"]
    if kind in FILES:
        caption = rich_text([{"text": block["name"]}] if block["name"] else [])
        file = {"type": "file_upload", "file_upload": {"id": upload}} if upload else {}
        return {**file, "caption": caption}
    if kind == "bookmark":
        return {"url": block["url"], "caption": rich_text(block["text"])}
    return {"rich_text": rich_text(block["text"]), **({"checked": block["checked"]} if kind == "to_do" else {})}


def change_of(block: Block) -> dict[str, Any]:
    """What stands below the type in a request that changes a block: a colour that somebody gave it goes, too."""
    content = content_of(block)
    return {**content, "color": "default"} if "rich_text" in content else content


def request_of(block: Block, uploads: Mapping[str, str], *, children: Sequence[Any] | None = None) -> dict[str, Any]:
    """A block as a request makes it.

    Args:
        uploads: `upload_of` → id of a file's upload. children: those to send with it; all if None.
    """
    content = content_of(block, uploads.get(upload_of(block)))
    below = [request_of(child, uploads) for child in (children_of(block) if children is None else children)]
    if below:
        content["children"] = below
    return {"object": "block", "type": block["type"], block["type"]: content}


# What Notion gives


def runs_of(given: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rich text as runs: neighbours that are formatted alike are one."""
    found: list[dict[str, Any]] = []
    for item in given:
        text, marks = _text(item), _marks(item)
        if found and found[-1].get("marks") == (marks or None):
            found[-1]["text"] += text
        elif text or marks:
            found.append({"text": text, **({"marks": marks} if marks else {})})
    return found


def plain_text(given: Iterable[Mapping[str, Any]]) -> str:
    """The text alone."""
    return "".join(map(_text, given))


def _text(item: Mapping[str, Any]) -> str:
    if item.get("type") == "text":
        return item["text"]["content"]
    return item.get("plain_text") or ""


def _marks(item: Mapping[str, Any]) -> dict[str, Any]:
    """What a person did to a text: the sync writes it plain."""
    styles = item.get("annotations") or {}
    marks = {name: value for name, value in styles.items() if value not in (False, None, "default")}
    kind = item.get("type")
    if kind != "text":
        marks["kind"] = kind
        marks["of"] = digest(item.get(kind))
    elif link := item["text"].get("link"):
        marks["link"] = link.get("url")
    return marks


def block_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """A block of an answer as the mapper would have made it, without its children."""
    kind = given["type"]
    content = given.get(kind) or {}
    coloured = {} if content.get("color") in (None, "default") else {"color": content["color"]}
    if kind in ("paragraph", "to_do"):
        checked = {"checked": bool(content.get("checked"))} if kind == "to_do" else {}
        return {"type": kind, "text": runs_of(content.get("rich_text") or ()), **checked, **coloured}
    if kind == "bookmark":
        return {"type": kind, "url": content.get("url") or "", "text": runs_of(content.get("caption") or ())}
    if kind in FILES:
        return {"type": kind, "name": plain_text(content.get("caption") or ()), **_replaced(given)}
    shown = {name: value for name, value in content.items() if name != "children"}
    return {"type": kind, UNKNOWN: digest(shown)}


def _replaced(given: Mapping[str, Any]) -> dict[str, Any]:
    """Of an image or file that somebody else edited: another file may stand there, which only that tells."""
    made, edited = (given.get(name, {}).get("id") for name in ("created_by", "last_edited_by"))
    return {} if made == edited else {"edited": True}


@dataclass(frozen=True, kw_only=True)
class Live:
    """A block that stands on a page.

    Args:
        author, editor: ids of who made it, and last edited it.
        whole: whether its children were read (they are those of `children`), or it has none.
    """

    id: str
    block: Block
    mark: str
    author: str
    editor: str = ""
    children: tuple[Live, ...] = ()
    whole: bool = True

    @property
    def type(self) -> str:
        return self.block["type"]


def live_of(given: Mapping[str, Any], children: Sequence[Live] | None = ()) -> Live:
    """A block of an answer; `children` None: it has some that were not read."""
    block = block_of(given)
    author = (given.get("created_by") or {}).get("id") or ""
    return Live(
        id=given["id"],
        block=block,
        mark=mark_of(block),
        author=author,
        editor=(given.get("last_edited_by") or {}).get("id") or "",
        children=tuple(children or ()),
        whole=children is not None,
    )


def walk(blocks: Iterable[Live]) -> Iterator[Live]:
    """These blocks and those below them."""
    for block in blocks:
        yield block
        yield from walk(block.children)
