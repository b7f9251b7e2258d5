"""What an exchange would miss: finger images of others' ANSI/NIST-ITL transactions, and garbage refused."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from contract.errors import RekamError, RemoteError
from contract.finger_image import SlapPosition
from contract.image_formats import ImageFormat, encode_image
from contract.sample import FingerPosition
from edge.matcher_lite.__main__ import app
from edge.matcher_lite.finger_file import read_template
from edge.matcher_lite.finger_warm import ridge_pattern
from edge.matcher_lite.nist_records import read_transaction

PRINT = ridge_pattern(3)[:120, :100]
FS, GS, RS, US = b"\x1c", b"\x1d", b"\x1e", b"\x1f"


def tagged(record_type: int, fields: dict[int, bytes], end: bytes) -> bytes:
    """A tagged record with its own length in its first field."""
    body = GS.join(b"%d.%03d:" % (record_type, tag) + value for tag, value in fields.items()) + end
    length = len(body) + len(b"%d.001:" % record_type + GS) + 1
    length += len(str(length + 2)) - 1
    return b"%d.001:%d" % (record_type, length) + GS + body


def transaction(*records: tuple[int, bytes], resolution: bytes = b"19.69") -> bytes:
    content = RS.join([b"1" + US + b"%d" % len(records), *(b"%d" % kind + US + b"01" for kind, _ in records)])
    head = {2: b"0400", 3: content, 4: b"TEST", 5: b"20260101", 7: b"A", 8: b"B", 9: b"1", 11: resolution, 12: b"19.69"}
    return tagged(1, head, FS) + b"".join(octets for _, octets in records)


def type4(code: int, data: bytes, compression: int = 0, own_resolution: int = 0) -> tuple[int, bytes]:
    height, width = PRINT.shape
    fingers = bytes([code]) + b"\xff" * 5
    body = struct.pack("!BB6sBHHB", 1, 0, fingers, own_resolution, width, height, compression) + data
    return 4, struct.pack("!L", len(body) + 4) + body


def type14(code: int, data: bytes, compression: bytes, unit: bytes = b"1", across: bytes = b"500") -> tuple[int, bytes]:
    height, width = PRINT.shape
    fields = {
        2: b"1", 3: b"0", 4: b"A", 5: b"20260101", 6: b"%d" % width, 7: b"%d" % height, 8: unit, 9: across, 10: across,
        11: compression, 12: b"8", 13: b"%d" % code, 999: data,
    }  # fmt: skip
    return 14, tagged(14, fields, FS)


def test_type_4_and_14_images_keep_pixels_position_and_resolution() -> None:
    wsq = encode_image(PRINT, ImageFormat.WSQ)
    png = encode_image(PRINT, ImageFormat.PNG)
    raw = PRINT.tobytes()
    octets = transaction(type4(2, raw), type4(13, wsq, 1), type14(12, png, b"PNG"), type14(15, raw, b"NONE"))
    single, slap, thumb, thumbs = read_transaction(octets)
    assert (single.record_type, single.position, single.slap, single.ppi) == (4, FingerPosition.RIGHT_INDEX, None, 500)
    assert (slap.position, slap.slap) == (FingerPosition.UNKNOWN, SlapPosition.RIGHT_FOUR)
    assert (thumb.record_type, thumb.position) == (14, FingerPosition.LEFT_THUMB)
    assert thumbs.slap is SlapPosition.THUMBS
    for exact in (single, thumb, thumbs):
        np.testing.assert_array_equal(exact.image, PRINT)
    assert np.abs(slap.image.astype(int) - PRINT).mean() < 12


def test_resolutions_are_honoured() -> None:
    raw = PRINT.tobytes()
    assert read_transaction(transaction(type14(1, raw, b"NONE", b"2", b"394")))[0].ppi == 1001
    assert read_transaction(transaction(type4(1, raw, own_resolution=1), resolution=b"39.37"))[0].ppi == 1000
    with pytest.raises(RemoteError):
        read_transaction(transaction(type4(1, raw, own_resolution=1), resolution=b"x"))
    with pytest.raises(RemoteError):
        read_transaction(transaction(type14(1, raw, b"NONE", b"0")))


def test_an_image_of_another_size_than_stated_is_refused() -> None:
    for record in (type4(1, PRINT.tobytes()[:-1]), type14(1, encode_image(PRINT[:50], ImageFormat.PNG), b"PNG")):
        with pytest.raises(RemoteError):
            read_transaction(transaction(record))


def test_a_transaction_without_fingers_says_so() -> None:
    with pytest.raises(RemoteError, match="no finger image"):
        read_transaction(transaction((2, tagged(2, {2: b"01"}, FS))))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_transactions_are_refused(data: st.DataObject) -> None:
    octets = bytearray(transaction(type4(2, PRINT.tobytes()), type14(2, PRINT.tobytes(), b"NONE")))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, 220) | st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(octets)) | st.integers(0, len(octets)))
    try:
        read_transaction(bytes(octets[:cut]))
    except RemoteError:
        pass


def test_commands_take_a_transaction_of_one_finger_and_split_those_of_more(tmp_path: Path) -> None:
    whole = ridge_pattern(3)
    fields = {
        2: b"1",
        6: b"%d" % whole.shape[1],
        7: b"%d" % whole.shape[0],
        8: b"1",
        9: b"500",
        10: b"500",
        11: b"NONE",
    }
    finger = (14, tagged(14, {**fields, 13: b"7", 999: whole.tobytes()}, FS))
    one, two = tmp_path / "one.an2k", tmp_path / "two.an2k"
    one.write_bytes(transaction(finger))
    two.write_bytes(transaction(finger, finger))
    assert read_template(one).usable
    with pytest.raises(RemoteError) as told:
        read_template(two)
    assert "split" in told.value.next_step
    split = CliRunner().invoke(app, ["split", str(one), "--out", str(tmp_path / "out")])
    assert split.exit_code == 0, split.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1_left_index.png"]


def test_without_the_extra_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nistitl", None)
    with pytest.raises(RekamError) as told:
        read_transaction(transaction(type4(2, PRINT.tobytes())))
    assert "rekam[nist]" in told.value.next_step
