"""A code that the officer shows must arrive whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import CaptureRetry, DeviceError
from edge.sensors.code_frames import TEXT_BYTES_MAX, CodeReader, CodeText, Unreadable, encode_code
from edge.sensors.drivers import open_driver
from edge.sensors.interface import CodeScanner
from virtual.code_twin import CodeScannerTwin
from virtual.pty_twin import PtyTwin, WireFaults

NEVER = threading.Event()


class Bench:
    """A scanner on a pty and what is shown to it."""

    def __init__(self, folder: Path) -> None:
        self.device = CodeScannerTwin()
        self.twin = PtyTwin(self.device, folder / "code")
        made = open_driver("code", {"driver": "serial", "port": self.twin.port})
        assert isinstance(made, CodeScanner)
        self.scanner: CodeScanner = made

    def show_soon(self, text: str) -> None:
        def show() -> None:
            self.device.show(text)
            self.twin.wake()

        threading.Timer(0.05, show).start()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.scanner.open()
    yield made
    made.scanner.close()
    made.twin.close()


def test_the_text_of_the_code_arrives(bench: Bench) -> None:
    for text in ("9901234567890001", "SURAT/470/2026 – Ibu Ñ", "x" * 4296):
        bench.show_soon(text)
        assert bench.scanner.scan(10, NEVER) == text


def test_no_code_and_a_cancelled_wait_are_advice(bench: Bench) -> None:
    with pytest.raises(CaptureRetry, match="No code"):
        bench.scanner.scan(0.05, NEVER)
    cancel = threading.Event()
    threading.Timer(0.03, cancel.set).start()
    with pytest.raises(CaptureRetry, match="cancelled"):
        bench.scanner.scan(30, cancel)


def test_a_code_damaged_on_the_way_is_asked_for_again(bench: Bench) -> None:
    bench.twin.faults = WireFaults.named({"noise_per_byte": 1.0, "seed": 3})
    bench.show_soon("9901234567890001")
    with pytest.raises(CaptureRetry):
        bench.scanner.scan(0.5, NEVER)


def test_unplugging_is_the_technicians(bench: Bench) -> None:
    threading.Timer(0.05, bench.twin.unplug).start()
    with pytest.raises(DeviceError):
        bench.scanner.scan(10, NEVER)
    bench.scanner.close()
    bench.scanner.close()
    with pytest.raises(DeviceError):
        bench.scanner.scan(1, NEVER)
    with pytest.raises(DeviceError):
        bench.scanner.open()


def test_marks_of_every_set_up_sheet_are_understood() -> None:
    stream = b"A1\rA2\nA3\r\n\x02A4\x03\r\n\n"
    assert CodeReader().feed(stream) == [CodeText(f"A{n}") for n in (1, 2, 3, 4)]
    assert CodeReader().feed(b"\x07bell\n\xff\n") == [Unreadable(5), Unreadable(1)]
    assert CodeReader().feed(b"x" * (TEXT_BYTES_MAX + 5) + b"\nok\n") == [
        Unreadable(TEXT_BYTES_MAX + 5),
        CodeText("ok"),
    ]


@given(
    st.binary(max_size=300),
    st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\x7f"), min_size=1),
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_texts_or_unreadable_and_the_next_code_is_taken(noise: bytes, text: str) -> None:
    reader = CodeReader()
    for event in reader.feed(noise + b"\n"):
        assert isinstance(event, CodeText | Unreadable)
    assert reader.feed(encode_code(text)) == [CodeText(text)]
