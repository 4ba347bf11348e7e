"""Which key a note has: Keep's exports say no id, so a note is known again by when it was made, and by its likeness.

The key is the created time in microseconds; where several notes share it the further ones have `-2`, `-3`, …. Pure
functions; what is remembered of a note (`Signature`) is hashes alone and stands in the ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sync_pipelines.engine.ledger.note_ids import NoteId
from sync_pipelines.sources.keep.model import Note, usec_of

_LINES = 32
"""Lines of a note that are remembered: enough to know an edited note again, and a bound for the ledger's row."""

_PAIRS = 250_000
"""Pairs of notes of one millisecond that are compared at most; more than that are paired as they stand."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Hashes of what a note held when it was last seen, 12 hex digits each.

    Args:
        title, body: of title and content. lines: of the first lines, each once. edited: microseconds since 1970.
        files: of its attachments. name: of the name of the file that it stood in; "" for an account.
    """

    title: str
    body: str
    lines: tuple[str, ...] = ()
    edited: int | None = None
    files: tuple[str, ...] = ()
    name: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return dict(vars(self))


def signature_from(document: Mapping[str, Any]) -> Signature:
    """What the ledger has kept; fields that are missing there are unknown."""
    known = {item.name for item in fields(Signature)}
    values: dict[str, Any] = {"title": "", "body": ""}
    for name in known.intersection(document):
        value = document[name]
        values[name] = tuple(value) if isinstance(value, list) else value
    return Signature(**values)


def signature_of(note: Note, *, name: str = "") -> Signature:
    """A note's signature; `name` is that of its file."""
    lines = note.text.splitlines() if note.text is not None else [item.text for item in note.items or ()]
    told = dict.fromkeys(line.strip() for line in lines if line.strip())
    return Signature(
        title=digest(note.title),
        body=digest("\n".join(lines)),
        lines=tuple(digest(line) for line, _ in zip(told, range(_LINES), strict=False)),
        edited=None if note.edited is None else usec_of(note.edited),
        files=tuple(sorted(digest(item.sha256 or item.name) for item in note.attachments)),
        name=digest(name) if name else "",
    )


def digest(text: str) -> str:
    """Twelve hex digits that tell texts apart."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A note as the source has it now; `created` in microseconds since 1970, `node` None for an export."""

    created: int
    signature: Signature
    node: str | None = None


def same_millisecond(created: int) -> int:
    """Notes of one of these may be one and the same: an account tells milliseconds, an export microseconds."""
    return created // 1000


def assign(seen: Sequence[Seen], known: Sequence[NoteId]) -> list[str]:
    """The keys of all notes that the source has of one millisecond, in their order.

    A node's id decides; then the same content; then the greatest likeness. Whoever is left gets a new key, which no
    note has ever had. It does not matter in which order the notes are given, but for those that are alike in all.

    Args:
        known: all notes of that millisecond that were ever given a key.
    """
    keys: dict[int, str] = {}
    free = {item.key: item for item in known}
    for match in (_by_node, _by_content, _by_likeness):
        open_ones = {number: seen[number] for number in range(len(seen)) if number not in keys}
        for number, key in match(open_ones, free.values()):
            keys[number] = key
            del free[key]
    taken = {item.key for item in known}
    for number in sorted(set(range(len(seen))) - set(keys), key=lambda number: _order(seen[number])):
        keys[number] = _new(seen[number].created, taken)
        taken.add(keys[number])
    return [keys[number] for number in range(len(seen))]


Pairs = Iterator[tuple[int, str]]


def _by_node(seen: Mapping[int, Seen], known: Iterable[NoteId]) -> Pairs:
    nodes = {item.node: item.key for item in known if item.node is not None}
    for number, note in seen.items():
        if note.node is not None and (key := nodes.pop(note.node, None)) is not None:
            yield number, key


def _by_content(seen: Mapping[int, Seen], known: Iterable[NoteId]) -> Pairs:
    """Notes that nobody has edited; of several that are alike in this, those that are alike in all go first."""
    held: dict[tuple[Any, ...], list[NoteId]] = {}
    for item in sorted(known, key=_rank):
        held.setdefault(_content(item.created, signature_from(item.signature)), []).append(item)
    paired: set[int] = set()
    for exact in (True, False):
        for number, note in sorted(seen.items(), key=lambda pair: _order(pair[1])):
            same = held.get(_content(note.created, note.signature), []) if number not in paired else []
            fits = (
                item
                for item in same
                if _may_be(note, item) and (not exact or signature_from(item.signature) == note.signature)
            )
            if (found := next(fits, None)) is not None:
                same.remove(found)
                paired.add(number)
                yield number, found.key


def _content(created: int, signature: Signature) -> tuple[Any, ...]:
    return same_millisecond(created), signature.title, signature.body, signature.files


def _by_likeness(seen: Mapping[int, Seen], known: Iterable[NoteId]) -> Pairs:
    held = sorted(known, key=_rank)
    order = sorted(seen, key=lambda number: _order(seen[number]))
    if len(order) * len(held) > _PAIRS:
        yield from ((number, item.key) for number, item in zip(order, held, strict=False))
        return
    pairs = (
        (-likeness(seen[number], item), _rank(item), place, number, item.key)
        for place, number in enumerate(order)
        for item in held
        if _may_be(seen[number], item)
    )
    numbers: set[int] = set()
    keys: set[str] = set()
    for *_, number, key in sorted(pairs):
        if number not in numbers and key not in keys:
            numbers.add(number)
            keys.add(key)
            yield number, key


def _may_be(note: Seen, item: NoteId) -> bool:
    """Two nodes are two notes, however alike; an export says none."""
    return note.node is None or item.node is None or note.node == item.node


def likeness(note: Seen, item: NoteId) -> float:
    """How likely a note is one that is known, from 0 to 11; both are of one millisecond."""
    now, then = note.signature, signature_from(item.signature)
    return (
        3.0 * (note.created == item.created)
        + 2.0 * (now.title == then.title)
        + 2.0 * (now.body == then.body)
        + 2.0 * _shared(now.lines, then.lines)
        + 1.0 * _shared(now.files, then.files)
        + 0.5 * (bool(now.name) and now.name == then.name)
        + 0.5 * (now.edited is not None and now.edited == then.edited)
    )


def _shared(one: Sequence[str], other: Sequence[str]) -> float:
    union = set(one) | set(other)
    return len(set(one) & set(other)) / len(union) if union else 0.0


def _rank(item: NoteId) -> tuple[bool, int, str]:
    """Those that were there last time, then the shortest key."""
    return item.gone_at is not None, len(item.key), item.key


def _order(note: Seen) -> tuple[Any, ...]:
    signature = note.signature
    edited = -1 if signature.edited is None else signature.edited
    return (
        note.created,
        signature.title,
        signature.body,
        edited,
        signature.lines,
        signature.files,
        signature.name,
        note.node or "",
    )


def _new(created: int, taken: set[str]) -> str:
    key, number = str(created), 2
    while key in taken:
        key, number = f"{created}-{number}", number + 1
    return key
