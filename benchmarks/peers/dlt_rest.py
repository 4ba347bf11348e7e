"""dlt's part of `rest-load`, run by the Python of dlt's own environment: `dlt_rest.py JSON`.

JSON: url (PostgreSQL), api (the base URL), key, ids (of the hotels), pipeline (its name).
"""

import json
import sys
import time
from typing import Any

import dlt
import psycopg2
from dlt.destinations import postgres
from dlt.sources.rest_api import rest_api_source
from dlt_pipeline import status

_ = psycopg2  # imported before the clock starts


def source(task: dict[str, Any]) -> Any:
    """The hotels, each by a request of its own, as dlt's documentation reads what depends on a list of ids."""

    @dlt.resource(name="ids")
    def ids() -> Any:
        yield [{"id": key} for key in task["ids"]]

    hotels = {
        "name": "hotels",
        "primary_key": "hotel_id",
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "endpoint": {"path": "property/{resources.ids.id}", "data_selector": "$", "paginator": "single_page"},
        "parallelized": True,
    }
    client = {"base_url": f"{task['api']}/", "headers": {"x-api-key": task["key"]}}
    return rest_api_source({"client": client, "resources": [ids(), hotels]}).with_resources("hotels")


def main(task: dict[str, Any]) -> None:
    baseline, began = status("VmRSS"), time.perf_counter()
    pipeline = dlt.pipeline(task["pipeline"], destination=postgres(task["url"]), dataset_name=task["pipeline"])
    pipeline.run(source(task)).raise_on_failed_jobs()
    seconds = time.perf_counter() - began
    counts = pipeline.last_trace.last_normalize_info.row_counts
    print(json.dumps({"seconds": seconds, "baseline": baseline, "peak": status("VmHWM"), "rows": counts["hotels"]}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
