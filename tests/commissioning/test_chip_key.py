"""A unit whose packet key lives in an ATECC608 or a TPM: commissioned with it, marked in its certificate, sealing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from contract.certificates import key_home_of, new_key, private_pem, public_der
from contract.configuration import Setting
from contract.durable_files import DurableFolder
from contract.errors import DeviceError
from contract.seal import (
    load_opening_key,
    load_public_key,
    load_recipient_key,
    open_sealed,
    seal,
    signing_key_in_a_part,
)
from edge import keys
from edge.box import Box
from edge.box_files import BoxFiles, Phase
from edge.config import load_config
from edge.factory import Factory
from edge.keys import load_keys
from edge.sensors.drivers import open_driver
from edge.sensors.identity_atecc608 import Atecc608
from edge.sensors.interface import IdentityChip
from edge.unit_signer import ChipSigner
from hub.schema.tables import Unit
from tests.commissioning.desk_world import DeskWorld, hear
from virtual.i2c_parts import Atecc608Twin
from virtual.i2c_twin import I2cBusTwin

NAME = "desk-b7"


@dataclass(frozen=True)
class Part:
    """A chip as a box of the factory has it. settings: its identity table."""

    name: str
    signer: ChipSigner
    settings: dict[str, Setting]


@pytest.fixture(params=["atecc608", "tpm"])
def part(request: pytest.FixtureRequest) -> Iterator[Part]:
    if request.param == "atecc608":
        chip = Atecc608(open_bus=I2cBusTwin({0x60: Atecc608Twin(b"this unit's")}).open, sleep=lambda _seconds: None)
        yield Part("atecc608", ChipSigner(chip, chip.open().driver), {"driver": "atecc608", "bus": 1})
        return
    settings = request.getfixturevalue("soft_tpm").settings()
    device = open_driver("identity", settings)
    home = device.open().driver
    assert isinstance(device, IdentityChip)
    yield Part("tpm", ChipSigner(device, home), settings)
    device.close()


@pytest.fixture
def chip(part: Part) -> ChipSigner:
    part.signer.make()
    return part.signer


def commission(box: Box, world: DeskWorld) -> None:
    """From its claim to its birth, as the broker would carry it."""
    for _ in range(6):
        saying = box.say()
        if saying is None:
            break
        for answer in world.deliver(saying.topic, saying.payload):
            hear(box, answer)
        if not world.state(NAME):
            assert world.approve(box, NAME).done


def test_a_box_with_a_chip_is_commissioned_and_its_certificate_says_where_its_key_lives(
    tmp_path: Path, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = DeskWorld(tmp_path / "world")
    files = BoxFiles(DurableFolder(tmp_path / "box"), part.signer, part.settings)
    box = Box(files, Factory(serial="S-1"), world.clock, "rekam test")
    box.take_claim(world.claim())
    commission(box, world)
    assert box.phase is Phase.CONFIRMED and not (tmp_path / "box" / "sign.key").exists()
    assert key_home_of(box.files.certificate()) == f"tls=software sign={part.name}"
    assert box.hear_desired(world.desired(NAME)) is not None
    box.files.finish()
    config = load_config(tmp_path / "box" / "unit.toml")
    assert config.keys.sign is None and config.devices["identity"] == part.settings
    monkeypatch.setattr(keys, "open_chip_signer", lambda _settings: part.signer)
    counter = load_keys(NAME, config.keys, config.devices["identity"]).counter
    assert (counter is not None) == (part.name == "atecc608")  # which counts this unit's starts
    with world.database.reading() as session:
        unit = session.get_one(Unit, NAME)
    assert public_der(load_pem_public_key(unit.sign_public_pem.encode())) == part.signer.public()


def test_a_packet_that_the_chip_signed_opens_as_any_other(chip: ChipSigner) -> None:
    hub = new_key()
    sealed = seal(
        b"a capture", signing_key_in_a_part(NAME, chip.sign), [load_recipient_key(public_der(hub.public_key()), "hub")]
    )
    public = load_public_key(chip.public(), NAME)
    opened = open_sealed(sealed, load_opening_key(private_pem(hub), "hub"), lambda kid: public if kid == NAME else None)
    assert (opened.payload, opened.signer) == (b"a capture", NAME)


def test_a_chip_that_fails_while_it_signs_is_a_device_error() -> None:
    def broken(_text: bytes) -> bytes:
        raise DeviceError("The chip is gone.", next_step="Replace it.")

    with pytest.raises(DeviceError, match="gone"):
        seal(b"x", signing_key_in_a_part(NAME, broken), [load_recipient_key(public_der(new_key().public_key()), "hub")])


def test_a_unit_without_file_and_without_chip_is_told_what_to_name(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path / "world")
    config = load_config(world.folder / "units" / "desk-a1" / "unit.toml")
    without = config.keys.model_copy(update={"sign": None})
    with pytest.raises(DeviceError, match="neither a file nor an identity chip") as refused:
        load_keys(config.unit.id, without)
    assert "[devices.identity]" in refused.value.next_step
