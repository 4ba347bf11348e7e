"""What tests of the Dagster side do again and again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from sync_pipelines import migrations
from sync_pipelines.automation import newest_partition
from sync_pipelines.components.postgres_to_chroma import PostgresToChroma
from sync_pipelines.engine.model import Counts
from sync_pipelines.engine.proof import Proof
from sync_pipelines.registry import BoundTable
from sync_pipelines_tests.dagster.project import ARTICLE_DDL, article, definitions
from sync_pipelines_tests.dagster.resources import made_resources
from sync_pipelines_tests.own_chroma import own_client
from sync_pipelines_tests.sql import execute


def prepare(url: str) -> None:
    """Make the table Article, both branches of migrations and the triggers in an empty database."""
    for branch in ("capture", "ledger"):
        migrations.upgrade(url, branch=branch)
    world = World(url=url, chroma=None, instance=None)
    world.execute(ARTICLE_DDL)
    world.install()


@dataclass
class World:
    """A database, a Chroma, an instance, and the component under test."""

    url: str
    chroma: Any
    instance: Any
    component: PostgresToChroma = field(default_factory=article)
    resources: Any = field(default_factory=made_resources)

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement and commit; its rows, if it has any."""
        return execute(self.url, statement, *values)

    def install(self) -> None:
        from sync_pipelines.sources.postgres.capture import install

        install(self.url, self.component.spec, schema="sync")

    def put(self, key: str, *, title: str = "a title", body: str = "a body", stock: int = 1) -> None:
        """Insert or update an article."""
        self.execute(
            """INSERT INTO "Article" VALUES (%s, jsonb_build_object('en', %s::text), %s, %s)
            ON CONFLICT (id) DO UPDATE SET title = excluded.title, body = excluded.body, stock = excluded.stock,
            "updatedAt" = now() AT TIME ZONE 'UTC'""",
            key, title, body, stock,
        )  # fmt: skip

    def materialize(
        self, *, mode: str = "incremental", partition: str | None = None, raises: bool = True, **config: Any
    ) -> dg.ExecuteInProcessResult:
        """Run the asset as a schedule's run does, in this process."""
        job = definitions(self.component).resolve_job_def(f"{self.component.sync}_incremental")
        return job.execute_in_process(
            instance=self.instance,
            partition_key=partition or newest_partition(self.component),
            run_config={"ops": {self.component.op_name: {"config": {"mode": mode, **config}}}},
            raise_on_error=raises,
        )

    def sync(self, **options: Any) -> Counts:
        """Materialize and give the run's numbers from the ledger."""
        assert self.materialize(**options).success
        return self.last_run().counts

    def records(self, *keys: str) -> None:
        """Sync single records, as `sync --key` does."""
        sync = self.component.sync
        config = {"ops": {f"{sync}_sync_records": {"config": {"table": self.component.table_name, "keys": [*keys]}}}}
        job = definitions(self.component).resolve_job_def(f"{sync}_records")
        assert job.execute_in_process(instance=self.instance, run_config=config).success

    def failure(self, result: dg.ExecuteInProcessResult) -> str:
        """The sentence with which a run's asset failed, as the UI shows it."""
        failed = result.failure_data_for_node(self.component.op_name)
        assert failed is not None
        said = failed.user_failure_data.description if failed.user_failure_data else None
        return said or str(failed.error.cause or failed.error)

    def sensor_tick(self, cursor: str | None = None) -> Any:
        """Evaluate the table's sensor as the daemon does, which gives it the cursor of the tick before."""
        return self._tick("sensor", f"{self.component.op_name}_changes", cursor=cursor)

    def schedule_tick(self, name: str) -> Any:
        """Evaluate a schedule as the daemon does."""
        return self._tick("schedule", name)

    def _tick(self, kind: str, name: str, **options: Any) -> Any:
        project = definitions(self.component)
        found = getattr(project, f"resolve_{kind}_def")(name)
        build = dg.build_sensor_context if kind == "sensor" else dg.build_schedule_context
        options["resources"] = {key: getattr(made_resources(), key) for key in found.required_resource_keys}
        with build(instance=self.instance, repository_def=project.get_repository_def(), **options) as context:
            return found.evaluate_tick(context)

    def watermark(self) -> Any:
        with self.resources.ledger.ledger() as ledger:
            return ledger.watermark(self.component.sync, self.component.table_name)

    def last_run(self) -> Any:
        with self.resources.ledger.ledger() as ledger:
            return ledger.last_runs(self.component.sync, self.component.table_name, limit=1)[0]

    def prove(self) -> Proof:
        return BoundTable(self.component, self.resources).prove()

    @property
    def client(self) -> Any:
        return own_client(self.chroma.url, self.chroma.database)

    @property
    def collection(self) -> Any:
        return self.client.get_collection(self.component.target.collection, embedding_function=None)

    def stored(self) -> dict[str, str]:
        """What Chroma holds, asked with its own client: id → document."""
        found = self.collection.get(include=["documents"])
        return dict(zip(found["ids"], found["documents"], strict=True))

    def metadata(self, key: str) -> dict[str, Any]:
        return self.collection.get(ids=[key], include=["metadatas"])["metadatas"][0]

    def exists(self) -> bool:
        return self.component.target.collection in [found.name for found in self.client.list_collections()]

    def logs(self) -> list[Any]:
        with self.resources.ledger.ledger() as ledger:
            return ledger.last_runs(self.component.sync, self.component.table_name, limit=50)
