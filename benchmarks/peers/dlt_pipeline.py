"""dlt's part, run by the Python of dlt's own environment: `dlt_pipeline.py JSON`.

JSON: url (PostgreSQL), table, folder (of the Delta table), pipeline (its name), backend (connectorx or pyarrow), load
(full, first or upsert). `first` is a full load that remembers where it ended, `upsert` merges what was changed since.
"""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import connectorx
import deltalake
import dlt
import psycopg2
import pyarrow
import sqlalchemy
from dlt.common.libs import deltalake as dlt_deltalake
from dlt.common.libs import pyarrow as dlt_pyarrow
from dlt.destinations import filesystem
from dlt.sources.sql_database import sql_table

_ = connectorx, deltalake, psycopg2, pyarrow, sqlalchemy, dlt_deltalake, dlt_pyarrow  # imported before the clock starts

_MB = 1_000_000
# dlt's own default of rows a chunk, and connectorx as a stream: the whole table at once takes 2.5 times the memory.
_BACKENDS: dict[str, dict[str, Any]] = {"connectorx": {"return_type": "arrow_stream"}, "pyarrow": {}}


def resource(task: dict[str, Any]) -> Any:
    """The table, as dlt's documentation reads one."""
    incremental = None if task["load"] == "full" else dlt.sources.incremental("updated_at")
    table = sql_table(
        credentials=task["url"],
        schema="public",
        table=task["table"],
        backend=task["backend"],
        backend_kwargs=_BACKENDS[task["backend"]],
        incremental=incremental,
        primary_key="id",
    )
    ways = {"full": "replace", "first": "replace", "upsert": {"disposition": "merge", "strategy": "upsert"}}
    return table.apply_hints(table_format="delta", write_disposition=ways[task["load"]])


def main(task: dict[str, Any]) -> None:
    baseline, began = status("VmRSS"), time.perf_counter()
    pipeline = dlt.pipeline(task["pipeline"], destination=filesystem(task["folder"]), dataset_name="peer")
    pipeline.run(resource(task)).raise_on_failed_jobs()
    seconds = time.perf_counter() - began
    counts = pipeline.last_trace.last_normalize_info.row_counts
    print(
        json.dumps({"seconds": seconds, "baseline": baseline, "peak": status("VmHWM"), "rows": counts[task["table"]]})
    )


def status(name: str) -> float:
    """A line of /proc, in MB: getrusage's peak would be that of whoever started this process, too."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 / _MB if found else 0.0


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
