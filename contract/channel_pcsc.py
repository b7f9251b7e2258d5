"""The PC/SC channel: the only importer of pyscard. Readers, cards and APDUs, with every call bounded in time.

pcscd's own calls have no time-out, so each runs on a thread of its own that is left behind when it does not return.
libpcsclite reads PCSCLITE_CSOCK_NAME once, at the first call of a process: one process speaks to one pcscd.
Library errors are translated here and nowhere else: the card was taken away (CaptureRetry), or the reader or its
service failed (DeviceError).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from smartcard import scard

from contract.errors import CaptureRetry, DeviceError

SOCKET_VARIABLE = "PCSCLITE_CSOCK_NAME"
POLL_S = 0.1
START_TIMEOUT_S = 3.0
CALL_TIMEOUT_S = 10.0
LAY_AGAIN = "Letakkan kembali kartu di atas pembaca dan biarkan. Lay the card on the reader again and leave it there."
_CHECK_SERVICE = "Check that pcscd runs ('systemctl status pcscd') and that the unit's socket setting names its socket."
_CHECK_READER = "Plug the card reader in again, then run 'rekam-edge selftest'."
_PROTOCOLS = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
_CARD_GONE = {
    scard.SCARD_W_REMOVED_CARD,
    scard.SCARD_W_RESET_CARD,
    scard.SCARD_W_UNPOWERED_CARD,
    scard.SCARD_W_UNRESPONSIVE_CARD,
    scard.SCARD_W_UNSUPPORTED_CARD,
    scard.SCARD_E_NO_SMARTCARD,
    scard.SCARD_E_NOT_TRANSACTED,
    scard.SCARD_E_PROTO_MISMATCH,
    scard.SCARD_F_COMM_ERROR,
}
_READER_GONE = {scard.SCARD_E_UNKNOWN_READER, scard.SCARD_E_READER_UNAVAILABLE, scard.SCARD_E_NO_READERS_AVAILABLE}

T = TypeVar("T")


class PcscCard:
    """A powered card in a reader."""

    def __init__(self, handle: int, protocol: int, present: Callable[[], bool], timeout_s: float) -> None:
        self._handle = handle
        self._pci = scard.SCARD_PCI_T1 if protocol == scard.SCARD_PROTOCOL_T1 else scard.SCARD_PCI_T0
        self._present = present
        self._timeout_s = timeout_s
        self._open = True

    def transmit(self, apdu: bytes) -> bytes:
        """The response APDU. Raises CaptureRetry when the card was removed, DeviceError when the reader failed."""
        if not self._open:
            raise DeviceError("The card was powered off already.", next_step=LAY_AGAIN)
        code, answer = bounded(lambda: scard.SCardTransmit(self._handle, self._pci, list(apdu)), self._timeout_s)
        if code == scard.SCARD_S_SUCCESS and len(answer) >= 2:
            return bytes(answer)
        if code in _CARD_GONE or (code == scard.SCARD_S_SUCCESS and not answer):
            self.close()  # else pcscd keeps the reader reserved for the card that is gone
            self._present()  # raises where the service or the reader itself has gone
            raise CaptureRetry("The card was removed from the reader.", next_step=LAY_AGAIN)
        raise _device_error("The card reader failed", code)

    def close(self) -> None:
        """Power the card off; never raises."""
        if self._open:
            self._open = False
            try:
                bounded(lambda: scard.SCardDisconnect(self._handle, scard.SCARD_UNPOWER_CARD), self._timeout_s)
            except DeviceError:
                pass  # the reader or its service has gone, and the card's power with it


class PcscChannel:
    """A connection to pcscd. socket: path of its socket, empty for the system's own pcscd."""

    def __init__(self, socket: str = "", call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._call_timeout_s = call_timeout_s
        use_socket(socket)
        self._context = self._established()

    def close(self) -> None:
        """Release the context; never raises."""
        try:
            bounded(lambda: scard.SCardReleaseContext(self._context), self._call_timeout_s)
        except DeviceError:
            pass

    def find_reader(self, wanted: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """The full name of the reader that is called `wanted` or whose name contains it; any where it is empty.

        A reader that was just plugged in is waited for. Raises DeviceError that names the readers there are.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            names = self.readers()
            matching = [name for name in names if name == wanted] or [name for name in names if wanted in name]
            if len(matching) == 1:
                return matching[0]
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        known = ", ".join(repr(name) for name in names) or "none"
        what = f"{len(matching)} card readers are called" if matching else "There is no card reader called"
        raise DeviceError(f"{what} {wanted!r}; there are: {known}.", next_step=_CHECK_READER)

    def readers(self) -> list[str]:
        """Names of the readers that pcscd has. Raises DeviceError where pcscd has gone."""
        code, names = bounded(lambda: scard.SCardListReaders(self._context, []), self._call_timeout_s)
        if code == scard.SCARD_E_NO_READERS_AVAILABLE:
            return []
        if code != scard.SCARD_S_SUCCESS:
            raise _device_error("The readers cannot be listed", code)
        return list(names)

    def reader_state(self, reader: str) -> int:
        """The reader's state word now (SCARD_STATE_…, count of events above). Raises DeviceError where it has gone."""
        code, states = bounded(
            lambda: scard.SCardGetStatusChange(self._context, 0, [(reader, scard.SCARD_STATE_UNAWARE)]),
            self._call_timeout_s,
        )
        return self._usable_state(code, states)

    def await_event(self, reader: str, seen: int, timeout_s: float, cancel: threading.Event) -> int:
        """The reader's state word once pcscd reports that it is no longer `seen`; the same one after timeout_s.

        pcscd wakes the call when a card is laid or lifted: nothing is polled. `cancel` ends the wait within POLL_S.
        Raises DeviceError where the reader or pcscd has gone.
        """
        wait_ms = max(0, round(timeout_s * 1000))
        call = BoundedCall(
            lambda: scard.SCardGetStatusChange(self._context, wait_ms, [(reader, seen & ~scard.SCARD_STATE_CHANGED)])
        )
        give_up = time.monotonic() + timeout_s + self._call_timeout_s
        cancelled = False
        while not call.done(POLL_S) and time.monotonic() < give_up:
            if cancel.is_set() and not cancelled:
                cancelled = True
                give_up = time.monotonic() + self._call_timeout_s
                bounded(lambda: scard.SCardCancel(self._context), self._call_timeout_s)
        code, states = call.result(self._call_timeout_s)
        if code in (scard.SCARD_E_TIMEOUT, scard.SCARD_E_CANCELLED):
            return seen
        return self._usable_state(code, states)

    def card_present(self, reader: str) -> bool:
        """Whether a card lies on the reader now. Raises DeviceError where the reader or pcscd has gone."""
        return holds_card(self.reader_state(reader))

    def _usable_state(self, code: int, states: list[tuple[str, int, list[int]]]) -> int:
        if code != scard.SCARD_S_SUCCESS:
            raise _device_error("The card reader cannot be asked", code)
        state = int(states[0][1])
        if state & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE):
            raise _device_error("The card reader was unplugged", scard.SCARD_E_READER_UNAVAILABLE)
        return state

    def connect(self, reader: str, timeout_s: float, cancel: threading.Event) -> PcscCard:
        """Wait for a card and power it, for this process alone.

        Raises CaptureRetry where none came in time or `cancel` was set, DeviceError where the reader failed.
        """
        deadline = time.monotonic() + timeout_s
        state = self.reader_state(reader)
        while not cancel.is_set():
            if holds_card(state):
                code, handle, protocol = bounded(
                    lambda: scard.SCardConnect(self._context, reader, scard.SCARD_SHARE_EXCLUSIVE, _PROTOCOLS),
                    self._call_timeout_s,
                )
                if code == scard.SCARD_S_SUCCESS:
                    return PcscCard(handle, protocol, lambda: self.card_present(reader), self._call_timeout_s)
                # A card that is being laid down answers badly at first; another program may be about to let go.
                if code not in _CARD_GONE and code != scard.SCARD_E_SHARING_VIOLATION:
                    raise _device_error("The card cannot be powered", code)
                if time.monotonic() >= deadline or cancel.wait(POLL_S):
                    break
                state = self.reader_state(reader)
            elif (left_s := deadline - time.monotonic()) <= 0:
                break
            else:
                state = self.await_event(reader, state, left_s, cancel)
        raise CaptureRetry("No card came onto the reader.", next_step=LAY_AGAIN)

    def _established(self) -> int:
        code, context = bounded(lambda: scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM), self._call_timeout_s)
        if code != scard.SCARD_S_SUCCESS:
            raise _device_error("pcscd does not answer", code)
        return int(context)


_socket_of_process: str | None = None
_socket_lock = threading.Lock()


def use_socket(socket: str) -> None:
    """Point this process at a pcscd, before the library's first call. Raises DeviceError for a second, other one."""
    global _socket_of_process  # noqa: PLW0603 - libpcsclite keeps the path for the life of the process, and so do we
    with _socket_lock:
        if _socket_of_process is None:
            if socket:
                os.environ[SOCKET_VARIABLE] = socket
            _socket_of_process = socket
        elif _socket_of_process != socket:
            raise DeviceError(
                f"This process speaks to the pcscd at '{_socket_of_process or 'the usual place'}' already.",
                next_step="Give all card readers of one unit the same socket.",
            )


class BoundedCall(Generic[T]):
    """A call of the library on a thread of its own; one that hangs is left behind on it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._answers: list[T] = []
        self._error: BaseException | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="pcsc", daemon=True).start()

    def done(self, wait_s: float) -> bool:
        """Whether the call has returned, waiting up to wait_s for it."""
        return self._ended.wait(wait_s)

    def result(self, timeout_s: float) -> T:
        """What the call returned, or DeviceError after timeout_s."""
        if not self._ended.wait(timeout_s):
            message = f"The card reader did not answer within {timeout_s:g} s."
            raise DeviceError(message, next_step=_CHECK_READER)
        if self._error is not None:
            message = f"The card reader's library failed ({self._error})."
            raise DeviceError(message, next_step=_CHECK_SERVICE) from self._error
        return self._answers[0]

    def _run(self) -> None:
        try:
            self._answers.append(self._call())
        except BaseException as error:  # noqa: BLE001 - handed over to the caller's thread and raised there
            self._error = error
        self._ended.set()


def bounded(call: Callable[[], T], timeout_s: float) -> T:
    """The call's result, or DeviceError after `timeout_s`."""
    return BoundedCall(call).result(timeout_s)


def holds_card(state: int) -> bool:
    """Whether a reader's state word says that a card lies there and answers."""
    return bool(state & scard.SCARD_STATE_PRESENT) and not state & scard.SCARD_STATE_MUTE


def event_count(state: int) -> int:
    """How many cards were laid and lifted since pcscd knows the reader, as its state word counts them."""
    return state >> 16


def _device_error(what: str, code: int) -> DeviceError:
    next_step = _CHECK_READER if code in _READER_GONE else _CHECK_SERVICE
    return DeviceError(f"{what}: {scard.SCardGetErrorMessage(code).rstrip('. ')}.", next_step=next_step)
