"""A code that the officer shows must arrive whole or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import CaptureRetry, DeviceError
from edge.sensors.code_frames import TEXT_BYTES_MAX, CodeReader, CodeText, Unreadable, encode_code
from edge.sensors.drivers import open_driver
from edge.sensors.interface import CodeScanner
from tests.device.hardware import HARDWARE, PATIENCE_S, Hardware, until_gone, until_open
from virtual.code_twin import CodeScannerTwin
from virtual.pty_twin import PtyTwin, WireFaults

NEVER = threading.Event()


@dataclass
class Bench:
    """A scanner, codes that are shown to it, and its plug. twin: its cable, where there is one to be damaged."""

    scanner: CodeScanner
    show: Callable[[str], object]
    unplug: Callable[[], object]
    plug_in: Callable[[], object]
    twin: PtyTwin | None = None

    def show_soon(self, text: str) -> None:
        threading.Timer(0.05, self.show, [text]).start()

    def check(self, read: str, shown: str) -> None:
        """The code that was shown; of a person's, that it is a text."""
        assert read == shown if self.twin is not None else read


def serial_bench(folder: Path) -> Iterator[Bench]:
    device = CodeScannerTwin()
    twin = PtyTwin(device, folder / "code")

    def show(text: str) -> None:
        device.show(text)
        twin.wake()

    scanner = open_driver("code", {"driver": "serial", "port": twin.port})
    assert isinstance(scanner, CodeScanner)
    yield Bench(scanner, show, twin.unplug, twin.plug_in, twin)
    scanner.close()
    twin.close()


def hardware_bench() -> Iterator[Bench]:
    real = Hardware("code")
    scanner = real.device()
    yield Bench(scanner, lambda _: real.ask("show"), lambda: real.ask("unplug"), lambda: real.ask("plug in"))
    scanner.close()


@pytest.fixture(params=["serial", HARDWARE])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    for found in serial_bench(tmp_path) if request.param == "serial" else hardware_bench():
        found.scanner.open()
        yield found


def test_the_text_of_the_code_arrives(bench: Bench) -> None:
    for text in ("9901234567890001", "SURAT/470/2026 – Ibu Ñ", "x" * 4296):
        bench.show_soon(text)
        bench.check(bench.scanner.scan(PATIENCE_S, NEVER), text)


def test_no_code_and_a_cancelled_wait_are_advice(bench: Bench) -> None:
    with pytest.raises(CaptureRetry, match="No code"):
        bench.scanner.scan(0.05, NEVER)
    cancel = threading.Event()
    threading.Timer(0.03, cancel.set).start()
    with pytest.raises(CaptureRetry, match="cancelled"):
        bench.scanner.scan(30, cancel)


def test_a_code_damaged_on_the_way_is_asked_for_again(bench: Bench) -> None:
    if bench.twin is None:
        pytest.skip("nobody damages a real cable")
    bench.twin.faults = WireFaults.named({"noise_per_byte": 1.0, "seed": 3})
    bench.show_soon("9901234567890001")
    with pytest.raises(CaptureRetry):
        bench.scanner.scan(0.5, NEVER)


def test_unplugging_in_mid_wait_is_the_technicians_and_plugging_in_heals(bench: Bench) -> None:
    threading.Timer(0.05, bench.unplug).start()
    until_gone(lambda: bench.scanner.scan(PATIENCE_S, NEVER))
    bench.scanner.close()
    bench.scanner.close()
    with pytest.raises(DeviceError):
        bench.scanner.scan(1, NEVER)
    with pytest.raises(DeviceError):
        bench.scanner.open()
    bench.plug_in()
    until_open(bench.scanner)
    bench.show_soon("9901234567890001")
    bench.check(bench.scanner.scan(PATIENCE_S, NEVER), "9901234567890001")


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
