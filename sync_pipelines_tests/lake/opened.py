"""The far side of a test, beside the sync: a Delta table in a folder, or one of a warehouse."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from sync_pipelines.targets.databricks.settings import TableName, quoted
from sync_pipelines.targets.databricks.warehouse import Warehouse


class Opened(Protocol):
    """What a test asks of a table, and does to it behind the sync's back."""

    @property
    def there(self) -> bool: ...
    def version(self) -> int: ...
    def files(self) -> set[str]: ...
    def identity(self) -> str: ...
    def overwrites(self) -> int: ...
    def rewritten_by_the_merge(self) -> int: ...
    def comments(self) -> tuple[str | None, dict[str, str | None]]: ...
    def rows(self) -> list[dict[str, Any]]: ...
    def add_stranger(self, key: str) -> None: ...
    def edit(self, key: str, amount: int) -> None: ...
    def copy(self, key: str, *, amount: int | None = None) -> None: ...
    def add_state(self, key: str, *, version: int, deleted: bool) -> None: ...
    def set_version(self, key: str, version: int) -> None: ...


class InFolder:
    """A table that delta-rs opens."""

    def __init__(self, place: str) -> None:
        self.place = place

    @property
    def table(self) -> DeltaTable:
        return DeltaTable(self.place)

    @property
    def there(self) -> bool:
        return DeltaTable.is_deltatable(self.place)

    def version(self) -> int:
        return self.table.version()

    def files(self) -> set[str]:
        return set(self.table.file_uris())

    def identity(self) -> str:
        return str(self.table.metadata().id)

    def overwrites(self) -> int:
        modes = [entry.get("operationParameters", {}).get("mode") for entry in self.table.history()]
        return modes.count("Overwrite")

    def rewritten_by_the_merge(self) -> int:
        """The files that the one commit which took any out has taken out."""
        commits = [path.read_text() for path in Path(self.place, "_delta_log").glob("*.json")]
        (number,) = {text.count('\n{"remove"') for text in commits} - {0}
        return number

    def comments(self) -> tuple[str | None, dict[str, str | None]]:
        columns = {item.name: item.metadata.get("comment") for item in self.table.schema().fields}
        return self.table.metadata().description, columns

    def rows(self) -> list[dict[str, Any]]:
        return pa.RecordBatchReader.from_stream(self.table.scan()).read_all().to_pylist()

    def add_stranger(self, key: str) -> None:
        write_deltalake(self.table, pa.table({"id": pa.array([key])}), mode="append", schema_mode="merge")

    def edit(self, key: str, amount: int) -> None:
        self.table.update({"amount": str(amount)}, predicate=f"id = '{key}'")

    def copy(self, key: str, *, amount: int | None = None) -> None:
        """Append the row once more, with another amount if given, under the same key and fingerprint."""
        found = pa.RecordBatchReader.from_stream(self.table.scan(predicate=f"id = '{key}'")).read_all()
        if amount is not None:
            place = found.schema.get_field_index("amount")
            column = found.schema.field(place)
            found = found.set_column(place, column, pa.array([Decimal(amount)] * found.num_rows, column.type))
        write_deltalake(self.table, found, mode="append")

    def add_state(self, key: str, *, version: int, deleted: bool) -> None:
        """To a history: the first state of a record once more, as another one."""
        first = f"id = '{key}' AND _version = 1"
        found = pa.RecordBatchReader.from_stream(self.table.scan(predicate=first)).read_all()
        for name, value in (("_version", version), ("_deleted", deleted)):
            found = found.set_column(found.schema.get_field_index(name), name, pa.array([value]))
        write_deltalake(self.table, found, mode="append")

    def set_version(self, key: str, version: int) -> None:
        """In a history: of all states of a record."""
        self.table.update({"_version": str(version)}, predicate=f"id = '{key}'")


class InWarehouse:
    """A table that is asked by SQL."""

    def __init__(self, warehouse: Warehouse, table: TableName) -> None:
        self.warehouse, self.table = warehouse, table

    def _ask(self, statement: str) -> list[dict[str, Any]]:
        return [row for batch in self.warehouse.stream(statement, doing="ask") for row in batch.to_pylist()]

    @property
    def there(self) -> bool:
        schema = f"`{self.table.catalog}`.`{self.table.schema}`"
        return any(row["tableName"] == self.table.table for row in self._ask(f"SHOW TABLES IN {schema}"))

    def _history(self) -> list[dict[str, Any]]:
        return self._ask(f"DESCRIBE HISTORY {self.table.sql}")

    def version(self) -> int:
        return max(row["version"] for row in self._history())

    def files(self) -> set[str]:
        found = self._ask(f"SELECT DISTINCT _metadata.file_path AS file FROM {self.table.sql}")
        return {row["file"] for row in found}

    def identity(self) -> str:
        return self._ask(f"DESCRIBE DETAIL {self.table.sql}")[0]["id"]

    def overwrites(self) -> int:
        return sum(dict(row["operationParameters"]).get("mode") == "Overwrite" for row in self._history())

    def rewritten_by_the_merge(self) -> int:
        """The files that the last MERGE rewrote."""
        merges = [row for row in self._history() if row["operation"] == "MERGE"]
        return int(dict(merges[0]["operationMetrics"])["numTargetFilesRemoved"])

    def comments(self) -> tuple[str | None, dict[str, str | None]]:
        detail = self._ask(f"DESCRIBE DETAIL {self.table.sql}")[0]
        columns = self._ask(f"DESCRIBE TABLE {self.table.sql}")
        return detail["description"], {row["col_name"]: row["comment"] for row in columns}

    def rows(self) -> list[dict[str, Any]]:
        return self._ask(f"SELECT * FROM {self.table.sql}")

    def add_stranger(self, key: str) -> None:
        self.warehouse.run(f"INSERT INTO {self.table.sql} (id) VALUES ('{key}')", doing="write")

    def edit(self, key: str, amount: int) -> None:
        self.warehouse.run(f"UPDATE {self.table.sql} SET amount = {amount} WHERE id = '{key}'", doing="write")

    def copy(self, key: str, *, amount: int | None = None) -> None:
        """Append the row once more, with another amount if given, under the same key and fingerprint."""
        given = {} if amount is None else {"amount": f"CAST({amount} AS DECIMAL(8,2))"}
        self._add(f"id = '{key}'", given)

    def _add(self, which: str, given: dict[str, str]) -> None:
        columns = list(self._ask(f"SELECT * FROM {self.table.sql} LIMIT 1")[0])
        chosen = ", ".join(given.get(name, quoted(name)) for name in columns)
        self.warehouse.run(
            f"INSERT INTO {self.table.sql} SELECT {chosen} FROM {self.table.sql} WHERE {which}", doing="write"
        )

    def add_state(self, key: str, *, version: int, deleted: bool) -> None:
        """To a history: the first state of a record once more, as another one."""
        self._add(f"id = '{key}' AND _version = 1", {"_version": str(version), "_deleted": str(deleted).lower()})

    def set_version(self, key: str, version: int) -> None:
        """In a history: of all states of a record."""
        self.warehouse.run(f"UPDATE {self.table.sql} SET _version = {version} WHERE id = '{key}'", doing="write")
