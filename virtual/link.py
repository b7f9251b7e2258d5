"""A line between a unit and the broker that can be slow or cut: a TCP relay on loopback, outside both parties.

It carries TLS unread. Cutting it resets what is connected and refuses what comes, as a gateway without its uplink does.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

BLOCK_BYTES = 16 * 1024


@dataclass(slots=True)
class Link:
    """One relay: from `listen_port` to `target_port`, both on 127.0.0.1.

    up_bytes_per_s: limit towards the target, 0 for none. carried_up_bytes counts what went up since the start.
    """

    listen_port: int
    target_port: int
    up_bytes_per_s: int = 0
    carried_up_bytes: int = 0
    cuts: int = 0
    _cut: bool = False
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.listen_port)

    async def stop(self) -> None:
        """Close everything."""
        self.cut()
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes now."""
        return self._cut

    def cut(self) -> None:
        """Reset every connection and refuse new ones until `restore`."""
        self._cut = True
        self.cuts += 1
        for writer in tuple(self._writers):
            writer.transport.abort()

    def restore(self) -> None:
        """Let connections pass again."""
        self._cut = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            onward_reader, onward = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, onward}
        self._writers |= pair
        tasks = {
            asyncio.create_task(self._carry(reader, onward, up=True)),
            asyncio.create_task(self._carry(onward_reader, writer, up=False)),
        }
        self._tasks |= tasks
        with suppress(asyncio.CancelledError):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in pair:
            end.transport.abort()
        self._writers -= pair
        self._tasks -= tasks

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        with suppress(ConnectionError, OSError):
            while block := await reader.read(BLOCK_BYTES):
                writer.write(block)
                await writer.drain()
                if up:
                    self.carried_up_bytes += len(block)
                    if self.up_bytes_per_s:
                        await asyncio.sleep(len(block) / self.up_bytes_per_s)
