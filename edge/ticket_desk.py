"""The unit's ticket printer as the desk uses it: numbers, proofs and receipts; a printer out of paper stops nobody.

What could not be printed is shown with what to do, and can be printed again for as long as its page is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from contract.errors import RekamError
from edge.capture_state import Capture
from edge.handover import Handover
from edge.ports import TicketState
from edge.queue_numbers import QueueEntry, QueueNumbers
from edge.sensors.interface import TicketPrinter
from edge.sensors.worker import DeviceWorker
from edge.tickets import Place, Ticket, handover_receipt, proof_of_capture, queue_ticket, result_slip

PRINT_TIMEOUT_S = 20.0
WORKER_MARGIN_S = 4.0

log = structlog.get_logger("edge.tickets")


class TicketDesk:
    """One ticket printer and the queue. Lives on the event loop."""

    def __init__(self, worker: DeviceWorker[TicketPrinter] | None, place: Place, queue: QueueNumbers) -> None:
        """worker: None where the unit has no ticket printer; numbers are then only shown."""
        self._worker = worker
        self._place = place
        self._queue = queue
        self._turn = asyncio.Lock()

    @property
    def prints(self) -> bool:
        """Whether there is a printer."""
        return self._worker is not None

    @property
    def queue(self) -> QueueNumbers:
        """The numbers; its reading methods never block."""
        return self._queue

    async def issue(self, service: str) -> tuple[QueueEntry, int]:
        """A new number, durable, and how many wait before it."""
        async with self._turn:
            entry = await asyncio.to_thread(self._queue.issue, service)
        return entry, self._queue.ahead_of(entry)

    async def call(self, service: str) -> QueueEntry | None:
        """The next number is called."""
        async with self._turn:
            return await asyncio.to_thread(self._queue.call, service)

    def number(self, entry: QueueEntry) -> tuple[Ticket, ...]:
        """The paper of a queue number."""
        ahead = self._queue.ahead_of(entry)
        return (queue_ticket(self._place, entry.number, entry.service, entry.issued_ms, ahead),)

    def of_capture(self, capture: Capture) -> tuple[Ticket, ...]:
        """The proof of a capture that is saved, or nothing before it."""
        kept = capture.kept
        if kept is None:
            return ()
        sequence = capture.receipt.hub_sequence if capture.receipt else None
        return (proof_of_capture(self._place, capture.biodata, capture.capture_id, kept.pid, kept.wall_ms, sequence),)

    def of_handover(self, handover: Handover, *, berhasil: bool) -> tuple[Ticket, ...]:
        """The slip for the letter, and after berhasil the receipt before it; nothing before it is saved."""
        kept, card, officer = handover.kept, handover.card, handover.operator.name
        if kept is None:
            return ()
        slip = result_slip(
            self._place,
            berhasil=berhasil,
            card_number=card.card_number,
            officer=officer,
            wall_ms=kept.wall_ms,
            old_card=handover.old_card or "none",
            returned=handover.old_card_returned,
        )
        if not berhasil:
            return (slip,)
        receipt = handover_receipt(
            self._place, card.name, card.nik, card.card_number, handover.old_card or "none", officer, kept.wall_ms,
            handover.handover_id,
        )  # fmt: skip
        return receipt, slip

    async def print(self, tickets: Sequence[Ticket]) -> TicketState:
        """Print them one after the other; what went wrong is a value, since nobody waits for paper."""
        if self._worker is None:
            return TicketState("failed", "Unit ini tidak punya pencetak struk.", "This unit has no ticket printer.")
        try:
            for ticket in tickets:
                await self._worker.run(
                    lambda printer, cancel, ticket=ticket: printer.print(ticket, PRINT_TIMEOUT_S, cancel),  # type: ignore[misc]
                    PRINT_TIMEOUT_S + WORKER_MARGIN_S,
                )
        except RekamError as error:
            log.warning("ticket not printed", error=type(error).__name__, message=error.message)
            advice_id = getattr(error, "advice_id", "Periksa pencetak struk, lalu cetak ulang.")
            return TicketState("failed", advice_id, f"{error.message} {error.next_step}")
        except Exception as error:  # noqa: BLE001 - a driver's bug must not leave the page waiting for paper for ever
            log.warning("ticket not printed", error=type(error).__name__)
            return TicketState("failed", "Periksa pencetak struk, lalu cetak ulang.", "The printer's driver failed.")
        return TicketState("printed")
