"""The transfer's bytes on the wire, pinned: units and hubs of different versions must understand each other."""

from __future__ import annotations

import zlib

from contract.dispatch import encode
from contract.topics import DN_NEED, DN_RECEIPT, HUB_STATE, UP_CHUNK, UP_OFFER
from contract.transfer import Chunk, Disposition, HubState, Need, Offer, Receipt, encode_chunk

PID = "00" * 32


def test_crc32_is_the_one_of_iso_3309():
    assert zlib.crc32(b"123456789") == 0xCBF43926  # the check value of CRC-32/ISO-HDLC


def test_chunk_bytes_are_index_checksum_data():
    assert encode_chunk(Chunk(7, b"123456789")).hex() == "00000007" + "cbf43926" + b"123456789".hex()


def test_offer_bytes():
    offer = Offer(attempt=1, length=70_000, chunk=65536, count=2, key_id="desk-a1")
    assert encode(offer).hex() == (
        "a6"
        "656368756e6b" "1a00010000"  # chunk: 65536
        "65636f756e74" "02"  # count: 2
        "666b65795f6964" "676465736b2d6131"  # key_id: desk-a1
        "666c656e677468" "1a00011170"  # length: 70000
        "67617474656d7074" "01"  # attempt: 1
        "6e736368656d615f76657273696f6e" "01"  # schema_version: 1
    )  # fmt: skip


def test_need_bytes():
    need = Need(attempt=1, chunk=65536, ranges=((0, 3), (9, 9)))
    assert encode(need).hex() == (
        "a4"
        "656368756e6b" "1a00010000"  # chunk: 65536
        "6672616e676573" "82" "820003" "820909"  # ranges: [[0, 3], [9, 9]]
        "67617474656d7074" "01"  # attempt: 1
        "6e72657472795f61667465725f6d73" "00"  # retry_after_ms: 0
    )  # fmt: skip


def test_receipt_bytes():
    receipt = Receipt(pid=PID, length=1, hub_sequence=2, time_ms=3, disposition=Disposition.RELEASED)
    assert encode(receipt).hex() == (
        "a6"
        "63706964" "7840" + PID.encode().hex() +  # pid
        "666c656e677468" "01"  # length: 1
        "66726561736f6e" "60"  # reason: ""
        "6774696d655f6d73" "03"  # time_ms: 3
        "6b646973706f736974696f6e" "6872656c6561736564"  # disposition: released
        "6c6875625f73657175656e6365" "02"  # hub_sequence: 2
    )  # fmt: skip


def test_hub_state_bytes():
    assert encode(HubState(online=True, time_ms=0)).hex() == "a2666f6e6c696e65f56774696d655f6d7300"


def test_topics_of_the_transfer():
    names = {"unit": "desk-a1", "pid": PID}
    assert UP_OFFER.at(**names) == f"k/desk-a1/up/pkt/{PID}/offer"
    assert UP_CHUNK.at(**names) == f"k/desk-a1/up/pkt/{PID}/chunk"
    assert DN_NEED.at(**names) == f"k/desk-a1/dn/pkt/{PID}/need"
    assert DN_RECEIPT.at(**names) == f"k/desk-a1/dn/pkt/{PID}/receipt"
    assert (HUB_STATE.template, HUB_STATE.retain) == ("hub/state", True)
