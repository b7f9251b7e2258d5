"""The hub without its network: every part, put together once, for the service, the console and the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from contract.dispatch import JobAnswer, decode
from contract.errors import RemoteError
from contract.lifecycle import advance
from contract.seal import open_sealed
from hub import card_face, greetings, register, rosters
from hub.adjudication import Adjudication
from hub.context import HubContext
from hub.fleet import Fleet, Register
from hub.fleet_control import FleetControl
from hub.intake import Intake
from hub.issuance import Issuance
from hub.ledger import Ledger
from hub.notices import Notices
from hub.operator_desk import OperatorDesk
from hub.packets import PacketBook, UnitKeys
from hub.personalisation import Personalisation, Renderer
from hub.print_orders import PrintOrders
from hub.proposals import Proposals
from hub.records import Records
from hub.returns import Returns
from hub.roll_call import RollCall
from hub.search.dedup import Dedup
from hub.update_repository import UpdateRepository

NAMED_MAX = 20

log = structlog.get_logger("hub")


@dataclass(frozen=True, slots=True)
class Central:
    """The hub's parts. Each blocks, and each opens its own transactions unless it takes a session."""

    context: HubContext
    records: Records
    packets: PacketBook
    units: UnitKeys
    ledger: Ledger
    orders: PrintOrders
    issuance: Issuance
    adjudication: Adjudication
    intake: Intake
    dedup: Dedup
    personalisation: Personalisation
    proposals: Proposals
    fleet: FleetControl
    operators: OperatorDesk
    returns: Returns
    repository: UpdateRepository
    roll: RollCall

    def enrol_fleet(self, fleet: Fleet, residents: Register) -> None:
        """Merge the setup's files into the database, and queue what every unit needs to work."""
        with self.context.database.transaction() as session:
            register.merge_fleet(session, self.context, fleet)
            register.merge_register(session, self.context, residents)
        with self.context.database.transaction() as session:
            greetings.greet_units(session, self.context)
            for site, operators in rosters.left_out(session).items():
                log.critical(
                    "alarm",
                    message=f"{site} has more operators than a unit takes: {len(operators)} are on no roster there.",
                    operators=operators[:NAMED_MAX],
                    next_step="Revoke those who have left, or give rights at fewer sites in the fleet file.",
                )

    def take_job_answer(self, unit: str, job_id: str, sealed: bytes) -> None:
        """A station's answer to a print job. Raises RemoteError for one that this unit did not seal to the hub."""
        opened = open_sealed(sealed, self.context.keys.packet, self.units.public_key)
        if opened.signer != unit:
            raise RemoteError("The answer is signed by another unit than its topic names.")
        refusal = self.units.refusal(unit)
        if refusal:
            raise RemoteError(
                refusal, next_step="Resume the unit once it is back in good hands; then send the job again."
            )
        answer = decode(JobAnswer, opened.payload)
        with self.context.database.transaction() as session:
            self.orders.answered(session, unit, job_id, answer)

    def work_off(self) -> int:
        """Deal with everything that waits now: packets, searches, print orders; returns how much was done."""
        packets = self.intake.due()
        waiting: Sequence[str] = packets
        while waiting:
            waiting = self.intake.process_some(waiting)
        captures = self.dedup.due()
        for capture_id in captures:
            self.dedup.search(capture_id)
        return len(packets) + len(captures) + self.personalisation.order_due()


def assemble(context: HubContext, render: Renderer = card_face.render) -> Central:
    """Every part of the hub, on these surroundings. render: draws the faces of cards."""
    records = Records(context.clock, advance)
    packets = PacketBook(context, records)
    ledger = Ledger(context)
    orders = PrintOrders(context, records)
    issuance = Issuance(context, records, ledger, orders)
    adjudication = Adjudication(context, records, issuance.recall)
    fleet = FleetControl(context, orders)
    operators = OperatorDesk(context, fleet)
    records.observe(Notices(context))
    return Central(
        context=context,
        records=records,
        packets=packets,
        units=UnitKeys(context),
        ledger=ledger,
        orders=orders,
        issuance=issuance,
        adjudication=adjudication,
        intake=Intake(context, records, packets, issuance, adjudication, operators),
        dedup=Dedup(context, records, adjudication),
        personalisation=Personalisation(context, orders, render),
        proposals=Proposals(context, records, packets, operators),
        fleet=fleet,
        operators=operators,
        returns=Returns(records, ledger, issuance),
        repository=UpdateRepository(context),
        roll=RollCall(context.clock),
    )
