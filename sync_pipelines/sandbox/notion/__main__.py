"""The program of the stand-in: ``python -m sync_pipelines.sandbox.notion --folder F --port P``; SIGTERM ends it."""

from __future__ import annotations

from pathlib import Path

from sync_pipelines.sandbox.notion.api import Notion
from sync_pipelines.sandbox.stand_ins.program import main


def _open(key: str, port: int, folder: Path) -> Notion:
    return Notion(key=key, port=port, file=folder / "workspaces")


if __name__ == "__main__":
    main(_open, __doc__)
