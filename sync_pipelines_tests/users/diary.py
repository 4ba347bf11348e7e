"""A kind whose partitions are users, of parts that are there: a table of PostgreSQL and a Delta table for each."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Self

import dagster as dg

from sync_pipelines import migrations
from sync_pipelines.components.per_user import PerUser
from sync_pipelines.components.postgres_to_delta import PostgresToDelta
from sync_pipelines.sources.postgres.capture import install
from sync_pipelines_tests.dagster.project import definitions
from sync_pipelines_tests.dagster.resources import made_resources
from sync_pipelines_tests.sql import execute

PATH = "diary/entries"


class Diary(PerUser, PostgresToDelta):
    """Every user's entries stand in a table of their own, `entry_ann`, and become one in the lake."""

    io_manager_key: ClassVar[str] = "notion_io_manager"

    def for_user(self, name: str) -> Self:
        found = super().for_user(name)
        source = self.source.model_copy(update={"table": f"entry_{name}"})
        target = self.target.model_copy(update={"table": f"diary/{name}"})
        object.__setattr__(found, "source", source)
        object.__setattr__(found, "target", target)
        return found


def diary(**more: Any) -> Diary:
    """The document."""
    given = {
        "sync": "diary",
        "name": "entries",
        "source": {"connection": "diary", "table": "entry", "key": ["id"]},
        "target": {"table": "diary"},
        **more,
    }
    return Diary.model_validate(given)


@cache
def loaded() -> tuple[dg.Definitions, tuple[Diary, ...]]:
    """What `sync_pipelines.definitions.load` gives, of this document alone."""
    found = (diary(),)
    return definitions(*found), found


@dataclass
class Desk:
    """A database with a ledger, a folder for the lake, and an instance of Dagster."""

    url: str
    instance: Any
    resources: Any = field(default_factory=made_resources)

    @property
    def component(self) -> Diary:
        return loaded()[1][0]

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return execute(self.url, statement, *values)

    def add(self, *names: str, entries: int = 2) -> None:
        """Users with so many entries each; the instance is not told."""
        with self.resources.ledger.ledger() as ledger:
            for name in names:
                self.execute(f"CREATE TABLE entry_{name} (id text PRIMARY KEY, body text)")
                install(self.url, self.component.for_user(name).spec, schema="sync")
                assert ledger.add_user("diary", name, config={}, secrets=b"sealed")
                for number in range(entries):
                    self.write(name, f"{name}-{number}")

    def write(self, name: str, key: str, body: str = "a day") -> None:
        statement = "VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET body = excluded.body"
        self.execute(f"INSERT INTO entry_{name} {statement}", key, body)

    def remove(self, name: str) -> None:
        """A user, as `users remove` does it."""
        with self.resources.ledger.ledger() as ledger:
            assert ledger.remove_user("diary", name)

    def break_(self, name: str) -> None:
        """Nothing can be read of this user any more."""
        self.execute(f"ALTER TABLE entry_{name} RENAME COLUMN id TO lost")

    def materialize(self, partition: str | None = None, *, mode: str = "incremental") -> dg.ExecuteInProcessResult:
        """A run of one user's partition, or of none."""
        if partition is not None:
            self.instance.add_dynamic_partitions("diary_users", [partition])
        return self.project.resolve_job_def("diary_incremental").execute_in_process(
            instance=self.instance,
            partition_key=partition,
            run_config={"ops": {"diary__entries": {"config": {"mode": mode}}}},
            raise_on_error=False,
        )

    def job(self, name: str, config: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        """A run of another job of the sync."""
        job = self.project.resolve_job_def(f"diary_{name}")
        return job.execute_in_process(instance=self.instance, run_config=config or {}, raise_on_error=False)

    @property
    def project(self) -> dg.Definitions:
        return loaded()[0]

    def tick(self, name: str, *, cursor: str | None = None) -> Any:
        """Evaluate a schedule, or the sensor, as the daemon does."""
        sensor = name.endswith("_changes")
        found: Any = self.project.resolve_sensor_def(name) if sensor else self.project.resolve_schedule_def(name)
        build: Any = dg.build_sensor_context if sensor else dg.build_schedule_context
        options: dict[str, Any] = {"cursor": cursor, "instance_ref": self.instance.get_ref()} if sensor else {}
        from sync_pipelines.definitions import default_resources

        options["resources"] = {key: default_resources()[key] for key in found.required_resource_keys}
        with build(instance=self.instance, repository_def=self.project.get_repository_def(), **options) as context:
            return found.evaluate_tick(context)

    def runs(self, name: str) -> list[Any]:
        """A user's runs in the ledger, the newest first."""
        with self.resources.ledger.ledger() as ledger:
            return ledger.last_runs("diary", f"entries:{name}", limit=20)

    def stored(self, name: str) -> int:
        """How many entries of a user the lake holds."""
        return self.component.for_user(name).bind(self.resources).target.count()


def migrate(url: str) -> None:
    for branch in ("capture", "ledger"):
        migrations.upgrade(url, branch=branch)


def new_run_id() -> str:
    return str(uuid.uuid4())
