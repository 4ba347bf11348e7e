"""Records that the source has no more and that PostgreSQL does not let go."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from sync_pipelines.components.delta_to_postgres import DeltaToPostgres
from sync_pipelines.engine.errors import RunError
from sync_pipelines.engine.repair import Repair, Wanted, repair
from sync_pipelines.engine.run import Request, Scope
from sync_pipelines_tests.cli.hidden import TOLD
from sync_pipelines_tests.lake.house import House, Lake, back
from sync_pipelines_tests.lake.reviews import held, row, rows

REFERRED = "CREATE TABLE reply (review text REFERENCES review); INSERT INTO reply VALUES ('{key}')"
FROZEN = """CREATE FUNCTION frozen() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'review % (%) is frozen', OLD.id, OLD.note USING ERRCODE = '{code}'; END $$;
    CREATE TRIGGER frozen BEFORE DELETE ON review FOR EACH ROW WHEN (OLD.id = '{{key}}') EXECUTE FUNCTION frozen()"""


SECRETS = ("secretperson3@canary.example", "a very private note")


def mend(house: House, table: DeltaToPostgres, **wanted: Any) -> Repair:
    request = Request(mode="repair", scope=Scope(), trigger="manual", run_id=str(uuid.uuid4()))
    return repair(house.bind(table), request, Wanted(**wanted))


@pytest.mark.parametrize(
    "refuse", [REFERRED, FROZEN.format(code="23001"), FROZEN.format(code="P0001")], ids=["key", "record", "run"]
)
@pytest.mark.parametrize("mode", ["incremental", "full", "repair"])
def test_nothing_that_is_said_of_a_refused_deletion_quotes_a_sensitive_value(
    review: House, lake: Lake, refuse: str, mode: str
):
    table = back(sensitive=["id", "note"])
    lake.write(rows(row("a"), *([] if mode == "repair" else [row(SECRETS[0], note=SECRETS[1])])))
    review.sync(table)
    if mode == "repair":  # what is pending is not repaired, but what somebody made in PostgreSQL is
        review.execute("INSERT INTO review (id, note) VALUES (%s, %s)", *SECRETS)
    review.execute(refuse.format(key=SECRETS[0]))
    lake.table.delete(f"id = '{SECRETS[0]}'")
    told = ""
    try:
        if mode == "repair":
            mend(review, table)
        else:
            review.sync(table, mode=mode)
    except RunError as error:
        told = repr(error)
    told += review.execute(TOLD)[0][0]
    assert held(review).keys() == {"a", SECRETS[0]}
    assert "is frozen" in told or "reply_review_fkey" in told
    assert not [secret for secret in SECRETS if secret in told]
