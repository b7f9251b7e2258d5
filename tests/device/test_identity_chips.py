"""Identity chips: one suite for the ATECC608 on its bus twin and a TPM 2.0 in software; then what only a TPM can do."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contract.errors import DeviceError
from contract.refused_pin import RefusedPin
from edge.sensors.drivers import DRIVERS, INTERFACES, driver_class, fits, open_driver
from edge.sensors.identity_atecc608 import Atecc608
from edge.sensors.interface import KeyMaker
from edge.sensors.selftest import TRIALS
from edge.unit_signer import StartCounter
from tests.soft_tpm import SoftTpm
from virtual.i2c_parts import Atecc608Twin
from virtual.i2c_twin import I2cBusTwin

ADDRESS = 0x60


@dataclass
class Bench:
    """A chip with its key. make: its driver, not opened; lose and give_back: the part goes and comes."""

    name: str
    make: Callable[[], Any]
    lose: Callable[[], None]
    give_back: Callable[[], None]


@pytest.fixture(params=DRIVERS["identity"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "atecc608":
        twin = Atecc608Twin()
        bus = I2cBusTwin({ADDRESS: twin})
        return Bench(
            "atecc608",
            lambda: Atecc608(open_bus=bus.open, sleep=lambda _seconds: None),
            bus.parts.clear,
            lambda: bus.parts.update({ADDRESS: twin}),
        )
    tpm: SoftTpm = request.getfixturevalue("soft_tpm")
    device = open_tpm(tpm)
    device.make_key()
    device.close()
    return Bench("tpm", lambda: open_driver("identity", tpm.settings()), tpm.cut, tpm.start)


def open_tpm(tpm: SoftTpm, **changes: object) -> Any:
    device = open_driver("identity", tpm.settings(**changes))
    device.open()
    return device


def proves_its_key(device: Any) -> bool:
    return "signs" in TRIALS["identity"](device, threading.Event()).found


@pytest.fixture
def device(bench: Bench) -> Iterator[Any]:
    device = bench.make()
    yield device
    device.close()


def test_the_chip_names_itself_and_signs_with_the_key_that_it_shows(bench: Bench, device: Any) -> None:
    info = device.open()
    assert info.driver == bench.name and info.model and info.capabilities
    assert int(device.serial(), 16) >= 0 and len(device.public_key()) == 64
    assert len(device.sign(bytes(32))) == 64 and proves_its_key(device)
    with pytest.raises(DeviceError, match="32 bytes"):
        device.sign(b"short")
    assert fits(device, INTERFACES["identity"]) and driver_class("identity", bench.name) is type(device)


def test_a_closed_chip_does_nothing_until_it_is_opened(device: Any) -> None:
    device.open()
    device.close()
    device.close()
    for call in (device.public_key, lambda: device.sign(bytes(32))):
        with pytest.raises(DeviceError, match="not open"):
            call()
    device.open()
    assert proves_its_key(device)


def test_a_missing_chip_says_what_to_check_and_is_found_once_it_is_there(bench: Bench, device: Any) -> None:
    bench.lose()
    with pytest.raises(DeviceError) as missing:
        device.open()
    assert "Check" in missing.value.next_step
    bench.give_back()
    device.open()
    assert proves_its_key(device)


def test_a_chip_that_goes_between_two_signatures_signs_again_once_it_is_back(bench: Bench, device: Any) -> None:
    device.open()
    key = device.public_key()
    bench.lose()
    with pytest.raises(DeviceError):
        device.sign(bytes(32))
    bench.give_back()
    assert proves_its_key(device) and device.public_key() == key


def test_the_selftest_beside_the_agent_takes_nothing_from_it(bench: Bench, device: Any) -> None:
    device.open()
    beside = bench.make()
    beside.open()
    assert proves_its_key(beside) and proves_its_key(device)
    beside.close()
    assert proves_its_key(device)


def test_the_atecc608_counts_starts_upwards_and_to_its_end() -> None:
    twin = Atecc608Twin()
    bus = I2cBusTwin({ADDRESS: twin})
    device = Atecc608(open_bus=bus.open, sleep=lambda _seconds: None)
    assert isinstance(device, StartCounter)
    with pytest.raises(DeviceError, match="not open"):
        device.starts()
    device.open()
    assert (device.starts(), device.count_start(), device.count_start(), device.starts()) == (0, 1, 2, 2)
    assert twin.counters == [0, 2] and not twin.awake
    twin.counters[1] = 2_097_151
    with pytest.raises(DeviceError, match="refuses"):
        device.count_start()
    device.close()


def test_a_tpm_makes_one_key_and_keeps_it(soft_tpm: SoftTpm) -> None:
    device = open_driver("identity", soft_tpm.settings())
    assert device.open().capabilities == ("no key",) and isinstance(device, KeyMaker)
    with pytest.raises(DeviceError, match="no key 'sign'"):
        device.public_key()  # type: ignore[attr-defined]  # an IdentityChip
    assert (device.make_key(), device.make_key()) == (True, False)
    key = device.public_key()  # type: ignore[attr-defined]
    device.close()
    again = open_tpm(soft_tpm)
    assert again.public_key() == key and proves_its_key(again)
    again.close()


def test_a_half_that_a_power_cut_left_is_made_whole(soft_tpm: SoftTpm) -> None:
    import pkcs11

    device = open_tpm(soft_tpm)
    device.make_key()
    token = pkcs11.lib("libtpm2_pkcs11.so.1").get_token(token_label="rekam")
    with token.open(rw=True) as session:
        session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label="sign").destroy()
    with pytest.raises(DeviceError, match="no key"):
        device.public_key()
    device.close()
    soft_tpm.cut()
    soft_tpm.start()
    device = open_tpm(soft_tpm)
    assert device.make_key() and proves_its_key(device)
    device.close()


def test_a_wrong_pin_is_tried_once_and_the_right_one_works(soft_tpm: SoftTpm) -> None:
    soft_tpm.write_pin("999999")
    for _ in range(6):  # this TPM locks itself at the third wrong PIN
        with pytest.raises(DeviceError, match="refuses its PIN") as refused:
            open_tpm(soft_tpm)
    assert str(soft_tpm.pin_file) in refused.value.next_step
    soft_tpm.write_pin("471147")
    open_tpm(soft_tpm).close()


OPEN_ONCE = """
import json, sys
from edge.sensors.drivers import open_driver
from contract.errors import DeviceError
try:
    open_driver("identity", json.loads(sys.argv[1])).open()
    print("open")
except DeviceError as error:
    print(error.message)
"""


def after_a_start(tpm: SoftTpm) -> str:
    """What an agent that has just begun makes of the TPM: a process that remembers nothing."""
    found = subprocess.run(
        [sys.executable, "-c", OPEN_ONCE, json.dumps(tpm.settings())], check=True, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    return found.stdout.strip()


def test_a_wrong_pin_is_not_tried_again_at_the_next_starts(soft_tpm: SoftTpm) -> None:
    """A unit that is started again and again over a weekend must not lock its own TPM."""
    soft_tpm.write_pin("999999")
    for _ in range(4):  # it locks itself at the third
        assert "refuses its PIN" in after_a_start(soft_tpm)
    (kept,) = soft_tpm.pin_file.parent.glob("pin.*")
    assert b"999999" not in kept.read_bytes() and kept.stat().st_mode & 0o077 == 0
    soft_tpm.write_pin("471147")
    assert after_a_start(soft_tpm) == "open"
    assert not kept.exists()


def test_a_pin_that_was_written_again_is_tried_again(soft_tpm: SoftTpm) -> None:
    """Somebody has put the token right instead of the file, and wrote the PIN once more as the page says."""
    open_tpm(soft_tpm).close()
    refused = RefusedPin(soft_tpm.pin_file)
    refused.remember("rekam", "471147")
    assert RefusedPin(soft_tpm.pin_file).holds("rekam", "471147")
    assert not refused.holds("other", "471147") and not refused.holds("rekam", "471148")
    with pytest.raises(DeviceError, match="refuses its PIN") as told:
        open_tpm(soft_tpm)
    assert "again" in told.value.next_step
    time.sleep(0.02)
    soft_tpm.write_pin("471147")
    open_tpm(soft_tpm).close()


def test_what_was_remembered_and_is_torn_or_strange_stops_nobody(soft_tpm: SoftTpm) -> None:
    kept = soft_tpm.pin_file.with_name("pin.refused")
    for content in (b"", b"torn", bytes(200)):
        kept.write_bytes(content)
        open_tpm(soft_tpm).close()


def test_a_tpm_that_locked_itself_says_so(soft_tpm: SoftTpm) -> None:
    for pin in ("111111", "222222", "333333"):
        soft_tpm.write_pin(pin)
        with pytest.raises(DeviceError):
            open_tpm(soft_tpm)
    soft_tpm.write_pin("471147")
    with pytest.raises(DeviceError, match="locked itself") as locked:
        open_tpm(soft_tpm)
    assert "tpm2_dictionarylockout" in locked.value.next_step


def test_a_wiped_token_is_one_without_a_key(soft_tpm: SoftTpm) -> None:
    device = open_tpm(soft_tpm)
    device.make_key()
    device.close()
    soft_tpm.wipe()
    wiped = open_tpm(soft_tpm)
    with pytest.raises(DeviceError, match="holds no key 'sign'"):
        wiped.sign(bytes(32))
    wiped.close()


def test_a_tpm_that_hangs_costs_its_time_and_no_more(soft_tpm: SoftTpm) -> None:
    patient = open_tpm(soft_tpm)
    patient.make_key()
    device = open_tpm(soft_tpm, call_timeout_s=0.5)
    soft_tpm.hang(True)
    begun_s = time.monotonic()
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"did not answer within 0\.5 s"):
            device.sign(bytes(32))
    assert time.monotonic() - begun_s < 5.0
    soft_tpm.hang(False)
    assert proves_its_key(patient)  # behind what hung, whose answer nobody waits for any more
    assert proves_its_key(device)
    device.close()
    patient.close()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"token": "nobody"}, "no token 'nobody'"),
        ({"store": "/nowhere/at/all"}, "cannot be used"),
        ({"module": "libnobody.so"}, "libnobody.so cannot be loaded"),
        ({"pin_file": "/nowhere/pin"}, "PIN cannot be read"),
    ],
)
def test_a_wrong_setting_is_named(soft_tpm: SoftTpm, changes: dict[str, object], named: str) -> None:
    with pytest.raises(DeviceError, match=named) as refused:
        open_tpm(soft_tpm, **changes)
    assert refused.value.next_step


def test_a_pin_that_others_can_read_is_not_used(soft_tpm: SoftTpm) -> None:
    soft_tpm.pin_file.chmod(0o640)
    with pytest.raises(DeviceError, match="read by others") as refused:
        open_tpm(soft_tpm)
    assert refused.value.next_step.startswith("chmod 600")


def test_a_key_in_another_module_is_not_called_a_tpms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = next((path for path in Path("/usr/lib").rglob("libsofthsm2.so")), None)
    if library is None:
        pytest.skip("softhsm2 is not installed (provisioning/system_packages.sh development)")
    module = tmp_path / "libsofthsm2.so"  # loaded under a name of its own: the other tests' tokens are elsewhere
    module.write_bytes(library.read_bytes())
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n", encoding="utf-8")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    (tmp_path / "pin").write_text("471147", encoding="utf-8")
    (tmp_path / "pin").chmod(0o600)
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "rekam", "--pin", "471147", "--so-pin", "081508"],
        check=True, capture_output=True,
    )  # fmt: skip
    table = {"driver": "tpm", "module": str(module), "pin_file": str(tmp_path / "pin")}
    with pytest.raises(DeviceError, match="is no TPM"):
        open_driver("identity", table).open()
