"""The Dagster context that a Pipes client asks for: the running step's, or one for just this."""

from collections.abc import Callable
from typing import Any

import dagster as dg


def within_dagster(work: Callable[[Any], Any]) -> Any:
    """Give work the context of the step that runs; where none does (a script), that of an op for just this."""
    try:
        context = dg.OpExecutionContext.get()
    except dg.DagsterInvariantViolationError:
        return _as_an_op(work)
    return work(context)


def _as_an_op(work: Callable[[Any], Any]) -> Any:
    results: list[Any] = []
    errors: list[BaseException] = []

    @dg.op(name="spark_job", out=dg.Out(dg.Nothing))
    def run(context: dg.OpExecutionContext):
        try:
            results.append(work(context))
        except BaseException as error:  # raised below, as it is: Dagster would wrap it
            errors.append(error)

    @dg.job(name="spark_job_alone")
    def alone():
        run()

    alone.execute_in_process()
    for error in errors:
        raise error
    return results[0]
