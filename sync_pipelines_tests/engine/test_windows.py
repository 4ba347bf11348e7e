"""What partitions mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sync_pipelines.engine.windows import Windows, scope_of


def month(number: int) -> datetime:
    return datetime(2026, number, 1, tzinfo=UTC)


NOW = Windows(first=month(1), newest=month(6))


def test_the_newest_window_is_the_incremental_sync():
    scope = scope_of("incremental", (month(6), month(7)), NOW)
    assert (scope.full, scope.window, scope.keys) == (False, None, None)


def test_an_older_window_is_read_again():
    assert scope_of("incremental", (month(3), month(4)), NOW).window == (month(3), month(4))


def test_the_first_window_reaches_back_without_limit_and_holds_rows_without_a_time():
    scope = scope_of("incremental", (month(1), month(2)), NOW)
    assert scope.window == (None, month(2))
    assert scope.nulls


def test_a_range_to_the_newest_window_is_open_at_its_end():
    assert scope_of("incremental", (month(3), month(7)), NOW).window == (month(3), None)


def test_a_range_over_everything_reads_everything_with_a_time_or_without():
    scope = scope_of("incremental", (month(1), month(7)), NOW)
    assert scope.window == (None, None)
    assert scope.nulls


def test_a_run_for_what_was_the_newest_window_when_it_was_queued_still_drains():
    asked_before_midnight = (month(5), month(6))
    assert scope_of("incremental", asked_before_midnight, NOW).window == (month(5), month(6))


@pytest.mark.parametrize("mode", ["full", "rebuild"])
@pytest.mark.parametrize("asked", [(month(1), month(2)), (month(6), month(7))])
def test_a_full_run_reads_the_whole_table_whichever_partition_it_has(mode, asked):
    scope = scope_of(mode, asked, NOW)
    assert scope.full
    assert mode in scope.reason
