"""The program of the stand-in: ``python -m sync_pipelines.sandbox.keep --folder F --port P``; SIGTERM ends it."""

from __future__ import annotations

from pathlib import Path

from sync_pipelines.sandbox.keep.api import Keep
from sync_pipelines.sandbox.stand_ins.program import main


def _open(key: str, port: int, _: Path) -> Keep:
    return Keep(key=key, port=port)


if __name__ == "__main__":
    main(_open, __doc__)
