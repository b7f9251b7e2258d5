"""A contactless card in software: the files of contract.chip_layout behind the card's half of contract.card_session.

It answers the APDUs a real card of this profile answers and keeps the profile's rules: nothing is read without the
reader's or the personaliser's key, nothing is written without the personaliser's, and nothing at all once activated.
What survives a power cut is `CardMemory`; a session does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from contract.apdu import Command, Instruction, Response, Status, parse_command
from contract.card_keys import CardRole
from contract.card_session import CHALLENGE_BYTES, KEYING_BYTES, KeyPair, SecureMessaging, answer_handshake
from contract.chip_layout import APPLICATION_ID, BUDGET, ChipFile
from contract.errors import RemoteError

ANSWER_TO_RESET = bytes.fromhex("3b888001494443415244303111")  # T=1, historical bytes "IDCARD01"
AUTHENTICATION_ATTEMPTS_MAX = 50
_SECURE = 0x0C
_PSEUDO_CLASS = 0xFF


class LifeCycle(IntEnum):
    """The file's life cycle status (ISO/IEC 7816-4, 7.4.10)."""

    INITIALISATION = 0x03
    ACTIVATED = 0x05


@dataclass(slots=True)
class CardMemory:
    """What the chip keeps without power. files: each of its full size, zeros where nothing was written."""

    uid: bytes
    keys: Mapping[CardRole, KeyPair]
    life_cycle: LifeCycle = LifeCycle.INITIALISATION
    failures: int = 0
    files: dict[ChipFile, bytearray] = field(
        default_factory=lambda: {file: bytearray(count) for file, count in BUDGET.items()}
    )

    @property
    def is_blank(self) -> bool:
        """Whether nothing was ever written."""
        return self.life_cycle is LifeCycle.INITIALISATION and not any(any(content) for content in self.files.values())


class VirtualCard:
    """A powered card. `save` is called after every change of the memory, before the answer leaves."""

    def __init__(
        self, memory: CardMemory, random: Callable[[int], bytes], save: Callable[[CardMemory], None] | None = None
    ) -> None:
        self.memory = memory
        self._random = random
        self._save = save or (lambda memory: None)
        self.reset()

    def reset(self) -> None:
        """Power cycled: selection, challenge and session are gone."""
        self._selected = False
        self._file: ChipFile | None = None
        self._challenge: bytes | None = None
        self._session: SecureMessaging | None = None
        self._role: CardRole | None = None

    def process(self, apdu: bytes) -> bytes:
        """The response APDU; never raises, whatever the bytes."""
        try:
            command = parse_command(apdu)
        except RemoteError:
            return Response(b"", Status.WRONG_LENGTH).encode()
        if command.cla == _PSEUDO_CLASS:
            return self._reader_answers(command).encode()
        if command.cla & ~_SECURE:
            return Response(b"", Status.CLASS_UNKNOWN).encode()
        if command.cla & _SECURE:
            return self._secure(command).encode()
        return self._plain(command).encode()

    def tear(self, apdu: bytes) -> None:
        """The card leaves the field within this command: half of a write may have reached the memory."""
        try:
            command = parse_command(apdu)
            if self._session is not None and command.ins == Instruction.UPDATE_BINARY:
                plain = self._session.unwrap_command(command)
                half = plain.data[: len(plain.data) // 2]
                self._update(Command(plain.cla, plain.ins, plain.p1, plain.p2, half))
        except RemoteError:
            pass  # a command that would have been refused changes nothing
        self.reset()

    def _reader_answers(self, command: Command) -> Response:
        """The pseudo-APDUs that a PC/SC reader answers for a contactless card (PC/SC part 3, 3.2.2.1.3)."""
        if (command.ins, command.p1, command.p2) == (Instruction.GET_DATA, 0, 0):
            return Response(self.memory.uid, Status.SUCCESS)
        return Response(b"", Status.INSTRUCTION_UNKNOWN)

    def _plain(self, command: Command) -> Response:
        if command.ins == Instruction.SELECT and command.p1 == 0x04:
            self.reset()
            self._selected = command.data == APPLICATION_ID
            return Response(b"", Status.SUCCESS if self._selected else Status.FILE_NOT_FOUND)
        if not self._selected:
            return Response(b"", Status.CONDITIONS_NOT_SATISFIED)
        if command.ins == Instruction.GET_CHALLENGE:
            self._challenge = self._random(CHALLENGE_BYTES)
            return Response(self._challenge, Status.SUCCESS)
        if command.ins == Instruction.MUTUAL_AUTHENTICATE:
            return self._authenticate(command)
        if command.ins in (Instruction.READ_BINARY, Instruction.UPDATE_BINARY, Instruction.SELECT):
            return Response(b"", Status.SECURITY_NOT_SATISFIED)
        return Response(b"", Status.INSTRUCTION_UNKNOWN)

    def _authenticate(self, command: Command) -> Response:
        challenge, self._challenge = self._challenge, None
        self._session, self._role, self._file = None, None, None
        keys = self.memory.keys.get(CardRole(command.p2)) if command.p2 in tuple(CardRole) else None
        if challenge is None or keys is None:
            return Response(b"", Status.CONDITIONS_NOT_SATISFIED)
        if self.memory.failures >= AUTHENTICATION_ATTEMPTS_MAX:
            return Response(b"", Status.AUTHENTICATION_BLOCKED)
        answered = answer_handshake(keys, challenge, command.data, self._random(KEYING_BYTES))
        failures = 0 if answered else self.memory.failures + 1
        if failures != self.memory.failures:
            self.memory.failures = failures
            self._save(self.memory)
        if answered is None:
            return Response(b"", Status.SECURITY_NOT_SATISFIED)
        answer, self._session = answered
        self._role = CardRole(command.p2)
        return Response(answer, Status.SUCCESS)

    def _secure(self, command: Command) -> Response:
        if self._session is None:
            return Response(b"", Status.SM_OBJECT_MISSING)
        try:
            plain = self._session.unwrap_command(command)
            return self._session.wrap_response(self._inside(plain))
        except RemoteError:
            self._session = self._role = None
            return Response(b"", Status.SM_OBJECT_INCORRECT)

    def _inside(self, command: Command) -> Response:
        """A command that came through the secure session."""
        if command.ins == Instruction.SELECT and command.p1 == 0x02:
            number = int.from_bytes(command.data, "big")
            self._file = ChipFile(number) if number in BUDGET and len(command.data) == 2 else None
            return Response(b"", Status.SUCCESS if self._file else Status.FILE_NOT_FOUND)
        if command.ins == Instruction.GET_DATA and (command.p1, command.p2) == (0x00, 0x8A):
            return Response(bytes((self.memory.life_cycle,)), Status.SUCCESS)
        if command.ins == Instruction.READ_BINARY:
            return self._read(command)
        if command.ins == Instruction.UPDATE_BINARY:
            return self._update(command)
        if command.ins == Instruction.ACTIVATE_FILE:
            return self._activate()
        return Response(b"", Status.INSTRUCTION_UNKNOWN)

    def _read(self, command: Command) -> Response:
        if self._file is None:
            return Response(b"", Status.CONDITIONS_NOT_SATISFIED)
        content, offset = self.memory.files[self._file], command.p1 << 8 | command.p2
        if offset >= len(content):
            return Response(b"", Status.WRONG_OFFSET)
        data = bytes(content[offset : offset + command.le])
        return Response(data, Status.SUCCESS if len(data) == command.le else Status.END_OF_FILE)

    def _update(self, command: Command) -> Response:
        if self._file is None:
            return Response(b"", Status.CONDITIONS_NOT_SATISFIED)
        if self._role is not CardRole.PERSONALISER or self.memory.life_cycle is LifeCycle.ACTIVATED:
            return Response(b"", Status.SECURITY_NOT_SATISFIED)
        content, offset = self.memory.files[self._file], command.p1 << 8 | command.p2
        if offset + len(command.data) > len(content):
            return Response(b"", Status.NOT_ENOUGH_MEMORY)
        content[offset : offset + len(command.data)] = command.data
        self._save(self.memory)
        return Response(b"", Status.SUCCESS)

    def _activate(self) -> Response:
        if self._role is not CardRole.PERSONALISER:
            return Response(b"", Status.SECURITY_NOT_SATISFIED)
        self.memory.life_cycle = LifeCycle.ACTIVATED
        self._save(self.memory)
        return Response(b"", Status.SUCCESS)
