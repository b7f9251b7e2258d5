"""Reads and writes a chip through any reader: authenticate, then files under secure messaging.

Blocking, for a device's worker thread. What the person must do again is a CaptureRetry (from the channel), a card
that is not ours or not sound is a RemoteError, a card that does not take what it is told is a DeviceError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from contract.apdu import Command, Instruction, Response, Status
from contract.card_keys import CardRole, Sam
from contract.card_session import CHALLENGE_BYTES, TOKEN_BYTES, SecureMessaging
from contract.chip_file import ChipData, security_object_length, verify_chip
from contract.chip_layout import APPLICATION_ID, BUDGET, DATA_FILES, ChipFile, ChipFiles, decode_index
from contract.errors import DeviceError, RemoteError
from contract.seal import PublicKey
from edge.sensors.interface import CardChannel

SHORT_CHUNK_BYTES = 208  # with secure messaging around it the command stays below 255 bytes of data
EXTENDED_CHUNK_BYTES = 1536
LIFE_CYCLE_ACTIVATED = 0x05
_LAY_AGAIN = "Letakkan kembali kartu di atas pembaca. Lay the card on the reader again and repeat."
_KEEP_BACK = "Keep the card back and hand it to the section head."
_WRITE_OFF = "Write the blank off as spoiled and take another one."

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ReadChip:
    """A chip that was read: its UID and its files, not verified yet."""

    uid: str
    files: ChipFiles

    def verified(self, issuer: PublicKey) -> ChipData:
        """The data, where the issuer signed them. Raises RemoteError."""
        return verify_chip(self.files, issuer)


class CardAccess:
    """An authenticated session with one chip."""

    def __init__(self, channel: CardChannel, session: SecureMessaging, *, extended: bool) -> None:
        self._channel = channel
        self._session = session
        self._extended = extended
        self._chunk_bytes = EXTENDED_CHUNK_BYTES if extended else SHORT_CHUNK_BYTES

    @property
    def uid(self) -> str:
        """The chip's UID in upper-case hexadecimal."""
        return self._channel.uid

    def is_activated(self) -> bool:
        """Whether the chip was closed: an activated chip takes no more writes."""
        response = self._send(Command(0, Instruction.GET_DATA, 0x00, 0x8A, b"", 1), "tell its life cycle")
        return response.data == bytes((LIFE_CYCLE_ACTIVATED,))

    def read_files(self) -> ReadChip:
        """Every file that the index names, with index and security object. Raises RemoteError for a blank."""
        self._select(ChipFile.INDEX)
        index = self._read_selected(BUDGET[ChipFile.INDEX])
        if not any(index):
            raise RemoteError("The chip is blank.", next_step=_KEEP_BACK)
        contents = {ChipFile.INDEX: index}
        for file, length in decode_index(index).items():
            self._select(file)
            contents[file] = self._read_selected(length)
        self._select(ChipFile.SECURITY_OBJECT)
        length = security_object_length(self._read_selected(2))
        contents[ChipFile.SECURITY_OBJECT] = self._read_selected(length)
        return ReadChip(self.uid, ChipFiles(contents))

    def write_files(self, files: ChipFiles, progress: Progress | None = None) -> None:
        """Write every file, the index and the security object last, so that a torn write never looks whole.

        progress: called with (bytes written, bytes in all) after every command.
        """
        order = [file for file in (*DATA_FILES, ChipFile.INDEX, ChipFile.SECURITY_OBJECT) if file in files.contents]
        done, total = 0, files.size_bytes
        for file in order:
            self._select(file)
            content = files.contents[file]
            for offset in range(0, len(content), self._chunk_bytes):
                chunk = content[offset : offset + self._chunk_bytes]
                self._send(_at(Instruction.UPDATE_BINARY, offset, chunk), f"take file {file.name}", _WRITE_OFF)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)

    def activate(self) -> None:
        """Close the chip for good."""
        self._send(Command(0, Instruction.ACTIVATE_FILE, 0, 0), "be activated", _WRITE_OFF)

    def _select(self, file: ChipFile) -> None:
        self._send(Command(0, Instruction.SELECT, 0x02, 0x0C, file.to_bytes(2, "big")), f"select file {file.name}")

    def _read_selected(self, length: int) -> bytes:
        content = b""
        while len(content) < length:
            wanted = min(self._chunk_bytes, length - len(content))
            command = _at(Instruction.READ_BINARY, len(content), b"", wanted)
            data = self._send(command, "be read").data
            if len(data) != wanted:
                raise RemoteError("The card gave less than was asked for.", next_step=_LAY_AGAIN)
            content += data
        return content

    def _send(self, command: Command, what: str, next_step: str = _LAY_AGAIN) -> Response:
        protected, status = self._channel.transmit(self._session.wrap_command(command, extended=self._extended))
        response = self._session.unwrap_response(Response(protected, status))
        if response.status != Status.SUCCESS:
            raise DeviceError(f"The card refuses to {what} (status {response.status:04X}).", next_step=next_step)
        return response


def open_card(channel: CardChannel, sam: Sam, role: CardRole, *, extended: bool = False) -> CardAccess:
    """Select the application and authenticate both sides. extended: the reader takes extended APDUs.

    Raises RemoteError for a card that is not ours or not genuine.
    """
    select = Command(0, Instruction.SELECT, 0x04, 0x0C, APPLICATION_ID)
    if _plain(channel, select).status != Status.SUCCESS:
        raise RemoteError(
            "This card is no identity card of ours.", next_step="Take it off and lay the right card on the reader."
        )
    challenge = _plain(channel, Command(0, Instruction.GET_CHALLENGE, 0, 0, b"", CHALLENGE_BYTES)).data
    handshake = sam.authenticate(role, bytes.fromhex(channel.uid), challenge)
    answer = _plain(channel, Command(0, Instruction.MUTUAL_AUTHENTICATE, 0, role, handshake.token, TOKEN_BYTES))
    if answer.status == Status.AUTHENTICATION_BLOCKED:
        raise RemoteError("The card is blocked after too many wrong keys.", next_step=_KEEP_BACK)
    if answer.status != Status.SUCCESS:
        raise RemoteError(
            "The card does not accept this unit's key: it belongs to another issuer.", next_step=_KEEP_BACK
        )
    return CardAccess(channel, handshake.finish(answer.data), extended=extended)


def read_card(channel: CardChannel, sam: Sam, *, extended: bool = False) -> ReadChip:
    """All files of the card that lies there, by the reader's key."""
    return open_card(channel, sam, CardRole.READER, extended=extended).read_files()


def differences(wanted: Mapping[ChipFile, bytes], found: Mapping[ChipFile, bytes]) -> tuple[str, ...]:
    """Names of the files that differ between what was to be written and what was read."""
    return tuple(file.name for file in BUDGET if wanted.get(file) != found.get(file))


def _plain(channel: CardChannel, command: Command) -> Response:
    data, status = channel.transmit(command.encode())
    return Response(data, status)


def _at(instruction: Instruction, offset: int, data: bytes, le: int = 0) -> Command:
    return Command(0, instruction, offset >> 8, offset & 0xFF, data, le)
