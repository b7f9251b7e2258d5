"""What units say unasked and say only once a connection, taken many at a time with one commit.

When a broker returns, a whole fleet speaks within seconds: presence, uplink, reports. One durable commit each would
take longer than the fleet needs to come back. Every message has a savepoint of its own, so that one that fails takes
no other with it. A full inbox holds the channel back, and that the broker: nothing is dropped because too much comes at
once. What is in here is lost if the hub dies, and comes again: it is retained at the broker, or said every half minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from contract.errors import RekamError
from hub.schema.database import Database

BATCH_MAX = 200
WAITING_MAX = 1000
BACKOFF_S = 2.0
log = structlog.get_logger("hub")


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a unit, and what to do with it in a transaction."""

    unit: str
    take: Callable[[Session], object]


class UnitInbox:
    """Lives on the loop; the work is done in the office. Make it, put into it, and `run` it until cancelled."""

    def __init__(self, database: Database, office: Executor) -> None:
        self._database = database
        self._office = office
        self._waiting: asyncio.Queue[Said] = asyncio.Queue(WAITING_MAX)

    async def put(self, unit: str, take: Callable[[Session], object]) -> None:
        """Have `take` called soon; waits where too much is waiting already."""
        await self._waiting.put(Said(unit, take))

    async def run(self) -> None:
        """Take what waits, for ever; a database that does not answer gets the same batch again."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH_MAX and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            while not await loop.run_in_executor(self._office, self._is_taken, batch):  # noqa: ASYNC110 - a database has no event
                await asyncio.sleep(BACKOFF_S)

    def _is_taken(self, batch: Sequence[Said]) -> bool:
        try:
            with self._database.transaction() as session:
                for said in batch:
                    _take(session, said)
        except (RekamError, SQLAlchemyError) as error:
            log.critical("units' messages wait", messages=len(batch), error=type(error).__name__)
            return False
        return True


def _take(session: Session, said: Said) -> None:
    try:
        with session.begin_nested():
            said.take(session)
    except RekamError as error:
        log.warning("message refused", unit=said.unit, **error.diagnostics())
    except OperationalError:
        raise  # the database itself; all of the batch comes again
    except Exception as error:  # noqa: BLE001 - one message must not end the service of all the others
        log.critical("message dropped", unit=said.unit, error=type(error).__name__)
