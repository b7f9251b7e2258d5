"""The enclosure's I2C parts on a bus that answers register by register, and fails as real buses do."""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from contract.errors import DeviceError, TransientError
from edge.sensors.climate_sht31 import Sht31
from edge.sensors.drivers import DRIVERS, INTERFACES, driver_class, fits
from edge.sensors.i2c_link import open_kernel_bus
from edge.sensors.identity_atecc608 import Atecc608
from edge.sensors.interface import Climate
from edge.sensors.lights_pca9685 import DURATION_MAX_MS, Pca9685Lights
from edge.sensors.presence_vl53l0x import Vl53l0x
from edge.sensors.selftest import try_out
from virtual.i2c_parts import Atecc608Twin, Pca9685Twin, Sht31Twin, Vl53l0xTwin
from virtual.i2c_twin import I2cBusTwin

ADDRESS = {"sht31": 0x44, "pca9685": 0x40, "vl53l0x": 0x29, "atecc608": 0x60}


class HandClock:
    """Time that passes where somebody sleeps, or the test says so."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms

    def sleep(self, seconds: float) -> None:
        self.now_ms += max(1, round(seconds * 1000))


class Board:
    """A bus with one of each part, its drivers, and a clock that the drivers' sleeps move."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.lights, self.climate = Pca9685Twin(), Sht31Twin()
        self.presence, self.identity = Vl53l0xTwin(), Atecc608Twin()
        parts = (self.climate, self.lights, self.presence, self.identity)
        self.bus = I2cBusTwin(dict(zip(ADDRESS.values(), parts, strict=True)))

    def driver(self, name: str, **settings: Any) -> Any:
        given = {"open_bus": self.bus.open, "sleep": self.clock.sleep, **settings}
        if name != "sht31":
            given["clock"] = self.clock
        return {"sht31": Sht31, "pca9685": Pca9685Lights, "vl53l0x": Vl53l0x, "atecc608": Atecc608}[name](**given)

    def ask(self, name: str, driver: Any) -> None:
        if name == "pca9685":
            driver.on(850, 50, 10)
        elif name == "atecc608":
            driver.sign(bytes(32))
        else:
            driver.read()


@pytest.fixture
def board() -> Board:
    return Board()


each_part = pytest.mark.parametrize("name", ADDRESS)


@each_part
def test_the_part_opens_names_itself_works_and_lets_the_bus_go(board: Board, name: str) -> None:
    driver = board.driver(name)
    info = driver.open()
    assert (info.driver, bool(info.model)) == (name, True)
    board.ask(name, driver)
    driver.close()
    driver.close()
    assert board.bus.open_count == 0
    with pytest.raises(DeviceError, match="not open"):
        board.ask(name, driver)
    kind = next(kind for kind, names in DRIVERS.items() if name in names)
    assert fits(driver, INTERFACES[kind])
    assert driver_class(kind, name) is type(driver)


@each_part
def test_a_missing_part_says_what_to_check(board: Board, name: str) -> None:
    del board.bus.parts[ADDRESS[name]]
    with pytest.raises(DeviceError, match="does not answer") as caught:
        board.driver(name).open()
    assert "power" in caught.value.next_step


@each_part
def test_a_stuck_bus_is_named_and_the_part_works_once_it_is_free(board: Board, name: str) -> None:
    driver = board.driver(name)
    driver.open()
    board.bus.stuck = True
    with pytest.raises(DeviceError, match="stuck") as caught:
        board.ask(name, driver)
    assert "power off and on" in caught.value.next_step
    board.bus.stuck = False
    driver.open()
    board.ask(name, driver)


@each_part
def test_unplugged_in_the_middle_of_anything_and_plugged_in_again(board: Board, name: str) -> None:
    driver = board.driver(name)
    driver.open()
    board.ask(name, driver)
    needed = board.bus.transfers
    for transfers in range(needed):
        board.clock.now_ms += 60_000  # the lamp has rested
        board.bus.transfers_until_unplugged = transfers
        try:
            driver.open()
            board.ask(name, driver)
        except DeviceError as error:
            assert error.next_step
        board.bus.transfers_until_unplugged, board.bus.unplugged = None, set()
        board.clock.now_ms += 60_000
        driver.open()
        board.ask(name, driver)
    driver.close()


@pytest.mark.parametrize("name", ["sht31", "atecc608"])
def test_damage_on_the_wire_is_found_by_the_check_bytes(board: Board, name: str) -> None:
    driver = board.driver(name)
    driver.open()
    board.bus.flips[ADDRESS[name]] = 1
    if name == "atecc608":
        board.bus.flips[ADDRESS[name]] = 0
        board.identity.busy_reads = 0
        board.bus.parts[ADDRESS[name]] = Damaging(board.identity)
    with pytest.raises(DeviceError, match=r"CRC|woke with"):
        board.ask(name, driver)


class Damaging:
    """A part whose answers lose a bit in their middle."""

    def __init__(self, part: Atecc608Twin) -> None:
        self._part = part
        self.write, self.general_call = part.write, part.general_call

    def read(self, length: int) -> bytes:
        data = bytearray(self._part.read(length))
        data[1] ^= 0x04
        return bytes(data)


def test_another_part_at_the_address_is_not_taken_for_the_right_one(board: Board) -> None:
    board.bus.parts[ADDRESS["vl53l0x"]] = Pca9685Twin()
    with pytest.raises(DeviceError, match="no VL53L0X"):
        board.driver("vl53l0x").open()
    board.bus.parts[ADDRESS["pca9685"]] = Vl53l0xTwin()
    board.bus.parts[ADDRESS["pca9685"]].pages[0] = bytearray(256)
    with pytest.raises(DeviceError):
        board.driver("atecc608", address=ADDRESS["sht31"]).open()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sht31", "31.5 °C, 60 %"),
        ("pca9685", "a pulse of 850 nm and white"),
        ("vl53l0x", "nobody"),
        ("atecc608", "signs"),
    ],
)
def test_the_selftest_tries_each_part_for_what_it_is(board: Board, name: str, found: str) -> None:
    driver = board.driver(name, **({"white_channels": "4"} if name == "pca9685" else {}))
    driver.open()
    kind = next(kind for kind, names in DRIVERS.items() if name in names)
    assert found in try_out(kind, driver, threading.Event()).found
    assert board.lights.duty(0) == board.lights.duty(4) == 0
    driver.close()


def test_climate_is_what_the_sensor_measures(board: Board) -> None:
    driver = board.driver("sht31")
    driver.open()
    board.climate.climate = Climate(41.25, 72.5)
    found = driver.read()
    assert (found.temperature_c, found.humidity_percent) == pytest.approx((41.25, 72.5), abs=0.01)


def test_presence_follows_the_distance_and_a_part_that_never_ends_is_given_up(board: Board) -> None:
    driver = board.driver("vl53l0x", near_mm=800)
    driver.open()
    assert board.presence.spads == 5
    assert not driver.present()
    for distance_mm, expected in ((300, True), (799, True), (900, False), (None, False)):
        board.presence.distance_mm = distance_mm
        assert driver.present() is expected
    board.presence.broken = True
    with pytest.raises(DeviceError, match="does not finish"):
        driver.present()


def test_the_chip_signs_with_a_key_it_does_not_give_away_and_sleeps_afterwards(board: Board) -> None:
    driver = board.driver("atecc608")
    info = driver.open()
    assert info.serial == driver.serial()
    assert info.serial.startswith("0123")
    assert info.capabilities == ("locked",)
    key = driver.public_key()
    digest = hashlib.sha256(b"packet").digest()
    signature = driver.sign(digest)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + key)
    der = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    public.verify(der, digest, ec.ECDSA(utils.Prehashed(SHA256())))
    assert not board.identity.awake
    with pytest.raises(DeviceError, match="32 bytes"):
        driver.sign(b"short")


def test_an_empty_slot_is_the_technicians_and_a_fresh_chip_says_that_it_is_open(board: Board) -> None:
    driver = board.driver("atecc608", slot=3)
    driver.open()
    with pytest.raises(DeviceError, match="slot holds no key"):
        driver.public_key()
    assert not board.identity.awake
    board.bus.parts[ADDRESS["atecc608"]] = Atecc608Twin(locked=False)
    assert board.driver("atecc608").open().capabilities == ("not locked",)
    with pytest.raises(DeviceError, match="no slot"):
        board.driver("atecc608", slot=16)


def test_light_stays_below_the_measured_duty_and_goes_dark_by_itself(board: Board) -> None:
    driver = board.driver("pca9685", nir_duty_max=0.2, white_channels="4", white_duty_max=0.4)
    assert driver.open().capabilities == ("850 nm", "white")
    driver.on(850, 100, 40)
    assert board.lights.duty(0) == board.lights.duty(1) == pytest.approx(0.2, abs=1e-3)
    assert board.lights.duty(4) == 0
    board.clock.now_ms += 40
    wait_until(lambda: board.lights.duty(0) == 0)
    with pytest.raises(TransientError, match="rests"):
        driver.on(850, 100, 40)
    board.clock.now_ms += 20
    driver.on(0, 500, 40)  # more than 100 % is 100 %
    assert board.lights.duty(4) == pytest.approx(0.4, abs=1e-3)
    driver.off()
    assert board.lights.duty(4) == 0
    driver.close()


class Timers:
    """threading.Timer for which the test waits."""

    waits_s: ClassVar[list[float]] = []
    last: Any = None

    def __init__(self, wait_s: float, call: Any, arguments: tuple[Any, ...]) -> None:
        self.daemon = False
        Timers.waits_s.append(wait_s)
        Timers.last = staticmethod(lambda: call(*arguments))

    def start(self) -> None:
        return

    def cancel(self) -> None:
        return


def test_no_call_and_no_configuration_lights_longer_or_brighter_than_is_safe(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = board.driver("pca9685")
    driver.open()
    monkeypatch.setattr("threading.Timer", Timers)
    driver.on(850, 100, 3_600_000)
    assert Timers.waits_s == [DURATION_MAX_MS / 1000]
    Timers.last()
    assert board.lights.duty(0) == 0
    driver.close()
    for settings in ({"nir_duty_max": 0.9}, {"nir_duty_max": 0.0}, {"nir_channels": "16"}, {"nir_channels": "a"}):
        with pytest.raises(DeviceError):
            board.driver("pca9685", **settings)
    with pytest.raises(DeviceError, match="no light of 940 nm"):
        driver.on(940, 10, 10)


def test_a_start_finds_a_light_left_on_and_makes_dark_first(board: Board) -> None:
    driver = board.driver("pca9685")
    driver.open()
    driver.on(850, 100, 5000)
    killed, board.bus.open_count = driver, 0
    assert board.lights.duty(0) > 0
    board.driver("pca9685").open()
    assert board.lights.duty(0) == 0
    killed.close()


def test_what_a_machine_without_a_bus_says() -> None:
    missing = next(number for number in range(90, 200) if not Path(f"/dev/i2c-{number}").exists())
    with pytest.raises(DeviceError, match="There is no I2C bus") as caught:
        Sht31(bus=missing, open_bus=open_kernel_bus).open()
    assert "raspi-config" in caught.value.next_step

    def forbidden(number: int) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(DeviceError, match="may not be opened") as caught:
        Sht31(open_bus=forbidden).open()
    assert "group i2c" in caught.value.next_step


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
