"""What somebody has changed in the graph alone is no conflict: a person who would resolve it is told what helps."""

from __future__ import annotations

import pytest

from sync_pipelines import ConflictResolver
from sync_pipelines.engine.errors import UnknownRecordError
from sync_pipelines_tests.graph.house import Academy, concept
from sync_pipelines_tests.graph.test_resolving import run, use


@pytest.mark.parametrize(
    ("strategy", "remedy"),
    [
        ("last_write_wins", "`sync-pipelines repair learning/concept --key …` brings the source's version"),
        ("target_wins", "`sync-pipelines check learning/concept --deep` notes it, for the target's version stays"),
    ],
)
@pytest.mark.parametrize(
    ("change", "said"), [("DELETE n", "was deleted in the target alone"), ("SET n.title = 'x'", "was changed in the")]
)
def test_of_what_the_graph_alone_has_changed_the_remedy_is_the_one_that_helps(
    academy: Academy, monkeypatch: pytest.MonkeyPatch, strategy: str, remedy: str, change: str, said: str
) -> None:
    use(monkeypatch, table := concept(conflicts={"strategy": strategy}))
    academy.add("c1", "c2")
    academy.sync(table)
    academy.cypher(f"MATCH (n:Concept {{sync_key: 'c1'}}) {change}")
    told = run("resolve", "learning/concept", "c1", "--take", "source", code=1)
    assert said in told
    assert remedy in told
    with pytest.raises(UnknownRecordError, match="in the target alone, which is no conflict"):
        ConflictResolver().resolve_conflict("c1", "concept", "source")
    assert "no such record" in run("resolve", "learning/concept", "c2", "--take", "source", code=1)
    if strategy == "target_wins":
        academy.prove(table, "deep")
        run("resolve", "learning/concept", "c1", "--take", "target")
