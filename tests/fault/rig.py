"""A unit's side of a world for transfer faults: where its keys lie, and synthetic sealed captures of any size.

What a capture contains is made up from its number, so that any process can make the same one again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from contract.channel_mqtt import Backoff, MqttSettings
from contract.packet import (
    SAMPLE_BYTES_MAX,
    Attestation,
    Biodata,
    EnrolmentBody,
    Envelope,
    Moment,
    PacketKind,
    PacketSample,
    encode,
)
from contract.sample import Modality
from contract.seal import (
    RecipientKey,
    SigningKey,
    StatementPublicKey,
    load_recipient_key,
    load_signing_key,
    load_statement_public_key,
    seal,
)

SITE = "9901-A"
UNIT = "desk-a1"
OTHER_UNIT = "kiosk-b1"
FAST = Backoff(first_s=0.05, max_s=0.4)


@dataclass(frozen=True)
class Rig:
    """A world on disk. `folder` holds what the setup command wrote."""

    folder: Path
    port: int

    def mqtt(self, name: str, backoff: Backoff = FAST) -> MqttSettings:
        """How `hub` or a unit reaches the broker."""
        folder = self.folder / ("hub" if name == "hub" else f"units/{name}")
        return MqttSettings(
            host="127.0.0.1",
            port=self.port,
            ca=folder / "ca.crt",
            certificate=folder / "tls.crt",
            key=folder / "tls.key",
            client_id=name,
            backoff=backoff,
        )

    def signing_key(self, unit: str = UNIT) -> SigningKey:
        """The unit's packet key."""
        return load_signing_key((self.folder / "units" / unit / "sign.key").read_bytes(), unit)

    def recipients(self, unit: str = UNIT) -> list[RecipientKey]:
        """The hub and the off-line recovery key."""
        folder = self.folder / "units" / unit
        return [
            load_recipient_key((folder / "hub-packet.pub").read_bytes(), "hub"),
            load_recipient_key((folder / "recovery.pub").read_bytes(), "recovery"),
        ]

    def store_key(self, unit: str = UNIT) -> bytes:
        """The unit's at-rest key."""
        return (self.folder / "units" / unit / "store.key").read_bytes()

    def hub_statement(self, unit: str = UNIT) -> StatementPublicKey:
        """The key that verifies receipts."""
        return load_statement_public_key((self.folder / "units" / unit / "hub-statement.pub").read_bytes())


def capture_id(number: int) -> str:
    """The id of capture `number`, always the same."""
    return str(UUID(int=(number << 80) | (0x7 << 76) | (0b10 << 62) | number))


def make_capture(number: int, payload_bytes: int, unit: str = UNIT) -> Envelope:
    """A synthetic enrolment whose samples are `payload_bytes` of noise, always the same for a number and size."""
    noise = random.Random(number * 1_000_003 + payload_bytes)
    pieces = [SAMPLE_BYTES_MAX] * (payload_bytes // SAMPLE_BYTES_MAX) + [payload_bytes % SAMPLE_BYTES_MAX or 1]
    samples = tuple(
        PacketSample(modality=Modality.FINGER, position=1 + index, record=noise.randbytes(size), quality=70, attempts=1)
        for index, size in enumerate(pieces)
    )
    return Envelope(
        kind=PacketKind.ENROLMENT,
        id=capture_id(number),
        unit=unit,
        site=SITE,
        moment=Moment(boot_id=noise.randbytes(16), monotonic_ms=number, sequence=number, wall_ms=number),
        body=EnrolmentBody(
            biodata=_biodata(number),
            samples=samples,
            verification=(),
            papers=("kk",),
            attestation=Attestation(
                text_sha256=bytes(32), biodata_sha256=bytes(32), signature=b"pen strokes", agreed_ms=number
            ),
            steps=(),
        ),
    )


def sealed_capture(rig: Rig, number: int, payload_bytes: int, unit: str = UNIT) -> bytes:
    """A capture sealed by the unit to hub and recovery key; new bytes, and so a new pid, at every call."""
    return seal(encode(make_capture(number, payload_bytes, unit)), rig.signing_key(unit), rig.recipients(unit))


def payload_sizes(seed: int) -> Callable[[int], int]:
    """Sizes of captures by number: mostly small, some of many chunks, so that every step of the transfer is walked."""

    def size(number: int) -> int:
        draw = random.Random(seed * 7919 + number)
        return draw.randrange(4_000, 40_000) if draw.random() < 0.88 else draw.randrange(290_000, 360_000)

    return size


def _biodata(number: int) -> Biodata:
    return Biodata(
        nik=f"99{number:014d}",
        name=f"WARGA {number}",
        birth_place="CONTOH",
        birth_date="1990-01-01",
        sex="PEREMPUAN",
        blood_type="O",
        address="JL. CONTOH 1",
        rt_rw="001/002",
        village="CONTOH",
        district="CONTOH",
        regency="CONTOH",
        province="CONTOH",
        religion="ISLAM",
        marital_status="KAWIN",
        occupation="PETANI",
        nationality="WNI",
    )
