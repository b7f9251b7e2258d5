"""A unit whose packet key lives in an ATECC608: commissioned with it, marked in its certificate, sealing with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contract.certificates import key_home_of, new_key, private_pem, public_der
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
from edge.box import Box
from edge.box_files import BoxFiles, Phase
from edge.config import load_config
from edge.factory import Factory
from edge.keys import load_keys
from edge.sensors.identity_atecc608 import Atecc608
from edge.unit_signer import ChipSigner
from hub.schema.tables import Unit
from tests.commissioning.desk_world import DeskWorld, hear
from virtual.i2c_parts import Atecc608Twin
from virtual.i2c_twin import I2cBusTwin

NAME = "desk-b7"


@pytest.fixture
def twin() -> Atecc608Twin:
    return Atecc608Twin(b"this unit's")


@pytest.fixture
def chip(twin: Atecc608Twin) -> ChipSigner:
    part = Atecc608(open_bus=I2cBusTwin({0x60: twin}).open, sleep=lambda _seconds: None)
    return ChipSigner(part, part.open().driver)


def test_a_box_with_a_chip_is_commissioned_and_its_certificate_says_where_its_key_lives(
    tmp_path: Path, chip: ChipSigner, twin: Atecc608Twin
) -> None:
    world = DeskWorld(tmp_path / "world")
    files = BoxFiles(DurableFolder(tmp_path / "box"), chip, {"driver": "atecc608", "bus": 1})
    box = Box(files, Factory(serial="S-1"), world.clock, "rekam test")
    box.take_claim(world.claim())
    for _ in range(6):
        saying = box.say()
        if saying is None:
            break
        for answer in world.deliver(saying.topic, saying.payload):
            hear(box, answer)
        if not world.state(NAME):
            assert world.approve(box, NAME).done
    assert box.phase is Phase.CONFIRMED and not (tmp_path / "box" / "sign.key").exists()
    assert key_home_of(box.files.certificate()) == "tls=software sign=atecc608"
    assert box.hear_desired(world.desired(NAME)) is not None
    box.files.finish()
    config = load_config(tmp_path / "box" / "unit.toml")
    assert config.keys.sign is None and config.devices["identity"] == {"driver": "atecc608", "bus": 1}
    with world.database.reading() as session:
        unit = session.get_one(Unit, NAME)
    assert load_public_key(unit.sign_public_pem.encode(), NAME)
    assert unit.sign_public_pem.encode() == twin.key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )


def test_a_packet_that_the_chip_signed_opens_as_any_other(tmp_path: Path, chip: ChipSigner, twin: Atecc608Twin) -> None:
    hub = new_key()
    sealed = seal(
        b"a capture", signing_key_in_a_part(NAME, chip.sign), [load_recipient_key(public_der(hub.public_key()), "hub")]
    )
    public = load_public_key(public_der(twin.key.public_key()), NAME)
    opened = open_sealed(sealed, load_opening_key(private_pem(hub), "hub"), lambda kid: public if kid == NAME else None)
    assert (opened.payload, opened.signer) == (b"a capture", NAME)


def test_a_chip_that_fails_while_it_signs_is_a_device_error(chip: ChipSigner, twin: Atecc608Twin) -> None:
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
