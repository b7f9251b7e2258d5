"""The place of a reader where a virtual card can be laid: towards pcscd by vpcd's wire, or directly by a socket.

One process is one slot. Towards the reader it speaks the frames of vsmartcard's vpcd: a length of 16 bits and a body;
bodies of one byte are power off (0), power on (1), reset (2) and "your ATR?" (4), everything else is an APDU.
- `--vpcd HOST:PORT`: connects to pcscd's virtual reader while a card lies there, as vpcd wants it.
- `--direct SOCKET`: listens on a Unix socket for `virtual.card_direct:DirectCardReader`; no pcscd, no root. An empty
  answer says that no card lies there.

A person's hands are the control socket, JSON lines: {"do": "insert", "uid": "04…"}, {"do": "insert"} for the next
blank, {"do": "remove"}, {"do": "remove_after", "apdus": 12}, {"do": "status"}.

Threads: main (control), link (towards the reader), one for each direct connection.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from contract.errors import RekamError, RemoteError
from virtual.card import ANSWER_TO_RESET, VirtualCard
from virtual.card_box import CardBox

POWER_OFF, POWER_ON, RESET, ASK_ATR = 0, 1, 2, 4
RECONNECT_S = 0.05
# pcscd looks every 0.4 s whether a card is present; one that is back before it looked is taken for dead.
ABSENCE_S = 0.6
CONTROL_LINE_BYTES_MAX = 4096
FRAME_TIMEOUT_S = 2.0

app = typer.Typer(help="Virtual cards and the place on a reader where they are laid.", no_args_is_help=True)


class Slot:
    """What lies on the reader. Thread-safe."""

    def __init__(self, box: CardBox, random: Callable[[int], bytes] = os.urandom) -> None:
        self._box = box
        self._random = random
        self._mutex = threading.RLock()
        self._card: VirtualCard | None = None
        self._held: IO[bytes] | None = None
        self._apdus_left: int | None = None
        self.apdus_seen = 0
        self.changed = threading.Event()

    @property
    def uid(self) -> str:
        """UID of the card that lies here, or empty."""
        with self._mutex:
            return self._card.memory.uid.hex().upper() if self._card else ""

    def insert(self, uid: str = "") -> str:
        """Lay a card, the next blank where no UID is given; returns its UID. Raises RemoteError."""
        with self._mutex:
            if self._card is not None:
                raise RemoteError("A card lies on the reader already.", next_step="Remove it first.")
            uid = uid or next(iter(self._box.blanks()), "")
            if not uid:
                raise RemoteError("The box has no blanks left.", next_step="Add some: 'card_slot blanks'.")
            self._held = self._box.hold(uid)
            self._card = VirtualCard(self._box.load(uid), self._random, self._box.save)
            self._apdus_left = None
            self.changed.set()
            return uid

    def remove(self) -> str:
        """Take the card away; returns its UID, or empty where none lay there."""
        with self._mutex:
            uid = self.uid
            self._card = None
            if self._held is not None:
                self._held.close()
                self._held = None
            self.changed.set()
            return uid

    def remove_after(self, apdus: int) -> None:
        """Take the card away within the APDU that follows the next `apdus` ones."""
        with self._mutex:
            self._apdus_left = apdus

    def exchange(self, body: bytes) -> bytes | None:
        """The answer to one frame; empty for frames that want none; None where no card lies there (any more)."""
        with self._mutex:
            if self._card is None:
                return None
            if body == bytes((ASK_ATR,)):
                return ANSWER_TO_RESET
            if len(body) == 1:
                self._card.reset()
                return b""
            if self._apdus_left == 0:
                self._card.tear(body)
                self.remove()
                return None
            if self._apdus_left is not None:
                self._apdus_left -= 1
            self.apdus_seen += 1
            return self._card.process(body)

    def control(self, request: dict[str, Any]) -> dict[str, Any]:
        """One control line. Raises RemoteError for what it does not know."""
        action, uid, apdus = request.get("do"), request.get("uid", ""), request.get("apdus", 0)
        if not isinstance(uid, str) or not isinstance(apdus, int) or apdus < 0:
            raise RemoteError("uid is text, apdus is a number from 0.")
        if action == "insert":
            return {"uid": self.insert(uid.upper())}
        if action == "remove":
            return {"uid": self.remove()}
        if action == "remove_after":
            self.remove_after(apdus)
        elif action != "status":
            raise RemoteError("Known are insert, remove, remove_after and status.")
        return {"uid": self.uid, "apdus_seen": self.apdus_seen}


def read_frame(link: socket.socket) -> bytes | None:
    """The next frame's body, or None where the other side has gone."""
    head = _read_exactly(link, 2)
    return None if head is None else _read_exactly(link, int.from_bytes(head, "big"))


def write_frame(link: socket.socket, body: bytes) -> None:
    """Send one frame."""
    link.sendall(len(body).to_bytes(2, "big") + body)


def _read_exactly(link: socket.socket, count: int) -> bytes | None:
    received = b""
    while len(received) < count:
        if link.family == socket.AF_INET:
            # vpcd sends head and body apart; without this each waits for the other's delayed acknowledgement.
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        part = link.recv(count - len(received))
        if not part:
            return None
        received += part
    return received


def serve_vpcd(slot: Slot, host: str, port: int, stop: threading.Event) -> None:
    """Be connected to vpcd while a card lies there; ends when `stop` is set."""
    while not stop.is_set():
        if not slot.uid:
            slot.changed.wait(RECONNECT_S)
            slot.changed.clear()
            continue
        try:
            with socket.create_connection((host, port), timeout=1.0) as link:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _serve_card(slot, link, slot.uid, stop)
            stop.wait(ABSENCE_S)
        except OSError:
            stop.wait(RECONNECT_S)  # pcscd is not up yet, or was restarted


def _serve_card(slot: Slot, link: socket.socket, uid: str, stop: threading.Event) -> None:
    link.settimeout(FRAME_TIMEOUT_S)
    while slot.uid == uid and not stop.is_set():
        if not select.select([link], [], [], RECONNECT_S)[0]:
            continue
        body = read_frame(link)
        if body is None:
            return
        answer = slot.exchange(body)
        if answer is None:
            return
        if answer:
            write_frame(link, answer)


def serve_direct(slot: Slot, path: Path, stop: threading.Event) -> None:
    """Answer direct readers on a Unix socket until `stop` is set."""
    with _listening(path) as listener:
        while not stop.is_set():
            with suppress(TimeoutError):
                link, _ = listener.accept()
                threading.Thread(target=_serve_reader, args=(slot, link), daemon=True).start()


def _serve_reader(slot: Slot, link: socket.socket) -> None:
    with link, suppress(OSError):
        while (body := read_frame(link)) is not None:
            write_frame(link, slot.exchange(body) or b"")


def serve_control(slot: Slot, path: Path, stop: threading.Event) -> None:
    """Answer control lines on a Unix socket until `stop` is set."""
    with _listening(path) as listener:
        while not stop.is_set():
            with suppress(TimeoutError):
                link, _ = listener.accept()
                with link, suppress(OSError):
                    link.settimeout(5.0)
                    _answer_lines(slot, link)


def _answer_lines(slot: Slot, link: socket.socket) -> None:
    with link.makefile("rwb") as lines:
        while line := lines.readline(CONTROL_LINE_BYTES_MAX):
            try:
                request = json.loads(line)
                if not isinstance(request, dict):
                    raise RemoteError("A control line is a JSON object.")
                answer: dict[str, Any] = {"ok": True, **slot.control(request)}
            except RekamError as error:
                answer = {"ok": False, "error": str(error)}
            except ValueError:
                answer = {"ok": False, "error": "A control line is a JSON object."}
            lines.write(json.dumps(answer).encode() + b"\n")
            lines.flush()


def _listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(4)
    listener.settimeout(0.2)
    return listener


class SlotControl:
    """A person's hands at one slot, for tests and the demo."""

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def insert(self, uid: str = "") -> str:
        """Lay a card, the next blank where no UID is given; returns its UID."""
        return str(self._ask({"do": "insert", "uid": uid})["uid"])

    def remove(self) -> str:
        """Take the card away; returns its UID."""
        return str(self._ask({"do": "remove"})["uid"])

    def remove_after(self, apdus: int) -> None:
        """Take the card away in the middle of a coming exchange."""
        self._ask({"do": "remove_after", "apdus": apdus})

    def status(self) -> dict[str, Any]:
        """UID of the card that lies there (empty for none) and the APDUs seen so far."""
        return self._ask({"do": "status"})

    def wait_until_up(self, timeout_s: float = 5.0) -> None:
        """Wait until the slot's process answers. Raises RemoteError."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.status()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise RemoteError(f"No card slot answers at {self._path}.") from None
                time.sleep(0.02)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(self._timeout_s)
            link.connect(str(self._path))
            link.sendall(json.dumps(request).encode() + b"\n")
            with link.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline(CONTROL_LINE_BYTES_MAX) or b"{}")
        if not answer.pop("ok", False):
            raise RemoteError(f"The card slot says: {answer.get('error', 'nothing')}")
        return answer


@app.command()
def blanks(
    cards: Annotated[Path, typer.Option(help="Folder of the cards.")],
    sam: Annotated[Path, typer.Option(help="The card master key, 32 bytes (sam.key of the hub).")],
    count: Annotated[int, typer.Option(min=1, max=10_000)] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the UIDs.")] = 1,
) -> None:
    """Put new blanks into a box of cards, keyed as the card maker delivers them."""
    for uid in CardBox(cards).add_blanks(count, sam.read_bytes(), seed):
        typer.echo(uid)


@app.command()
def serve(
    cards: Annotated[Path, typer.Option(help="Folder of the cards.")],
    control: Annotated[Path, typer.Option(help="Unix socket for the hands that lay and remove cards.")],
    vpcd: Annotated[str, typer.Option(help="HOST:PORT of pcscd's virtual reader.")] = "",
    direct: Annotated[Path | None, typer.Option(help="Unix socket for a direct reader.")] = None,
) -> None:
    """Be the place on one reader where cards are laid, until the process is ended."""
    slot, stop = Slot(CardBox(cards)), threading.Event()
    if vpcd:
        host, _, port = vpcd.rpartition(":")
        threading.Thread(target=serve_vpcd, args=(slot, host, int(port), stop), daemon=True).start()
    if direct is not None:
        threading.Thread(target=serve_direct, args=(slot, direct, stop), daemon=True).start()
    serve_control(slot, control, stop)


if __name__ == "__main__":
    app()
