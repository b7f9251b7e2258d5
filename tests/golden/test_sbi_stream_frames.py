"""The live stream as the SBI specification (1.0, "Live stream") writes it, byte for byte."""

from __future__ import annotations

from edge.sensors.sbi_stream_frames import CONTENT_TYPE, StreamReader, encode_part

JPEG = bytes.fromhex("FFD8FFE000104A46494600010100000100010000FFD9")
PART = (
    b"--BoundaryString\r\nAccess-Control-Allow-Origin:*\r\nContent-Type:image/jpeg\r\nContent-Length:22\r\n\r\n"
) + JPEG


def test_a_part_is_written_as_the_specification_has_it() -> None:
    assert encode_part(JPEG).removesuffix(b"\r\n") == PART
    assert CONTENT_TYPE == "multipart/x-mixed-replace; boundary=--BoundaryString"


def test_the_specifications_stream_is_read_with_and_without_a_line_behind_each_picture() -> None:
    assert StreamReader().feed(PART + PART) == [JPEG, JPEG]
    assert StreamReader().feed(PART + b"\r\n" + PART + b"\r\n--BoundaryString--") == [JPEG, JPEG]
    spaced = PART.replace(b"Content-Length:22", b"content-length: 22")
    assert StreamReader().feed(spaced) == [JPEG]
