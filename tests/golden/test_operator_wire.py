"""The bytes of operators' rights, pinned: a hub and units of different versions must understand each other."""

from __future__ import annotations

import base64
import hashlib

from contract.dispatch import decode, encode
from contract.operators import (
    Lease,
    OperatorEntry,
    Roster,
    RosterDelta,
    RosterHeld,
    SignOnCount,
    SignOnPolicy,
    SignOns,
    sign_lease,
)
from contract.packet import OperatorBody, PacketSample, PinBody, PinOrder
from contract.pins import PinState
from contract.sample import Modality
from contract.secret import hash_secret
from contract.topics import DN_ROSTER, DN_ROSTER_DELTA, UP_ROSTER, UP_SIGN_ONS
from tests.unit.edge_fakes import HUB_SIGNS

LEASE = Lease(
    operator="op-1", roles=("operator",), sites=("9901-A",), from_ms=1, until_ms=2, sequence=3, key_sha256=bytes(32)
)
LEASE_BYTES = (
    "a7"
    "65726f6c6573" "81" "686f70657261746f72"  # roles: [operator]
    "657369746573" "81" "66393930312d41"  # sites: [9901-A]
    "6766726f6d5f6d73" "01"  # from_ms: 1
    "686f70657261746f72" "646f702d31"  # operator: op-1
    "6873657175656e6365" "03"  # sequence: 3
    "68756e74696c5f6d73" "02"  # until_ms: 2
    "6a6b65795f736861323536" "5820" + "00" * 32  # key_sha256
)  # fmt: skip
ENTRY = OperatorEntry(
    operator="op-1", name="A", templates={2: b"t"}, public_key=bytes(60), private_key=bytes(60), lease=b"l"
)
ENTRY_BYTES = (
    "a8"
    "6370696e" "60"  # pin: ""
    "646e616d65" "6141"  # name: A
    "656c65617365" "416c"  # lease
    "686361" "72645f756964" "f6"  # card_uid: null
    "686f70657261746f72" "646f702d31"  # operator: op-1
    "6974656d706c61746573" "a1" "02" "4174"  # templates: {2: t}
    "6a7075626c69635f6b6579" "583c" + "00" * 60 +  # public_key
    "6b707269766174655f6b6579" "583c" + "00" * 60  # private_key
)  # fmt: skip


def test_lease_bytes_and_its_signature():
    assert encode(LEASE).hex() == LEASE_BYTES
    # COSE_Sign1 with EdDSA (RFC 9052), Ed25519 being deterministic (RFC 8032): the whole statement can be pinned.
    assert (
        hashlib.sha256(sign_lease(LEASE, HUB_SIGNS)).hexdigest()
        == "d1d10d5c313d5045fbfa3924c904ef642561719f88a180a13a1f61a625fdf007"
    )


def test_roster_bytes_and_digest():
    roster = Roster(version=7, operators=(ENTRY,))
    assert encode(roster).hex() == (
        "a3"
        "677369676e5f6f6e" "6666696e676572"  # sign_on: finger
        "6776657273696f6e" "07"  # version: 7
        "696f70657261746f7273" "81" + ENTRY_BYTES  # operators
    )  # fmt: skip
    assert roster.digest() == hashlib.sha256(encode(roster)).digest()


def test_an_entry_says_of_its_pin_only_where_there_is_something_to_say():
    state = PinState(epoch=1, changed_ms=5, set_by_ms=6, superseded=(bytes(32),))
    changed = ENTRY.model_copy(update={"pin_state": state})
    said = (
        "a4"
        "6565706f6368" "01"  # epoch: 1
        "697365745f62795f6d73" "06"  # set_by_ms: 6
        "6a6368616e6765645f6d73" "05"  # changed_ms: 5
        "6a73757065727365646564" "81" "5820" + "00" * 32  # superseded
    )  # fmt: skip
    before, after = ENTRY_BYTES.split("6974656d706c61746573")
    pin_state = "6970696e5f7374617465" + said
    assert encode(changed).hex() == "a9" + before[2:] + pin_state + "6974656d706c61746573" + after
    assert decode(OperatorEntry, encode(changed)) == changed and decode(OperatorEntry, encode(ENTRY)) == ENTRY


def test_delta_bytes():
    delta = RosterDelta(
        base=7, version=8, sign_on=SignOnPolicy.FINGER_AND_PIN, changed=(), renewed={"op-1": b"l"}, removed=("op-2",),
        digest=bytes(32),
    )  # fmt: skip
    assert encode(delta).hex() == (
        "a7"
        "6462617365" "07"  # base: 7
        "66646967657374" "5820" + "00" * 32 +  # digest
        "676368616e676564" "80"  # changed: []
        "6772656d6f766564" "81" "646f702d32"  # removed: [op-2]
        "6772656e65776564" "a1" "646f702d31" "416c"  # renewed: {op-1: l}
        "677369676e5f6f6e" "6a66696e6765722b70696e"  # sign_on: finger+pin
        "6776657273696f6e" "08"  # version: 8
    )  # fmt: skip


def test_what_a_unit_says_back():
    assert encode(RosterHeld(version=8, digest=bytes(32), asks=True)).hex() == (
        "a3" "6461736b73" "f5" "66646967657374" "5820" + "00" * 32 + "6776657273696f6e" "08"
    )  # fmt: skip
    count = SignOnCount(operator="op-1", last_ms=5, signed_on=2, failed=1)
    assert encode(SignOns(counts=(count,))).hex() == (
        "a1" "66636f756e7473" "81" "a5"
        "666661696c6564" "01"  # failed: 1
        "666c6f636b6564" "f4"  # locked: false
        "676c6173745f6d73" "05"  # last_ms: 5
        "686f70657261746f72" "646f702d31"  # operator: op-1
        "697369676e65645f6f6e" "02"  # signed_on: 2
    )  # fmt: skip


def test_topics():
    said = [topic.at(unit="desk-a1") for topic in (DN_ROSTER, DN_ROSTER_DELTA, UP_ROSTER, UP_SIGN_ONS)]
    assert said == [
        "k/desk-a1/dn/roster", "k/desk-a1/dn/roster-delta", "k/desk-a1/up/roster", "k/desk-a1/up/sign-ons",
    ]  # fmt: skip


def test_what_officers_sign():
    finger = PacketSample(modality=Modality.FINGER, position=2, record=b"FIR", quality=60, attempts=1)
    other = finger.model_copy(update={"position": 7})
    body = OperatorBody(
        operator="op-1", name="A", roles=("operator",), fingers=(finger, other), templates={2: b"t", 7: b"t"}
    )
    assert body.digest().hex() == "1caaba5c23e784a481eccdf694919f66f86c65d8620e31e380950c2113923278"
    assert (
        PinBody(operator="op-1", pin=hash_secret("482913", bytes(16), 2)).digest().hex()
        == "a9f637280c4c3498b146c045afd416e63daa94ee5c8f7d434f7b83d2f3f0c3bf"
    )
    order = PinOrder(epoch=1, replaces=bytes(32), changed_ms=5)
    changed = PinBody(operator="op-1", pin=hash_secret("482913", bytes(16), 2), order=order)
    assert changed.digest().hex() == "434c9abc2cb23bbf5f410d36c4b909d3e2ec9ca9ed68b68c6b4e516deef880d3"


def test_a_secrets_hash_is_rfc_7914s():
    expected = hashlib.scrypt(b"482913", salt=bytes(16), n=2, r=8, p=1, dklen=32)
    assert hash_secret("482913", bytes(16), 2).startswith("scrypt$2$8$1$AAAAAAAAAAAAAAAAAAAAAA==$")
    assert hash_secret("482913", bytes(16), 2).endswith(base64.b64encode(expected).decode())
