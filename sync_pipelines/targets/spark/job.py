"""The Spark job: PostgreSQL's rows, read over JDBC in one snapshot, staged and merged into a Delta table.

This file is copied to a Volume and runs on Databricks, where this project is not installed: it imports pyspark,
dagster-pipes and what the runtime brings. What it is to do comes as Pipes' extras (`loading.work`):

* reader: options of Spark's JDBC reader; secret: scope and key of the password, or null.
* queries: the pieces of the table; connections: how many of them are read at a time.
* left: a condition on a row that is staged but not merged; its column's name is left_column.
* staged: the folder of the staged Parquet files.
* wanted: a file of the Volume; the next run of the table removes it, and what this job has read is old by then.
* steps: statements, each with `doing`, and with a query `unless_empty` whose empty answer skips it.
* quiet: whether the table has sensitive columns; then of a failed statement's words its code is all that is told.

It answers by one custom message: rows, left, written and seconds.
"""

import os
import random
import re
import sys
import time
from functools import reduce

from dagster_pipes import (
    PipesCliArgsParamsLoader,
    PipesEnvVarParamsLoader,
    PipesUnityCatalogVolumesContextLoader,
    PipesUnityCatalogVolumesMessageWriter,
    open_dagster_pipes,
)
from pyspark.sql import SparkSession

TRIES = 10
CODE = re.compile(r"\[[A-Z][A-Z0-9_.]+\]")
LEFT_OUT = "what else Spark says of it is left out for sensitive columns"
CONFLICTS = ("CONCURRENT", "METADATA_CHANGED", "MetadataChanged", "Concurrent")


def password(scope, key):
    """A secret of the workspace; the runtime hides it in what is printed."""
    from databricks.sdk.runtime import dbutils

    return dbutils.secrets.get(scope, key)


class OverError(RuntimeError):
    """What this job has read is old."""


class Job:
    """One run. `tell` takes a line of progress."""

    def __init__(self, spark, extras, secret, tell):
        self.spark, self.extras, self.secret, self.tell = spark, extras, secret, tell

    def run(self):
        """Read, stage, merge; what was done, in numbers."""
        began = time.monotonic()
        self.stage()
        rows, left = self.staged()
        read = time.monotonic()
        self.tell(f"{rows:,} rows are read and staged, {left:,} of them are left for the sync itself")
        written = sum(self.step(step) for step in self.extras["steps"])
        self.tell(f"{written:,} rows are merged")
        seconds = {"read_seconds": read - began, "merge_seconds": time.monotonic() - read}
        return {"rows": rows, "left": left, "written": written, **seconds}

    def stage(self):
        """Read the pieces, some at a time, into Parquet files."""
        queries, some = self.extras["queries"], self.extras["connections"]
        options = {**self.extras["reader"], **({"password": self.secret} if self.secret else {})}
        for start in range(0, len(queries), some):
            self.go_on()
            self.tell(f"reading pieces {start + 1} to {min(start + some, len(queries))} of {len(queries)}")
            frames = [self.read(options, query) for query in queries[start : start + some]]
            rows = reduce(lambda one, other: one.unionAll(other), frames)
            marked = rows.selectExpr("*", f"({self.extras['left']}) AS {self.extras['left_column']}")
            marked.write.mode("append").parquet(self.extras["staged"])

    def read(self, options, query):
        """One piece, which is one connection."""
        return self.spark.read.format("jdbc").options(**options).option("query", query).load()

    def staged(self):
        """Rows that are staged, and those of them that are left."""
        left = self.extras["left_column"]
        query = f"SELECT count(*), count_if({left}) FROM parquet.`{self.extras['staged']}`"
        return tuple(self.spark.sql(query).first())

    def step(self, step):
        """Run a statement, anew where another writer was quicker; how many rows it has inserted or updated."""
        for tried in range(1, TRIES + 1):
            try:
                return self.once(step)
            except OverError:
                raise
            except Exception as error:
                failed = error
            if tried == TRIES or not any(word in str(failed) for word in CONFLICTS):
                raise self.shown(failed, step)  # not within `except`: what is raised there is printed with its context
            self.tell(f"another writer has committed while this one was to {step['doing']}: once more")
            time.sleep(random.uniform(0, min(30, 0.5 * 2**tried)))

    def go_on(self):
        """Stop where another run has begun, which only one does whose process was killed: it would have cancelled
        this job. To merge now would put old rows over those that the other one has written."""
        if not os.path.exists(self.extras["wanted"]):
            raise OverError("the run that has launched this job is over, and another one has begun")

    def shown(self, error, step):
        """An error as it may be shown: a constraint's quotes the row that violates it."""
        if not self.extras["quiet"]:
            return error
        code = CODE.search(str(error))  # the first one: what follows may be of a value
        return RuntimeError(f"{code[0] if code else type(error).__name__} could not {step['doing']}: {LEFT_OUT}")

    def once(self, step):
        if step["unless_empty"] and not self.spark.sql(step["unless_empty"]).head(1):
            return 0
        self.tell(step["doing"])
        self.go_on()
        answer = self.spark.sql(step["statement"]).first().asDict()
        return int(answer["num_inserted_rows"]) + int(answer["num_updated_rows"])


def main():
    # an existing cluster and serverless take arguments, a new cluster takes variables
    by_arguments = "--dagster-pipes-context" in sys.argv
    with open_dagster_pipes(
        params_loader=PipesCliArgsParamsLoader() if by_arguments else PipesEnvVarParamsLoader(),
        context_loader=PipesUnityCatalogVolumesContextLoader(),
        message_writer=PipesUnityCatalogVolumesMessageWriter(),
    ) as pipes:
        extras = pipes.extras
        secret = password(*extras["secret"]) if extras["secret"] else None
        job = Job(SparkSession.builder.getOrCreate(), extras, secret, pipes.log.info)
        pipes.report_custom_message(job.run())


if __name__ == "__main__":
    main()
