"""Crashes between the writes of a record, and of the server: the next upsert makes all equal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipelines.engine.errors import TransientError
from sync_pipelines.sandbox.chroma import ChromaServer
from sync_pipelines.sandbox.folders import temporary_folder
from sync_pipelines.targets.chroma.client import ChromaAddress
from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines.targets.retries import RetryPolicy
from sync_pipelines_tests.targets.chroma_helpers import CountingEmbedding, Doc, batch, items, marks, put, stored, wanted
from sync_pipelines_tests.targets.conftest import MakeTarget

SENTENCES = [f"Sentence number {n} is exactly of this sort of length. " for n in range(8)]
BOUNDARIES = ["embedded", "extras", "heads", "orphans"]

OLD = [
    Doc("grows", SENTENCES[0], {"v": 1}),
    Doc("shrinks", "".join(SENTENCES[:5]), {"v": 1}),
    Doc("moves", "".join(SENTENCES[:4]), {"v": 1}),
    Doc("metadata", "".join(SENTENCES[:3]), {"v": 1, "gone": "x"}),
    Doc("same", "".join(SENTENCES[:3]), {"v": 1}),
]
NEW = [
    Doc("grows", "".join(SENTENCES[:6]), {"v": 2}),
    Doc("shrinks", "".join(SENTENCES[:2]), {"v": 2}),
    Doc("moves", "".join(SENTENCES[1:4]), {"v": 2}),
    Doc("metadata", "".join(SENTENCES[:3]), {"v": 2}),
    OLD[4],
    Doc("new", "".join(SENTENCES[4:]), {"v": 2}),
]


def assert_nothing_is_claimed_that_is_not_so(target: ChromaTarget, *versions: Doc) -> None:
    """Every record that shows a fingerprint holds, whole, just what that fingerprint stands for."""
    by_mark = {(doc.key, doc.row()["_fingerprint"]): doc for doc in versions}
    listed = marks(target)
    rows = stored(target, *listed)
    for key, mark in listed.items():
        if mark is not None:
            doc = by_mark[key, mark]
            assert (rows[key]["document"], rows[key]["metadata"]) == (doc.text, doc.metadata)
            assert rows[key]["_problem"] is None


def assert_equal(target: ChromaTarget, *docs: Doc) -> None:
    assert marks(target) == wanted(*docs)
    assert_nothing_is_claimed_that_is_not_so(target, *docs)
    assert len(items(target)) == sum(row["chunks"] for row in stored(target, *[d.key for d in docs]).values())


@pytest.fixture(scope="module")
def killed(chroma_server: ChromaServer) -> dict[str, str]:
    """By boundary, a collection with `OLD` whose writer of `NEW` was killed there; all four at once, for speed."""
    chroma_server.start()
    program = str(Path(__file__).with_name("crash_writer.py"))
    collections = {boundary: f"killed.{boundary}" for boundary in BOUNDARIES}
    rows = [json.dumps([[doc.key, doc.text, doc.metadata] for doc in docs]) for docs in (OLD, NEW)]
    writers = [
        subprocess.Popen([sys.executable, program, chroma_server.url, name, boundary, *rows], stderr=subprocess.PIPE)
        for boundary, name in collections.items()
    ]
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert writer.returncode == -signal.SIGKILL, said.decode()
    return collections


@pytest.mark.slow
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_after_sigkill_at_any_boundary_the_next_upsert_makes_all_equal(
    make_target: MakeTarget, embedding: CountingEmbedding, killed: dict[str, str], boundary: str
):
    target = make_target(collection=killed[boundary])
    assert_nothing_is_claimed_that_is_not_so(target, *OLD, *NEW)
    if boundary == "embedded":
        assert marks(target) == wanted(*OLD)
    if boundary == "extras":
        assert marks(target)["metadata"] is None
        heads = {doc.key: items(target)[doc.key]["metadata"]["sync_fingerprint"] for doc in OLD}
        assert heads == wanted(*OLD)  # the fingerprint comes last, so that nothing reads it before it is true
    put(target, *NEW)
    assert_equal(target, *NEW)
    if boundary in ("heads", "orphans"):
        assert embedding.calls == []


class Crash(BaseException):
    """Ends an upsert where a SIGKILL would."""


texts = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=6).map("".join)
versions = st.builds(
    Doc, st.sampled_from(["a", "b#1", "c"]), texts, st.fixed_dictionaries({}, optional={"n": st.just(1)})
)
steps = st.tuples(st.lists(versions, min_size=1, max_size=3), st.sampled_from([*BOUNDARIES, None]))


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, min_size=1, max_size=5))
def test_whatever_crashes_in_any_order_nothing_false_is_claimed(make_target: MakeTarget, history: list):
    target = make_target()
    seen: list[Doc] = []
    for docs, boundary in history:
        seen.extend(docs)
        target._boundary = _crash_at(boundary)
        with suppress(Crash):
            put(target, *docs)
        assert_nothing_is_claimed_that_is_not_so(target, *seen)
    target._boundary = lambda _: None
    last = list({doc.key: doc for doc in seen}.values())
    put(target, *last)
    assert_equal(target, *last)
    assert target.delete([doc.key for doc in last]).deleted == len(last)
    assert items(target) == {}


def _crash_at(boundary: str | None):
    def at(reached: str) -> None:
        if reached == boundary:
            raise Crash(boundary)

    return at


@pytest.fixture
def own_server() -> Iterator[ChromaServer]:
    """A server that a test may stop."""
    with temporary_folder() as folder, ChromaServer(folder / "chroma") as server:
        yield server


@pytest.mark.slow
def test_chroma_stopped_half_way_is_a_transient_error_and_then_all_is_equal(
    make_target: MakeTarget, own_server: ChromaServer, embedding: CountingEmbedding
):
    pauses: list[float] = []
    retry = RetryPolicy(attempts=3, sleep=pauses.append)
    target = make_target(settings=ChromaAddress(url=own_server.url), retry=retry)
    first, second = [Doc("a", SENTENCES[0]), Doc("b", "".join(SENTENCES[:3]))], [Doc("c", SENTENCES[4])]
    results = target.upsert([batch(first), batch(second)])
    next(results)
    own_server.kill()
    with pytest.raises(TransientError, match="Chroma does not answer") as caught:
        next(results)
    assert len(pauses) == 2
    assert "knowledge/reference" in str(caught.value)
    own_server.start()
    embedding.calls.clear()
    put(target, *first, *second)
    assert embedding.texts == [SENTENCES[4]]
    assert_equal(target, *first, *second)


@pytest.mark.slow
def test_a_server_that_comes_back_in_time_is_waited_for(make_target: MakeTarget, own_server: ChromaServer):
    retry = RetryPolicy(attempts=3, sleep=lambda _: own_server.start())
    target = make_target(settings=ChromaAddress(url=own_server.url), retry=retry)
    put(target, Doc("a"))
    own_server.kill()
    put(target, Doc("a"), Doc("b"))
    assert_equal(target, Doc("a"), Doc("b"))
