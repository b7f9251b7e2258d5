"""What units say unasked (presence, uplink, births, reports, alarms), taken many at a time with one commit.

When a broker returns, a whole fleet speaks within seconds. One durable commit each would take longer than the fleet
needs to come back; so what has come is taken together, the more seldom the more it is, and only when it is committed
is anything of it answered. A message that fails takes no other with it: then each is taken again with a savepoint of
its own. Each unit's messages are taken in the order in which they came.

A full inbox holds the channel back, and that the broker: nothing is dropped because too much comes at once. What is in
here is lost if the hub dies, and comes again: it is retained at the broker, or the unit says it until it is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from contract.errors import RekamError, RemoteError, TransientError
from hub import presence
from hub.commissioning import Said
from hub.schema.database import Database

BATCH_MAX = 200
WAITING_MAX = 1000
ANSWERS_MAX = 256
CROWD_S = 0.005  # for each message of a batch, until the next: one alone holds up nobody
CROWD_MAX_S = 0.2
PATIENCE_S = 1.0  # of what is repeated anyway: a thousand units' status, twice a minute each
BACKOFF_S = 2.0
log = structlog.get_logger("hub")

Answer = Callable[[], Sequence[Said]]
Take = Callable[[Session], Answer | None]


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of a unit, and what to do with it in a transaction that others share."""

    unit: str
    take: Take
    is_patient: bool = False


class _Spoiled(Exception):
    """One of the batch fails."""


class UnitInbox:
    """Lives on the loop; the work is done in the office. Make it, put into it, and `run` it until cancelled."""

    def __init__(self, database: Database, office: Executor, publish: Callable[[Said], Awaitable[object]]) -> None:
        """publish: says an answer; raises RekamError where nobody can hear it."""
        self._database = database
        self._office = office
        self._publish = publish
        self._waiting: asyncio.Queue[Heard] = asyncio.Queue(WAITING_MAX)
        self._room = asyncio.Semaphore(ANSWERS_MAX)

    async def put(self, unit: str, take: Take, *, is_patient: bool = False) -> None:
        """Have `take` called soon; waits where too much is waiting already. is_patient: in a second is soon.

        It may be called a second time where something else made its transaction fail, so it does nothing but what that
        undoes. What it returns is called after the commit, and gives what is then said.
        """
        await self._waiting.put(Heard(unit, take, is_patient))

    async def run(self) -> None:
        """Take what waits, for ever; a database that does not answer gets the same batch again."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as answering:
            while True:
                batch = await self._next_batch()
                while (answers := await loop.run_in_executor(self._office, self.take, batch)) is None:  # noqa: ASYNC110 - a database has no event
                    await asyncio.sleep(BACKOFF_S)
                for said in answers:
                    await self._room.acquire()
                    answering.create_task(self._answer(said))
                if self._waiting.qsize() < BATCH_MAX:
                    await asyncio.sleep(min(CROWD_MAX_S, CROWD_S * (len(batch) - 1)))

    async def _next_batch(self) -> list[Heard]:
        """All that waits, once something does that is not patient, or the first has waited long enough."""
        batch = [await self._waiting.get()]
        is_patient = batch[0].is_patient
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while len(batch) < BATCH_MAX and (is_patient or not self._waiting.empty()):
                    batch.append(await self._waiting.get())
                    is_patient &= batch[-1].is_patient
        return batch

    def take(self, batch: Sequence[Heard]) -> list[Said] | None:
        """Commit a batch; what is to be said of it, or None where the database does not answer. Blocks."""
        try:
            try:
                answers = self._take_together(batch)
            except (_Spoiled, SQLAlchemyError):
                answers = self._take_apart(batch)
        except (RekamError, SQLAlchemyError) as error:
            log.critical("units' messages wait", messages=len(batch), error=type(error).__name__)
            return None
        return [said for answer in answers for said in _said(answer)]

    def _take_together(self, batch: Sequence[Heard]) -> list[Answer]:
        with self._database.transaction() as session:
            presence.lock_units(session, {heard.unit for heard in batch})
            try:
                return [answer for heard in batch if (answer := heard.take(session)) is not None]
            except OperationalError:
                raise  # the database itself; all of the batch comes again
            except Exception as error:
                raise _Spoiled from error

    def _take_apart(self, batch: Sequence[Heard]) -> list[Answer]:
        with self._database.transaction() as session:
            presence.lock_units(session, {heard.unit for heard in batch})
            return [answer for heard in batch if (answer := _take_alone(session, heard)) is not None]

    async def _answer(self, said: Said) -> None:
        try:
            await self._publish(said)
        except (TransientError, RemoteError) as error:
            log.info("not answered", topic=said.topic, **error.diagnostics())
        except Exception as error:  # noqa: BLE001 - one answer must not end the service of all the others
            log.critical("not answered", topic=said.topic, error=type(error).__name__)
        finally:
            self._room.release()


def _take_alone(session: Session, heard: Heard) -> Answer | None:
    try:
        with session.begin_nested():
            return heard.take(session)
    except RekamError as error:
        log.warning("message refused", unit=heard.unit, **error.diagnostics())
    except OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - one message must not end the service of all the others
        log.critical("message dropped", unit=heard.unit, error=type(error).__name__)
    return None


def _said(answer: Answer) -> Sequence[Said]:
    try:
        return answer()
    except Exception as error:  # noqa: BLE001 - see _take_alone; what was taken is committed
        log.critical("not answered", error=type(error).__name__)
        return ()
