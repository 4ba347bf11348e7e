"""Text as Notion takes it: in pieces, none of which is cut where a reader sees one character.

Stated rules:

- Notion counts UTF-16 code units: 2,000 in a piece, 100 pieces in a block.
- Control characters but tab and line break are written as `⟨U+0007⟩`. So that this can be undone (`original`), a `⟨` of
  the text's own before `U+` is written as `⟨U+27E8⟩`.
- Halves of surrogate pairs, which no request can hold, would be written so, too; but a note that holds one never comes
  here: its source refuses it (`sources.keep.model`), and it waits in quarantine.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator

PIECE_UNITS = 2000
PIECES_A_BLOCK = 100
BLOCK_BYTES = 300_000
"""Of one block's text, as JSON; a request may hold 500 KB."""

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]|⟨(?=U\\+)")
_VISIBLE = re.compile("⟨U\\+([0-9A-F]{4,6})⟩")

_JOINER, _KEYCAP = "\u200d", "\u20e3"


def visible(text: str) -> str:
    """The text with what Notion cannot hold in a visible form."""
    return _HIDDEN.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", text)


def original(text: str) -> str:
    """What `visible` was given."""
    return _VISIBLE.sub(lambda match: chr(int(match.group(1), 16)), text)


def units(text: str) -> int:
    """How long Notion finds a text: UTF-16 code units."""
    return len(text) + sum(1 for letter in text if letter > "\uffff")


def lines_of(text: str) -> list[str]:
    """The lines of a text, which end at a line feed, a carriage return, or both; an empty text has none."""
    return re.split("\r\n|\r|\n", text) if text else []


def pieces(text: str, *, most: int = PIECE_UNITS) -> list[str]:
    """The text in pieces of at most `most` units, as long as they may be; their concatenation is the text."""
    found: list[str] = []
    start = 0
    while start < len(text):
        end = _end(text, start, most)
        found.append(text[start:end])
        start = end
    return found


def portions(text: str) -> Iterator[str]:
    """The text in portions that one block holds each; one empty portion of an empty text."""
    portion: list[str] = []
    size = 0
    for piece in pieces(text):
        weight = len(json.dumps(piece, ensure_ascii=False).encode()) + 80  # with what JSON has around it
        if portion and (len(portion) == PIECES_A_BLOCK or size + weight > BLOCK_BYTES):
            yield "".join(portion)
            portion, size = [], 0
        portion.append(piece)
        size += weight
    yield "".join(portion)


def _end(text: str, start: int, most: int) -> int:
    """Where a piece that begins at `start` ends."""
    end, left = start, most
    while end < len(text) and (left := left - (2 if text[end] > "\uffff" else 1)) >= 0:
        end += 1
    if end == len(text):
        return end
    cut = end
    while cut > start and not may_cut(text, cut):
        cut -= 1
    if cut > start:
        return cut
    return max(end, start + 1)  # one character that is longer than a piece: cut between its code points


def may_cut(text: str, index: int) -> bool:
    """Whether a reader sees two characters where code points `index - 1` and `index` meet (UAX 29, its extended
    grapheme clusters; Hangul, flags, emoji sequences and conjuncts)."""
    before, after = text[index - 1], text[index]
    if before == "\r" and after == "\n":
        return False
    if _extends(after) or before == _JOINER or (_is_virama(before) and after.isalpha()):
        return False
    if _is_flag(before) and _is_flag(after):
        run = index
        while run > 0 and _is_flag(text[run - 1]):
            run -= 1
        return (index - run) % 2 == 0
    return not _is_hangul_inside(before, after)


def _extends(letter: str) -> bool:
    return (
        letter in (_JOINER, _KEYCAP, "\u200c")
        or unicodedata.category(letter) in ("Mn", "Me", "Mc")
        or "\U0001f3fb" <= letter <= "\U0001f3ff"  # the colours of skin
        or "\U000e0020" <= letter <= "\U000e007f"  # the letters of a flag's region
    )


def _is_virama(letter: str) -> bool:
    return unicodedata.combining(letter) == 9


def _is_flag(letter: str) -> bool:
    return "\U0001f1e6" <= letter <= "\U0001f1ff"


def _is_hangul_inside(before: str, after: str) -> bool:
    leading = "\u1100" <= before <= "\u115f"
    vowel_after, trailing_after = "\u1160" <= after <= "\u11a7", "\u11a8" <= after <= "\u11ff"
    if leading:
        return vowel_after or "\u1100" <= after <= "\u115f" or "\uac00" <= after <= "\ud7a3"
    syllable = "\uac00" <= before <= "\ud7a3"
    if syllable or "\u1160" <= before <= "\u11a7":
        return trailing_after or (vowel_after and (not syllable or (ord(before) - 0xAC00) % 28 == 0))
    return "\u11a8" <= before <= "\u11ff" and trailing_after
