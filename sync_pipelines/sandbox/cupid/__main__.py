"""The program of the stand-in: ``python -m sync_pipelines.sandbox.cupid --folder F --port P``; it ends with SIGTERM."""

from __future__ import annotations

from pathlib import Path

from sync_pipelines.sandbox.cupid.api import Cupid
from sync_pipelines.sandbox.stand_ins.program import main


def _open(key: str, port: int, folder: Path) -> Cupid:
    return Cupid(key=key, port=port, kept=folder / "edits.json")


if __name__ == "__main__":
    main(_open, __doc__)
