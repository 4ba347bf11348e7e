"""A dry run: what would be written and embedded, without a write."""

from __future__ import annotations

from sync_pipelines.targets.chroma.target import ChromaTarget
from sync_pipelines_tests.targets.chroma_helpers import CountingEmbedding, Doc, batch, items, put
from sync_pipelines_tests.targets.conftest import MakeTarget

LONG = "One sentence of some length. Another one follows it here. " * 5


def test_a_plan_says_what_an_upsert_then_does(target: ChromaTarget, embedding: CountingEmbedding):
    put(target, Doc("same"), Doc("meta", "text", {"n": 1}), Doc("text", LONG))
    before = items(target)
    docs = [
        Doc("same"),
        Doc("meta", "text", {"n": 2}),
        Doc("text", "X " + LONG),
        Doc("new"),
        Doc("bad", "x", {"n": 2**63}),
    ]
    planned = target.plan([batch(docs)])
    assert items(target) == before
    embedding.calls.clear()
    counts, _ = put(target, *docs)
    for name in ("upserted", "metadata_only", "unchanged", "quarantined"):
        assert getattr(planned.counts, name) == getattr(counts, name), name
    # "some text" of `new` is no new text in another record's chunk, so it is planned and embedded
    assert (planned.counts.embedded_texts, planned.counts.embedded_characters) == (
        counts.embedded_texts,
        counts.embedded_characters,
    )
    assert planned.seconds is not None
    assert planned.seconds > 0


def test_a_plan_before_the_first_run_plans_everything_and_makes_nothing(make_target: MakeTarget):
    target = make_target()
    planned = target.plan([batch([Doc("a"), Doc("b", LONG)])])
    assert (planned.counts.upserted, planned.counts.unchanged) == (2, 0)
    assert planned.counts.embedded_texts > 5
    assert target.identity() is None


def test_a_plan_of_a_rebuild_plans_everything_that_is_not_built_beside_yet(target: ChromaTarget):
    docs = [Doc("a", "one"), Doc("b", "two"), Doc("c", "three")]
    put(target, *docs)
    assert target.plan([batch(docs)]).counts.embedded_texts == 0
    assert target.plan([batch(docs)], rebuild=True).counts.embedded_texts == 3
    put(target.begin_rebuild(), *docs[:2])
    assert target.plan([batch(docs)], rebuild=True).counts.embedded_texts == 1
