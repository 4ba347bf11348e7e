"""A stand-in: what it serves, and the control beside it, with a key of its own."""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from sync_pipelines.sandbox.stand_ins.front import Asked, Front, Reply


class StandIn(ABC):
    """A service, served by threads of this process while it is open.

    Args:
        key: what `x-api-key` must hold for the control.
        port: 0 takes a free one.
    """

    controls: ClassVar[tuple[str, ...]]
    """What may be asked of it beside the service's own endpoints."""
    front_type: ClassVar[type[Front]] = Front

    def __init__(self, *, key: str, port: int = 0) -> None:
        self.key = key
        self.front = type(self).front_type(self._serve, port=port)

    @property
    def address(self) -> str:
        """Where it listens, without a path."""
        return self.front.address

    def seen(self) -> dict[str, Any]:
        """What came: see `seen.Log.summary`."""
        return self.front.log.summary()

    def clear_seen(self) -> None:
        """Begin the log anew."""
        self.front.log.clear()

    def ask(self, name: str, *args: Any, **options: Any) -> Any:
        """What `controls` names, as the control asks for it.

        Raises:
            ValueError: there is nothing of this name.
        """
        if name not in type(self).controls:
            raise ValueError(f"there is no control {name}")
        return getattr(self, name)(*args, **options)

    def __enter__(self) -> Self:
        self.front.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.front.stop()

    @abstractmethod
    def _served(self, asked: Asked) -> Reply:
        """The service's own answer."""

    def _serve(self, asked: Asked) -> Reply:
        return self._controlled(asked) if asked.parts[:1] == ("control",) else self._served(asked)

    def _controlled(self, asked: Asked) -> Reply:
        if not hmac.compare_digest(asked.headers.get("x-api-key", "").encode(), self.key.encode()):
            return Reply(401, {"error": "the control's key is another one"})
        try:
            body = asked.body
            return Reply(200, self.ask("/".join(asked.parts[1:]), *body["args"], **body["options"]))
        except Exception as error:
            return Reply(400, {"error": f"{type(error).__name__}: {error}"})
