"""The console script in processes that a test kills.

`python -m sync_pipelines_tests.faults.child` imports everything once, then forks for each line on its standard
input, a JSON object: `words` of the command line, `environment`, and `boundary` with `number`, where the fork
is to die. It answers each with the fork's exit code, negative for a signal. What a fork has imported is imported
here before the next one: a command then takes one second instead of four.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sync_pipelines_tests.dagster.project import article, definitions
from sync_pipelines_tests.faults.notes_line import notes
from sync_pipelines_tests.lake.house import back, document
from sync_pipelines_tests.rest.hotels import documents

PROJECT = {"runs": {"batch_size": 10}, "chunking": {"max_characters": 64}}
"""What the children's table Article has beyond the tests' usual one: several batches, several chunks."""


@dataclass
class Children:
    """The forking process, from the test's side."""

    log: Any

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, *words: str, environment: Mapping[str, str], boundary: str = "", number: int = 1) -> int:
        """Run a command of the console script; its exit code, negative for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"words": words, "environment": dict(environment), "boundary": boundary, "number": number}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def main() -> None:
    """Fork for every line, one at a time. Nothing may connect or start a thread before a fork."""
    import sync_pipelines.definitions as project

    components = (article(**PROJECT), document(), back(), *documents().values(), notes())
    loaded = (definitions(*components), components)
    project.load = lambda *_: loaded
    for line in sys.stdin:
        sys.stdout.write(f"{_fork(json.loads(line))}\n")
        sys.stdout.flush()


def _fork(order: Mapping[str, Any]) -> int:
    with tempfile.NamedTemporaryFile("r") as imported:
        pid = os.fork()
        if pid == 0:
            _command(order["words"], order, imported.name)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for name in imported.read().split():
            with suppress(Exception):
                import_module(name)
    return code


def _command(words: Sequence[str], order: Mapping[str, Any], imported: str) -> None:
    from sync_pipelines import cli
    from sync_pipelines_tests.faults import boundaries, lake_boundaries, notes_line, rest_line

    os.dup2(2, 1)  # standard output is the answers'
    os.environ.update(order["environment"])
    if order["boundary"]:
        bends = {
            "shop/article": boundaries.bend,
            "hotels/properties": rest_line.bend,
            "notes/pages:ann": notes_line.bend,
        }
        bends.get(words[1], lake_boundaries.bend)(boundaries.kill_at(order["boundary"], order["number"]))
    sys.argv = ["sync-pipelines", *words]
    code = 1
    try:
        cli.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stderr.flush()
        Path(imported).write_text(" ".join(sys.modules))
        os._exit(code)


if __name__ == "__main__":
    main()
