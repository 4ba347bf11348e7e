"""The body of a request as a stream that ends where the body does, whichever way its length is told."""

from __future__ import annotations

import io
from email.message import Message
from typing import Any, BinaryIO

_PIECE = 1 << 16


class Body(io.RawIOBase):
    """A readable stream over one request's body."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._left = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer as far as the body goes."""
        if not self._left and not self._next():
            return 0
        got = self._source.read(min(len(buffer), self._left))
        if not got:
            raise ConnectionError("the client went away in the middle of its request")
        buffer[: len(got)] = got
        self._left -= len(got)
        return len(got)

    def drain(self) -> None:
        """Read to the end and forget it."""
        while self.read(_PIECE):
            pass

    def _next(self) -> bool:
        """Whether there is a further piece; its length is known then."""
        return False


class _Sized(Body):
    def __init__(self, source: BinaryIO, length: int) -> None:
        super().__init__(source)
        self._left = length


class _Chunked(Body):
    def __init__(self, source: BinaryIO) -> None:
        super().__init__(source)
        self._begun = self._ended = False

    def _next(self) -> bool:
        if self._ended:
            return False
        if self._begun:
            self._source.readline()  # the end of the piece before
        self._begun = True
        self._left = int(self._source.readline().split(b";")[0] or b"0", 16)
        if not self._left:
            self._ended = True
            while self._source.readline().strip():
                pass
        return bool(self._left)


def body_of(headers: Message, source: BinaryIO) -> Body:
    """Return the body of the request whose headers were just read from a connection."""
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return _Chunked(source)
    return _Sized(source, int(headers.get("Content-Length") or 0))
