"""SIGKILL at every boundary of a run from the command line: the next run starts, ends equal, embeds nothing twice."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from sync_pipelines_tests.dagster.world import World
from sync_pipelines_tests.faults.child import Children
from sync_pipelines_tests.faults.equality import assert_equal
from sync_pipelines_tests.faults.shop import change, filled, texts
from sync_pipelines_tests.spare import spare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def variables(world: World, home: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """What a command needs."""
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return {
        "DATABASE_URL": world.url,
        "CHROMA_URL": world.chroma.url,
        "CHROMA_DATABASE": world.chroma.database,
        "DAGSTER_HOME": str(home),
    }


@pytest.fixture
def shop(world: World) -> World:
    """Forty synced articles, half of them in several chunks; then texts, fields, rows come, change and go."""
    filled(world)
    change(world)
    return world


def states() -> list[dg.DagsterRunStatus]:
    """How Dagster's last two runs ended, the newest first."""
    with dg.DagsterInstance.get() as instance:
        return [run.status for run in instance.get_runs(limit=2)]


def kill_then_run_again(
    world: World,
    children: Children,
    variables: Mapping[str, str],
    *,
    boundary: tuple[str, int],
    words: Sequence[str] = (),
    again: Sequence[str] | None = None,
    stored_in: str = "article",
) -> None:
    """Kill a run at a boundary; the next one ends equal, and embeds just what was not stored.

    Args:
        words: of the killed command; again: of the next one, the same if left out.
        stored_in: the collection that the next run goes on with.
    """
    name, number = boundary
    killed = children.run("sync", "shop/article", *words, environment=variables, boundary=name, number=number)
    assert killed == -signal.SIGKILL, "the boundary was not reached"
    before = texts(world.client.get_collection(stored_in, embedding_function=None))
    code = children.run("sync", "shop/article", *(words if again is None else again), environment=variables)
    assert code == 0
    assert world.last_run().counts.embedded_texts == len(texts(world.collection) - before)
    assert_equal(world)
    assert under_way(world) == []
    assert states() == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


@pytest.mark.parametrize(
    "boundary",
    [
        *spare(("opened", 1), ("embedded", 1), ("extras", 1), ("heads", 1)),
        ("orphans", 1),
        *spare(("embedded", 2)),
        ("heads", 3),
        *spare(("before delete", 3), ("confirmed", 1)),
        ("after delete", 3),
        ("before confirm", 1),
        *spare(("noted", 1)),
    ],
    ids=lambda boundary: " ".join(map(str, boundary)),
)
def test_an_incremental_run_that_is_killed(
    shop: World, children: Children, variables: Mapping[str, str], boundary: tuple[str, int]
):
    kill_then_run_again(shop, children, variables, boundary=boundary)


@pytest.mark.parametrize("boundary", [("heads", 2), *spare(("after delete", 3))])
def test_a_full_run_that_is_killed(
    shop: World, children: Children, variables: Mapping[str, str], boundary: tuple[str, int]
):
    kill_then_run_again(shop, children, variables, boundary=boundary, words=["--full"])


@pytest.mark.parametrize("boundary", [*spare(("extras", 2)), ("heads", 4)])
def test_a_rebuild_that_is_killed_while_it_builds(
    shop: World, children: Children, variables: Mapping[str, str], boundary: tuple[str, int]
):
    kill_then_run_again(shop, children, variables, boundary=boundary, words=["--rebuild"], stored_in="article__rebuild")


@pytest.mark.parametrize(
    ("boundary", "stored_in"),
    [
        *spare((("before rename", 1), "article"), (("after rename", 1), "article"), (("before confirm", 1), "article")),
        (("after rename", 2), "article__rebuild"),
        (("after rename", 3), "article"),
    ],
)
def test_a_rebuild_that_is_killed_in_its_swap_leaves_a_whole_collection_to_the_next_sync(
    shop: World, children: Children, variables: Mapping[str, str], boundary: tuple[str, int], stored_in: str
):
    kill_then_run_again(
        shop, children, variables, boundary=boundary, words=["--rebuild"], again=[], stored_in=stored_in
    )


@pytest.mark.parametrize("boundary", [*spare("reading", "comparing"), "proving"])
def test_a_check_that_is_killed_says_nothing_and_the_next_one_is_right(
    world: World, children: Children, variables: Mapping[str, str], boundary: str
):
    filled(world)
    before = proofs(world)
    words = ("check", "shop/article", "--deep")
    assert children.run(*words, environment=variables, boundary=boundary) == -signal.SIGKILL
    assert proofs(world) == before
    assert children.run(*words, environment=variables) == 0
    assert len(proofs(world)) == len(before) + 1
    assert_equal(world)


@pytest.mark.parametrize(
    "boundary", [*spare("reading", "embedded", "before delete", "proving", "heads"), "after delete"]
)
def test_a_repair_that_is_killed_is_ended_by_the_next_one(
    world: World, children: Children, variables: Mapping[str, str], boundary: str
):
    filled(world)
    before = world.watermark()
    world.collection.delete(where={"sync_key": {"$in": [f"k{number:02d}" for number in range(12)]}})
    world.collection.update(ids=["k20", "k22"], documents=["edited"] * 2, embeddings=[[1.0] * 16] * 2)
    world.collection.add(ids=["stranger"], documents=["a stranger"], embeddings=[[1.0] * 16])
    words = ("repair", "shop/article", "--deep")
    assert children.run(*words, environment=variables, boundary=boundary) == -signal.SIGKILL
    assert children.run(*words, environment=variables) == 0
    assert world.watermark() == before
    assert under_way(world) == []
    assert_equal(world)


def under_way(world: World) -> list[str]:
    """Runs whose books are open, those of dead ones too."""
    return [run.run_id for run in world.logs() if run.status == "running"]


def proofs(world: World) -> list[Any]:
    """Every proof that was written down."""
    return world.execute("SELECT * FROM sync.reconciliation_runs ORDER BY 1")
