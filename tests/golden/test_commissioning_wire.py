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
from contract.dispatch import encode
from contract.technician import Order, Verb
from contract.topics import CLAIM_GRANT, CLAIM_KNOCK, LATE_RENEWAL, TECHNICIAN_ORDER, UP_BIRTH


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
    assert LATE_RENEWAL.at(nonce="r-1") == "renew/r-1/up/request"
    assert TECHNICIAN_ORDER.at(technician="t", order="o") == "t/t/up/order/o"
    assert (UP_BIRTH.at(unit="u"), UP_BIRTH.retain) == ("k/u/up/birth", True)
