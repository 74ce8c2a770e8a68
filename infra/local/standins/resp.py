"""A client of Redis' protocol (RESP2) that returns replies and errors unchanged.

The usual clients change replies and errors: SET returns True, and `ERR` is removed from an error.
The stand-in for Upstash must pass on the server's own replies.
"""

import asyncio
from collections.abc import Sequence

type Reply = bytes | int | RespError | list[Reply] | None


class RespError(Exception):
    """An error reply with the server's message."""


class Pool:
    """Connections to one server, opened when needed and reused."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._idle: list[_Connection] = []

    async def run(self, commands: Sequence[Sequence[str]]) -> list[Reply]:
        """Send the commands together on one connection; return a reply or RespError for each.

        Raises OSError or EOFError if the server is not reachable.
        """
        connection = await self._connection()
        try:
            replies = await connection.run(commands)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return replies

    def close(self) -> None:
        """Close every connection that is not in use."""
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                return connection
            connection.close()
        return _Connection(*await asyncio.open_connection(*self._address))


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def is_open(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()

    async def run(self, commands: Sequence[Sequence[str]]) -> list[Reply]:
        self._writer.write(b"".join(_pack(command) for command in commands))
        await self._writer.drain()
        return [await self._reply() for _ in commands]

    async def _reply(self) -> Reply:
        line = await self._reader.readuntil(b"\r\n")
        kind, value = line[:1], line[1:-2]
        if kind == b"+":
            return value
        if kind == b"-":
            return RespError(value.decode(errors="replace"))
        if kind == b":":
            return int(value)
        if kind == b"$":
            length = int(value)
            return None if length < 0 else (await self._reader.readexactly(length + 2))[:-2]
        if kind == b"*":
            length = int(value)
            return None if length < 0 else [await self._reply() for _ in range(length)]
        raise ConnectionError(f"The server does not speak RESP2: {line!r}")


def _pack(command: Sequence[str]) -> bytes:
    words = [word.encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
