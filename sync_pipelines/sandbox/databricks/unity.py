"""Unity Catalog's listings, asked of Spark's catalog, and its Volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sync_pipelines.sandbox.databricks.files_api import Volumes
from sync_pipelines.sandbox.databricks.session import CATALOG, Engine, quoted
from sync_pipelines.sandbox.databricks.web import Answer, Refusal, Request, Route, bad_value, route

_API = "/api/2.1/unity-catalog"


class UnityApi:
    """The routes of the catalogue."""

    def __init__(self, engine: Engine, volumes: Volumes) -> None:
        """Name what the routes work on."""
        self._engine = engine
        self._volumes = volumes

    def routes(self) -> Sequence[Route]:
        """Return the routes."""
        return (
            route("catalog", "GET", f"{_API}/catalogs", self._catalogs),
            route("catalog", "GET", f"{_API}/schemas", self._schemas),
            route("catalog", "GET", f"{_API}/tables", self._tables),
            route("catalog", "GET", f"{_API}/tables/([^/]+)", self._table),
            route("catalog", "GET", f"{_API}/volumes", self._list_volumes),
            route("catalog", "POST", f"{_API}/volumes", self._make_volume),
        )

    def _catalogs(self, request: Request) -> Answer:
        return Answer(document={"catalogs": [{"name": CATALOG}]})

    def _schemas(self, request: Request) -> Answer:
        catalog = _known(_asked(request, "catalog_name"))
        rows = self._engine.rows(f"SHOW SCHEMAS IN {quoted(catalog)}")
        found = [{"name": row[0], "catalog_name": catalog, "full_name": f"{catalog}.{row[0]}"} for row in rows]
        return Answer(document={"schemas": found})

    def _tables(self, request: Request) -> Answer:
        catalog, schema = _known(_asked(request, "catalog_name")), _asked(request, "schema_name")
        self._insist_on_schema(catalog, schema)
        rows = self._engine.rows(f"SHOW TABLES IN {quoted(catalog)}.{quoted(schema)}")
        return Answer(document={"tables": [_table(catalog, schema, row["tableName"]) for row in rows]})

    def _table(self, request: Request) -> Answer:
        parts = request.parts[0].split(".")
        if len(parts) != 3:
            raise bad_value(f"{request.parts[0]} is not a name of the form catalog.schema.table.")
        catalog, schema, name = parts
        full = ".".join(map(quoted, parts))
        if not self._engine.session(None, None).catalog.tableExists(full):
            raise Refusal(404, "TABLE_DOES_NOT_EXIST", f"Table '{request.parts[0]}' does not exist.")
        fields = self._engine.session(None, None).table(full).schema.fields
        columns = [_column(number, field) for number, field in enumerate(fields)]
        return Answer(document={**_table(catalog, schema, name), "columns": columns})

    def _list_volumes(self, request: Request) -> Answer:
        catalog, schema = _asked(request, "catalog_name"), _asked(request, "schema_name")
        folder = self._volumes.root / catalog / schema
        names = sorted(place.name for place in folder.iterdir()) if folder.is_dir() else []
        return Answer(document={"volumes": [_volume(catalog, schema, name) for name in names]})

    def _make_volume(self, request: Request) -> Answer:
        catalog, schema = _known(request.wanted("catalog_name")), request.wanted("schema_name")
        self._insist_on_schema(catalog, schema)
        self._volumes.make(catalog, schema, request.wanted("name"))
        return Answer(document=_volume(catalog, schema, request.wanted("name")))

    def _insist_on_schema(self, catalog: str, schema: str) -> None:
        if not self._engine.session(None, None).catalog.databaseExists(f"{quoted(catalog)}.{quoted(schema)}"):
            raise Refusal(404, "SCHEMA_DOES_NOT_EXIST", f"Schema '{catalog}.{schema}' does not exist.")


def _asked(request: Request, name: str) -> str:
    value = request.query.get(name)
    if not value:
        raise bad_value(f"{name} is required.")
    return value


def _known(catalog: str) -> str:
    if catalog != CATALOG:
        raise Refusal(404, "CATALOG_DOES_NOT_EXIST", f"Catalog '{catalog}' does not exist.")
    return catalog


def _table(catalog: str, schema: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "catalog_name": catalog,
        "schema_name": schema,
        "full_name": f"{catalog}.{schema}.{name}",
        "table_type": "MANAGED",
        "data_source_format": "DELTA",
    }


def _column(position: int, field: Any) -> dict[str, Any]:
    comment = {"comment": field.metadata["comment"]} if "comment" in field.metadata else {}
    text = field.dataType.simpleString()
    return {"name": field.name, "position": position, "type_text": text, "nullable": field.nullable, **comment}


def _volume(catalog: str, schema: str, name: str) -> dict[str, Any]:
    names = {"catalog_name": catalog, "schema_name": schema, "name": name}
    return {**names, "full_name": f"{catalog}.{schema}.{name}", "volume_type": "MANAGED"}
