"""YAML that Dagster would ignore in silence: only files named defs.yaml are read below defs/."""

from __future__ import annotations

import sys
from pathlib import Path


def strays(folder: Path) -> list[Path]:
    """Every .yaml or .yml below `folder` that is not named defs.yaml, sorted."""
    found = [path for pattern in ("*.yaml", "*.yml") for path in folder.rglob(pattern)]
    return sorted(path for path in found if path.name != "defs.yaml")


def main() -> int:
    """Name every stray document; 1 if there is one."""
    found = strays(Path(__file__).resolve().parent / "defs")
    for path in found:
        sys.stderr.write(f"{path}: Dagster ignores this file in silence; name it defs.yaml in a folder of its own.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
