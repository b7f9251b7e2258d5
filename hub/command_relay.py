"""Passes technicians' commands on to units, and the units' answers back, unread: both are sealed past the hub.

A command is never queued: it goes to the broker with the life that the topic gives it, or not at all, and the tool
gives it again. What is remembered is whose command it was, in memory and for minutes; after a restart the next attempt
says so again. That a technician gave it is written into the unit's history once (M69).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract import topics
from contract.certificates import load_public
from contract.commissioning_problems import Problem, Refusal
from contract.dispatch import encode
from contract.errors import RemoteError
from contract.lifecycle import UnitState
from contract.seal import load_recipient_key, seal
from contract.technician import Order, Verb
from contract.unit_command import SEALED_PART_BYTES_MAX, Command, CommandOrder, Passed
from hub import certificates, history, presence
from hub.commissioning import Said
from hub.context import HubContext
from hub.schema.commissioning_tables import Technician, UnitHistory
from hub.schema.tables import Unit

REMEMBERED_MAX = 500
REMEMBERED_MS = 20 * 60 * 1000
ORDERED = "technician "


@dataclass(frozen=True, slots=True)
class _Whose:
    """Who gave a command to which unit, and when it was last given."""

    technician: str
    unit: str
    at_ms: int


class CommandRelay:
    """What passes between tools and units. Used by the office thread alone."""

    def __init__(self, context: HubContext) -> None:
        self._context = context
        self._known: OrderedDict[str, _Whose] = OrderedDict()

    def pass_on(
        self, session: Session, unit: Unit, technician: Technician, order: Order, body: CommandOrder, signed: bytes
    ) -> tuple[Said, Passed]:
        """One attempt of a command whose giver may give it. Raises Refusal where the unit can hear nothing."""
        now = self._context.clock.wall_ms()
        if unit.state == UnitState.RETIRED or not certificates.has_living(session, unit.id):
            raise Refusal(Problem.CERTIFICATE_REVOKED, f"{unit.id} has no certificate to speak with.")
        load_public(body.answer_key)
        known = self._known.get(body.command)
        if known is not None and (known.technician, known.unit) != (technician.id, unit.id):
            raise RemoteError("Another command carries this id already.", next_step="Give the command again.")
        self._remember(body.command, _Whose(technician.id, unit.id, now))
        self._note(session, unit, technician.id, order, body.command, now)
        command = Command(
            unit=unit.id,
            command=body.command,
            technician=technician.id,
            order_key=technician.public_key,
            order=signed,
            issued_ms=now,
        )
        recipient = load_recipient_key(unit.open_public_pem.encode(), unit.id)
        sealed = seal(encode(command), self._context.keys.dispatch, [recipient])
        topic = topics.DN_COMMAND.at(unit=unit.id, command=body.command)
        said = presence.presence_of(unit)
        passed = Passed(
            unit=unit.id,
            sign_key=unit.sign_public_pem.encode(),
            online=said is not None and said.state == "online",
            seen_ms=unit.seen_ms,
        )
        return Said(topic, sealed, topics.DN_COMMAND.expiry_s), passed

    def on_part(self, unit: str, command: str, payload: bytes) -> list[Said]:
        """A unit's answer to the technician who asked. Raises RemoteError for one that nobody waits for."""
        known = self._known.get(command)
        if known is None or known.unit != unit:
            raise RemoteError("Nobody waits for this answer.")
        if len(payload) > SEALED_PART_BYTES_MAX:
            raise RemoteError(f"An answer of {len(payload)} bytes is too large.")
        topic = topics.TECHNICIAN_PART.at(technician=known.technician, command=command)
        return [Said(topic, payload, topics.TECHNICIAN_PART.expiry_s)]

    def _remember(self, command: str, whose: _Whose) -> None:
        self._known[command] = whose
        self._known.move_to_end(command)
        while len(self._known) > REMEMBERED_MAX or next(iter(self._known.values())).at_ms < whose.at_ms - REMEMBERED_MS:
            self._known.popitem(last=False)

    def _note(self, session: Session, unit: Unit, technician: str, order: Order, command: str, now_ms: int) -> None:
        """The unit's history says once who asked what of it; of a log that is followed, once in a while."""
        said = select(UnitHistory.sequence).where(UnitHistory.subject == unit.id)
        if order.verb is Verb.LOGS:
            event = f"{ORDERED}{order.verb}"
            said = said.where(
                UnitHistory.event == event, UnitHistory.actor == technician, UnitHistory.at_ms > now_ms - REMEMBERED_MS
            )
        else:
            said = said.where(UnitHistory.note.contains(f'"{command}"', autoescape=True))
        if session.scalars(said.limit(1)).first() is None:
            history.append(
                session, UnitHistory, subject=unit.id, event=f"{ORDERED}{order.verb}", from_state=unit.state,
                to_state=unit.state, at_ms=now_ms, actor=technician, note={"command": command},
            )  # fmt: skip
