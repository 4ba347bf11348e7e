"""The tables of a server that was started again: Spark's catalogue is in its memory alone, their files are not."""

from __future__ import annotations

import shutil
from pathlib import Path

from sync_pipelines.sandbox.databricks.session import CATALOG, Engine, quoted

_ASIDE = ".aside"


def adopt_tables(engine: Engine, warehouse: Path) -> None:
    """Make known again what lies in the warehouse's folder.

    Args:
        engine: a Spark that has just started.
        warehouse: the folder with a folder ``SCHEMA.db`` for each schema.
    """
    for place in sorted(warehouse.glob("*.db")):
        engine.rows(f"CREATE SCHEMA IF NOT EXISTS {CATALOG}.{quoted(place.stem)}")
        for left in place.glob(f"*{_ASIDE}"):
            _put_back(left)
        for table in sorted(log.parent for log in place.glob("*/_delta_log")):
            _adopt(engine, place.stem, table)
    # What Delta remembers of the empty tables must not be taken for the ones put back in their places.
    engine.jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()


def _adopt(engine: Engine, schema: str, table: Path) -> None:
    """Make an empty table, then put the old one's files in its place.

    By its location alone a table can be made known too, but then DROP TABLE would leave its files, and the next
    CREATE TABLE of that name would fail.
    """
    aside = table.rename(table.with_name(table.name + _ASIDE))
    engine.rows(f"CREATE TABLE {CATALOG}.{quoted(schema)}.{quoted(table.name)} (nothing INT) USING delta")
    _put_back(aside)


def _put_back(aside: Path) -> None:
    place = aside.with_name(aside.name.removesuffix(_ASIDE))
    shutil.rmtree(place, ignore_errors=True)
    aside.rename(place)
