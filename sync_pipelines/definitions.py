"""The one Definitions object: what stands in `defs/`, its automation, and the resources."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from sync_pipelines.alerts.definitions import build_alerts
from sync_pipelines.automation import build_automation, timezone
from sync_pipelines.components.base import SyncComponent
from sync_pipelines.io_managers.chroma import ChromaIOManager
from sync_pipelines.io_managers.delta import DeltaIOManager
from sync_pipelines.io_managers.neo4j import Neo4jIOManager
from sync_pipelines.io_managers.notion import NotionIOManager
from sync_pipelines.io_managers.postgres import PostgresIOManager
from sync_pipelines.resources.chroma import ChromaResource
from sync_pipelines.resources.databricks import DatabricksResource
from sync_pipelines.resources.delta import DeltaResource
from sync_pipelines.resources.lakehouse import LakehouseResource
from sync_pipelines.resources.neo4j import Neo4jResource
from sync_pipelines.resources.notes import NotesResource
from sync_pipelines.resources.postgres import LedgerResource, PostgresResource
from sync_pipelines.resources.rest import RestResource
from sync_pipelines.resources.search import SearchResource
from sync_pipelines.upkeep import build_upkeep


def default_resources() -> dict[str, Any]:
    """Every resource and IO manager under the name that the assets ask for; none reads the environment yet."""
    chroma, delta, databricks, postgres = ChromaResource(), DeltaResource(), DatabricksResource(), PostgresResource()
    neo4j = Neo4jResource()
    return {
        "postgres": postgres,
        "postgres_io_manager": PostgresIOManager(postgres=postgres),
        "ledger": LedgerResource(),
        "chroma": chroma,
        "search": SearchResource(chroma=chroma),
        "chroma_io_manager": ChromaIOManager(chroma=chroma),
        "delta": delta,
        "databricks": databricks,
        "lakehouse": LakehouseResource(delta=delta, databricks=databricks),
        "delta_io_manager": DeltaIOManager(delta=delta, databricks=databricks),
        "rest": RestResource(),
        "neo4j": neo4j,
        "neo4j_io_manager": Neo4jIOManager(neo4j=neo4j),
        "notes": NotesResource(),
        "notion_io_manager": NotionIOManager(),
    }


# Dagster calls backfill policies and pools beta at each definition; both are decided in DESIGN.md, and pinned.
warnings.filterwarnings("ignore", category=dg.BetaWarning, module="dagster")
# Nor are components of Dagster's own that are in preview, and that nobody here uses, anything to be warned of.
warnings.filterwarnings("ignore", category=dg.PreviewWarning, module="dagster.components")


PACKAGE = Path(__file__).resolve().parent


@cache
def load(project: Path = PACKAGE) -> tuple[dg.Definitions, tuple[SyncComponent, ...]]:
    """The definitions of the project that holds this path, and the tables that they were made from.

    They lack Dagster's description of every component's fields, which only its UI shows, and which would take each
    command a fifth longer to start.
    """
    tree = _tree(project)
    components = _components(tree)
    return assemble(tree.build_defs(tree.defs_module_path), components), components


@cache
def _tree(project: Path) -> dg.ComponentTree:
    return dg.ComponentTree.for_project(project)


def _components(tree: dg.ComponentTree) -> tuple[SyncComponent, ...]:
    return tuple(tree.get_all_components(of_type=SyncComponent))


def assemble(found: dg.Definitions, components: tuple[SyncComponent, ...]) -> dg.Definitions:
    """Assets and checks with the automation of their syncs, the resources and the executor.

    Raises:
        DagsterInvalidDefinitionError: two documents define one table, or write into one target.
    """
    _refuse_doubles(components)
    base = dg.Definitions(resources=default_resources(), executor=dg.in_process_executor)
    upkeep = build_upkeep(components, timezone=timezone())
    return dg.Definitions.merge(found, build_automation(components), build_alerts(components), upkeep, base)


def _refuse_doubles(components: tuple[SyncComponent, ...]) -> None:
    paths: set[str] = set()
    owners: dict[str, str] = {}
    for component in components:
        if component.path in paths:
            raise dg.DagsterInvalidDefinitionError(
                f"Two documents define {component.path}: give one of them another `name:`."
            )
        paths.add(component.path)
        if component.enabled:
            _refuse_a_second_owner(component, owners)


def _refuse_a_second_owner(component: SyncComponent, owners: dict[str, str]) -> None:
    owner = owners.setdefault(component.target_identity(), component.path)
    if owner != component.path:
        raise dg.DagsterInvalidDefinitionError(
            f"{owner} and {component.path} both write into {component.target_identity()}: each would delete the "
            "other's records. Give one of them another target, or `enabled: false`."
        )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster's processes load: all of it, with what its UI shows of the components."""
    tree = _tree(PACKAGE)
    return assemble(tree.build_defs(), _components(tree))
