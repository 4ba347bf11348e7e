"""How a table's columns are defined: what changes their values without firing a trigger.

| statement | what shows it |
|---|---|
| ALTER COLUMN … TYPE, DROP and ADD of a column | the shape: name, number and type of the columns that are read |
| ALTER COLUMN … TYPE (the same) USING … | another version of the column's catalog row *and* another file |
| ALTER COLUMN … SET EXPRESSION (of a virtual column, which no file holds) | another version of its catalog row |
| ALTER TYPE … RENAME VALUE | the labels of the enums; ADD VALUE changes none that was there |
| ALTER TYPE … ADD/DROP ATTRIBUTE | the attributes of the composite types |
| RENAME COLUMN | the names: a fingerprint is of values in their order, so that equal ones prove no equal records |

The version (pg_attribute.xmin) alone also changes with SET DEFAULT or SET NOT NULL, the file (relfilenode) alone
with VACUUM FULL, CLUSTER or TRUNCATE: none of them is a reason to read everything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync_pipelines.engine.spec import TableSpec
from sync_pipelines.sources.postgres.catalog import TableInfo
from sync_pipelines.sources.postgres.connection import Session


@dataclass(frozen=True, kw_only=True)
class Definition:
    """How the columns that are read are defined, as it stands in a watermark's position.

    Args:
        shape: of the columns. names: of them, by their number. versions: of their catalog rows. files: of the table,
            its partitions and children.
        attributes: of the composite types below the columns.
        labels: of the enums below the columns, by oid.
    """

    shape: str
    names: Mapping[str, str]
    versions: str
    files: str
    attributes: str
    labels: Mapping[str, str]

    def as_mapping(self) -> dict[str, Any]:
        """The watermark's part."""
        return {
            "shape": self.shape,
            "names": dict(self.names),
            "versions": self.versions,
            "files": self.files,
            "attributes": self.attributes,
            "labels": dict(self.labels),
        }

    def differs(self, then: Mapping[str, Any]) -> str | None:
        """Why values may have changed since a watermark's position was taken, or None; old ones know less."""
        if then.get("shape", self.shape) != self.shape:
            return "a column that is read was redefined"
        rewritten = then.get("files", self.files) != self.files
        if rewritten and then.get("versions", self.versions) != self.versions:
            return "a column that is read was rewritten (ALTER TABLE … USING or SET EXPRESSION)"
        if then.get("attributes", self.attributes) != self.attributes:
            return "a composite type that is read was redefined"
        labels = then.get("labels", {})
        if any(labels[oid] != label for oid, label in self.labels.items() if oid in labels):
            return "a value of an enum that is read was renamed"
        return None

    def renames(self, then: Mapping[str, Any]) -> bool:
        """Whether a column that is read had another name when a watermark's position was taken; old ones know none."""
        names = then.get("names", {})
        return any(names.get(number, name) != name for number, name in self.names.items())


def definition(session: Session, info: TableInfo, spec: TableSpec) -> Definition:
    """Ask how the columns that a sync reads are defined now."""
    projection = info.projection(spec)
    rows = session.all(_rows_sql(info.oid, [column.number for column in projection]))
    virtual = [(row["id"], row["version"]) for row in rows if row["kind"] == "column" and row["virtual"]]
    return Definition(
        shape=info.shape(spec),
        names={str(column.number): column.name for column in projection},
        versions=_digest([(row["id"], row["version"]) for row in rows if row["kind"] == "column"]),
        files=_digest([[relation.oid, relation.file] for relation in info.relations] + virtual),
        attributes=_digest([(row["id"], row["version"]) for row in rows if row["kind"] == "attribute"]),
        labels={str(row["id"]): row["version"] for row in rows if row["kind"] == "label"},
    )


def _digest(value: Any) -> str:
    return hashlib.md5(json.dumps(value).encode(), usedforsecurity=False).hexdigest()[:12]


def _rows_sql(oid: int, numbers: Sequence[int]) -> str:
    """Catalog rows of the columns, then of the enums and composite types below them at any depth.

    A type stands on others by its elements (arrays), its domain's base, its range's subtype, its attributes.
    """
    chosen = ", ".join(map(str, numbers))
    return f"""
WITH RECURSIVE below(type) AS (
    SELECT a.atttypid FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = {oid} AND a.attnum IN ({chosen})
    UNION
    SELECT n.type FROM below AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.type
    CROSS JOIN LATERAL (
        SELECT t.typbasetype AS type UNION ALL SELECT t.typelem
        UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range AS r WHERE t.typtype = 'r' AND r.rngtypid = t.oid
        UNION ALL SELECT d.refobjid FROM pg_catalog.pg_depend AS d WHERE t.typtype = 'm'
            AND d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid
            AND d.refclassid = d.classid
        UNION ALL SELECT c.atttypid FROM pg_catalog.pg_attribute AS c
            WHERE t.typtype = 'c' AND c.attrelid = t.typrelid AND c.attnum > 0 AND NOT c.attisdropped
    ) AS n WHERE n.type <> 0
)
SELECT 'column' AS kind, a.attnum::int8 AS id, a.xmin::text AS version, a.attgenerated = 'v' AS virtual
FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = {oid} AND a.attnum IN ({chosen})
UNION ALL
SELECT 'attribute', t.oid::int8, concat_ws(' ', c.attnum, c.atttypid, c.atttypmod), false
FROM below AS b JOIN pg_catalog.pg_type AS t ON t.oid = b.type AND t.typtype = 'c'
JOIN pg_catalog.pg_attribute AS c ON c.attrelid = t.typrelid AND c.attnum > 0 AND NOT c.attisdropped
UNION ALL
SELECT 'label', e.oid::int8, e.enumlabel::text, false
FROM below AS b JOIN pg_catalog.pg_enum AS e ON e.enumtypid = b.type
ORDER BY 1, 2, 3"""
