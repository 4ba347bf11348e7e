"""A graph under Dagster: change sets are written, and downstream assets get nodes, relationships or a query's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from sync_pipelines.engine.model import ChangeSet
from sync_pipelines.failures import as_dagster_failure
from sync_pipelines.io_managers.base import change_window, plain, wanted_kind, write_changes
from sync_pipelines.resources.neo4j import Neo4jResource

if TYPE_CHECKING:
    from sync_pipelines.targets.neo4j.input import Found


class Neo4jIOManager(dg.ConfigurableIOManager):
    """Writes a change set to its label or type; reads it as `pandas.DataFrame` or `pyarrow.Table`.

    An input gets a row a node (or relationship, with `start` and `end`, the keys of its nodes: `targets.neo4j.input`),
    partitioned alike those of its window. The input's metadata may ask something else of the graph:
    `dg.AssetIn(metadata={"cypher": "MATCH (c:Concept) RETURN c.title AS title", "parameters": {…}})`.
    """

    neo4j: Neo4jResource

    def handle_output(self, context: dg.OutputContext, obj: ChangeSet) -> None:
        write_changes(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        asked = context.definition_metadata or {}
        with as_dagster_failure():
            wanted = wanted_kind(context, _KINDS)
            if cypher := plain(asked.get("cypher")):
                found = self._query(str(cypher), plain(asked.get("parameters")) or {})
            else:
                found = self._elements(context)
            return found.pandas() if wanted == "pandas" else found.arrow()

    def _query(self, cypher: str, parameters: dict[str, Any]) -> Found:
        from sync_pipelines.targets.neo4j.input import query

        return query(self.neo4j.settings(), cypher, parameters)

    def _elements(self, context: dg.InputContext) -> Found:
        from sync_pipelines.targets.neo4j.input import read

        upstream = context.upstream_output
        metadata = upstream.definition_metadata if upstream is not None else {}
        label, relationship = (plain(metadata.get(f"neo4j/{kind}")) for kind in ("label", "relationship"))
        if not (label or relationship):
            raise dg.Failure(f"{context.asset_key.to_user_string()} is no table of a graph sync.", allow_retries=False)
        return read(
            self.neo4j.settings(),
            label=label,
            relationship=relationship,
            changed_at=plain(metadata.get("neo4j/changed_at")),
            window=change_window(context),
        )


_KINDS = {("pandas", "DataFrame"): "pandas", ("pyarrow", "Table"): "arrow"}
