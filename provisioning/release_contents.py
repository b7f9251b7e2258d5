"""What a release is made of: an edge's wheels with their manifest, a controller's image, a schema of settings.

Each becomes a target of the repository: numbered upwards by artefact, its files checked before anybody signs for them.
A wheel that an earlier release names is the same file, so that a unit on a bad line fetches only what changed.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version
from tuf.api.metadata import TargetFile, Targets

from contract.errors import DeviceError
from contract.settings_schema import SettingsSchema
from contract.update_metadata import sha256_of
from contract.updates import (
    TARGET_BYTES_MAX,
    TARGET_NAME,
    WHEELS_MAX,
    Artefact,
    NamedTarget,
    NamedWheel,
    ReleaseManifest,
    TargetCustom,
    decode_manifest,
    encode_manifest,
    read_custom,
    write_custom,
)
from provisioning.firmware_image import read_image
from provisioning.release_folder import ReleaseFolder

PROJECT = "rekam"


@dataclass(frozen=True, slots=True)
class Listed:
    """A target that is no wheel, as the metadata name it."""

    target: str
    custom: TargetCustom

    @property
    def named(self) -> NamedTarget:
        """As a release names it."""
        return NamedTarget(target=self.target, number=self.custom.number, version=self.custom.version)


def listed(targets: Targets, artefact: Artefact) -> list[Listed]:
    """The targets of one kind, by number."""
    found = [Listed(name, read_custom(target.custom)) for name, target in targets.targets.items()]
    return sorted((row for row in found if row.custom.artefact is artefact), key=lambda row: row.custom.number)


def add_edge(
    folder: ReleaseFolder, targets: Targets, wheelhouse: Path, version: str, floor: str, beside: Iterable[Listed]
) -> Listed:
    """An edge release from a folder of wheels. beside: firmware and schema that belong to it.

    floor: the version below which nothing is installed any more, or '' for as before. Raises DeviceError.
    """
    known = listed(targets, Artefact.EDGE)
    _check_new(version, known)
    wheels = read_wheels(wheelhouse, version)
    for name, content in wheels.items():
        _check_same(targets, name, content)
    number = max((row.custom.number for row in known), default=0) + 1
    named = {row.custom.artefact: row.named for row in beside}
    manifest = ReleaseManifest(
        number=number,
        version=version,
        wheels=tuple(
            NamedWheel(target=name, sha256=hashlib.sha256(content).hexdigest()) for name, content in wheels.items()
        ),
        firmware=named.get(Artefact.FIRMWARE),
        configuration_schema=named.get(Artefact.CONFIGURATION_SCHEMA),
    )
    wheel = TargetCustom(artefact=Artefact.WHEEL, number=0, version="")
    for name, content in wheels.items():
        _put(folder, targets, name, content, wheel)
    custom = _custom(Artefact.EDGE, number, version, floor, known)
    return _put(folder, targets, f"rekam-edge-{version}.json", encode_manifest(manifest), custom)


def add_firmware(folder: ReleaseFolder, targets: Targets, built: Path, floor: str) -> Listed:
    """A controller's image, as `make firmware` built it. Its number is the image's own version. Raises DeviceError."""
    image = read_image(built)
    version = f"{image.version >> 16}.{image.version >> 8 & 255}.{image.version & 255}"
    known = listed(targets, Artefact.FIRMWARE)
    _check_new(version, known)
    custom = _custom(Artefact.FIRMWARE, image.version, version, floor, known)
    return _put(folder, targets, f"rekam-controller-{version}.bin", image.content, custom)


def add_schema(folder: ReleaseFolder, targets: Targets, path: Path, version: str, floor: str) -> Listed:
    """A schema of unit.toml, a JSON file, which units will be able to use. Raises DeviceError, RemoteError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}.", next_step="Name the schema's file.") from None
    SettingsSchema(content)
    known = listed(targets, Artefact.CONFIGURATION_SCHEMA)
    _check_new(version, known)
    number = max((row.custom.number for row in known), default=0) + 1
    custom = _custom(Artefact.CONFIGURATION_SCHEMA, number, version, floor, known)
    return _put(folder, targets, f"rekam-settings-{version}.json", content, custom)


def drop(folder: ReleaseFolder, targets: Targets, name: str) -> list[str]:
    """Take a target out, with the wheels that no other release names; returns what went. Raises DeviceError."""
    known = targets.targets.get(name)
    if known is None or read_custom(known.custom).artefact is Artefact.WHEEL:
        raise DeviceError(
            f"No release is called '{name[:80]}'.", next_step="'rekam-provision release show' lists them."
        )
    users = [row.target for row, manifest in manifests(folder, targets) if name in _named_in(manifest)]
    if users:
        raise DeviceError(f"{name} belongs to {users[0]}.", next_step="Drop that first.")
    del targets.targets[name]
    kept = {wheel.target for _, manifest in manifests(folder, targets) for wheel in manifest.wheels}
    loose = [row.target for row in listed(targets, Artefact.WHEEL) if row.target not in kept]
    for wheel in loose:
        del targets.targets[wheel]
    return [name, *loose]


def manifests(folder: ReleaseFolder, targets: Targets) -> list[tuple[Listed, ReleaseManifest]]:
    """Every edge release with what it names. Raises DeviceError, RemoteError."""
    found = []
    for row in listed(targets, Artefact.EDGE):
        path = folder.file(row.target, sha256_of(targets.targets[row.target]))
        try:
            found.append((row, decode_manifest(path.read_bytes())))
        except OSError as error:
            raise DeviceError(f"{path} cannot be read: {error.strerror}.", next_step="Restore the folder.") from None
    return found


def read_wheels(wheelhouse: Path, version: str) -> dict[str, bytes]:
    """Every wheel of a folder, each whole, our own of this version among them. Raises DeviceError."""
    try:
        paths = sorted(path for path in wheelhouse.iterdir() if path.suffix == ".whl")
    except OSError as error:
        raise DeviceError(
            f"{wheelhouse} cannot be read: {error.strerror}.", next_step="Name a folder of wheels."
        ) from None
    if not 0 < len(paths) <= WHEELS_MAX:
        raise DeviceError(
            f"{wheelhouse} holds {len(paths)} wheels.", next_step=f"A release has 1 to {WHEELS_MAX} wheels."
        )
    wheels = {}
    ours = False
    for path in paths:
        ours |= _is_ours(path.name, version)
        wheels[path.name] = _read_wheel(path)
    if not ours:
        raise DeviceError(
            f"No wheel in {wheelhouse} is {PROJECT} {version}.",
            next_step="Build it into that folder: python -m pip wheel --no-deps --wheel-dir FOLDER .",
        )
    return wheels


def _is_ours(name: str, version: str) -> bool:
    try:
        project, built, _, _ = parse_wheel_filename(name)
        return project == canonicalize_name(PROJECT) and built == Version(version)
    except (InvalidWheelFilename, InvalidVersion):
        raise DeviceError(
            f"'{name[:120]}' or '{version[:64]}' is not named as wheels and versions are.",
            next_step="Name wheels by PEP 427, versions by PEP 440.",
        ) from None


def _read_wheel(path: Path) -> bytes:
    try:
        if not TARGET_NAME.fullmatch(path.name) or path.stat().st_size > TARGET_BYTES_MAX:
            raise DeviceError(f"{path.name[:120]} is too long, in name or in bytes.", next_step="Leave it out.")
        with zipfile.ZipFile(path) as archive:
            torn = archive.testzip()
        if torn is None:
            return path.read_bytes()
    except (OSError, zipfile.BadZipFile, EOFError, RuntimeError, ValueError):
        pass
    raise DeviceError(f"{path.name} is torn.", next_step="Copy or build this wheel again.")


def _check_new(version: str, known: list[Listed]) -> None:
    """Raises DeviceError unless the version is above every known one: versions grow, as their numbers do."""
    try:
        highest = max((Version(row.custom.version) for row in known), default=None)
        if highest is None or Version(version) > highest:
            return
    except InvalidVersion:
        raise DeviceError(f"'{version[:64]}' is no version.", next_step="Write one such as 0.7.0 (PEP 440).") from None
    raise DeviceError(
        f"{version} is not above {highest}, which is here already.", next_step="Versions only grow: give a higher one."
    )


def _check_same(targets: Targets, name: str, content: bytes) -> None:
    known = targets.targets.get(name)
    if known is not None and sha256_of(known) != hashlib.sha256(content).hexdigest():
        raise DeviceError(
            f"{name} is another file than the one that is signed for already.",
            next_step="Take that file from the folder's targets/, or give the new one a build number in its name.",
        )


def _custom(artefact: Artefact, number: int, version: str, floor: str, known: list[Listed]) -> TargetCustom:
    """What is said of a new target. The floor never sinks."""
    numbers: Mapping[str, int] = {row.custom.version: row.custom.number for row in known} | {version: number}
    if floor and floor not in numbers:
        raise DeviceError(f"No release has the version {floor[:64]}.", next_step="'release show' lists them.")
    lowest = max((row.custom.floor for row in known), default=0)
    if floor and numbers[floor] < lowest:
        raise DeviceError(f"{floor} is below the present floor.", next_step="A floor only rises.")
    return TargetCustom(
        artefact=artefact, number=number, version=version, floor=numbers[floor] if floor else lowest
    )  # fmt: skip


def _put(folder: ReleaseFolder, targets: Targets, name: str, content: bytes, custom: TargetCustom) -> Listed:
    folder.put_file(name, content)
    target = TargetFile.from_data(name, content, ["sha256"])
    target.unrecognized_fields["custom"] = write_custom(custom)
    targets.targets[name] = target
    return Listed(name, custom)


def _named_in(manifest: ReleaseManifest) -> set[str]:
    return {named.target for named in (manifest.firmware, manifest.configuration_schema) if named is not None}
