"""YAML that Dagster would ignore in silence: below defs/ only a file named defs.yaml is read, one a folder.

`python -m sync_pipelines.strays` (part of `make lint`) names them, and what is wrong with the documents.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SENTENCE = "Dagster ignores this file in silence; name it defs.yaml in a folder of its own."

READ = ("defs.yaml", "defs.yml", "component.yaml")
"""The names that Dagster 1.13 looks for in a folder, in this order; it reads the first that is there."""

_YAML = re.compile(r"\.ya?ml|^defs\.(?!py)", re.I)


def strays(folder: Path) -> list[Path]:
    """Every file below `folder` that looks like a document and is none for Dagster, sorted: `table.yaml`,
    `DEFS.YAML`, `defs.yaml.txt`. What an editor hides (`.defs.yaml.swp`) is nobody's document."""
    found = [path for path in folder.rglob("*") if _YAML.search(path.name) and not path.name.startswith(".")]
    return sorted(path for path in found if path.is_file() and path.name != _read_in(path.parent))


def _read_in(folder: Path) -> str | None:
    there = {path.name for path in folder.iterdir()}  # a file system may take DEFS.YAML for defs.yaml
    return next((name for name in READ if name in there), None)


def main() -> int:
    """Name every stray, and every error in a document; 1 if there is one."""
    from sync_pipelines.documents import problems
    from sync_pipelines.engine.errors import one_stop

    defs = Path(__file__).resolve().parent / "defs"
    found = [f"{path}: {SENTENCE}" for path in strays(defs)] + [one_stop(f"{line}.") for line in problems(defs)]
    found = found or _not_loaded()
    sys.stderr.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


def _not_loaded() -> list[str]:
    """What only the loading of all documents shows: a template's variable that is not there, a table defined twice."""
    from sync_pipelines.engine.errors import SyncError
    from sync_pipelines.registry import whole_tables

    try:
        whole_tables()
    except SyncError as error:
        return [str(error)]
    return []


if __name__ == "__main__":
    sys.exit(main())
