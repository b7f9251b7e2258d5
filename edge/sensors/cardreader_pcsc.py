"""Any contactless reader that PC/SC knows, as a CardReader (PC/SC workgroup, part 3, for the UID's pseudo-APDU)."""

from __future__ import annotations

import threading
import time

from contract.apdu import Command, Instruction, Status, parse_response
from contract.channel_pcsc import (
    CALL_TIMEOUT_S,
    LAY_AGAIN,
    POLL_S,
    PcscCard,
    PcscChannel,
    event_count,
    holds_card,
)
from contract.errors import CaptureRetry, DeviceError, RemoteError
from edge.sensors.interface import CardState, DeviceInfo

_GET_UID = Command(0xFF, Instruction.GET_DATA, 0x00, 0x00, b"", 256).encode()
_UID_BYTES = (4, 7, 10)


class PcscCardChannel:
    """A card while it lies on a PC/SC reader."""

    def __init__(self, card: PcscCard) -> None:
        self._card = card
        uid, status = self.transmit(_GET_UID)
        if status != Status.SUCCESS or len(uid) not in _UID_BYTES:
            raise CaptureRetry("The card tells no UID: it is not a contactless identity card.", next_step=LAY_AGAIN)
        self._uid = uid.hex().upper()

    @property
    def uid(self) -> str:
        """The chip's UID in upper-case hexadecimal."""
        return self._uid

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        """Send a command APDU; returns (data, status word). Raises CaptureRetry when the card was removed."""
        try:
            response = parse_response(self._card.transmit(apdu))
        except RemoteError as error:
            raise DeviceError(error.message) from None
        return response.data, response.status

    def close(self) -> None:
        """Power the card off; never raises."""
        self._card.close()


class PcscReader:
    """One reader of PC/SC.

    reader: its name or a part that no other reader's name has; empty where the machine has one reader.
    socket: path of pcscd's socket, empty for the system's; extended: the reader takes extended APDUs.
    """

    def __init__(
        self, *, reader: str = "", socket: str = "", extended: bool = False, call_timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        self._wanted = reader
        self._socket = socket
        self._extended = extended
        self._call_timeout_s = call_timeout_s
        self._channel: PcscChannel | None = None
        self._name = ""

    def open(self) -> DeviceInfo:
        """Connect to pcscd and find the reader. Raises DeviceError."""
        self.close()
        self._channel = PcscChannel(self._socket, self._call_timeout_s)
        self._name = self._channel.find_reader(self._wanted)
        return DeviceInfo(driver="pcsc", model=self._name, capabilities=("extended",) if self._extended else ())

    def close(self) -> None:
        """Let go of pcscd; never raises, and may be called twice."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def card_present(self) -> bool:
        """Whether a card lies on the reader now. Raises DeviceError."""
        return self._opened().card_present(self._name)

    def wait_for_change(self, seen: CardState | None, timeout_s: float, cancel: threading.Event) -> CardState:
        """What lies on the reader, as soon as pcscd reports that it differs from `seen`; nothing is polled."""
        channel, deadline = self._opened(), time.monotonic() + timeout_s
        word = channel.reader_state(self._name)
        while _as_state(word) == seen and not cancel.is_set() and (left_s := deadline - time.monotonic()) > 0:
            word = channel.await_event(self._name, word, left_s, cancel)
        return _as_state(word)

    def connect(self, timeout_s: float, cancel: threading.Event) -> PcscCardChannel:
        """Wait for a card and power it. Raises CaptureRetry where none came."""
        channel, deadline = self._opened(), time.monotonic() + timeout_s
        while True:
            card = channel.connect(self._name, max(0.0, deadline - time.monotonic()), cancel)
            try:
                return PcscCardChannel(card)
            except CaptureRetry:
                card.close()  # it was just lifted, or has not settled yet
                if time.monotonic() > deadline or cancel.wait(POLL_S):
                    raise
            except BaseException:
                card.close()
                raise

    def _opened(self) -> PcscChannel:
        if self._channel is None:
            raise DeviceError("The card reader is not open.", next_step="Open the reader before it is used.")
        return self._channel


def _as_state(word: int) -> CardState:
    return CardState(holds_card(word), event_count(word))
