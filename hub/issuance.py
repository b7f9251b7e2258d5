"""What stations and handover desks report: cards made, handed over, or kept back (M35, M36, M42–M51).

A report that fits sets the record and the ledger in one transaction; one that does not is quarantined with a sentence
for the person who has to look. Whatever happened at a handover, nothing here leads to a new capture (M48).
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.chip_layout import ChipFile, chip_files
from contract.dispatch import ConsignedCard
from contract.lifecycle import CardEvent, CardState, RecordEvent, RecordState
from contract.packet import Envelope, HandoverBody, PersonalisationBody
from contract.sample import INDEX_FINGERS
from hub import dispatches, register, rights
from hub.context import HubContext
from hub.fleet import Role
from hub.ledger import Ledger, cards_of, is_open, may
from hub.print_orders import OrderState, PrintOrders
from hub.records import Records
from hub.schema.tables import Card, PrintOrder, Record, Resident, Unit

_MADE = (CardEvent.CHIP_ENCODED, CardEvent.FACE_PRINTED, CardEvent.READ_BACK)
_FINGER_FILES = frozenset({ChipFile.FINGER1, ChipFile.FINGER2})
_TO_DESK = (CardEvent.BATCH_MADE, CardEvent.DEPARTED, CardEvent.ARRIVED)


class Issuance:
    """Takes the reports. Each method runs in the caller's transaction and returns why it is quarantined, or ''."""

    def __init__(self, context: HubContext, records: Records, ledger: Ledger, orders: PrintOrders) -> None:
        self._context = context
        self._records = records
        self._ledger = ledger
        self._orders = orders

    def personalised(self, session: Session, envelope: Envelope, body: PersonalisationBody) -> str:
        """A station made a card of a blank, or spoiled it."""
        order = session.get(PrintOrder, body.job_id, with_for_update=True)
        if order is None or order.capture_id != body.capture_id or order.station != envelope.unit:
            return "The report names a print job that this station does not have."
        wrong = rights.wrong_unit(session, envelope.unit, envelope.site, rights.STATION_UNITS)
        if wrong:
            return wrong
        if session.get(Card, body.card_uid) is not None:
            return f"Chip {body.card_uid} is in the ledger already."
        card = self._enter_card(session, envelope, body, order)
        record = session.get_one(Record, order.capture_id, with_for_update=True)
        if body.outcome == "spoiled":
            self._ledger.move(session, card, CardEvent.SPOILED, body.operator, {"reason": body.reason})
            if record.state == RecordState.CARD_SHIPPED:
                self._records.move(session, record, RecordEvent.CARD_SPOILED, body.operator, {"card": card.card_uid})
            return rights.wrong_officer(session, body.operator, card.made_at, Role.OPERATOR)
        for event in _MADE:
            self._ledger.move(session, card, event, body.operator, {"job": order.job_id, "print job": body.print_job})
        wrong = self._check_release(session, body, order, card.made_at)
        if wrong or order.state == OrderState.WITHDRAWN or record.state != RecordState.CARD_SHIPPED:
            self._ledger.revoke(session, card)
            return wrong or "The print order was withdrawn while the card was made; the card must come back."
        self._orders.close(session, order, OrderState.RELEASED)
        self._records.move(session, record, RecordEvent.CARD_RELEASED, body.released_by or "", {"card": card.card_uid})
        if self._orders.serves_here(session, order):
            self._ledger.move(session, card, CardEvent.SERVED_HERE, body.operator)
        self._consign(session, card, order)
        return ""

    def handed_over(self, session: Session, envelope: Envelope, body: HandoverBody) -> str:
        """A desk reports berhasil or gagal."""
        card = session.get(Card, body.card_uid, with_for_update=True)
        digest = self._context.vault.nik_digest(body.nik)
        if card is None or card.capture_id != body.capture_id or card.nik_digest != digest:
            return "The report names a card that was not made for this capture and NIK."
        order = session.get_one(PrintOrder, card.job_id)
        if order.desk != envelope.unit:
            return f"The card was consigned to {order.desk}, not to the desk that reports."
        self._bring_to_desk(session, card, order, body.operator)
        record = session.get_one(Record, card.capture_id, with_for_update=True)
        note = {"card": card.card_uid, "event": envelope.id, "fallback": body.fallback, "dispute": body.dispute}
        if body.decided_by is not None:
            note["decided by"] = body.decided_by
        not_theirs = rights.wrong_unit(session, envelope.unit, envelope.site, rights.HANDOVER_UNITS)
        not_theirs = not_theirs or rights.wrong_officer(session, body.operator, envelope.site, *rights.HANDOVER_ROLES)
        if not body.berhasil:
            return self._kept_back(session, record, card, body, note) or not_theirs
        wrong = not_theirs or self._check_handover(session, record, card, body, envelope.site)
        if may(card, CardEvent.HANDED_OVER):
            self._ledger.move(session, card, CardEvent.HANDED_OVER, body.operator, note)
        else:
            wrong = wrong or f"A card in state '{card.state}' cannot be handed over."
        if wrong:
            return wrong
        self._records.move(session, record, RecordEvent.HANDED_OVER, body.operator, note)
        self._ledger.activate(session, card)
        self.withdraw(session, card)
        return ""

    def recall(self, session: Session, record: Record, reason: str) -> None:
        """The record lost its place: revoke its cards wherever they are, withdraw orders and consignments (M28)."""
        for order in session.scalars(select(PrintOrder).where(PrintOrder.capture_id == record.capture_id)).all():
            if order.state not in (OrderState.RELEASED, OrderState.WITHDRAWN):
                self._orders.close(session, order, OrderState.WITHDRAWN)
        for card in cards_of(session, record.capture_id):
            if is_open(card):
                self._ledger.revoke(session, card)
                self.withdraw(session, card)
                if may(card, CardEvent.KEPT_BACK):
                    self._ledger.move(session, card, CardEvent.KEPT_BACK, note={"reason": reason})

    def _enter_card(self, session: Session, envelope: Envelope, body: PersonalisationBody, order: PrintOrder) -> Card:
        record = session.get_one(Record, order.capture_id)
        card = Card(
            card_uid=body.card_uid,
            card_number=order.card_number,
            capture_id=order.capture_id,
            nik_digest=record.nik_digest,
            job_id=order.job_id,
            made_at=envelope.site,
            place=envelope.site,
        )
        self._ledger.enter(session, card, body.operator)
        return card

    def _check_release(self, session: Session, body: PersonalisationBody, order: PrintOrder, site: str) -> str:
        """The chip is as ordered (M35), a print job is bound to it (M36), and a second person released it (M34)."""
        if body.read_back_sha256 != self._orders.chip_digest(order):
            return "The chip as read back is not the chip that was ordered (M35)."
        if not body.print_job.strip():
            return "No print job is bound to the chip (M36)."
        if body.released_by == body.operator:
            return "Whoever made the card released it; that takes a second person (M34)."
        if rights.wrong_officer(session, body.released_by, site, Role.SECTION_HEAD):
            return "No section head of this office released the card (M34)."
        wrong = rights.wrong_officer(session, body.operator, site, Role.OPERATOR)
        return f"{wrong} Such a card must come back (M34)." if wrong else ""

    def _check_handover(self, session: Session, record: Record, card: Card, body: HandoverBody, site: str) -> str:
        """Why a berhasil cannot set CARD_ISSUED, or ''. Nothing without a receipt (M46) is refused on decoding."""
        resident = session.get(Resident, record.nik_digest)
        if card.recalled or record.state != RecordState.CARD_PRINTED:
            return "The card was handed over although it is recalled, or issued already. Call the holder back."
        if body.dispensation is not None:
            return f"No dispensation '{body.dispensation}' is in force (M49)."
        if resident is not None and resident.old_card_due and body.old_card == "none":
            return "The old card was due and was not taken in (M49)."
        if body.fallback == "section head":
            return self._check_section_head(session, card, body, site)
        fmr_max = self._context.settings.policy.verify_fmr
        matched = {v.position for v in body.verification if v.matched and v.threshold_fmr <= fmr_max}
        needs_both = self._context.settings.policy.handover == "both" and body.fallback == "none"
        if not matched or (needs_both and not matched >= {int(finger) for finger in INDEX_FINGERS}):
            return "No finger matched at a false match rate that the centre accepts (M43)."
        return ""

    def _check_section_head(self, session: Session, card: Card, body: HandoverBody, site: str) -> str:
        """A section head decides by face or iris only where the chip holds no finger to ask for (M43)."""
        job = self._orders.job(session.get_one(PrintOrder, card.job_id))
        if _FINGER_FILES & set(chip_files(job.chip_files).contents):
            return "The chip holds fingers; nobody may decide without asking for one (M43)."
        if rights.wrong_officer(session, body.decided_by, site, Role.SECTION_HEAD):
            return "No section head of this place decided about a holder without fingers (M43)."
        return ""

    def _kept_back(self, session: Session, record: Record, card: Card, body: HandoverBody, note: dict[str, str]) -> str:
        if may(card, CardEvent.KEPT_BACK):
            self._ledger.move(session, card, CardEvent.KEPT_BACK, body.operator, note)
        self.withdraw(session, card)
        if record.state != RecordState.CARD_PRINTED:
            return f"The desk reports gagal for a record that is {record.state}."
        returned = body.old_card_returned or body.old_card != "surrendered"
        self._records.move(
            session, record, RecordEvent.HANDOVER_FAILED, body.operator, {**note, "old card returned": returned}
        )
        return "" if returned else "The old card was not given back after a gagal (M47)."

    def _bring_to_desk(self, session: Session, card: Card, order: PrintOrder, operator: str) -> None:
        """A card that a desk had in its hand has arrived there, whether or not the transfer was reported before."""
        for event in _TO_DESK:
            if may(card, event) and card.state != CardState.AT_DESK:
                self._ledger.move(session, card, event, operator, {"shown by": "handover report"})
        desk = session.get(Unit, order.desk)
        if desk is not None:
            card.place = desk.site

    def _consign(self, session: Session, card: Card, order: PrintOrder) -> None:
        dispatches.post_consignment(session, self._context, order.desk, self._consigned(session, card, order))

    def withdraw(self, session: Session, card: Card) -> None:
        """Take the desk's right to hand this card over (again)."""
        order = session.get_one(PrintOrder, card.job_id)
        message = self._consigned(session, card, order).model_copy(update={"withdrawn": True})
        dispatches.post_consignment(session, self._context, order.desk, message)

    def _consigned(self, session: Session, card: Card, order: PrintOrder) -> ConsignedCard:
        resident = session.get_one(Resident, card.nik_digest)
        biodata = register.biodata_of(self._context, resident)
        return ConsignedCard(
            capture_id=card.capture_id,
            nik=biodata.nik,
            name=biodata.name,
            card_uid=card.card_uid,
            card_number=card.card_number,
            attestation=self._orders.attestation(order),
            policy=self._context.settings.policy.handover,
            old_card_due=resident.old_card_due,
            issuer_key=self._context.keys.issuer_public,
        )
