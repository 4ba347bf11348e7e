"""A stand-in that runs in another process, changed from here: by its address and key alone."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from sync_pipelines.sandbox.cupid.api import CONTROLS


@dataclass(frozen=True)
class Control:
    """What `api.Cupid` can be asked for, by the same names: `change`, `remove`, `fault`, `seen`, …"""

    address: str
    key: str = field(repr=False)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The stand-in that CUPID_BASE_URL and CUPID_API_KEY name."""
        parts = urlsplit(environment["CUPID_BASE_URL"])
        return cls(f"{parts.scheme}://{parts.netloc}", environment["CUPID_API_KEY"])

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in CONTROLS:
            raise AttributeError(name)
        return lambda *args, **options: self._ask(name, args, options)

    def _ask(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.address}/control/{name}",
            method="POST",
            data=json.dumps({"args": list(args), "options": options}).encode(),
            headers={"x-api-key": self.key, "Content-Type": "application/json"},
        )
        # No proxy, whatever the environment says: 127.0.0.1 is never behind one.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as response:
            return json.loads(response.read())
