"""Keep's notes as pages. Pure functions: a note → title, properties and blocks.

Stated rules; nothing is cut, and what Notion cannot hold in its own place is written on the page:

- A text's line is a paragraph, a blank one an empty paragraph; lines end at a line feed, a carriage return, or both.
- An item of a list is a to-do; an indented one stands below the last that is not. The first one has none above it.
- What one block cannot hold (`targets.notion.text`) goes on in the next of the same kind, a title in paragraphs.
- A link is a bookmark with title and description below; one that Notion takes for no address (longer than 2,000, or
  neither http nor https; or none at all) is a paragraph that quotes it.
- An attachment is an image where Notion shows its kind, else a file; one that is too large is named in a paragraph.
- In labels a comma, which Notion does not take, is written as U+201A (‚), and that itself as `⟨U+201A⟩`; so no two
  labels become one. Labels beyond the hundredth, longer than 100, or blank stand in a paragraph.
- Who shares the note is named in the last paragraph.
- Control characters are written as `targets.notion.text` says. Moments are given to the minute, as Notion keeps
  them; the key has the microseconds of the first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sync_pipelines.targets.notion.text import lines_of, portions, units, visible

MAX_FILE_BYTES = 20 * 1024 * 1024
"""What Notion takes of a file in one part; 5 MiB in free workspaces."""

COMMA = "\u201a"
"""Written in the place of a label's comma."""

LABELS, LABEL_UNITS, URL_UNITS = 100, 100, 2000

_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml", "image/heic"})


def page_of(note: Mapping[str, Any], *, max_file_bytes: int = MAX_FILE_BYTES) -> dict[str, Any]:
    """The page of a note.

    Args:
        note: as `sources.keep.model` writes it.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    title, *rest = portions(visible(note["title"]))
    labels, further = _labels(note["labels"])
    blocks = [_paragraph(portion) for portion in rest]
    blocks += _items(note["items"]) if note["items"] is not None else _lines(note["text"] or "")
    blocks += [block for link in note["links"] for block in _link(link)]
    blocks += [block for file in note["attachments"] for block in _attachment(file, max_file_bytes)]
    blocks += _sentence("Further labels", further) + _sentence("Shared with", map(_sharee, note["sharees"]))
    return {
        "title": title,
        "properties": {
            "labels": labels,
            "color": note["color"],
            **{name: bool(note[name]) for name in ("pinned", "archived", "trashed")},
            **{name: _moment(note[name]) for name in ("created", "edited")},
        },
        "blocks": blocks,
    }


def label_of(label: str) -> str:
    """A label as an option of Notion is called."""
    return visible(label).replace(COMMA, f"⟨U+{ord(COMMA):04X}⟩").replace(",", COMMA)


def _labels(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options, sorted, and the labels that can be none."""
    named = {label: label_of(label) for label in sorted(set(labels))}
    fit = [label for label, name in named.items() if name.strip() and units(name) <= LABEL_UNITS][:LABELS]
    return sorted(named[label] for label in fit), [label for label in named if label not in set(fit)]


def _moment(text: str | None) -> str | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return moment.isoformat(timespec="minutes")


def _runs(text: str) -> list[dict[str, str]]:
    return [{"text": text}] if text else []


def _paragraph(text: str) -> dict[str, Any]:
    """Of a visible text that fits into one block."""
    return {"type": "paragraph", "text": _runs(text)}


def _paragraphs(text: str) -> list[dict[str, Any]]:
    return [_paragraph(portion) for portion in portions(visible(text))]


def _lines(text: str) -> list[dict[str, Any]]:
    return [block for line in lines_of(text) for block in _paragraphs(line)]


def _items(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for item in items:
        blocks = [
            {"type": "to_do", "text": _runs(portion), "checked": bool(item["checked"]), "children": []}
            for portion in portions(visible(item["text"]))
        ]
        (found[-1]["children"] if item["indent"] and found else found).extend(blocks)
    return found


def _link(link: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    url = visible(link["url"])
    told = " — ".join(part for part in (link.get("title"), link.get("description")) if part)
    if not _is_address(url):
        yield from _paragraphs(": ".join(part for part in (told, link["url"]) if part))
        return
    caption, *rest = portions(visible(told))
    yield {"type": "bookmark", "url": url, "text": _runs(caption)}
    yield from map(_paragraph, rest)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    plain = url.isprintable() and " " not in url
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain and units(url) <= URL_UNITS


def _attachment(file: Mapping[str, Any], most: int) -> list[dict[str, Any]]:
    if file["size"] > most:
        size, limit = file["size"] / 2**20, most / 2**20
        why = f"{file['mime']}, {size:.1f} MiB; Notion takes {limit:g} MiB here"
        return _paragraphs(f"Attachment that was not uploaded: {file['name']} ({why})")
    name, *rest = portions(visible(file["name"]))
    kind = "image" if file["mime"] in _IMAGES else "file"
    block = {"type": kind, "name": name, "mime": file["mime"], "size": file["size"], "sha256": file["sha256"]}
    return [block, *map(_paragraph, rest)]


def _sharee(sharee: Mapping[str, Any]) -> str:
    return f"{sharee['email']} (owner)" if sharee["owner"] else sharee["email"]


def _sentence(what: str, names: Iterator[str] | Sequence[str] | map[str]) -> list[dict[str, Any]]:
    told = ", ".join(names)
    return _paragraphs(f"{what}: {told}") if told else []
