"""`sync-pipelines plan` where something is wrong."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from sync_pipelines.commands.each import of_each
from sync_pipelines.engine.errors import TransientError
from sync_pipelines.registry import BoundTable
from sync_pipelines.targets import retries
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


@contextmanager
def deaf_server() -> Iterator[tuple[str, list[int]]]:
    """A server that hangs up on everybody: its URL, and its calls."""
    calls: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    caller = listener.accept()[0]
                    calls.append(1)  # before the caller knows, who may be the last one and be counted at once
                    caller.close()

        thread = Thread(target=hang_up, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", calls
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("words", [("plan",), ("check",), ("status", "--live")])
def test_a_target_that_does_not_answer_is_waited_for_once_whatever_number_of_tables_it_has(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
):
    monkeypatch.setattr(retries, "_FIRST_PAUSE", 0.02)
    with deaf_server() as (url, calls):
        monkeypatch.setenv("CHROMA_URL", url)
        invoke(*words, ARTICLE)
        of_one = len(calls)
        result = invoke(*words, "shop")
        of_two = len(calls) - of_one
    assert f"{ARTICLE}, {AUTHOR}: Chroma does not answer" in result.output
    assert of_one >= 6  # it was patient
    assert of_two <= of_one + 1  # and asked once more, whether it is there again


@pytest.mark.slow
def test_a_source_that_does_not_answer_keeps_no_other_table_from_being_asked(
    shop: Shop,
):
    away = TransientError("the source is away", sync="shop", table="article")
    asked = []

    def ask(bound: BoundTable) -> None:
        asked.append(bound.path)
        raise away

    _, problems = of_each(["shop"], ask)
    assert asked == list(problems) == [ARTICLE, AUTHOR]
