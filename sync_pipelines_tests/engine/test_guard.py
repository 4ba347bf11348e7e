"""No mass deletion by accident (DESIGN.md §2.5)."""

from __future__ import annotations

import pytest

from sync_pipelines.engine.errors import ConfigurationError, MassDeleteError
from sync_pipelines.engine.guard import Guard


@pytest.mark.parametrize(
    ("deletes", "held", "source_empty", "refused"),
    [
        (0, 1000, True, False),
        (1, 1, False, False),
        (100, 100, False, False),
        (101, 1010, False, False),
        (101, 1009, False, True),
        (101, 100_000, False, False),
        (1, 1, True, True),
        (5, 5, True, True),
    ],
)
def test_a_deletion_stops_above_the_share_and_the_number_and_always_for_an_empty_source(
    deletes, held, source_empty, refused
):
    assert Guard().refuses(deletes=deletes, held=held, source_empty=source_empty) is refused


def test_the_runs_config_allows_it():
    assert not Guard(allow=True).refuses(deletes=1000, held=1000, source_empty=True)


def test_the_error_says_how_many_of_how_many_why_and_how_to_allow_it():
    with pytest.raises(MassDeleteError) as caught:
        Guard().check(deletes=500, held=900, source_empty=False, sync="knowledge", table="k")
    text = str(caught.value)
    assert "500 of the target's 900" in text
    assert "over 10%" in text
    assert "sync-pipelines sync knowledge/k --allow-mass-delete" in text


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (
            {"now": 900, "confirmed": 900},
            "500 of the target's 900 records would be deleted: that is over 10% of 900 and",
        ),
        ({"now": 1000, "confirmed": 900}, "1000 records would be deleted (900 after the last confirmed sync): that"),
        ({"now": 1000, "confirmed": 1000}, "1000 records would be deleted (900 before what came with the deletion"),
        ({"now": 1000}, "1000 records would be deleted (900 before what came with the deletion was written): that"),
    ],
)
def test_the_error_names_each_number_that_differs_once(numbers, said):
    with pytest.raises(MassDeleteError) as caught:
        Guard().check(deletes=500, held=900, source_empty=False, sync="knowledge", table="k", **numbers)
    assert said in str(caught.value)


@pytest.mark.parametrize(("share", "records"), [(-0.1, 1), (1.1, 1), (0.1, -1)])
def test_nonsense_is_refused_when_it_is_made(share, records):
    with pytest.raises(ConfigurationError):
        Guard(share=share, records=records)


@pytest.mark.parametrize(
    ("gone", "found", "held", "refused"),
    [
        (4, 0, 1000, False),
        (5, 0, 1000, True),
        (5, 1, 1000, False),
        (1, 0, 1, False),
        (3, 0, 3, True),
        (101, 900, 1010, False),
        (101, 900, 1009, True),
        (100, 1, 101, False),
    ],
)
def test_marking_stops_where_nothing_is_found_or_too_much_is_gone(gone, found, held, refused):
    def mark(**more: bool) -> None:
        given = {"gone": gone, "found": found, "held": held}
        Guard(**more).check_marks(**given, command="sync a/b", sync="a", table="b")

    mark(allow=True)
    if not refused:
        mark()
        return
    with pytest.raises(MassDeleteError, match=f"{gone} of the {held} records.*sync a/b --allow-mass-delete"):
        mark()
