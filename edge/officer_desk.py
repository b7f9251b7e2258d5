"""What a unit does with officers: they sign on, change a PIN, lift a lock, take a new operator; one thing at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from contract import topics
from contract.dispatch import encode
from contract.errors import RekamError
from contract.transfer import Receipt
from edge.capture_state import Capture, Services
from edge.eligibility import OPERATOR_ROLE, Refusal
from edge.handover import HANDOVER_ROLES, Handover
from edge.operator_enrolment import OperatorEnrolment, start_operator_enrolment
from edge.ports import CardProof
from edge.procedure import Procedure, Refused
from edge.roster import Officer
from edge.second_factor import FactorBook
from edge.sign_on import HEAD_ROLES, Purpose, SignOn, SignOnDesk

OfficerWork = Procedure[SignOn] | Procedure[OperatorEnrolment]

log = structlog.get_logger("edge.officers")


class OfficerDesk:
    """The officers' side of a unit. Lives on the event loop."""

    def __init__(self, services: Services, factors: FactorBook, card: CardProof | None) -> None:
        self.factors = factors
        self.card = card
        self.sign_on = SignOnDesk(services, factors, card)
        self._services = services
        self._enrolment: Procedure[OperatorEnrolment] | None = None
        self.note: Callable[[str, str, str], None] = lambda _work, _step, _operator: None

    @property
    def work(self) -> OfficerWork:
        """What an officer is doing now. Raises Refused where that is nothing."""
        found = self._enrolment or self.sign_on.procedure
        if found is None:
            raise Refused(Refusal.NO_SESSION)
        return found

    @property
    def is_free(self) -> bool:
        """Whether no device is asked for an officer, and nobody is being enrolled."""
        enrolling = self._enrolment is not None and not self._enrolment.ended
        return not (enrolling or (self.sign_on.procedure is not None and self.sign_on.procedure.busy))

    def require(self, operator: str, *roles: str) -> Officer:
        """The signed-on officer, where it is this one with one of these roles. Raises Refused."""
        if not self.is_free:
            raise Refused(Refusal.BUSY)
        return self.sign_on.require(operator, *roles)

    async def identify(self, operator: str, purpose: Purpose, subject: str = "") -> OfficerWork:
        """Begin to identify an officer. Raises Refused."""
        self._make_room()
        return self._follow(await self.sign_on.start(operator, purpose, subject), purpose.value, operator)

    def may_finish(self, work: Procedure[Capture] | Procedure[Handover]) -> bool:
        """Whether a capture or a handover is open whose officer may finish it."""
        officer, roles = work.context.operator.operator, _roles_of(work.context)
        return not work.ended and not isinstance(self._services.roster.may_finish(officer, *roles), Refusal)

    def check_work(self, work: Procedure[Capture] | Procedure[Handover]) -> None:
        """An officer who was revoked does nothing more: another who is signed on here takes the work over.

        Raises Refused where nobody else is, or who is has witnessed an exception of this very capture.
        """
        context, roles = work.context, _roles_of(work.context)
        found = self._services.roster.may_finish(context.operator.operator, *roles)
        if not isinstance(found, Refusal):
            self.sign_on.touch()
            return
        other = self.sign_on.officer
        witnesses = (
            [item.second_officer for item in context.exceptions.values()] if isinstance(context, Capture) else []
        )
        if other is None or not set(roles) & set(other.roles) or other.operator in witnesses:
            raise Refused(found)
        context.operator = other
        self.note("takeover", work.step, other.operator)

    def enrol(self, operator_id: str, name: str, roles: Sequence[str]) -> OfficerWork:
        """Begin to take a new operator, as the officer who is signed on. Raises Refused."""
        officer = self.sign_on.officer
        if officer is None or not set(HEAD_ROLES) & set(officer.roles):
            raise Refused(Refusal.SIGN_ON_FIRST)
        self._make_room()
        self._enrolment = start_operator_enrolment(self._services, self.card, officer, operator_id, name, roles)
        return self._follow(self._enrolment, "enrol", officer.operator)

    def closed(self, procedure: Procedure[Any]) -> None:
        """A piece of work has been finished on the screen."""
        procedure.context.forget()
        if procedure is self._enrolment:
            self._enrolment = None
        else:
            self.sign_on.close()

    def note_receipt(self, pid: str, receipt: Receipt) -> None:
        """The hub has signed for a packet: the screen that waits for it is told."""
        procedure = self._enrolment
        if procedure is not None and procedure.context.kept is not None and procedure.context.kept.pid == pid:
            procedure.context.receipt = receipt
            procedure.touch()

    async def leave(self) -> None:
        """The agent stops: what is open is cancelled, and nobody is signed on."""
        self.sign_on.sign_off()
        for procedure in (self._enrolment, self.sign_on.procedure):
            if procedure is not None:
                if procedure.may_cancel:
                    await procedure.cancel()
                procedure.touch()

    def _make_room(self) -> None:
        """Raises Refused while somebody is being enrolled, or a device works."""
        if not self.is_free:
            raise Refused(Refusal.BUSY)
        self._enrolment = None
        self.sign_on.close()

    def _follow(self, procedure: OfficerWork, work: str, operator: str) -> OfficerWork:
        before = procedure.on_step

        def on_step(step: str) -> None:
            before(step)
            self.note(work, step, operator)

        procedure.on_step = on_step
        self.note(work, procedure.step, operator)
        return procedure


def _roles_of(context: Capture | Handover) -> tuple[str, ...]:
    return (OPERATOR_ROLE,) if isinstance(context, Capture) else HANDOVER_ROLES


class SignOnTeller:
    """Tells the hub the counts of sign-ons whenever they have changed, and at every connect."""

    def __init__(self, unit: str, factors: FactorBook, publish: Callable[..., Awaitable[bool]]) -> None:
        """publish: the channel's."""
        self._unit, self._factors, self._publish = unit, factors, publish
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Tell what has changed, until cancelled."""
        loop = asyncio.get_running_loop()

        def changed() -> None:
            loop.call_soon_threadsafe(self._changed.set)

        self._factors.on_change = changed
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self.say()

    async def say(self, _connection: object = None) -> None:
        """Tell the counts; without a line they are told at the next connect."""
        try:
            await self._publish(topics.UP_SIGN_ONS.at(unit=self._unit), encode(self._factors.report()), retain=True)
        except RekamError as error:
            log.info("sign-ons not told yet", reason=error.message)
