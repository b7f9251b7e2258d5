"""The queue page in a real browser: one touch gives a number, and paper that fails is said beside it.

Pictures are left in out/screens for people to look at, with the printed papers as the twin draws them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from edge.screens.app import make_app
from edge.sensors.interface import TicketCondition
from edge.sensors.ticket_escpos import COLUMNS, SerialTicketPrinter, render
from edge.sensors.worker import DeviceWorker
from edge.ticket_desk import TicketDesk
from edge.tickets import handover_receipt, proof_of_capture, queue_ticket, result_slip
from tests.screens.conftest import PICTURES, fits, served
from tests.screens.test_pages_in_chromium import small_targets
from tests.screens.test_unit_pages import TOKEN
from tests.unit.edge_fakes import biodata
from tests.unit.test_edge_tickets import PLACE, Office
from virtual.pty_twin import PtyTwin
from virtual.ticket_twin import TicketTwin

NOW_MS = 1_790_000_000_000


class Hall:
    """A desk whose ticket printer is the twin on a pty."""

    url = ""

    def __init__(self, folder: Path) -> None:
        self.office = Office(folder)
        self.device = TicketTwin(58)
        self.twin = PtyTwin(self.device, folder / "ticket")
        worker: DeviceWorker[SerialTicketPrinter] = DeviceWorker(
            "ticket", lambda: SerialTicketPrinter(port=self.twin.port)
        )
        queue = self.office.desk.tickets.queue if self.office.desk.tickets else None
        assert queue is not None
        self.office.desk.tickets = TicketDesk(worker, PLACE, queue)


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    made = Hall(tmp_path)
    with served(make_app(made.office.desk, TOKEN)) as address:
        made.url = address
        yield made
    made.twin.close()
    made.office.bench.store.close()


def test_a_number_is_taken_printed_and_called(hall: Hall, page: Page) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.goto(f"{hall.url}/queue")
    page.get_by_role("button", name="Perekaman KTP-el Capture", exact=True).click()
    page.get_by_text("Nomor A-001 sudah dicetak").wait_for()
    assert "A-001" in hall.device.texts[0]
    hall.device.condition = TicketCondition(("paper-out",))
    page.get_by_role("button", name="Pengambilan KTP-el Collect a card", exact=True).click()
    page.get_by_text("Ingat nomor Anda: B-001").wait_for()
    page.screenshot(path=PICTURES / "queue-paper-out.png")
    hall.device.fill()
    page.get_by_role("button", name="Cetak ulang").click()
    page.get_by_text("Nomor B-001 sudah dicetak").wait_for()
    page.get_by_role("button", name="Panggil: Perekaman").click()
    page.locator("#called li", has_text="A-001").wait_for()
    page.screenshot(path=PICTURES / "queue.png")
    assert fits(page)
    assert small_targets(page) == []


@pytest.mark.parametrize("width_mm", [58, 80])
def test_every_paper_fits_its_roll(width_mm: int) -> None:
    """What the twin draws holds every word: nothing ran off the paper or was broken by the printer itself."""
    twin = TicketTwin(width_mm)
    person = biodata(name="RADEN AYU SITI NURHALIZAH KUSUMANINGRUM SASTROWIDJOJO")
    papers = {
        "queue": queue_ticket(PLACE, "A-017", "capture", NOW_MS, 5),
        "proof": proof_of_capture(PLACE, person, "01920000-0000-7000-8000-000000000001", "ab" * 32, NOW_MS, 17),
        "receipt": handover_receipt(PLACE, person.name, person.nik, "99010001", "lost", "Sri", NOW_MS, "0192-1"),
        "slip": result_slip(
            PLACE,
            berhasil=False,
            card_number="99010001",
            officer="Sri",
            wall_ms=NOW_MS,
            old_card="surrendered",
            returned=True,
        ),
    }
    PICTURES.mkdir(parents=True, exist_ok=True)
    for number, (name, paper) in enumerate(papers.items()):
        twin.receive(render(paper, COLUMNS[width_mm]), 0)
        twin.tickets[number].save(PICTURES / f"ticket-{name}-{width_mm}.png")
        assert all(len(line) <= COLUMNS[width_mm] for line in twin.texts[number].splitlines())
    assert "SASTROWIDJOJO" in twin.texts[1]
    assert twin.unknown == 0
