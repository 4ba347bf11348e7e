"""Errors of others leave a step or a command with their traceback, and without a secret in any of their words."""

from __future__ import annotations

import sys
import traceback

import dagster as dg
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info

from sync_pipelines.alerts import delivery, heartbeat, message
from sync_pipelines.definitions import default_resources
from sync_pipelines.engine.errors import RunError
from sync_pipelines.failures import as_dagster_failure, no_secrets
from sync_pipelines.resources import environment
from sync_pipelines_tests.dagster.project import article, definitions

SECRET = "CANARY-of-a-client"


@pytest.fixture(autouse=True)
def _a_secret(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", SECRET)


class OddError(Exception):
    """An error whose words are not in its args, as in several clients."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def __str__(self) -> str:
        return f"refused: {self.key}"


def chained() -> None:
    try:
        raise OddError(SECRET)
    except OddError as error:
        error.add_note(f"sent with {SECRET}")
        try:
            raise KeyError(SECRET)
        except KeyError:
            raise ValueError(f"no {SECRET} here") from error


def grouped() -> None:
    raise ExceptionGroup("several", [OddError(SECRET), ValueError("harmless")])


def of_ours() -> None:
    try:
        raise OddError(SECRET)
    except OddError as error:
        raise RunError("It broke.") from error


def stored(work) -> str:
    """The chain as Dagster stores it, and as Python prints it."""
    try:
        with as_dagster_failure(attempt=0):
            work()
    except Exception:
        info = serializable_error_info_from_exc_info(sys.exc_info())
        return f"{info.to_string()}\n{info}\n{traceback.format_exc()}"
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("work", [chained, grouped, of_ours])
def test_no_link_of_the_chain_shows_a_secret(work):
    text = stored(work)
    assert "CANARY" not in text
    assert "***" in text


def test_the_classes_and_lines_of_code_stay():
    text = stored(chained)
    assert "ValueError: no *** here" in text
    assert "OddError: refused: ***" in text
    assert 'raise ValueError(f"no {SECRET} here") from error' in text
    assert "in chained" in text


def test_an_error_without_a_secret_stays_the_object_that_it_is():
    error = ValueError("nothing to hide")
    with pytest.raises(ValueError, match="nothing") as raised, as_dagster_failure(attempt=0):
        raise error
    assert raised.value is error


def test_an_error_of_ours_is_a_failure_still():
    with pytest.raises(dg.Failure, match="It broke"), as_dagster_failure(attempt=0):
        of_ours()


def test_it_guards_a_function_as_a_decorator():
    """Sensors and schedules are wrapped so, and Dagster looks at their parameters."""

    @dg.sensor(job_name="nothing")
    @no_secrets()
    def looked(context: dg.SensorEvaluationContext):
        raise OddError(SECRET)

    with pytest.raises(Exception, match="refused") as raised, dg.build_sensor_context() as context:
        looked.evaluate_tick(context)
    assert "CANARY" not in "".join(traceback.format_exception(raised.value))


@pytest.fixture(scope="module")
def project() -> dg.Definitions:
    return definitions(article())


@pytest.mark.slow
def test_no_tick_of_a_schedule_or_sensor_tells_a_secret(project, monkeypatch):
    """Dagster stores why a tick failed, with the whole chain of errors."""

    def broken(*_: object) -> str:
        raise OddError(SECRET)

    # those that read it by name, too: one that is first imported here would keep the broken one
    for module in (environment, heartbeat, delivery, message):
        monkeypatch.setattr(module, "value", broken)
    failed = set()
    with dg.DagsterInstance.ephemeral() as instance:
        for name, evaluate in ticks(project, instance):
            try:
                evaluate()
            except Exception:
                info = serializable_error_info_from_exc_info(sys.exc_info())
                assert "CANARY" not in info.to_string(), name
                failed.add(name)
    assert failed >= {
        "shop__article_changes",
        "shop_full_schedule",
        "sync_alerts",
        "sync_heartbeat",
        "shop_check_schedule",
    }


def ticks(project: dg.Definitions, instance: dg.DagsterInstance):
    """Every schedule and sensor but those that wait for a run's end, each with what evaluates it once."""
    repository = project.get_repository_def()
    for found in [*repository.schedule_defs, *repository.sensor_defs]:
        if isinstance(found, dg.RunStatusSensorDefinition):
            continue
        build = dg.build_sensor_context if isinstance(found, dg.SensorDefinition) else dg.build_schedule_context
        resources = {key: default_resources()[key] for key in found.required_resource_keys}

        def evaluate(found=found, build=build, resources=resources) -> None:
            with build(instance=instance, repository_def=repository, resources=resources) as context:
                found.evaluate_tick(context)

        yield found.name, evaluate
