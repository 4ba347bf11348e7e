"""The laws of each strategy, over edits of a graph and versions of a source that arrive in any order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync_pipelines.engine.conflicts import ResolutionStrategy as By
from sync_pipelines.engine.deciding import Decision, Outcome, Sides, decide, is_above
from sync_pipelines.engine.merging import merge, same_state
from sync_pipelines_tests.engine.test_merging import STATES

EVERY = st.sampled_from(list(By))
MAYBE = st.one_of(st.none(), STATES)
VERSIONS = st.one_of(st.none(), st.integers(0, 3))


@dataclass
class Record:
    """One record of a target, as a sync keeps it: events of versions that were brought already change nothing."""

    target: dict[str, Any] | None
    base: dict[str, Any] | None
    version: int = 0
    seen: int = 0
    held: list[int] = field(default_factory=list)

    def bring(self, strategy: By, version: int, source: dict[str, Any] | None) -> Decision | None:
        if version <= self.seen:
            return None
        self.seen = version
        sides = Sides(
            source=source,
            target=self.target,
            base=self.base,
            source_version=version,
            target_version=self.version if self.target is not None else None,
        )
        made = decide(strategy, sides)
        if made.outcome is Outcome.REVIEW:
            self.held.append(version)
        elif not made.stays:
            merged = made.outcome is Outcome.MERGED and made.values is not None
            self.target = dict(made.values) if merged and made.values is not None else source
            self.base, self.version, self.held = source, version, []
        return made


@given(EVERY, MAYBE, MAYBE, MAYBE, VERSIONS, VERSIONS)
def test_a_decision_that_was_carried_out_is_over(strategy, source, target, base, here, there):
    sides = Sides(source=source, target=target, base=base, source_version=here, target_version=there)
    first = decide(strategy, sides)
    if first.stays:
        assert decide(strategy, sides) == first
        return
    after = first.values if first.outcome is Outcome.MERGED else source
    again = decide(strategy, replace(sides, target=after, base=source, target_version=here))
    assert not again.conflict
    assert again.outcome is (Outcome.TARGET if first.outcome is Outcome.MERGED else Outcome.SAME)


@given(EVERY, MAYBE, MAYBE, VERSIONS, VERSIONS)
def test_a_record_that_nobody_has_edited_takes_the_sources_state(strategy, source, base, here, there):
    sides = Sides(source=source, target=base, base=base, source_version=here, target_version=there)
    assert decide(strategy, sides).outcome is (Outcome.SAME if same_state(source, base) else Outcome.SOURCE)


@given(MAYBE, MAYBE, MAYBE, VERSIONS, VERSIONS)
def test_a_conflict_is_that_both_have_changed_and_differ_whatever_the_strategy(source, target, base, here, there):
    sides = Sides(source=source, target=target, base=base, source_version=here, target_version=there)
    changed = not (same_state(source, base) or same_state(target, base) or same_state(source, target))
    assert {decide(strategy, sides).conflict for strategy in By} == {changed}


@given(MAYBE, MAYBE, MAYBE, VERSIONS, VERSIONS)
def test_each_strategy_lets_the_side_win_that_it_names(source, target, base, here, there):
    sides = Sides(source=source, target=target, base=base, source_version=here, target_version=there)
    if not decide(By.MANUAL_REVIEW, sides).conflict:
        return
    outcomes = {strategy: decide(strategy, sides).outcome for strategy in By}
    assert outcomes[By.SOURCE_WINS] is Outcome.SOURCE
    assert outcomes[By.TARGET_WINS] is Outcome.TARGET
    assert outcomes[By.MANUAL_REVIEW] is Outcome.REVIEW
    assert outcomes[By.LAST_WRITE_WINS] is (Outcome.TARGET if is_above(there, here) else Outcome.SOURCE)
    if source is None or target is None:
        assert outcomes[By.MERGE] is Outcome.REVIEW


@given(STATES, STATES, STATES)
@example({}, {"title": "a"}, {"title": "b"})
@example({}, {"title": "a"}, {"title": "a", "level": 2})
@example({}, {"title": "a", "level": 2}, {"title": "a"})
@example({}, {"title": "a"}, {"level": 2})
def test_under_merge_a_record_holds_the_edits_of_both_or_waits_for_a_person(base, source, target):
    made, both = decide(By.MERGE, Sides(source=source, target=target, base=base)), merge(base, source, target)
    if not made.conflict:
        return
    assert made.clashes == both.clashes
    assert (made.outcome is Outcome.REVIEW) == bool(both.clashes)
    held = {Outcome.SOURCE: source, Outcome.TARGET: target, Outcome.MERGED: made.values}
    assert both.clashes or same_state(held[made.outcome], both.values)


@pytest.mark.parametrize(
    ("version", "other", "above"),
    [
        (2, 1, True),
        (1, 1, False),
        (1, 2, False),
        (None, 1, False),
        (1, None, True),
        (None, None, False),
        ("1", 0, False),
        ("10", "9.50", True),
        ("1.50", "1.5", False),
        ("-2", "-10", True),
        ("b", "a", True),
        ("NaN", "9", True),
    ],
)
def test_a_version_is_above_a_lower_one_and_none_and_above_nothing_else(version, other, above):
    assert is_above(version, other) is above


@given(STATES, STATES, STATES, st.permutations([1, 2, 3]), st.lists(st.sampled_from([1, 2, 3])))
def test_under_merge_disjoint_edits_survive_in_any_order_of_delivery(base, first, last, order, more):
    def own(state: dict[str, Any], side: str) -> dict[str, Any]:
        return {f"{side}.{name}": value for name, value in state.items()}

    edits = own(first, "theirs")
    begun = own(base, "ours") | own(base, "theirs")
    versions = {number: own(state, "ours") | own(base, "theirs") for number, state in enumerate((first, base, last), 1)}
    record = Record(target=own(base, "ours") | edits, base=begun)
    for version in [*more, *order, *more]:
        record.bring(By.MERGE, version, versions[version])
    assert record.held == []
    assert record.target is not None
    assert same_state(record.target, own(last, "ours") | edits)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [By.SOURCE_WINS, By.LAST_WRITE_WINS, By.TARGET_WINS, By.MANUAL_REVIEW])
@given(st.data())
def test_the_order_of_delivery_and_what_comes_twice_change_nothing(strategy, data):
    base, edited = data.draw(STATES), data.draw(STATES)
    versions = dict(enumerate(data.draw(st.lists(MAYBE, min_size=1, max_size=4)), 1))
    raised = data.draw(st.integers(0, 5))
    order = data.draw(st.permutations([*versions, *versions]))

    def after(numbers: list[int]) -> Record:
        record = Record(target=edited, base=base, version=raised)
        for number in numbers:
            record.bring(strategy, number, versions[number])
        return record

    one, other = after(sorted(versions)), after(list(order))
    if strategy is By.SOURCE_WINS:
        assert same_state(one.target, versions[max(versions)])
    if strategy is By.SOURCE_WINS or not _meets(edited, base, versions):
        assert same_state(one.target, other.target)
        assert bool(one.held) == bool(other.held)


def _meets(edited: dict, base: dict, versions: dict[int, Any]) -> bool:
    """Whether the source once has what the target was edited to, or what stood there before: then both agree there, and
    who has seen that agreement knows that the edit is over."""
    return any(same_state(state, other) for state in versions.values() for other in (edited, base))
