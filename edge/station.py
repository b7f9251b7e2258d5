"""Hosts the personalisation desk on a unit of role `station`: jobs in, answers and results out, officers at the door.

The desk itself (edge.personalisation) knows no broker and no spool. A job comes sealed to this station, is kept, and is
answered on `up/job`; the answer is given again whenever the retained job is, so a lost one does no harm. Results are
packets like any other (M18).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from contract import topics
from contract.card_keys import Sam
from contract.channel_mqtt import MqttChannel
from contract.dispatch import PrintJob, encode
from contract.errors import DeviceError, TransientError
from contract.packet import PacketKind, PersonalisationBody
from contract.seal import PublicKey, RecipientKey, SigningKey, seal
from edge.capture_state import Services
from edge.config import Setting
from edge.downlink import Downlink
from edge.eligibility import Refusal
from edge.officer import identify_officer
from edge.packing import PacketKeeper
from edge.personalisation import PersonalisationDesk
from edge.procedure import Fields, Refused, Retry
from edge.prompts import PIN_SUPERSEDED, pin_wrong
from edge.sealed_store import SealedStore
from edge.second_factor import Factor, FactorBook, factor_of
from edge.station_card import StationCard
from edge.station_ports import ReaderPort, StationDevices

log = structlog.get_logger("edge.station")


class RosterOfficers:
    """Officers by the roster, its leases, finger and PIN (M67): a name alone starts and releases nothing.

    The station's reader holds the card in work, so an officer's own card is not asked for here, but the PIN.
    """

    def __init__(self, services: Services, factors: FactorBook, *, has_scanner: bool) -> None:
        self._services = services
        self._factors = factors
        self._has_scanner = has_scanner

    async def authorise(self, operator: str, role: str, fields: Fields) -> str:
        """The operator's id. Raises Refused, or Retry where the finger does not match."""
        services = self._services
        found = services.roster.may_work(operator, role)
        if isinstance(found, Refusal):
            raise Refused(found)
        if not self._has_scanner:
            raise Refused(
                Refusal.NO_SCANNER,
                "This station has no fingerprint scanner, so nobody can prove who they are. "
                "Give unit.toml the table [devices.finger] and start the station again.",
            )
        entry = found.entry.model_copy(update={"pin": self._factors.pin_of(found.entry)})
        factor = factor_of(services.roster.sign_on, entry, reads_cards=False)
        if factor is Factor.PIN and not fields.get("pin"):
            raise Refused(Refusal.PIN_ASKED)
        try:
            await identify_officer(services, found, fields)
        except Retry:
            await asyncio.to_thread(self._factors.note_failed, operator)
            raise
        if factor is Factor.PIN and not await asyncio.to_thread(self._factors.check_pin, found.entry, fields["pin"]):
            notice = PIN_SUPERSEDED if self._factors.is_superseded(found.entry) else None
            raise Retry(pin_wrong(self._factors.tries_left(found.entry), notice))
        await asyncio.to_thread(self._factors.note_signed_on, operator)
        return found.operator


class JobIntake:
    """Takes print jobs from the line to the desk, and the desk's answers back."""

    def __init__(
        self,
        channel: MqttChannel,
        downlink: Downlink,
        desk: PersonalisationDesk,
        unit: str,
        signer: SigningKey,
        hub: RecipientKey,
    ) -> None:
        self._channel = channel
        self._downlink = downlink
        self._desk = desk
        self._unit = unit
        self._signer = signer
        self._hub = hub
        channel.on(topics.DN_JOB, self._take, unit=unit)

    async def _take(self, _names: dict[str, str], payload: bytes) -> None:
        if not payload:
            return
        job = self._downlink.opened(PrintJob, payload)
        try:
            answer = await self._desk.accept(job)
        except DeviceError as error:
            raise TransientError(error.message, next_step=error.next_step) from None
        sealed = await asyncio.to_thread(seal, encode(answer), self._signer, [self._hub])
        await self._channel.publish(topics.UP_JOB.at(unit=self._unit, job=job.job_id), sealed)
        log.info("print job answered", job_id=job.job_id, accepted=answer.accepted)


def make_station(
    store: SealedStore,
    services: Services,
    factors: FactorBook,
    keeper: PacketKeeper,
    reader: ReaderPort | None,
    devices: Mapping[str, Mapping[str, Setting]],
    sam: Sam | None,
    issuer: PublicKey,
) -> PersonalisationDesk:
    """The desk of a station from its configuration. Raises DeviceError that names what is missing."""
    uri = devices.get("printer", {}).get("uri")
    if reader is None or sam is None or not isinstance(uri, str):
        raise DeviceError(
            "A station needs a card reader, a printer and the cards' key.",
            next_step="Give unit.toml the tables [devices.card] and [devices.printer] with uri, and keys.sam.",
        )
    from edge.card_printer import CardPrinter  # the printer's protocol takes a tenth of an agent's start

    extended = devices.get("card", {}).get("extended") is True
    card = StationCard(sam, issuer, services.policy.card_timeout_s, extended)

    async def report(packet_id: str, body: PersonalisationBody) -> None:
        if keeper.entry(packet_id) is None:
            await keeper.keep(PacketKind.PERSONALISATION, packet_id, body)

    return PersonalisationDesk(
        store,
        StationDevices(reader, CardPrinter(uri, clock=services.clock), card),
        RosterOfficers(services, factors, has_scanner="finger" in devices),
        report,
        services.clock,
    )
