"""The secure session with the chip: mutual authentication, then secure messaging. No I/O: bytes in, bytes out.

Authentication is ISO/IEC 11770-2 mechanism 6 as ICAO Doc 9303-11, 4.3 uses it, with AES in place of DES: both sides
prove the card's own key and agree on a session. Secure messaging is that of ICAO Doc 9303-11, 9.8 for AES
(ISO/IEC 7816-4, clause 10): encrypt then MAC, with a send sequence counter that both sides raise before every
message, so that a message that is lost, repeated or swapped ends the session.

Keys never travel: they are the card's own, diversified from the master key and the chip's UID (contract.card_keys).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from contract.apdu import EXTENDED_LE_MAX, SHORT_LE_MAX, Command, Response, parse_tlvs, tlv
from contract.errors import RekamError, RemoteError

CHALLENGE_BYTES = 16
KEY_BYTES = 16
KEYING_BYTES = 32
MAC_BYTES = 8
TOKEN_BYTES = 2 * CHALLENGE_BYTES + KEYING_BYTES + 16
COUNTER_MAX = (1 << 128) - 1

_BLOCK = 16
_DATA, _LE, _SW, _MAC = 0x87, 0x97, 0x99, 0x8E
_PADDING_INDICATOR = b"\x01"
_LAY_AGAIN = "Lift the card, lay it on the reader again, and repeat."


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An encryption and a MAC key, 16 bytes each: of one card and role, or of one session."""

    encryption: bytes
    mac: bytes

    def __post_init__(self) -> None:
        if len(self.encryption) != KEY_BYTES or len(self.mac) != KEY_BYTES:
            raise RekamError("A card key has 16 bytes.", next_step="Replace the key file by the one that was issued.")

    def __repr__(self) -> str:
        return "KeyPair(…)"


def derive(key: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """`length` bytes by NIST SP 800-108 in counter mode with AES-CMAC, 32-bit counter and length fields."""
    kdf = KBKDFCMAC(AES, Mode.CounterMode, length, 4, 4, CounterLocation.BeforeFixed, label, context, None)
    return kdf.derive(key)


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC, 16 bytes (RFC 4493, NIST SP 800-38B)."""
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


class SecureMessaging:
    """One side of a session. A reader wraps commands and unwraps responses; a card does the reverse.

    After any RemoteError the session is dead: every later call raises, as the standard demands.
    """

    def __init__(self, keys: KeyPair, counter: int = 0) -> None:
        self._keys = keys
        self._counter = counter
        self._alive = True

    @property
    def alive(self) -> bool:
        """False once a message was refused."""
        return self._alive

    def wrap_command(self, command: Command, *, extended: bool = False) -> bytes:
        """The protected command APDU (9303-11, 9.8.4): DO'87' cryptogram, DO'97' Le, DO'8E' MAC."""
        self._advance()
        cla = command.cla | 0x0C
        header = bytes((cla, command.ins, command.p1, command.p2))
        objects = self._encrypted(command.data)
        if command.le:
            objects += tlv(_LE, _le_value(command.le))
        mac = self._mac(_pad(header) + (_pad(objects) if objects else b""))
        extended = extended or len(objects) + 10 > 255
        le = EXTENDED_LE_MAX if extended else SHORT_LE_MAX
        protected = Command(cla, command.ins, command.p1, command.p2, objects + tlv(_MAC, mac), le)
        return protected.encode(extended=extended)

    def unwrap_command(self, command: Command) -> Command:
        """The plain command inside a protected one. Raises RemoteError."""
        self._advance()
        data, le, _, mac, covered = self._take_apart(command.data)
        header = _pad(command.header)
        if not hmac.compare_digest(mac, self._mac(header + (_pad(covered) if covered else b""))):
            raise self._dead("The command's MAC is wrong.")
        plain = self._decrypted(data) if data is not None else b""
        return Command(command.cla & ~0x0C, command.ins, command.p1, command.p2, plain, le)

    def wrap_response(self, response: Response) -> Response:
        """The protected response: DO'87' cryptogram, DO'99' status, DO'8E' MAC."""
        self._advance()
        objects = self._encrypted(response.data) + tlv(_SW, response.status.to_bytes(2, "big"))
        return Response(objects + tlv(_MAC, self._mac(_pad(objects))), response.status)

    def unwrap_response(self, response: Response) -> Response:
        """The plain response inside a protected one. Raises RemoteError."""
        self._advance()
        data, _, status, mac, covered = self._take_apart(response.data)
        if status is None:
            raise self._dead(f"The card answered {response.status:04X} outside of the secure session.")
        if not hmac.compare_digest(mac, self._mac(_pad(covered))):
            raise self._dead("The response's MAC is wrong.")
        if status != response.status:
            raise self._dead("The response's status was changed on its way.")
        return Response(self._decrypted(data) if data is not None else b"", status)

    def _advance(self) -> None:
        if not self._alive or self._counter == COUNTER_MAX:
            raise RemoteError("The secure session with the card has ended.", next_step=_LAY_AGAIN)
        self._counter += 1

    def _dead(self, finding: str) -> RemoteError:
        self._alive = False
        return RemoteError(finding, next_step=_LAY_AGAIN)

    def _iv(self) -> bytes:
        encryptor = Cipher(AES(self._keys.encryption), ECB()).encryptor()  # noqa: S305 - 9303-11, 9.8.6.1: IV = E(SSC)
        return encryptor.update(self._counter.to_bytes(_BLOCK, "big")) + encryptor.finalize()

    def _encrypted(self, plain: bytes) -> bytes:
        if not plain:
            return b""
        encryptor = Cipher(AES(self._keys.encryption), CBC(self._iv())).encryptor()
        return tlv(_DATA, _PADDING_INDICATOR + encryptor.update(_pad(plain)) + encryptor.finalize())

    def _decrypted(self, value: bytes) -> bytes:
        cryptogram = value[1:]
        if value[:1] != _PADDING_INDICATOR or not cryptogram or len(cryptogram) % _BLOCK:
            raise self._dead("The cryptogram has a wrong form.")
        decryptor = Cipher(AES(self._keys.encryption), CBC(self._iv())).decryptor()
        padded = decryptor.update(cryptogram) + decryptor.finalize()
        plain = padded.rstrip(b"\x00")
        if not plain.endswith(b"\x80") or len(padded) - len(plain) >= _BLOCK:
            raise self._dead("The cryptogram is wrongly padded.")
        return plain[:-1]

    def _mac(self, covered: bytes) -> bytes:
        return cmac(self._keys.mac, self._counter.to_bytes(_BLOCK, "big") + covered)[:MAC_BYTES]

    def _take_apart(self, octets: bytes) -> tuple[bytes | None, int, int | None, bytes, bytes]:
        """(DO'87' value, Le, status, MAC, the bytes under the MAC) of a protected message."""
        try:
            objects = parse_tlvs(octets)
        except RemoteError as error:
            raise self._dead(error.message) from None
        tags = [tag for tag, _ in objects]
        if tags[-1:] != [_MAC] or tags[:-1] != [tag for tag in (_DATA, _LE, _SW) if tag in tags]:
            raise self._dead("The protected message lacks its objects, or has them in a wrong order.")
        by_tag = dict(objects)
        le, status = by_tag.get(_LE, b""), by_tag.get(_SW)
        if len(by_tag[_MAC]) != MAC_BYTES or len(le) > 2 or (status is not None and len(status) != 2):
            raise self._dead("An object of the protected message has a wrong length.")
        le_count = (int.from_bytes(le, "big") or 1 << 8 * len(le)) if le else 0
        status_word = None if status is None else int.from_bytes(status, "big")
        covered = octets[: len(octets) - len(tlv(_MAC, by_tag[_MAC]))]
        return by_tag.get(_DATA), le_count, status_word, by_tag[_MAC], covered


@dataclass(frozen=True, slots=True)
class ReaderHandshake:
    """The reader's half of MUTUAL AUTHENTICATE: send `token`, then `finish` with what came back."""

    keys: KeyPair
    card_challenge: bytes
    reader_challenge: bytes
    keying: bytes

    @property
    def token(self) -> bytes:
        """E(RND.IFD ‖ RND.ICC ‖ K.IFD) ‖ MAC, 80 bytes."""
        return _seal(self.keys, self.reader_challenge + self.card_challenge + self.keying)

    def finish(self, answer: bytes) -> SecureMessaging:
        """The session, once the card has proved its key. Raises RemoteError."""
        plain = _open(self.keys, answer)
        if plain is None or plain[: 2 * CHALLENGE_BYTES] != self.card_challenge + self.reader_challenge:
            raise RemoteError(
                "The card does not know its own key: it is not a genuine card.",
                next_step="Keep the card back and hand it to the section head.",
            )
        keying = _xor(self.keying, plain[2 * CHALLENGE_BYTES :])
        return _session(keying, self.card_challenge, self.reader_challenge)


def start_handshake(keys: KeyPair, card_challenge: bytes, reader_challenge: bytes, keying: bytes) -> ReaderHandshake:
    """The reader's half for a card that answered GET CHALLENGE; RemoteError for a challenge of a wrong length."""
    if len(card_challenge) != CHALLENGE_BYTES:
        raise RemoteError(f"The card's challenge has {len(card_challenge)} bytes.", next_step=_LAY_AGAIN)
    if len(reader_challenge) != CHALLENGE_BYTES or len(keying) != KEYING_BYTES:
        raise RekamError("The reader's random bytes have a wrong length.")
    return ReaderHandshake(keys, card_challenge, reader_challenge, keying)


def answer_handshake(
    keys: KeyPair, card_challenge: bytes, token: bytes, keying: bytes
) -> tuple[bytes, SecureMessaging] | None:
    """The card's half: its answer and the session, or None where the reader does not know the card's key."""
    plain = _open(keys, token)
    if plain is None or plain[CHALLENGE_BYTES : 2 * CHALLENGE_BYTES] != card_challenge:
        return None
    reader_challenge = plain[:CHALLENGE_BYTES]
    answer = _seal(keys, card_challenge + reader_challenge + keying)
    return answer, _session(_xor(keying, plain[2 * CHALLENGE_BYTES :]), card_challenge, reader_challenge)


def _seal(keys: KeyPair, plain: bytes) -> bytes:
    # The plaintext begins with a fresh challenge, so the fixed IV of 9303-11, 4.3 repeats nothing.
    encryptor = Cipher(AES(keys.encryption), CBC(bytes(_BLOCK))).encryptor()
    cryptogram = encryptor.update(plain) + encryptor.finalize()
    return cryptogram + cmac(keys.mac, cryptogram)


def _open(keys: KeyPair, token: bytes) -> bytes | None:
    if len(token) != TOKEN_BYTES:
        return None
    cryptogram, mac = token[:-_BLOCK], token[-_BLOCK:]
    if not hmac.compare_digest(mac, cmac(keys.mac, cryptogram)):
        return None
    decryptor = Cipher(AES(keys.encryption), CBC(bytes(_BLOCK))).decryptor()
    return decryptor.update(cryptogram) + decryptor.finalize()


def _session(keying: bytes, card_challenge: bytes, reader_challenge: bytes) -> SecureMessaging:
    keys = derive(keying, b"rekam card session", card_challenge + reader_challenge, 2 * KEY_BYTES)
    return SecureMessaging(KeyPair(keys[:KEY_BYTES], keys[KEY_BYTES:]))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _pad(octets: bytes) -> bytes:
    """ISO/IEC 7816-4 padding: '80', then zeros to the block."""
    return octets + b"\x80" + bytes(-(len(octets) + 1) % _BLOCK)


def _le_value(le: int) -> bytes:
    return bytes((le % 256,)) if le <= SHORT_LE_MAX else (le % EXTENDED_LE_MAX).to_bytes(2, "big")
