"""A card reader without pcscd: the driver asks a virtual card's slot over its Unix socket.

This is the way of the demo where nobody is root: `[devices.card] driver = "virtual.card_direct:DirectCardReader"`,
`socket = "…"`. It is part of the simulation and says so by its name; a unit with a real reader uses "pcsc".
"""

from __future__ import annotations

import socket
import threading
import time

from contract.apdu import Command, Instruction, parse_response
from contract.errors import CaptureRetry, DeviceError, RemoteError
from edge.sensors.interface import CardState, DeviceInfo
from virtual.card_slot import ASK_ATR, POWER_OFF, POWER_ON, read_frame, write_frame

POLL_S = 0.03
_GET_UID = Command(0xFF, Instruction.GET_DATA, 0, 0, b"", 256).encode()
_LAY_AGAIN = "Letakkan kembali kartu di atas pembaca. Lay the card on the reader again."


class DirectCardChannel:
    """A virtual card while it lies in its slot."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        data, status = self.transmit(_GET_UID)
        if status != 0x9000:
            raise CaptureRetry("The card tells no UID.", next_step=_LAY_AGAIN)
        self._uid = data.hex().upper()

    @property
    def uid(self) -> str:
        """The chip's UID in upper-case hexadecimal."""
        return self._uid

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """Send a command APDU; returns (data, status word). Raises CaptureRetry when the card was removed."""
        answer = ask(self._link, apdu)
        if not answer:
            raise CaptureRetry("The card was removed from the reader.", next_step=_LAY_AGAIN)
        try:
            response = parse_response(answer)
        except RemoteError as error:
            raise DeviceError(error.message) from None
        return response.data, response.status

    def close(self) -> None:
        """Power the card off; never raises."""
        try:
            ask(self._link, bytes((POWER_OFF,)))
        except DeviceError:
            pass
        self._link.close()


class DirectCardReader:
    """The slot of a virtual card as a card reader. socket: path of the slot's Unix socket."""

    def __init__(self, *, socket: str, timeout_s: float = 5.0) -> None:
        self._path = socket
        self._timeout_s = timeout_s
        self._state = CardState(False, 0)

    def open(self) -> DeviceInfo:
        """Connect once to see that the slot answers. Raises DeviceError."""
        self._connected().close()
        return DeviceInfo(driver="direct", model="virtual card, attached directly", capabilities=("extended",))

    def close(self) -> None:
        """Nothing is kept open between calls."""

    def card_present(self) -> bool:
        """Whether a card lies in the slot now."""
        with self._connected() as link:
            return bool(ask(link, bytes((ASK_ATR,))))

    def wait_for_change(self, seen: CardState | None, timeout_s: float, cancel: threading.Event) -> CardState:
        """What lies in the slot, once it differs from `seen`; the slot sends no events, so it is asked."""
        deadline = time.monotonic() + timeout_s
        while True:
            if (present := self.card_present()) != self._state.present:
                self._state = CardState(present, self._state.changes + 1)
            if self._state != seen or time.monotonic() >= deadline or cancel.wait(POLL_S):
                return self._state

    def connect(self, timeout_s: float, cancel: threading.Event) -> DirectCardChannel:
        """Wait for a card and power it. Raises CaptureRetry where none came."""
        deadline = time.monotonic() + timeout_s
        while not cancel.is_set() and time.monotonic() < deadline:
            if self.card_present():
                link = self._connected()
                try:
                    ask(link, bytes((POWER_ON,)))
                    return DirectCardChannel(link)
                except BaseException:
                    link.close()
                    raise
            cancel.wait(POLL_S)
        raise CaptureRetry("No card came onto the reader.", next_step=_LAY_AGAIN)

    def _connected(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(self._timeout_s)
        try:
            link.connect(self._path)
        except OSError as error:
            link.close()
            raise DeviceError(
                f"The virtual card's slot does not answer ({type(error).__name__}).",
                next_step="Start 'python -m virtual.card_slot serve', then try again.",
            ) from None
        return link


def ask(link: socket.socket, body: bytes) -> bytes:
    """Send one frame and wait for its answer; empty where no card lies there. Raises DeviceError."""
    try:
        write_frame(link, body)
        answer = read_frame(link)
    except OSError as error:
        raise DeviceError(f"The virtual card's slot failed ({type(error).__name__}).") from None
    if answer is None:
        raise DeviceError("The virtual card's slot has gone.", next_step="Start it again, then try again.")
    return answer
