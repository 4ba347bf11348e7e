"""A stand-in that runs in another process, changed from here: by its address and key alone."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.error import HTTPError


class Refused(Exception):
    """The stand-in could not do what its control asked for."""


@dataclass(frozen=True)
class Control:
    """What a stand-in can be asked for beside the service's own endpoints, by the names in `controls`.

    Args:
        address: of the server, without a path.
        key: sent as `x-api-key`.
    """

    controls: ClassVar[tuple[str, ...]] = ()

    address: str
    key: str = field(repr=False)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in type(self).controls:
            raise AttributeError(name)
        return lambda *args, **options: ask(self.address, self.key, name, args, options)


def ask(address: str, key: str, name: str, args: tuple[Any, ...] = (), options: dict[str, Any] | None = None) -> Any:
    """Ask the stand-in at an address for something.

    Raises:
        Refused: it says why not.
        OSError: it does not answer.
    """
    request = urllib.request.Request(
        f"{address}/control/{name}",
        method="POST",
        data=json.dumps({"args": list(args), "options": options or {}}).encode(),
        headers={"x-api-key": key, "Content-Type": "application/json"},
    )
    # No proxy, whatever the environment says: 127.0.0.1 is never behind one.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as response:
            return json.loads(response.read())
    except HTTPError as error:
        raise Refused(f"{name}: {error.code} {error.read().decode(errors='replace')}") from error
