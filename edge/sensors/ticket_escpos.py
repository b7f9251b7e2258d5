"""Drivers of ESC/POS ticket printers through python-escpos: on a serial port, USB, the network, or a device file.

A ticket is rendered once, with the library's own printer in memory, so that all four say the same bytes. Text that
comes from outside can hold no command: control characters are dropped before the library sees them. The only importer
of escpos.
"""

from __future__ import annotations

import errno
import select
import termios
import textwrap
import threading
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import segno
from escpos.escpos import Escpos
from escpos.exceptions import Error as EscposError
from escpos.printer import Dummy, Network, Serial, Usb

from contract.clock import Clock, SystemClock
from contract.errors import DeviceError
from edge.sensors.device_file import DeviceFile
from edge.sensors.interface import (
    DeviceInfo,
    TicketCode,
    TicketCondition,
    TicketLine,
    TicketPair,
    TicketPart,
    TicketRule,
)
from edge.sensors.ticket_frames import (
    ADVICE,
    ASK_DONE,
    ASK_ERROR,
    ASK_OFFLINE,
    ASK_PRINTER,
    ASK_ROLL,
    condition_of,
    decode_status,
)

COLUMNS = {58: 32, 80: 48}
ANSWER_S = 1.0
READ_S = 0.05
WRITE_TIMEOUT_S = 3.0
CHUNK_BYTES = 256
POLL_S = 0.3
FEED_BEFORE_CUT = 3
QR_DOTS = 6
HEARD_BYTES_MAX = 64
_UNANSWERED = "Check the printer's power and cable; set status = false for a printer that never answers."
_LIBRARY_ERRORS = (EscposError, OSError, ValueError, RuntimeError, AssertionError, termios.error)


class TicketFault(DeviceError):
    """The printer waits for a hand: `advice_id` is for the officer, in Indonesian."""

    def __init__(self, keyword: str) -> None:
        advice_id, advice_en = ADVICE[keyword]
        super().__init__(f"The ticket was not printed: {keyword}.", next_step=advice_en)
        self.keyword, self.advice_id = keyword, advice_id


class _EscposPrinter:
    """What the four have in common.

    width_mm: 58 or 80; cut: there is a cutter; native_qr: the printer draws QR codes itself, else they are sent as
    pictures; status: it answers questions about itself.
    """

    def __init__(
        self,
        driver: str,
        model: str,
        make: Callable[[], Escpos | DeviceFile],
        read: Callable[[Any, float], bytes],
        width_mm: int,
        cut: bool,
        native_qr: bool,
        status: bool,
        clock: Clock | None,
    ) -> None:
        if width_mm not in COLUMNS:
            raise DeviceError(f"There is no paper of {width_mm} mm.", next_step="Set width_mm to 58 or 80.")
        self._driver, self._model, self._make = driver, model, make
        self._read = read
        self._columns, self._cut, self._native_qr, self._status = COLUMNS[width_mm], cut, native_qr, status
        self._clock = clock or SystemClock()
        self._port: Any = None
        self._heard = bytearray()
        self._done = False

    def open(self) -> DeviceInfo:
        """Connect, and ask the printer how it is. Raises DeviceError; not for a fault that a hand can cure."""
        self.close()
        try:
            self._port = self._make()
            self._port.open()
            if isinstance(self._port, Serial):
                self._port.device.write_timeout = WRITE_TIMEOUT_S
                self._port.device.exclusive = True
        except _LIBRARY_ERRORS as error:
            self.close()
            raise DeviceError(
                f"The ticket printer cannot be opened ({_said(error)}).",
                next_step="Check its cable and power, and the keys of [devices.ticket].",
            ) from None
        try:
            self.condition()
        except DeviceError:
            self.close()
            raise
        paper = "58 mm" if self._columns == COLUMNS[58] else "80 mm"
        return DeviceInfo(self._driver, self._model, capabilities=(paper, *(("status",) if self._status else ())))

    def close(self) -> None:
        """Let go of the printer."""
        port, self._port = self._port, None
        self._heard.clear()
        if port is not None:
            try:
                if isinstance(port, Serial) and port._device:
                    # The library's own close waits for the printer to take what is left, which may be for ever.
                    device, port._device = port._device, False
                    device.close()
                else:
                    port.close()
            except _LIBRARY_ERRORS:
                return

    def condition(self) -> TicketCondition:
        """What the printer complains of; nothing where it cannot be asked."""
        if not self._status:
            return TicketCondition()
        faults: list[str] = []
        roll = 0
        for question in (ASK_PRINTER, ASK_OFFLINE, ASK_ERROR, ASK_ROLL):
            roll, named = self._ask(question)
            faults += named
        return condition_of(faults, roll)

    def print(self, parts: Sequence[TicketPart], timeout_s: float, cancel: threading.Event) -> None:
        """Print and cut, and wait until it is done."""
        self._refuse_faults()
        document = render(parts, self._columns, cut=self._cut, native_qr=self._native_qr)
        for offset in range(0, len(document), CHUNK_BYTES):
            if cancel.is_set():
                raise DeviceError("Printing was cancelled.", next_step="Print again where the ticket is needed.")
            self._send(document[offset : offset + CHUNK_BYTES])
        if self._status:
            self._wait_until_printed(timeout_s, cancel)

    def _wait_until_printed(self, timeout_s: float, cancel: threading.Event) -> None:
        deadline_ms = self._clock.monotonic_ms() + round(timeout_s * 1000)
        self._done = False
        self._send(ASK_DONE)
        while True:
            self._listen(POLL_S)
            if self._done:
                return
            self._refuse_faults()
            if cancel.is_set() or self._clock.monotonic_ms() >= deadline_ms:
                raise DeviceError(
                    "The printer did not say that the ticket is printed.", next_step="Look at it, and print again."
                )

    def _refuse_faults(self) -> None:
        faults = self.condition().faults
        if faults:
            raise TicketFault(faults[0])

    def _ask(self, question: bytes) -> tuple[int, tuple[str, ...]]:
        """One question and its answer."""
        self._listen(0)
        self._heard.clear()
        self._send(question)
        deadline_ms = self._clock.monotonic_ms() + round(ANSWER_S * 1000)
        while True:
            self._listen(READ_S)
            for answer in self._heard:
                found = decode_status(question, answer)
                if found is not None:
                    return answer, found
            if self._clock.monotonic_ms() >= deadline_ms:
                raise DeviceError("The ticket printer does not answer.", next_step=_UNANSWERED)

    def _send(self, data: bytes) -> None:
        if self._port is None:
            raise DeviceError("The ticket printer is not open.")
        try:
            self._port._raw(data)
        except _LIBRARY_ERRORS as error:
            raise self._gone(error) from None

    def _listen(self, wait_s: float) -> None:
        """Take what the printer has said, waiting up to `wait_s` for it. The answer to GS r has bits 4 and 7 clear."""
        try:
            said = self._read(self._port, wait_s)
        except _LIBRARY_ERRORS as error:
            raise self._gone(error) from None
        self._done = self._done or any(byte & 0x90 == 0 for byte in said)
        self._heard += bytes(byte for byte in said if byte & 0x90)
        del self._heard[:-HEARD_BYTES_MAX]

    def _gone(self, error: Exception) -> DeviceError:
        return DeviceError(
            f"The ticket printer is gone ({_said(error)}).",
            next_step="Check its cable and power; the next ticket opens it anew.",
        )


class SerialTicketPrinter(_EscposPrinter):
    """A TicketPrinter on a UART or a USB serial adapter. port: a tty; baud: as its self-test slip says."""

    def __init__(
        self,
        *,
        port: str,
        baud: int = 9600,
        width_mm: int = 58,
        cut: bool = True,
        native_qr: bool = True,
        status: bool = True,
        flow_control: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """flow_control: the printer holds the host back by DTR; needs the wire."""

        def make() -> Escpos:
            return Serial(devfile=port, baudrate=baud, timeout=READ_S, dsrdtr=flow_control)

        super().__init__(
            "serial", "ESC/POS printer (serial)", make, _read_serial, width_mm, cut, native_qr, status, clock
        )


class UsbTicketPrinter(_EscposPrinter):
    """A TicketPrinter on USB, through libusb. vendor, product: as lsusb shows them, in decimal or 0x…"""

    def __init__(
        self,
        *,
        vendor: int,
        product: int,
        endpoint_in: int = 0x82,
        endpoint_out: int = 0x01,
        width_mm: int = 80,
        cut: bool = True,
        native_qr: bool = True,
        status: bool = True,
        clock: Clock | None = None,
    ) -> None:
        def make() -> Escpos:
            return Usb(vendor, product, timeout=round(WRITE_TIMEOUT_S * 1000), in_ep=endpoint_in, out_ep=endpoint_out)

        super().__init__("usb", "ESC/POS printer (USB)", make, _read_usb, width_mm, cut, native_qr, status, clock)


class NetworkTicketPrinter(_EscposPrinter):
    """A TicketPrinter on the network: raw TCP, port 9100."""

    def __init__(
        self,
        *,
        host: str,
        port: int = 9100,
        width_mm: int = 80,
        cut: bool = True,
        native_qr: bool = True,
        status: bool = True,
        clock: Clock | None = None,
    ) -> None:
        def make() -> Escpos:
            return Network(host, port=port, timeout=WRITE_TIMEOUT_S)

        super().__init__(
            "network", "ESC/POS printer (network)", make, _read_socket, width_mm, cut, native_qr, status, clock
        )


class FileTicketPrinter(_EscposPrinter):
    """A TicketPrinter behind a device file such as /dev/usb/lp0; it can be told, and never asked."""

    def __init__(
        self, *, device: str, width_mm: int = 80, cut: bool = True, native_qr: bool = True, clock: Clock | None = None
    ) -> None:
        def make() -> DeviceFile:
            return DeviceFile(device, WRITE_TIMEOUT_S, clock)

        super().__init__(
            "file", "ESC/POS printer (device file)", make, _read_nothing, width_mm, cut, native_qr, False, clock
        )


def render(parts: Sequence[TicketPart], columns: int, *, cut: bool = True, native_qr: bool = True) -> bytes:
    """A ticket as ESC/POS for paper of so many columns of font A."""
    paper = Dummy()
    paper.hw("INIT")
    for part in parts:
        if isinstance(part, TicketLine):
            paper.set_with_default(
                align=part.align, bold=part.bold, width=part.scale, height=part.scale, custom_size=True
            )
            for line in _wrapped(part.text, max(1, columns // part.scale)):
                paper.textln(line)
        elif isinstance(part, TicketPair):
            paper.set_with_default()
            for line in _pair(_plain(part.name), _plain(part.value), columns):
                paper.textln(line)
        elif isinstance(part, TicketCode):
            paper.set_with_default(align="center")
            if native_qr:
                paper.qr(part.text, size=QR_DOTS, native=True)
                paper.textln()
            else:
                paper._raw(_raster_code(part.text))
        elif isinstance(part, TicketRule):
            paper.set_with_default()
            paper.textln("-" * columns)
    paper.set_with_default()
    if cut:
        paper.cut(mode="PART")
    else:
        paper.print_and_feed(FEED_BEFORE_CUT)
    return bytes(paper.output)


def _raster_code(text: str) -> bytes:
    """A QR code as a picture (GS v 0), for printers that draw none themselves."""
    modules = np.array([bytearray(row) for row in segno.make_qr(text, error="l").matrix], np.uint8)
    dots = np.packbits(modules.repeat(QR_DOTS, 0).repeat(QR_DOTS, 1), axis=1)
    rows, width = (int(length) for length in dots.shape)
    return b"\x1dv0\0" + width.to_bytes(2, "little") + rows.to_bytes(2, "little") + dots.tobytes()


def _plain(text: str) -> str:
    """Text of letters that every printer has, without anything that it would take for a command."""
    kept = "".join(letter for letter in text if unicodedata.category(letter)[0] != "C")
    return kept.encode("cp1252", errors="replace").decode("cp1252")


def _wrapped(text: str, columns: int) -> list[str]:
    return textwrap.wrap(_plain(text), columns) or [""]


def _pair(name: str, value: str, columns: int) -> list[str]:
    """`name` left and `value` right on one line, or the value on lines of its own."""
    if len(name) + 2 + len(value) <= columns:
        return [name + value.rjust(columns - len(name))]
    return [*_wrapped(name, columns), *("  " + line for line in _wrapped(value, columns - 2))]


def _read_serial(port: Any, wait_s: float) -> bytes:
    device = port.device
    if not device.in_waiting and not select.select([device.fileno()], [], [], wait_s)[0]:
        return b""
    found: bytes = device.read(min(16, max(1, device.in_waiting)))
    return found


def _read_socket(port: Any, wait_s: float) -> bytes:
    if not select.select([port.device], [], [], wait_s)[0]:
        return b""
    found: bytes = port._read()
    if not found:
        raise ConnectionResetError(errno.ECONNRESET, "the printer hung up")
    return found


def _read_usb(port: Any, wait_s: float) -> bytes:
    try:
        found: bytes = port.device.read(port.in_ep, 16, max(1, round(wait_s * 1000))).tobytes()
    except OSError as error:
        if error.errno == errno.ETIMEDOUT:
            return b""
        raise
    return found


def _read_nothing(_port: Any, _wait_s: float) -> bytes:
    return b""


def _said(error: Exception) -> str:
    """The library's own words on one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__
