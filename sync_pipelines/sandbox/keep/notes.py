"""Notes of every kind, always the same for a number and a seed; and what people do to them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sync_pipelines.sandbox.keep.model import COLORS, SandboxFile, SandboxLine, SandboxLink, SandboxNote
from sync_pipelines.sandbox.keep.words import EMOJI, ITEMS, LINES, ODD, PLACES

FIRST = 1_500_000_000_123_000
"""When the first note was made, in microseconds since 1970."""

_APART = 37_123_000
_MIB = 1024 * 1024
_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001"
    "a5f645400000000049454e44ae426082"
)

Make = Callable[[random.Random, int], dict[str, Any]]
"""Makes fields of the note with this number."""


def varied_notes(count: int = 2000, *, seed: int = 7, twins: int = 2) -> list[SandboxNote]:
    """So many notes of all kinds.

    Args:
        twins: pairs of notes that were made at the same microsecond.
    """
    notes = [_note(random.Random(f"{seed}:{number}"), number) for number in range(count)]
    for pair in range(min(twins, count // 4)):
        first, second = 3 + 4 * pair, 4 + 4 * pair
        if second < count:
            notes[second] = replace(notes[second], created=notes[first].created)
    return notes


def _note(rng: random.Random, number: int) -> SandboxNote:
    created = FIRST + number * _APART
    fields: dict[str, Any] = {
        "created": created,
        "edited": None if number % 17 == 5 else created + 1000 * rng.randrange(10**9),
        "color": COLORS[number % len(COLORS)],
        "pinned": number % 11 == 0,
        "archived": number % 13 == 0,
        "trashed": number % 19 == 0,
        **_BODIES[number % len(_BODIES)](rng, number),
    }
    for every, make in _EXTRAS:
        if number % every == every - 1:
            fields.update(make(rng, number))
    return SandboxNote(**fields)


def _sentence(rng: random.Random) -> str:
    return rng.choice(LINES[rng.choice(tuple(LINES))])


def _lines(rng: random.Random, number: int) -> str:
    return "\n".join(_sentence(rng) for _ in range(number))


def _short(rng: random.Random, number: int) -> dict[str, Any]:
    return {"title": f"{_sentence(rng)} {number}", "text": _lines(rng, rng.randrange(1, 5))}


def _untitled(rng: random.Random, _: int) -> dict[str, Any]:
    return {"text": _lines(rng, rng.randrange(1, 4))}


def _paragraphs(rng: random.Random, _: int) -> dict[str, Any]:
    return {"title": _sentence(rng), "text": "\n\n".join(_lines(rng, rng.randrange(1, 4)) for _ in range(3)) + "\n"}


def _emoji(rng: random.Random, number: int) -> dict[str, Any]:
    return {"title": f"{rng.choice(EMOJI)} {number}", "text": "".join(rng.choices(EMOJI, k=rng.randrange(1, 60)))}


def _odd(rng: random.Random, number: int) -> dict[str, Any]:
    return {"title": ODD[number % len(ODD)].replace("\r\n", " "), "text": "\n".join(rng.sample(ODD, 3))}


def _same_title(rng: random.Random, _: int) -> dict[str, Any]:
    return {"title": "Shopping", "text": _lines(rng, 2)}


def _list(rng: random.Random, number: int) -> dict[str, Any]:
    lines = [_item(rng, place) for place in range(rng.randrange(0, 12))]
    return {"title": f"List {number}", "items": tuple(lines)}


def _item(rng: random.Random, place: int) -> SandboxLine:
    indent = int(place > 0 and rng.random() < 0.3)
    return SandboxLine(text=f"{rng.choice(ITEMS)} {place}", checked=rng.random() < 0.4, indent=indent)


def _untitled_list(rng: random.Random, number: int) -> dict[str, Any]:
    return {**_list(rng, number), "title": ""}


_BODIES: tuple[Make, ...] = (
    _short, _list, _untitled, _paragraphs, _list, _emoji, _odd, _same_title, _untitled_list, _short, _short,
)  # fmt: skip


def _long(size: int) -> Make:
    def make(rng: random.Random, _: int) -> dict[str, Any]:
        text = ""
        while len(text) < size:
            text += _lines(rng, 40) + rng.choice(("\n", " ", " " + rng.choice(EMOJI)))
        return {"text": text[:size], "items": None}

    return make


def _one_word(rng: random.Random, _: int) -> dict[str, Any]:
    """A text without a place to break it, in which a limit may fall into a letter of two units."""
    return {"text": "a" + "".join(rng.choices(EMOJI, k=1500)), "items": None}


def _long_list(size: int) -> Make:
    return lambda rng, _: {"text": "", "items": tuple(_item(rng, place) for place in range(size))}


def _empty(_: random.Random, __: int) -> dict[str, Any]:
    return {"title": "", "text": "", "items": None}


def _labels(rng: random.Random, _: int) -> dict[str, Any]:
    return {"labels": tuple(rng.sample(PLACES, rng.randrange(1, 4)))}


def _many_labels(_: random.Random, __: int) -> dict[str, Any]:
    return {"labels": tuple(f"label {place}" for place in range(120))}


def _links(rng: random.Random, number: int) -> dict[str, Any]:
    urls = [f"https://example.com/{number}/{place}?q={rng.randrange(99)}" for place in range(rng.randrange(1, 4))]
    return {"links": tuple(SandboxLink(url=url, title=_sentence(rng), description=_sentence(rng)) for url in urls)}


def _long_link(_: random.Random, number: int) -> dict[str, Any]:
    url = f"https://example.com/{number}?" + "q" * 2500
    return {"links": (SandboxLink(url=url, title="A long one"),), "text": f"See {url} for more", "items": None}


def _picture(rng: random.Random, number: int) -> dict[str, Any]:
    kinds = (("jpeg", "image/jpeg"), ("png", "image/png"), ("jpg", "image/jpeg"))
    extension, mime = kinds[number % len(kinds)]
    content = _PNG + f"{number}:{rng.randrange(10**6)}".encode()
    return {"files": (SandboxFile(name=f"picture.{number}.{extension}", mime=mime, content=content),)}


def _voice(_: random.Random, number: int) -> dict[str, Any]:
    files = (("m4a", "audio/mp4"), ("3gp", "audio/3gpp"))
    made = [SandboxFile(name=f"voice.{number}.{end}", mime=mime, content=b"\x00\x01" * 500) for end, mime in files]
    return {"files": tuple(made), "text": "", "items": None, "title": ""}


def _huge(_: random.Random, number: int) -> dict[str, Any]:
    return {"files": (SandboxFile(name=f"huge.{number}.png", mime="image/png", size=21 * _MIB),)}


def _shared(_: random.Random, number: int) -> dict[str, Any]:
    return {"sharees": ("ann@example.com", f"guest{number % 5}@example.com")}


_EXTRAS: tuple[tuple[int, Make], ...] = (
    (3, _labels), (7, _links), (23, _shared), (29, _picture), (31, _long(2001)), (53, _one_word), (61, _empty),
    (67, _long_link), (71, _long(6000)), (83, _long_list(101)), (97, _many_labels), (101, _voice),
    (503, _long(100_000)), (701, _long_list(1001)), (907, _huge),
)  # fmt: skip
"""Each n-th note has this, too."""


@dataclass(frozen=True)
class Edited:
    """Notes after people have been at them.

    Args:
        notes: all that are there now, new ones last.
        kinds: what happened to a note, by its place in the old list.
        removed: places in the old list of notes that are gone.
        added: how many are new.
    """

    notes: list[SandboxNote]
    kinds: dict[int, str]
    removed: tuple[int, ...]
    added: int


def edited_notes(notes: Sequence[SandboxNote], *, share: float = 0.3, seed: int = 11, delete: bool = True) -> Edited:
    """Edit this share of notes, in every way there is, in turn; some are deleted and some are new.

    Args:
        delete: whether notes are deleted, too.
    """
    rng = random.Random(seed)
    chosen = sorted(rng.sample(range(len(notes)), min(len(notes), max(1, round(len(notes) * share)))))
    kinds: dict[int, str] = {}
    after: list[SandboxNote | None] = list(notes)
    ways = [name for name in EDITS if delete or name != "delete"]
    for turn, place in enumerate(chosen):
        name = ways[turn % len(ways)]
        kinds[place] = name
        after[place] = edit(notes[place], name, rng)
    last = max(note.created for note in notes)
    count = max(1, len(chosen) // 10)
    numbers = range(len(notes), len(notes) + count)  # files of other names than those that are there
    new = [replace(_note(rng, number), created=last + (place + 1) * _APART) for place, number in enumerate(numbers)]
    removed = tuple(place for place in chosen if after[place] is None)
    return Edited([*(note for note in after if note is not None), *new], kinds, removed, count)


def edit(note: SandboxNote, name: str, rng: random.Random) -> SandboxNote | None:
    """A note after one of `EDITS`; None where it is gone."""
    fields = EDITS[name](note, rng)
    if fields is None:
        return None
    moment = (note.edited or note.created) + 1000 * rng.randrange(1, 10**7)
    return replace(note, edited=moment, **fields)


Way = Callable[[SandboxNote, random.Random], dict[str, Any] | None]


def _at(note: SandboxNote, rng: random.Random, change: Callable[[list[str], int], None]) -> dict[str, Any]:
    """Change the lines of a text at some place; of a list its items."""
    if note.items is not None:
        return _items_at(note, rng, change)
    lines = note.text.split("\n")
    change(lines, rng.randrange(len(lines)))
    return {"text": "\n".join(lines)}


def _items_at(note: SandboxNote, rng: random.Random, change: Callable[[list[str], int], None]) -> dict[str, Any]:
    items = list(note.items or ()) or [SandboxLine(text="")]
    texts = [f"{place}" for place in range(len(items))]
    change(texts, rng.randrange(len(texts)))
    made = [items[int(text)] if text.isdigit() else SandboxLine(text=text) for text in texts]
    return {"items": _first_outside(made)}


def _first_outside(items: Iterable[SandboxLine]) -> tuple[SandboxLine, ...]:
    """Lines of which the first stands below none."""
    found = tuple(items)
    return (replace(found[0], indent=0), *found[1:]) if found else found


def _replace(lines: list[str], place: int) -> None:
    lines[place] = "another line"


def _insert(lines: list[str], place: int) -> None:
    lines.insert(place, "a new line")


def _remove(lines: list[str], place: int) -> None:
    del lines[place]


def _swap(lines: list[str], place: int) -> None:
    lines.insert(0, lines.pop(place))


def _check(note: SandboxNote, rng: random.Random) -> dict[str, Any]:
    if not note.items:
        return {"items": (SandboxLine(text="first", checked=True),), "text": ""}
    place = rng.randrange(len(note.items))
    items = list(note.items)
    items[place] = replace(items[place], checked=not items[place].checked)
    return {"items": tuple(items)}


def _indent(note: SandboxNote, rng: random.Random) -> dict[str, Any]:
    if note.items is None or len(note.items) < 2:
        return {"items": (SandboxLine(text="above"), SandboxLine(text="below", indent=1)), "text": ""}
    place = rng.randrange(1, len(note.items))
    items = list(note.items)
    items[place] = replace(items[place], indent=1 - items[place].indent)
    return {"items": tuple(items)}


def _turned(note: SandboxNote, _: random.Random) -> dict[str, Any]:
    """A text becomes a list, a list a text."""
    if note.items is None:
        return {"items": tuple(SandboxLine(text=line) for line in note.text.split("\n")), "text": ""}
    return {"items": None, "text": "\n".join(line.text for line in note.items)}


def _color(note: SandboxNote, _: random.Random) -> dict[str, Any]:
    return {"color": COLORS[(COLORS.index(note.color) + 1) % len(COLORS)]}


def _one_more_link(note: SandboxNote, _: random.Random) -> dict[str, Any]:
    return {"links": (*note.links, SandboxLink(url="https://example.com/new", title="New"))}


def _one_more_file(note: SandboxNote, rng: random.Random) -> dict[str, Any]:
    name = f"added.{note.created}.{rng.randrange(10**6)}.png"
    return {"files": (*note.files, SandboxFile(name=name, mime="image/png", content=_PNG))}


EDITS: dict[str, Way] = {
    "title": lambda note, _: {"title": f"{note.title} (new)"},
    "no title": lambda note, _: {"title": "" if note.title else "A title at last"},
    "replace a line": lambda note, rng: _at(note, rng, _replace),
    "insert a line": lambda note, rng: _at(note, rng, _insert),
    "remove a line": lambda note, rng: _at(note, rng, _remove),
    "move a line": lambda note, rng: _at(note, rng, _swap),
    "check": _check,
    "indent": _indent,
    "turn": _turned,
    "empty": lambda note, _: {"text": "", "items": None, "title": ""},
    "rewrite": lambda note, rng: {"text": _lines(rng, 6), "items": None},
    "label": lambda note, _: {"labels": (*note.labels, "added, today")},
    "no labels": lambda note, _: {"labels": ()},
    "color": _color,
    "pin": lambda note, _: {"pinned": not note.pinned},
    "archive": lambda note, _: {"archived": not note.archived},
    "trash": lambda note, _: {"trashed": not note.trashed},
    "link": _one_more_link,
    "no links": lambda note, _: {"links": ()},
    "file": _one_more_file,
    "no files": lambda note, _: {"files": ()},
    "share": lambda note, _: {"sharees": (*(note.sharees or ("ann@example.com",)), "new@example.com")},
    "nothing": lambda note, _: {},
    "delete": lambda note, _: None,
}
"""What people do to a note; `nothing` changes just the time of the edit."""
