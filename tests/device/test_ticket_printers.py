"""Ticket printers on their wires: what is printed can be read, and a fault names itself and loses nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import DeviceError
from edge.sensors.device_file import DeviceFile
from edge.sensors.drivers import open_driver
from edge.sensors.interface import TicketCode, TicketCondition, TicketLine, TicketPair, TicketPart, TicketPrinter
from edge.sensors.ticket_escpos import TicketFault
from virtual.pty_twin import PtyTwin, WireFaults
from virtual.ticket_twin import TicketSocket, TicketTwin

NEVER = threading.Event()
TICKET: tuple[TicketPart, ...] = (
    TicketLine("NOMOR ANTREAN", bold=True, align="center"),
    TicketLine("A-017", scale=4, align="center"),
    TicketPair("Nama", "SITI CONTOH"),
    TicketCode("rekam:a-017"),
)


class Bench:
    """One printer and its driver, on a pty or on the network."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.device = TicketTwin(58)
        self.wire: Any = PtyTwin(self.device, folder / "ticket") if kind == "serial" else TicketSocket(self.device)
        keys = {"port": self.wire.port} if kind == "serial" else {"host": "127.0.0.1", "port": self.wire.port}
        made = open_driver("ticket", {"driver": kind, "width_mm": 58, **keys})
        assert isinstance(made, TicketPrinter)
        self.printer: TicketPrinter = made


@pytest.fixture(params=["serial", "network"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(request.param, tmp_path)
    made.printer.open()
    yield made
    made.printer.close()
    made.wire.close()


def later(call: Callable[[], None], after_s: float = 0.15) -> None:
    threading.Timer(after_s, call).start()


def test_a_ticket_lies_there_when_print_returns(bench: Bench) -> None:
    assert bench.printer.condition() == TicketCondition()
    bench.printer.print(TICKET, 10, NEVER)
    (text,), (picture,) = bench.device.texts, bench.device.tickets
    assert "A-017" in text
    assert "SITI CONTOH" in text
    assert picture.width == 384
    assert 0.02 < (np.asarray(picture) < 128).mean() < 0.4
    assert bench.device.unknown == 0


@pytest.mark.parametrize("fault", ["paper-out", "cover-open", "cutter"])
def test_a_fault_is_named_in_both_languages_and_printing_works_once_it_is_cured(bench: Bench, fault: str) -> None:
    bench.device.condition = TicketCondition((fault,))
    with pytest.raises(TicketFault, match=fault) as caught:
        bench.printer.print(TICKET, 10, NEVER)
    assert caught.value.advice_id
    assert caught.value.next_step
    assert bench.device.tickets == []
    bench.device.fill()
    bench.printer.print(TICKET, 10, NEVER)
    assert len(bench.device.tickets) == 1


def test_paper_that_runs_out_during_a_ticket_is_noticed(bench: Bench) -> None:
    bench.device.lines_left, bench.device.condition = 2, TicketCondition(paper_low=True)
    assert bench.printer.condition().paper_low
    with pytest.raises(TicketFault, match="paper-out"):
        bench.printer.print(TICKET, 10, NEVER)
    bench.device.fill()
    assert len(bench.device.tickets) == 1  # it goes on with what it kept; a second print does no harm
    bench.printer.print(TICKET, 10, NEVER)
    assert len(bench.device.tickets) == 2


def test_unplugged_and_plugged_in_again(tmp_path: Path) -> None:
    bench = Bench("serial", tmp_path)
    bench.printer.open()
    bench.wire.unplug()
    with pytest.raises(DeviceError, match=r"gone|answer"):
        bench.printer.print(TICKET, 5, NEVER)
    with pytest.raises(DeviceError, match="cannot be opened"):
        bench.printer.open()
    bench.wire.plug_in()
    bench.printer.open()
    bench.printer.print(TICKET, 10, NEVER)
    assert len(bench.device.tickets) == 1
    bench.printer.close()
    bench.printer.close()
    bench.wire.close()


def test_a_cable_pulled_from_the_network(tmp_path: Path) -> None:
    bench = Bench("network", tmp_path)
    bench.printer.open()
    bench.wire.unplug()
    with pytest.raises(DeviceError, match=r"gone|answer"):
        bench.printer.print(TICKET, 5, NEVER)
    with pytest.raises(DeviceError, match="cannot be opened"):
        bench.printer.open()


def test_a_silent_printer_is_said_to_be_silent_in_time(tmp_path: Path) -> None:
    bench = Bench("serial", tmp_path)
    bench.wire.faults = WireFaults.named({"mute": True})
    started = time.monotonic()
    with pytest.raises(DeviceError, match="does not answer") as caught:
        bench.printer.open()
    assert time.monotonic() - started < 3
    assert "status = false" in caught.value.next_step
    quiet = open_driver("ticket", {"driver": "serial", "port": bench.wire.port, "status": False})
    assert isinstance(quiet, TicketPrinter)
    quiet.open()
    quiet.print(TICKET, 5, NEVER)
    deadline = time.monotonic() + 5
    while not bench.device.tickets and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(bench.device.tickets) == 1
    quiet.close()
    bench.wire.close()


def test_a_wait_for_paper_can_be_cancelled_and_noise_prints_nothing_twice(tmp_path: Path) -> None:
    bench = Bench("serial", tmp_path)
    bench.printer.open()
    bench.wire.faults = WireFaults.named({"late_s": 0.4})
    cancel = threading.Event()
    later(cancel.set, 0.05)
    with pytest.raises(DeviceError, match=r"cancelled|did not say"):
        bench.printer.print(TICKET, 20, cancel)
    bench.wire.faults = WireFaults.named({"noise_per_byte": 1.0, "seed": 5})
    for _ in range(3):
        try:
            bench.printer.print(TICKET, 2, NEVER)
        except DeviceError as error:
            assert error.next_step
    bench.printer.close()
    bench.wire.close()


def test_a_printer_behind_a_device_file_is_told_and_never_asked(tmp_path: Path) -> None:
    port = tmp_path / "lp0"
    port.touch()
    printer = open_driver("ticket", {"driver": "file", "device": str(port), "width_mm": 80})
    assert isinstance(printer, TicketPrinter)
    printer.open()
    assert printer.condition() == TicketCondition()
    printer.print(TICKET, 5, NEVER)
    printer.close()
    twin = TicketTwin(80)
    twin.receive(port.read_bytes(), 0)
    assert len(twin.tickets) == 1
    assert twin.tickets[0].width == 576


def test_a_printer_that_takes_nothing_holds_nobody(tmp_path: Path) -> None:
    """Out of paper, a device file takes what its buffer holds and no more: the pipe's buffer here."""
    pipe = tmp_path / "lp0"
    os.mkfifo(pipe)
    printer = open_driver("ticket", {"driver": "file", "device": str(pipe)})
    assert isinstance(printer, TicketPrinter)
    with pytest.raises(DeviceError, match="cannot be opened"):  # nobody at the other end: refused, not waited for
        printer.open()
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    port = DeviceFile(str(pipe), 0.2)
    port.open()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        port._raw(bytes(1024 * 1024))
    assert 0.15 < time.monotonic() - started < 5
    while True:
        try:
            os.read(reader, 1024 * 1024)
        except BlockingIOError:
            break
    printer.open()
    printer.print(TICKET, 5, NEVER)  # and once it takes again, all is as before
    twin = TicketTwin(80)
    twin.receive(os.read(reader, 1024 * 1024), 0)
    assert len(twin.tickets) == 1
    port.close()
    printer.close()
    os.close(reader)


@pytest.mark.parametrize(
    "table",
    [
        {"driver": "usb", "vendor": 0x04B8, "product": 0x0E15},
        {"driver": "serial", "port": "/dev/no-such-port"},
        {"driver": "file", "device": "/no/such/folder/lp0"},
        {"driver": "network", "host": "127.0.0.1", "port": 1},
    ],
)
def test_a_printer_that_is_not_there(table: dict[str, object]) -> None:
    with pytest.raises(DeviceError) as caught:
        open_driver("ticket", table).open()
    assert caught.value.next_step
    with pytest.raises(DeviceError, match="width_mm"):
        open_driver("ticket", {**table, "width_mm": 57})
