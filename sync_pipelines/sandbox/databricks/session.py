"""The Spark session of the stand-in: its configuration, and a session of its own for each statement."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sync_pipelines.sandbox.processes import LOOPBACK

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CATALOG = "main"
"""The catalog of three-level names, and the default one."""

_WRAPPINGS = ("Exception thrown in awaitResult", "Job aborted due to stage failure")
"""Messages of errors that only carry another one."""


def configuration(folder: Path, class_path: Sequence[Path], connect_port: int) -> dict[str, str]:
    """Return Spark's configuration; each line was measured or is needed, as facts/jvm-engines.md says.

    Args:
        folder: the server's folder: tables, Volumes and scratch lie below it.
        class_path: the jars and classes of :mod:`jars`.
        connect_port: where jobs attach over Spark Connect.
    """
    return {
        # Twice the tasks that a query begins with: one that runs for long leaves room for another.
        "spark.master": "local[4]",
        "spark.default.parallelism": "2",
        "spark.driver.memory": "1g",
        "spark.driver.extraClassPath": os.pathsep.join(map(str, class_path)),
        # With one compiler the JVM keeps 48 MB for code, and sweeps them all the time: a fifth of its CPU in tests.
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=512m "
        "-Duser.timezone=UTC",
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.local.dir": str(folder / "scratch"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
        "spark.connect.grpc.binding.address": LOOPBACK,
        "spark.connect.grpc.binding.port": str(connect_port),
        "spark.hadoop.fs.file.impl": "sync.sandbox.Volumes",
        "spark.hadoop.sync.sandbox.volumes": str(folder / "volumes"),
        **_sql(folder),
    }


def _sql(folder: Path) -> dict[str, str]:
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        f"spark.sql.catalog.{CATALOG}": "sync.sandbox.SandboxCatalog",
        "spark.sql.defaultCatalog": CATALOG,
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.sources.default": "delta",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.leafNodeDefaultParallelism": "2",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
        # Otherwise named parameters fail in Delta's own statements.
        "spark.sql.legacy.parameterSubstitution.constantsOnly": "true",
        "spark.databricks.delta.snapshotPartitions": "2",
        # Compiling the code of a plan takes longer than a few hundred rows do: a third of Spark's CPU.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    }


class Engine:
    """The one Spark of this process."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """Start Spark, which takes about ten seconds.

        Args:
            settings: what :func:`configuration` returned.
        """
        os.environ.update(SPARK_LOCAL_IP=LOOPBACK, TZ="UTC")
        time.tzset()
        # Jobs are started by this process with a SPARK_REMOTE of their own; this one is the server.
        for name in ("SPARK_REMOTE", "SPARK_CONF_DIR", "SPARK_HOME", "PYSPARK_SUBMIT_ARGS"):
            os.environ.pop(name, None)
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.appName("sandbox of Databricks")
        for name, value in settings.items():
            builder = builder.config(name, value)
        self.spark: SparkSession = builder.getOrCreate()
        self.spark.sparkContext.setLogLevel("ERROR")
        # A failed statement is the client's to see: here it would print Java's stack of a hundred lines.
        logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)

    @property
    def jvm(self) -> Any:
        """Java's classes, by their names."""
        return self.spark.sparkContext._jvm

    def session(self, catalog: str | None, schema: str | None) -> SparkSession:
        """Return a new session: what one statement sets or registers, no other one sees."""
        session = self.spark.newSession()
        if catalog:
            # Not Catalog.setCurrentCatalog: in a new thread it asks another session's settings for the name.
            session.sql(f"SET CATALOG {quoted(catalog)}")
        if schema:
            session.sql(f"USE {quoted(schema)}")
        return session

    def run(self, session: SparkSession, text: str, parameters: Sequence[Mapping[str, Any]]) -> DataFrame:
        """Run a statement; a query is only planned, everything else is done when this returns.

        Args:
            session: the statement's session.
            text: the statement.
            parameters: {name, type, value} each; the value is text, or missing for NULL.
        """
        bound = {one["name"]: self._literal(one) for one in parameters}
        return session.sql(text, args=bound) if bound else session.sql(text)

    def _literal(self, parameter: Mapping[str, Any]) -> Any:
        from pyspark.sql.classic.column import Column

        value, wanted = parameter.get("value"), parameter.get("type") or "STRING"
        return Column(self.jvm.sync.sandbox.Parameters.literal(value, wanted))

    def rows(self, text: str) -> list[Any]:
        """Return the rows of a small answer."""
        return self.session(None, None).sql(text).collect()

    def name_work(self, name: str) -> None:
        """Give this thread's jobs a name by which :meth:`cancel` finds them."""
        self.spark.sparkContext.setJobGroup(name, name, interruptOnCancel=True)

    def cancel(self, name: str) -> None:
        """Cancel the jobs of this name that run now.

        Those that it begins later may escape, whatever Spark's method is called: ask again until the work has ended.
        """
        self.spark.sparkContext.cancelJobGroup(name)

    def close_remote(self, session: str) -> None:
        """End a job's session over Spark Connect, and what runs in it; `cancel_remote` ends what comes later."""
        package = "org.apache.spark.sql.connect.service"
        key = getattr(self.jvm, f"{package}.SessionKey")("jobs", session)
        service = getattr(getattr(self.jvm, f"{package}.SparkConnectService$"), "MODULE$")
        service.sessionManager().closeSession(key, False)

    def cancel_remote(self, session: str) -> None:
        """Cancel the jobs of a session that was closed while it was about to begin them."""
        for number in self.jobs_of(session):
            self._context.cancelJob(number)

    def jobs_of(self, session: str) -> list[int]:
        """The jobs that run for a session over Spark Connect."""
        running = self.jvm.java.util.List.of(self.jvm.org.apache.spark.JobExecutionStatus.RUNNING)
        jobs = self._context.statusStore().jobsList(running)
        found = [jobs.apply(number) for number in range(jobs.size())]
        return [job.jobId() for job in found if session in job.jobTags().mkString(" ")]

    @property
    def alive(self) -> bool:
        """Whether Spark's process runs."""
        return self._process.poll() is None

    def end(self) -> None:
        """End Spark's process; what it still does is lost, as with a crash."""
        self._process.terminate()
        self._process.wait(10)

    @property
    def _context(self) -> Any:
        """Java's SparkContext."""
        return cast(Any, self.spark.sparkContext._jsc).sc()

    @property
    def _process(self) -> Any:
        return cast(Any, self.spark.sparkContext._gateway).proc


def in_background(work: Callable[..., object], *given: Any) -> None:
    """Do this in a thread of its own, which Spark knows by one of Java's."""
    from pyspark.util import InheritableThread

    InheritableThread(target=work, args=given, daemon=True).start()


def quoted(name: str) -> str:
    """Return a name as an identifier."""
    return "`" + name.replace("`", "``") + "`"


def reason(error: BaseException) -> str:
    """Return what Spark or Delta says of a failure, without Java's stack.

    Python's own text of some of Delta's errors is "Cannot find main error class": the Java error tells it.
    """
    from pyspark.errors import AnalysisException

    cause: BaseException | None = error
    while cause is not None:
        java = getattr(cause, "_origin", None) or getattr(cause, "java_exception", None)
        if java is not None:
            # Spark's own message of an analysis ends with the plan, which Databricks leaves out.
            text = java.getSimpleMessage() if isinstance(cause, AnalysisException) else _message(java)
            return str(text or java.toString()).strip()
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _message(java: Any) -> str | None:
    """The message of a Java error, or of the first one in its causes that says what happened."""
    while str(java.getMessage()).startswith(_WRAPPINGS) and java.getCause() is not None:
        java = java.getCause()
    return java.getMessage()
