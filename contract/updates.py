"""How a unit comes by new software: the hub's job, the files it asks for, the release's manifest, what it reports.

What is trusted is TUF's (The Update Framework 1.0): a unit believes a file when root, timestamp, snapshot and targets
metadata lead to it, whoever carried it. So the job only says which release to take up and when, and the files travel as
plain parts: the unit asks for bytes of a named file and the hub answers with them, one part a message, never retained.
A repository has consistent snapshots and flat names: `7.targets.json`, `<sha256>.rekam-0.2.0-py3-none-any.whl`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from contract.errors import RemoteError
from contract.packet import Millis, Model, Name, Text, refused
from contract.transfer import CHUNK_BYTES_MAX
from contract.update_problems import UpdateProblem

TARGET_BYTES_MAX = 256 * 1024 * 1024
MANIFEST_BYTES_MAX = 256 * 1024
SCHEMA_BYTES_MAX = 256 * 1024
WHEELS_MAX = 300
MESSAGE_BYTES_MAX = 16 * 1024
PART_MESSAGE_BYTES_MAX = CHUNK_BYTES_MAX + 1024
CUSTOM_FIELD = "rekam"

# A wheel's name may hold a local version's plus sign; nothing here can leave a folder or hide in it.
TARGET_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,179}$")
_METADATA_FILE = re.compile(r"^([1-9][0-9]{0,8}\.)?(root|timestamp|snapshot|targets|[a-z][a-z0-9-]{0,31})\.json$")
_TARGET_FILE = re.compile(r"^[0-9a-f]{64}\.[A-Za-z0-9][A-Za-z0-9._+-]{0,179}$")

TargetName = Annotated[str, Field(pattern=TARGET_NAME.pattern)]
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
FloorNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]
Length = Annotated[int, Field(ge=0, le=TARGET_BYTES_MAX)]


class Artefact(StrEnum):
    """What a target is. A wheel is never taken up alone: a release of the edge names it."""

    EDGE = "edge"
    FIRMWARE = "firmware"
    CONFIGURATION_SCHEMA = "configuration-schema"
    WHEEL = "wheel"


class TargetCustom(Model):
    """What the signer says of a target beside length and hash: TUF's `custom`, under the key `rekam`.

    number: counts the releases of an artefact, upwards only; for firmware it is the image's own version word. A wheel
    has the number 0. floor: nothing with a smaller number is installed any more by who has seen this.
    """

    artefact: Artefact
    number: FloorNumber
    version: Text
    floor: FloorNumber = 0

    @model_validator(mode="after")
    def _floor_is_reached(self) -> Self:
        if self.floor > self.number or (self.number == 0) != (self.artefact is Artefact.WHEEL):
            raise ValueError("a release has a number of 1 or more, and is not below its own floor; a wheel has none")
        return self


class NamedTarget(Model):
    """A target that belongs to a release."""

    target: TargetName
    number: Number
    version: Text


class NamedWheel(Model):
    """A wheel of a release; its hash again, so that the release is the same set of bytes for ever."""

    target: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,174}\.whl$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ReleaseManifest(Model):
    """The target of an edge release, as JSON: every wheel that its virtual environment is made of.

    wheels: for all machines; a unit takes of each project the one that fits it best. firmware, configuration_schema:
    what belongs to this release and is taken up with it where the unit has less.
    """

    schema_version: Literal[1] = 1
    number: Number
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$")]
    wheels: Annotated[tuple[NamedWheel, ...], Field(min_length=1, max_length=WHEELS_MAX)]
    firmware: NamedTarget | None = None
    configuration_schema: NamedTarget | None = None

    @model_validator(mode="after")
    def _wheels_differ(self) -> Self:
        if len({wheel.target for wheel in self.wheels}) != len(self.wheels):
            raise ValueError("a wheel is named twice")
        return self


class UpdateJob(Model):
    """What the hub tells one unit to run (`dn/update/next`, retained; sealed to the unit and signed by the hub).

    An empty retained payload takes it back, which counts until the unit begins to write. issued_ms: by the hub's clock;
    a job that is older than the last one seen is ignored. wave: for the report and the log only.
    """

    job: Name
    unit: Name
    artefact: Literal[Artefact.EDGE, Artefact.FIRMWARE, Artefact.CONFIGURATION_SCHEMA]
    target: TargetName
    number: Number
    version: Text
    wave: Annotated[str, Field(max_length=64)] = ""
    issued_ms: Millis


class UpdateState(StrEnum):
    """How far a job is, in order; the last four are ends."""

    RECEIVED = "received"
    DOWNLOADING = "downloading"
    READY = "ready"  # everything is here and verified; it waits for a moment without people
    INSTALLING = "installing"
    TRIAL = "trial"
    GOOD = "good"
    RETURNED = "returned"
    REFUSED = "refused"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        """Whether nothing more follows of this job."""
        return self in (UpdateState.GOOD, UpdateState.RETURNED, UpdateState.REFUSED, UpdateState.CANCELLED)


class Running(Model):
    """What a unit runs now. slot: empty where it has no slots; a number is 0 where it is not known."""

    version: Text
    number: FloorNumber
    slot: Literal["", "a", "b"]
    floor: FloorNumber
    firmware: Text = ""
    firmware_number: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    schema_number: FloorNumber = 0


class UpdateReport(Model):
    """What became of the newest job, and what the unit runs (`up/update/report`, retained; said at every connect).

    job: empty where the unit has seen none. bytes_done, bytes_all: of what has to be fetched. detail: for technicians,
    in English, without personal data. at_ms: by the unit's clock.
    """

    job: Annotated[str, Field(max_length=64)] = ""
    wave: Annotated[str, Field(max_length=64)] = ""
    state: UpdateState | None = None
    bytes_done: Annotated[int, Field(ge=0, le=2**40)] = 0
    bytes_all: Annotated[int, Field(ge=0, le=2**40)] = 0
    problem: UpdateProblem | None = None
    detail: Annotated[str, Field(max_length=1000)] = ""
    running: Running
    at_ms: Millis


class FileRole(StrEnum):
    """Which of the repository's two folders a file lies in."""

    METADATA = "metadata"
    TARGET = "target"


class FileAsk(Model):
    """A unit asks for bytes [offset, offset + length) of a file (`up/update/ask`).

    request: drawn anew for each ask, so that a late answer is not taken for another's. name: for targets with the hash
    in front, as a consistent snapshot has them.
    """

    request: Annotated[int, Field(ge=1, le=2**53)]
    role: FileRole
    name: Annotated[str, Field(max_length=250)]
    offset: Length = 0
    length: Annotated[int, Field(ge=1, le=CHUNK_BYTES_MAX)]

    @model_validator(mode="after")
    def _name_stays_in_its_folder(self) -> Self:
        pattern = _METADATA_FILE if self.role is FileRole.METADATA else _TARGET_FILE
        if not pattern.fullmatch(self.name):
            raise ValueError("no file of a repository has such a name")
        return self


class FilePart(Model):
    """The hub's answer (`dn/update/part`): what there is of the range that was asked for, and the file's whole length.

    absent: there is no such file. retry_after_ms: above 0 nothing is given now, and the unit asks again after that.
    """

    request: Annotated[int, Field(ge=1, le=2**53)]
    total: Length = 0
    data: Annotated[bytes, Field(max_length=CHUNK_BYTES_MAX)] = b""
    absent: bool = False
    retry_after_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 0

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.absent or self.retry_after_ms) and (self.data or self.total):
            raise ValueError("an answer without data carries none")
        return self


def read_custom(custom: Mapping[str, Any] | None) -> TargetCustom:
    """What the signer says of a target, from TUF's `custom`. Raises RemoteError."""
    try:
        return TargetCustom.model_validate((custom or {}).get(CUSTOM_FIELD), strict=False)
    except ValidationError as error:
        raise refused("TargetCustom", error) from None


def write_custom(custom: TargetCustom) -> dict[str, Any]:
    """The same as it goes into the targets metadata."""
    return {CUSTOM_FIELD: custom.model_dump(mode="json")}


def decode_manifest(content: bytes) -> ReleaseManifest:
    """A release's manifest from its target. Raises RemoteError."""
    if len(content) > MANIFEST_BYTES_MAX:
        raise RemoteError(f"A manifest of {len(content)} bytes is too long.")
    try:
        return ReleaseManifest.model_validate_json(content, strict=False)
    except ValidationError as error:
        raise refused("ReleaseManifest", error) from None


def encode_manifest(manifest: ReleaseManifest) -> bytes:
    """The manifest as the target's bytes; the same manifest always gives the same."""
    return manifest.model_dump_json(indent=1).encode() + b"\n"
