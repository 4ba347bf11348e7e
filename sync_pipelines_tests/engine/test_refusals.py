"""When what a run refuses is more than bad records explain."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.errors import MassRefusalError
from sync_pipelines.engine.guard import Guard
from sync_pipelines.engine.model import Rejection
from sync_pipelines.engine.refusals import Refusals
from sync_pipelines.engine.spec import TableSpec

SPEC = TableSpec(sync="shop", name="article", table="Article", key=("id",))


def refused(*, due: int, new: int, known: int = 0, **limits: bool) -> Refusals:
    found = Refusals(guard=Guard(**limits), due=due)
    keys = [f"k{number}" for number in range(known + new)]
    found.add([Rejection(key=key, reason=f"{key} is bad.", stage="map") for key in keys], new=set(keys[known:]))
    return found


@pytest.mark.parametrize(
    ("due", "new", "known", "whole", "excessive"),
    [
        (3, 3, 0, True, False),
        (4, 4, 0, True, True),
        (4, 4, 0, False, False),
        (100, 100, 0, False, False),
        (10, 7, 0, True, True),
        (10, 4, 0, True, False),
        (1000, 100, 0, False, False),
        (1000, 101, 0, False, True),
        (1010, 101, 0, False, False),
        (300, 0, 300, True, False),
        (304, 4, 300, True, True),
        (304, 3, 300, True, False),
        (1100, 101, 500, False, True),
    ],
)
def test_half_of_a_table_or_more_than_the_guards_share_and_number_of_those_not_known(due, new, known, whole, excessive):
    found = refused(due=due, new=new, known=known)
    found.whole = whole
    assert found.excessive is excessive


def test_the_runs_config_allows_it():
    assert not refused(due=300, new=300, allow=True).excessive


def test_the_error_says_how_many_the_first_new_reason_and_how_to_allow_it():
    with pytest.raises(MassRefusalError) as caught:
        refused(due=310, new=300, known=10).check(SPEC)
    text = str(caught.value)
    assert "300 of 300 records were refused" in text
    assert "'k10') because: k10 is bad. So many" in text
    assert "sync-pipelines sync shop/article --allow-mass-delete" in text
