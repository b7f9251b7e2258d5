"""What a technician's commands mean on this unit, by verb (contract.unit_command)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from contract.dispatch import decode
from contract.packet import Model
from contract.technician import Verb
from contract.unit_command import LogsAsk, Nothing, SelftestAsk
from edge.command_desk import Handler
from edge.log_ring import LogRing
from edge.remote_test import RemoteTest


def command_handlers(test: RemoteTest, ring: LogRing, renew: Callable[[], Awaitable[None]]) -> Mapping[Verb, Handler]:
    """A handler for each verb that a unit carries out. renew: asks for the next certificate."""

    async def on_test(technician: str, ask: bytes) -> AsyncGenerator[Model, None]:
        async with aclosing(test.rows(technician, decode(SelftestAsk, ask))) as rows:
            async for row in rows:
                yield row

    async def on_logs(_technician: str, ask: bytes) -> AsyncGenerator[Model, None]:
        yield await asyncio.to_thread(ring.page, decode(LogsAsk, ask))

    async def on_renew(_technician: str, _ask: bytes) -> AsyncGenerator[Model, None]:
        await renew()
        yield Nothing()

    return {Verb.TEST: on_test, Verb.LOGS: on_logs, Verb.RENEW: on_renew}
