"""The process of a job's task: /Volumes, the script, and a note of how it ended.

Run as ``python -m sync_pipelines.sandbox.databricks.job VOLUMES ENDING SCRIPT [PARAMETER …]``.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any, cast

from sync_pipelines.sandbox.databricks.mount import mount
from sync_pipelines.sandbox.folders import write_json


def main() -> None:
    """Run the script as Databricks does: an error that leaves it, or an exit other than 0, is a failure."""
    volumes, ending, script, *parameters = sys.argv[1:]
    sys.argv = [script, *parameters]
    note: dict[str, Any] = {"error": None}
    try:
        source = Path(volumes + script.removeprefix("dbfs:").removeprefix("/Volumes"))
        mount(Path(volumes))
        _hide_the_project()
        runpy.run_path(str(source), run_name="__main__")
    except SystemExit as error:
        if error.code not in (None, 0):
            note = {"error": f"SystemExit: {error.code}", "trace": traceback.format_exc()}
    except BaseException as error:
        note = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    if note["error"]:
        print(note["trace"], file=sys.stderr)  # noqa: T201
    sys.stdout.flush()
    write_json(Path(ending), note)
    # A script's own threads do not keep its task alive on Databricks.
    os._exit(1 if note["error"] else 0)


def _hide_the_project() -> None:
    """The project is not installed on Databricks: a script that imports it must fail here as it does there."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "sync_pipelines"]:
        del sys.modules[name]
    cast(dict[str, Any], sys.modules)["sync_pipelines"] = None


if __name__ == "__main__":
    main()
