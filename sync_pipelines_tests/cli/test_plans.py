"""`sync-pipelines plan` where something is wrong."""

import pytest

from sync_pipelines_tests.cli.shop import ARTICLE, AUTHOR, Shop
from sync_pipelines_tests.cli.test_commands import answer, invoke


@pytest.mark.slow
def test_a_plan_refuses_a_setting_that_a_run_would_refuse(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYNC_BATCH_SIZE", "-3")
    result = invoke("plan", ARTICLE)
    assert result.exit_code == 3
    assert "SYNC_BATCH_SIZE is '-3': expected a whole number above 0" in result.stderr


@pytest.mark.slow
def test_a_table_that_cannot_be_planned_hides_no_other(shop: Shop):
    shop.execute('ALTER TABLE "Author" RENAME TO "Writer"')
    shop.put("c")
    for words in (("plan", "shop"), ("sync", "shop", "--dry-run")):
        told = answer(*words, code=1)
        assert [plan["upserts"] for plan in told["plans"]] == [1]
        assert list(told["problems"]) == [AUTHOR]
