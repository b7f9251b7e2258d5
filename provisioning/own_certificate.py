"""Keeps the technician's own certificate good: renewed at two thirds of its life, by itself, before what was asked for.

The next key is made here and the request proved by the present one, inside a signed order: so the TLS key of an old
laptop alone renews nothing. The next certificate is used at once, the hub told so, and only then does it take the
present one's place; a cut anywhere leaves one that works. One that has ended, up to 180 days ago, is renewed at the
renewal door in the same way; one that was revoked never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from contract.certificates import serial_text
from contract.channel_mqtt import MqttSettings
from contract.channel_renewal import Door, ask
from contract.clock import Clock
from contract.commissioning import LateQuestion, SignedBirth
from contract.commissioning_problems import Problem
from contract.credential import Credential
from contract.dispatch import decode, encode
from contract.durable_files import DurableFolder
from contract.errors import RemoteError, TransientError
from contract.identifiers import uuid7
from contract.packet import Model
from contract.technician import CertificateResult, Order, Reply, Verb, sign_order, verify_reply
from provisioning.technician_identity import Identity

SOFTWARE = "rekam-provision"
_LASTING = (Problem.CERTIFICATE_TOO_OLD, Problem.CERTIFICATE_REVOKED, Problem.CERTIFICATE_SUPERSEDED)
R = TypeVar("R", bound=Model)


class OwnRefusal(RemoteError):
    """The technician gets no next certificate; the table of problems speaks of units, so some words are ours."""

    def __init__(self, reply: Reply) -> None:
        message, next_step = reply.message, reply.next_step
        if reply.problem in _LASTING:
            message = "Your certificate ended more than 180 days ago, was replaced by another, or was revoked."
            next_step = "Make a new folder with 'rekam-provision enrol', and ask the administrator to certify it."
        super().__init__(message, next_step=next_step)
        self.problem = reply.problem


class Line(Protocol):
    """The part of a line to the hub that renewing needs."""

    async def ask(self, verb: Verb, body: Model, kind: type[R]) -> R:
        """Give an order and wait for its result."""
        ...

    async def tell(self, verb: Verb, body: Model) -> None:
        """Give an order that has no result."""
        ...

    async def come_back(self) -> None:
        """Connect anew, with the certificate of now."""
        ...


class OwnCertificate:
    """The certificate in a technician's folder. settings: of the service line, with its files."""

    def __init__(self, identity: Identity, settings: MqttSettings, clock: Clock) -> None:
        self._identity = identity
        self._settings = settings
        self._clock = clock
        self.credential = Credential(settings, clock, DurableFolder(identity.folder))

    async def keep_good(self, line: Line) -> bool:
        """Renew where it is time to, and settle what an earlier run left open; whether another one serves now."""
        if not await asyncio.to_thread(lambda: self.credential.is_tried):
            if not await asyncio.to_thread(lambda: self.credential.is_due):
                return False
            renewal = await asyncio.to_thread(self.credential.request)
            found = await line.ask(Verb.CERTIFICATE, renewal, CertificateResult)
            await asyncio.to_thread(self.credential.keep_next, found.certificate, found.issuing)
            await line.come_back()
        serial = serial_text((await asyncio.to_thread(self.credential.present))[0])
        birth = await asyncio.to_thread(self.credential.birth, self._identity.technician, SOFTWARE)
        try:
            await line.tell(Verb.CERTIFICATE_USED, decode(SignedBirth, birth))
        except RemoteError as error:
            if getattr(error, "problem", None) is Problem.CERTIFICATE_REVOKED:
                await asyncio.to_thread(self.credential.give_up, serial)  # another one was asked for since
            raise
        return await asyncio.to_thread(self.credential.take_over, serial)

    async def renew_late(self, say: Callable[[str], None]) -> bool:
        """Where the certificate has ended, get the next one at the renewal door; whether it did.

        Raises OwnRefusal, TransientError.
        """
        if not await asyncio.to_thread(lambda: self.credential.has_ended):
            return False
        say("The certificate has ended: asking for the next one")
        renewal = await asyncio.to_thread(self.credential.request)
        order = Order(
            id=uuid7(self._clock),
            technician=self._identity.technician,
            verb=Verb.CERTIFICATE,
            at_ms=self._clock.wall_ms(),
            body=encode(renewal),
        )
        reply = await self._say_late(order)
        if not reply.done:
            raise OwnRefusal(reply)
        found = decode(CertificateResult, reply.body)
        await asyncio.to_thread(self.credential.keep_next, found.certificate, found.issuing)
        return True

    async def _say_late(self, order: Order) -> Reply:
        """The hub's reply to an order at the renewal door. Raises TransientError where none comes."""
        who = self._identity
        question = LateQuestion(technician=who.technician, body=sign_order(order, who.order))
        try:
            content = await asyncio.to_thread(ask, Door(who.host, who.renewal_port, who.ca), encode(question))
        except TransientError as error:
            raise TransientError(
                f"Your certificate has ended. {error.message}",
                next_step=f"Check the link to {who.host}:{who.renewal_port} and this machine's clock; try again.",
            ) from None
        return verify_reply(content, who.hub, order.id)
