"""Rows that PostgreSQL does not let change: quarantined alone, and no reason quotes what stands in them."""

from __future__ import annotations

import pytest

from sync_pipelines_tests.cli.hidden import TOLD
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import row, rows
from sync_pipelines_tests.lake.test_refused_deletes import LEGAL, RAISED, SECRETS, quarantined


@pytest.mark.slow
def test_a_row_that_a_trigger_does_not_let_change_is_quarantined_alone(review: House, lake: Lake):
    lake.write(rows(*(row(f"n{number}") for number in range(20))))
    review.sync(back())
    review.execute(RAISED.format(does=LEGAL, event="UPDATE"))
    lake.table.update({"note": "'changed'"}, predicate="id IN ('n1', 'n3')")
    counts = review.sync(back())
    assert (counts.upserted, quarantined(review)) == (1, [("n3", "write", 1)])


@pytest.mark.slow
@pytest.mark.parametrize("code", ["23514", "P0001"])
def test_no_reason_quotes_what_stands_in_the_row_that_is_overwritten(review: House, lake: Lake, code: str):
    """Also of a column that only the table in PostgreSQL has, and of a row that cannot be read as the source's are."""
    review.execute("ALTER TABLE review ADD COLUMN email text DEFAULT 'person@canary.example'")
    table = back(sensitive=["note", "email"])
    lake.write(rows(row("n3", note=SECRETS[1]), row("n4")))
    review.sync(table)
    says = f"RAISE EXCEPTION '% % is frozen', OLD.note, OLD.email USING ERRCODE = '{code}'"
    review.execute("UPDATE review SET updated_at = 'infinity' WHERE id = 'n3'")
    review.execute(RAISED.format(does=says, event="UPDATE OR DELETE"))
    lake.table.update({"note": "'changed'"}, predicate="id = 'n3'")
    review.sync(table)
    lake.table.delete("id = 'n3'")
    review.sync(table)
    told = review.execute(TOLD)[0][0]
    assert "left out for sensitive columns" in told
    assert not [secret for secret in (SECRETS[1], "person@canary") if secret in told]
