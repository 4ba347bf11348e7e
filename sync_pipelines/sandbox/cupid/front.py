"""The front of the stand-in: faults and a limit stand between what is asked and what is answered."""

from __future__ import annotations

from sync_pipelines.sandbox.cupid.faults import SHAPES, Fault
from sync_pipelines.sandbox.stand_ins import front
from sync_pipelines.sandbox.stand_ins.faults import Faults, retry_after
from sync_pipelines.sandbox.stand_ins.front import Asked, Reply, Serve
from sync_pipelines.sandbox.stand_ins.seen import Limit

__all__ = ["Asked", "Front", "Reply", "refusal"]

_SAID = {
    400: "bad request",
    401: "invalid api key",
    403: "access to this property is not allowed",
    404: "property not found",
    422: "unprocessable",
    429: "too many requests",
}


def refusal(status: int, endpoint: str = "", key: str = "", **headers: str) -> Reply:
    """An answer with an error in it."""
    text = _SAID.get(status, "internal server error")
    return Reply(status, {"error": {"code": status, "message": text}}, endpoint, key, dict(headers))


class Front(front.Front):
    """Serves what it is given, within its limit, and with the faults that wait for it.

    Args:
        serve: makes the answers.
        port: 0 takes a free one.
    """

    def __init__(self, serve: Serve, *, port: int = 0) -> None:
        self._given, self.faults, self.limit = serve, Faults[Fault](), Limit()
        super().__init__(self._troubled, port=port)

    def _troubled(self, asked: Asked) -> Reply:
        reply = self._given(asked)
        if asked.parts[:1] == ("control",):
            return reply
        if not self.limit.allows(asked.at):
            limited = refusal(429, reply.endpoint, reply.key, **retry_after(self.limit.retry_after))
            limited.limited = True
            return limited
        fault = self.faults.meet(reply.endpoint, reply.key)
        return reply if fault is None else _with(fault, reply)


def _with(fault: Fault, reply: Reply) -> Reply:
    if fault.status != 200:
        return refusal(fault.status, reply.endpoint, reply.key, **fault.headers())
    if fault.kind not in SHAPES:
        reply.wire, reply.seconds = fault.kind, fault.seconds
    elif reply.status == 200:
        reply.document = fault.shaped(reply.document)
    return reply
