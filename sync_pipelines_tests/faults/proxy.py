"""A TCP proxy between a client and a server of ours, with faults on demand.

It runs in a thread with an event loop of its own; a test talks to it from its own thread, also from within a
boundary of a run. What a client of it sees is what it sees of a real network: a refusal is the operating
system's, a reset is a TCP RST (SO_LINGER 0), a stalled connection is open and silent.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

T = TypeVar("T")

Direction = Literal["request", "response"]

LOOPBACK = "127.0.0.1"
_CHUNK = 65_536
_RST = struct.pack("ii", 1, 0)


@dataclass
class _Cut:
    """Resets that wait: a connection is cut where so many bytes have passed this way, and so many more are."""

    direction: Direction
    after: int
    times: int
    passed: int = 0


@dataclass(eq=False)
class Proxy:
    """Forwards to `host:port`; a context manager. `port` stays the same whatever happens.

    Args:
        host, port of the server: asked anew for each connection, since a restarted server may move.
    """

    upstream: Callable[[], tuple[str, int]]
    connections: int = 0
    cuts: int = 0
    port: int = field(init=False, default=0)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open: set[asyncio.StreamWriter] = set()
        self._cut: _Cut | None = None
        self._words: bytes | None = None
        self._flowing = self._do(self._event())
        self._server: asyncio.Server | None = None
        self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # Faults; each lasts until `heal`, but for resets, which are over when they have struck

    def refuse(self) -> None:
        """No new connection is taken, and those that are open are reset: what a stopped server looks like."""
        self._do(self._close())

    def reset_after(self, count: int, direction: Direction, *, times: int = 1) -> None:
        """Reset the connection in which so many more bytes have passed this way; so many connections in turn."""
        self._do(self._arm(_Cut(direction, count, times)))

    def lose_answer_to(self, words: str) -> None:
        """Reset the connection in which a request with these words has passed, before its answer does; once."""
        self._do(self._arm_words(words.encode()))

    def stall(self) -> None:
        """Nothing passes any more, and new connections are taken and not answered."""
        self._do(self._set_flowing(False))

    def heal(self) -> None:
        """Everything passes again, what was held back too; a reset that never struck is forgotten."""
        self._do(self._heal())

    # Within the loop

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _event(self) -> asyncio.Event:
        event = asyncio.Event()
        event.set()
        return event

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            _reset(writer)

    async def _end(self) -> None:
        await self._close()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _arm(self, cut: _Cut) -> None:
        self._cut = cut

    async def _arm_words(self, words: bytes) -> None:
        self._words = words

    async def _set_flowing(self, flowing: bool) -> None:
        self._flowing.set() if flowing else self._flowing.clear()

    async def _heal(self) -> None:
        self._cut = self._words = None
        self._flowing.set()
        await self._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            await self._flowing.wait()
            far_reader, far = await asyncio.open_connection(*self.upstream())
            try:
                await self._both_ways(reader, far, far_reader, writer)
            finally:
                far.close()
        except (OSError, asyncio.CancelledError):  # the server itself is away; or the proxy ends
            _reset(writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        far: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        ways = [
            asyncio.create_task(self._pass_on(reader, far, writer, "request")),
            asyncio.create_task(self._pass_on(far_reader, writer, writer, "response")),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        to: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        try:
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                data, cut = self._before_cut(data, direction)
                to.write(data)
                await to.drain()
                if cut:
                    _reset(client)
                    return
        except OSError:
            return

    def _before_cut(self, data: bytes, direction: Direction) -> tuple[bytes, bool]:
        """What of it still passes, and whether the connection is cut after it."""
        if direction == "request" and self._words is not None and self._words in data:
            self._cut, self._words = _Cut("response", 0, 1), None
        cut = self._cut
        if cut is None or cut.direction != direction:
            return data, False
        left = cut.after - cut.passed
        if len(data) <= left:
            cut.passed += len(data)
            return data, False
        self.cuts, cut.times, cut.passed = self.cuts + 1, cut.times - 1, 0
        if not cut.times:
            self._cut = None
        return data[:left], True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN, without a word to the far end of what is still buffered."""
    with suppress(OSError):  # closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    writer.transport.abort()
