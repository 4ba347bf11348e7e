"""A small honest analysis of a text in English, Indonesian or Arabic: it counts words of a list, and claims no more."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

MODEL, VERSION = "sandbox-lexicon", "1"
_DEFAULT = "en"

_NEGATED_WITHIN = 2
"""A word is negated by one of the so many before it."""

_DECIDED = 0.25
"""From this score on (of 1) a text is called positive, below the like negative."""

_SUMMARY_CHARACTERS = 120
_GREETING = 20
_KEYWORDS = 5
_SENTENCE = re.compile(r"(?<=[.!?؟])\s+")
_PREFIXES = ("ال", "لل", "بال", "ب")
"""Of Arabic nouns, after `و` and `ف` (and): only these are cut off, and only where four letters remain."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What was found in one text; `sentiment_score` lies between -1 and 1, `confidence` between 0 and 1."""

    sentiment: str
    sentiment_score: float
    emotions: dict[str, float]
    topics: list[str]
    keywords: list[str]
    summary: str
    confidence: float


@cache
def _lexicon() -> dict[str, Any]:
    file = resources.files("sync_pipelines.sandbox") / "data" / "analysis_lexicon.json"
    return json.loads(file.read_text(encoding="utf-8"))


def analyse(text: str, language: str | None) -> Analysis:
    """What a text says, by the words of the lexicon; the same for the same text.

    Args:
        language: an ISO 639 code (`en`, `id-ID`); for one without a lexicon the English one is asked, with little
            confidence.
    """
    code = (language or "").lower()[:2]
    known = code in _lexicon()["negations"]
    code = code if known else _DEFAULT
    words = list(_words(text))
    liked, disliked = _feelings(words, code)
    score = round((len(liked) - len(disliked)) / (len(liked) + len(disliked) + 1), 3)
    topics = _topics(words, code)
    return Analysis(
        sentiment="positive" if score >= _DECIDED else "negative" if score <= -_DECIDED else "neutral",
        sentiment_score=score,
        emotions=_shares(liked + disliked),
        topics=topics,
        keywords=_keywords(words, code),
        summary=_summary(text),
        confidence=_confidence(len(liked) + len(disliked) + len(topics)) if known else 0.3,
    )


def _words(text: str) -> Iterator[str]:
    """Words as the lexicon has them: small letters, no vowel signs, one form of the alif."""
    plain = "".join(sign for sign in unicodedata.normalize("NFC", text.lower()) if not unicodedata.combining(sign))
    plain = re.sub("[أإآ]", "ا", plain)
    for phrase, one in _lexicon()["phrases"].items():
        plain = plain.replace(phrase, one)
    yield from re.findall(r"[^\W\d_]+", plain)


def _feelings(words: Sequence[str], code: str) -> tuple[list[str], list[str]]:
    """The emotions of the words that speak well of something, and of those that speak ill."""
    lexicon = _lexicon()
    liked: list[str] = []
    disliked: list[str] = []
    for number, word in enumerate(words):
        before = words[max(number - _NEGATED_WITHIN, 0) : number]
        negated = any(word in lexicon["negations"][code] for word in before)
        if emotion := _entry(word, lexicon["positive"][code]):
            (disliked if negated else liked).append("disappointment" if negated else emotion)
        elif not negated and (emotion := _entry(word, lexicon["negative"][code])):
            disliked.append(emotion)
        elif negated and _entry(word, lexicon["works"][code]):
            disliked.append("disappointment")
    return liked, disliked


def _entry(word: str, stems: Collection[str]) -> Any:
    """The entry of the first stem with which a word begins; short ones must be the whole word."""
    for form in _forms(word):
        for stem in stems:
            if form == stem or (len(stem) >= 3 and form.startswith(stem) and (len(stem) > 4 or not stem.isascii())):
                return stems[stem] if isinstance(stems, dict) else stem
    return None


def _forms(word: str) -> Iterator[str]:
    yield word
    if word.endswith("s"):
        yield word[:-1]
    bare = word[1:] if word[:1] in ("و", "ف") and len(word) > 4 else word
    yield bare
    for prefix in _PREFIXES:
        if bare.startswith(prefix) and len(bare) - len(prefix) >= 3:
            yield bare[len(prefix) :]


def _topics(words: Sequence[str], code: str) -> list[str]:
    topics = _lexicon()["topics"]
    return [name for name, stems in topics.items() if any(_entry(word, stems[code]) for word in words)]


def _keywords(words: Sequence[str], code: str) -> list[str]:
    """The most frequent words that say something; of equally frequent ones the first."""
    stop = {*_lexicon()["stop"][code], *_lexicon()["negations"][code]}
    counted = Counter(word for word in words if len(word) >= 4 and word not in stop)
    return [word for word, _ in counted.most_common(_KEYWORDS)]


def _shares(emotions: Sequence[str]) -> dict[str, float]:
    counted = Counter(emotions)
    return {name: round(count / len(emotions), 3) for name, count in sorted(counted.items())}


def _summary(text: str) -> str:
    sentences = _SENTENCE.split(text.strip())
    # a greeting is no summary
    first = sentences[0] if len(sentences[0]) >= _GREETING or len(sentences) == 1 else " ".join(sentences[:2])
    if len(first) <= _SUMMARY_CHARACTERS:
        return first
    return first[:_SUMMARY_CHARACTERS].rsplit(" ", 1)[0].rstrip(",;:") + " …"


def _confidence(found: int) -> float:
    """Of nothing found: 0.5; each word or topic adds to it, up to 0.95."""
    return round(min(0.5 + 0.09 * found, 0.95), 3)
