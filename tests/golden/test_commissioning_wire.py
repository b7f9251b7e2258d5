"""Commissioning's bytes on the wire and on the media, pinned: boxes and hubs of different versions must agree."""

from __future__ import annotations

import hashlib

from contract.certificates import fingerprint, key_digest
from contract.commissioning import (
    Answer,
    AnswerState,
    Claim,
    Knock,
    binding_text,
    birth_text,
    decode_claim,
    encode_claim,
    renewal_text,
)
from contract.commissioning_problems import Problem
from contract.configuration import Desired, Reported
from contract.dispatch import decode, encode
from contract.technician import Order, Verb
from contract.topics import CLAIM_GRANT, CLAIM_KNOCK, DN_COMMAND, TECHNICIAN_ORDER, UP_BIRTH, UP_PART
from contract.unit_command import (
    Command,
    CommandOrder,
    LogLine,
    LogPage,
    LogsAsk,
    Part,
    Passed,
    SelftestAsk,
    TriedDevice,
)


def key(fill: int) -> bytes:
    return bytes([fill]) * 60


def test_knock_bytes():
    knock = Knock(
        serial="S1", model="m", software="s", tls_key=key(1), sign_key=key(2), open_key=key(3),
        key_home="tls=software", wall_ms=7,
    )  # fmt: skip
    assert encode(knock).hex() == (
        "a8"
        "656d6f64656c" "616d"  # model: m
        "6673657269616c" "625331"  # serial: S1
        "67746c735f6b6579" "583c" + "01" * 60 +  # tls_key
        "6777616c6c5f6d73" "07"  # wall_ms: 7
        "686b65795f686f6d65" "6c746c733d736f667477617265"  # key_home: tls=software
        "686f70656e5f6b6579" "583c" + "03" * 60 +  # open_key
        "687369676e5f6b6579" "583c" + "02" * 60 +  # sign_key
        "68736f667477617265" "6173"  # software: s
    )  # fmt: skip


def test_answer_bytes():
    answer = Answer(nonce="c-1", state=AnswerState.REFUSED, problem=Problem.CLAIM_USED, hub_ms=1)
    assert encode(answer).hex() == (
        "a9"
        "64726f6c65" "60"  # role: ""
        "6473697465" "60"  # site: ""
        "64756e6974" "60"  # unit: ""
        "656e6f6e6365" "63632d31"  # nonce: c-1
        "657374617465" "6772656675736564"  # state: refused
        "6664657461696c" "60"  # detail: ""
        "666875625f6d73" "01"  # hub_ms: 1
        "6770726f626c656d" "6a636c61696d2d75736564"  # problem: claim-used
        "696368616c6c656e6765" "40"  # challenge: empty
    )  # fmt: skip


def test_configuration_bytes_and_digest():
    desired = Desired(unit="u", site="s", version=1, tables={"devices.finger": {"driver": "zfm", "ppi": 500}})
    encoded = encode(desired)
    assert encoded.hex() == (
        "a4"
        "6473697465" "6173"  # site: s
        "64756e6974" "6175"  # unit: u
        "667461626c6573" "a1" "6e646576696365732e66696e676572" "a2"  # tables: {devices.finger: {
        "63707069" "1901f4"  # ppi: 500
        "66647269766572" "637a666d"  # driver: zfm }}
        "6776657273696f6e" "01"  # version: 1
    )  # fmt: skip
    assert desired.digest() == hashlib.sha256(encoded).digest()
    assert encode(Reported(version=0, at_ms=1)).hex() == (
        "a6"
        "6561745f6d73" "01"  # at_ms: 1
        "6664657461696c" "60"  # detail: ""
        "66646967657374" "40"  # digest: empty
        "6770726f626c656d" "f6"  # problem: null
        "6776657273696f6e" "00"  # version: 0
        "6f726566757365645f76657273696f6e" "00"  # refused_version: 0
    )  # fmt: skip


def test_order_bytes():
    order = Order(id="01939c6e-7c1e-7aaa-8000-0123456789ab", technician="t", verb=Verb.STATUS, at_ms=1, body=b"\xa0")
    assert encode(order).hex() == (
        "a5"
        "626964" "7824" + order.id.encode().hex() +  # id
        "64626f6479" "41a0"  # body: {}
        "6476657262" "66737461747573"  # verb: status
        "6561745f6d73" "01"  # at_ms: 1
        "6a746563686e696369616e" "6174"  # technician: t
    )  # fmt: skip


def test_command_bytes():
    ident = "01939c6e-7c1e-7aaa-8000-0123456789ab"
    order = CommandOrder(unit="u", command=ident, answer_key=key(1), ask=b"\xa0")
    assert encode(order).hex() == (
        "a5"
        "6361736b" "41a0"  # ask: {}
        "64756e6974" "6175"  # unit: u
        "656865617264" "00"  # heard: 0
        "67636f6d6d616e64" "7824" + ident.encode().hex() +  # command
        "6a616e737765725f6b6579" "583c" + "01" * 60  # answer_key
    )  # fmt: skip
    command = Command(unit="u", command=ident, technician="t", order_key=key(2)[:30], order=b"o", issued_ms=1)
    assert encode(command).hex() == (
        "a6"
        "64756e6974" "6175"  # unit: u
        "656f72646572" "416f"  # order: o
        "67636f6d6d616e64" "7824" + ident.encode().hex() +  # command
        "696973737565645f6d73" "01"  # issued_ms: 1
        "696f726465725f6b6579" "581e" + "02" * 30 +  # order_key
        "6a746563686e696369616e" "6174"  # technician: t
    )  # fmt: skip
    part = Part(unit="u", command=ident, number=3, last=True, problem=Problem.UNIT_BUSY)
    assert encode(part).hex() == (
        "a8"
        "64626f6479" "40"  # body: empty
        "646c617374" "f5"  # last: true
        "64756e6974" "6175"  # unit: u
        "666e756d626572" "03"  # number: 3
        "67636f6d6d616e64" "7824" + ident.encode().hex() +  # command
        "676d657373616765" "60"  # message: ""
        "6770726f626c656d" "69756e69742d62757379"  # problem: unit-busy
        "696e6578745f73746570" "60"  # next_step: ""
    )  # fmt: skip
    assert encode(Passed(unit="u", sign_key=key(3), online=True, seen_ms=2)).hex() == (
        "a4" "64756e6974" "6175" "666f6e6c696e65" "f5" "677365656e5f6d73" "02" "687369676e5f6b6579" "583c" + "03" * 60
    )  # fmt: skip


def test_log_page_and_device_row_bytes():
    line = LogLine(sequence=1, at_ms=2, level="info", event="e")
    page = LogPage(lines=(line,), looked_to=1, more=False, oldest=1, unit_ms=3)
    assert encode(page).hex() == (
        "a6"
        "646d6f7265" "f4"  # more: false
        "656c696e6573" "81" "a5"  # lines: [{
        "6561745f6d73" "02" "656576656e74" "6165" "656c6576656c" "64696e666f"  # at_ms, event, level
        "666669656c6473" "60" "6873657175656e6365" "01"  # fields, sequence }]
        "666f6c64657374" "01"  # oldest: 1
        "6764726f70706564" "00"  # dropped: 0
        "67756e69745f6d73" "03"  # unit_ms: 3
        "696c6f6f6b65645f746f" "01"  # looked_to: 1
    )  # fmt: skip
    row = TriedDevice(rows=2, kind="camera", outcome="ok", pictures=(b"j",))
    assert decode(TriedDevice, encode(row)) == row
    assert encode(SelftestAsk()).hex() == "a1687069637475726573f5"
    assert encode(LogsAsk(after=1)).hex() == "a365616674657201656c6576656c6564656275676773696e63655f7300"


def test_claim_file_is_magic_length_digest_body():
    claim = Claim(
        nonce="c-1", serial="", certificate=b"c", key=b"k", ca=b"a", hub_statement=key(1), hub_dispatch=key(2),
        host="h", claim_port=1, service_port=2, renewal_port=3, made_ms=4, expires_ms=5,
    )  # fmt: skip
    body = encode(claim)
    encoded = encode_claim(claim)
    head = b"rekam-claim 1\n".hex() + f"{len(body):08x}" + hashlib.sha256(body).hexdigest()
    assert encoded.hex() == head + body.hex()
    assert decode_claim(encoded) == claim


def test_signed_texts_name_their_purpose_and_every_part_with_its_length():
    assert binding_text("n", "u", b"c", b"d").hex() == (
        "0000000f" + b"rekam binding 1".hex() + "00000001" "6e" "00000001" "75" "00000001" "63" "00000001" "64"
    )  # fmt: skip
    assert renewal_text(b"c", b"r", 1).hex() == (
        "0000000f" + b"rekam renewal 1".hex() + "00000001" "63" "00000001" "72" "00000008" "0000000000000001"
    )  # fmt: skip
    assert birth_text(b"b").hex() == "0000000d" + b"rekam birth 1".hex() + "0000000162"


def test_key_digest_and_fingerprint():
    digest = key_digest(b"a", b"bc")
    assert digest == hashlib.sha256(b"rekam keys 1" + b"\0\0\0\1a" + b"\0\0\0\2bc").digest()
    assert fingerprint(bytes(32)) == "0000-0000-0000"
    assert fingerprint(bytes.fromhex("ffffffffffffffff")) == "ZZZZ-ZZZZ-ZZZZ"
    assert fingerprint(bytes.fromhex("0842108421084210")) == "1111-1111-1111"


def test_topics_of_commissioning():
    assert CLAIM_KNOCK.at(nonce="c-1") == "prov/c-1/up/knock"
    assert CLAIM_GRANT.at(nonce="c-1") == "prov/c-1/dn/grant"
    assert TECHNICIAN_ORDER.at(technician="t", order="o") == "t/t/up/order/o"
    assert (UP_BIRTH.at(unit="u"), UP_BIRTH.retain) == ("k/u/up/birth", True)
    assert (DN_COMMAND.at(unit="u", command="c"), DN_COMMAND.retain) == ("k/u/dn/cmd/c", False)
    assert 0 < DN_COMMAND.expiry_s <= 30 and DN_COMMAND.only_fresh
    assert UP_PART.at(unit="u", command="c") == "k/u/up/rsp/c"
