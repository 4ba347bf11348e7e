"""The proxy in a process of its own: delta-rs holds Python's lock while it asks its store, and no thread would answer.

`python -m sync_pipelines_tests.faults.far_proxy HOST PORT` says on which port it listens, then does what each line of
its standard input names (a JSON list: method, arguments) and answers each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from sync_pipelines_tests.faults.proxy import Direction, Proxy


class FarProxy:
    """`Proxy` to one address, from the test's side."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, str(port))

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", __name__, *self._upstream]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._answer())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def refuse(self) -> None:
        self._do("refuse")

    def reset_after(self, count: int, direction: Direction, *, times: int = 1) -> None:
        self._do("reset_after", count, direction, times)

    def lose_answer_to(self, words: str) -> None:
        self._do("lose_answer_to", words)

    def stall(self) -> None:
        self._do("stall")

    def heal(self) -> None:
        self._do("heal")

    def cuts(self) -> int:
        return int(self._do("cuts"))

    def _do(self, method: str, *given: Any) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([method, *given]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def main(host: str, port: str) -> None:
    """Serve until standard input ends."""
    with Proxy(lambda: (host, int(port))) as proxy:
        methods = {
            "refuse": proxy.refuse,
            "reset_after": lambda count, direction, times: proxy.reset_after(count, direction, times=times),
            "lose_answer_to": proxy.lose_answer_to,
            "stall": proxy.stall,
            "heal": proxy.heal,
            "cuts": lambda: proxy.cuts,
        }
        print(proxy.port, flush=True)
        for line in sys.stdin:
            method, *given = json.loads(line)
            print(methods[method](*given) or 0, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
