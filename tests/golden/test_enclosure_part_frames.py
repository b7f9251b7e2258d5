"""The enclosure's parts against the bytes of their data sheets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import DeviceError
from edge.sensors import atecc608_frames as atecc
from edge.sensors import pca9685_frames as pca
from edge.sensors import sht31_frames as sht
from edge.sensors import vl53l0x_frames as tof


def test_sht31_check_byte_and_conversion_are_the_data_sheets() -> None:
    assert sht.crc8(bytes.fromhex("beef")) == 0x92
    assert sht.decode_words(bytes.fromhex("beef92")) == (0xBEEF,)
    found = sht.decode_climate(bytes.fromhex("000081ffffac"))
    assert (found.temperature_c, found.humidity_percent) == (-45.0, 100.0)


def test_pca9685_prescale_and_led_registers_are_the_data_sheets() -> None:
    assert pca.prescale_of(200) == 0x1E  # 7.3.5, example
    assert (pca.prescale_of(1526), pca.prescale_of(24)) == (0x03, 0xFD)
    assert (pca.led_register(0), pca.led_register(15)) == (0x06, 0x42)
    assert pca.duty_bytes(0.2) == bytes.fromhex("00003303")  # 819 of 4096 counts, 7.3.3, example 1
    assert pca.duty_bytes(0) == bytes.fromhex("00000010")
    assert pca.duty_bytes(1) == bytes.fromhex("00100000")
    assert pca.duty_of(bytes.fromhex("9901cc04")) == pytest.approx(0.2, abs=1e-3)  # the same, delayed by 10 %


def test_atecc608_commands_are_the_published_ones() -> None:
    assert atecc.encode_command(atecc.OP_INFO) == bytes.fromhex("0307300000" + "00035d")
    assert atecc.crc16(bytes.fromhex("0411")) == bytes.fromhex("3343")
    assert atecc.encode_answer(b"\0") == bytes.fromhex("04000340")
    assert atecc.decode_answer(bytes.fromhex("04000340ffff")) == b"\0"
    assert atecc.counter(1) == bytes.fromhex("03072400" + "0100") + atecc.crc16(bytes.fromhex("072400" + "0100"))
    assert atecc.counter(1, one_more=True)[3] == 0x01
    with pytest.raises(DeviceError, match="0x11"):
        atecc.decode_answer(atecc.WOKEN)


def test_vl53l0x_fixed_point_and_tuning_are_the_apis() -> None:
    assert tof.rate_limit_bytes() == bytes.fromhex("0020")
    assert len(tof.pairs(tof.TUNING)) == 80
    assert tof.pairs(tof.TUNING)[0] == bytes.fromhex("ff01")
    assert tof.reference_spads(b"\xff" * 6, 5, aperture=True) == bytes.fromhex("00f001000000")
    assert tof.reference_spads(b"\x0f" + b"\xff" * 5, 5, aperture=False) == bytes.fromhex("0f0100000000")


@given(st.binary(max_size=80))
def test_any_bytes_are_an_answer_or_a_device_error(noise: bytes) -> None:
    for decode in (atecc.decode_answer, sht.decode_words, sht.decode_climate):
        try:
            decode(noise)
        except DeviceError as error:
            assert error.next_step
    atecc.decode_command(noise)


@given(st.binary(max_size=70), st.integers(0, 600))
def test_one_flipped_bit_never_passes_for_an_answer(data: bytes, bit: int) -> None:
    if not 0 < len(data) <= 64:
        return
    whole = bytearray(atecc.encode_answer(data))
    whole[bit // 8 % len(whole)] ^= 1 << bit % 8
    try:
        assert atecc.decode_answer(bytes(whole)) != data or not data
    except DeviceError:
        return


@given(st.floats(0, 1))
def test_every_duty_reads_back(duty: float) -> None:
    assert pca.duty_of(pca.duty_bytes(duty)) == pytest.approx(duty, abs=1 / 4096)
