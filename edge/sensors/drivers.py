"""Names of drivers, and how a device is made from one table of the unit's configuration.

A driver is imported only when its name is asked for: a unit without a Raspberry Pi camera never imports libcamera.
Besides the names below, a full `package.module:Class` is accepted, so that a supplier's driver needs no change here.

A driver's settings are the keyword parameters of its constructor that have plain types (str, int, float, bool, or
one of these with None); parameters of other types, such as a clock, are for tests and integrators and cannot be
reached from a configuration file.
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from contract.errors import DeviceError
from edge.sensors.interface import (
    Camera,
    CardReader,
    ClimateSensor,
    CodeScanner,
    Device,
    DocumentScanner,
    FingerprintScanner,
    IdentityChip,
    Illumination,
    IrisScanner,
    PresenceSensor,
    SignaturePad,
    SlapScanner,
    TicketPrinter,
)

DRIVERS: Mapping[str, Mapping[str, str]] = {
    "camera": {
        "snapshot": "edge.sensors.camera_snapshot:SnapshotCamera",
        "uvc": "edge.sensors.camera_uvc:UvcCamera",
        "picamera2": "edge.sensors.camera_picamera2:PiCamera",
        "sbi": "edge.sensors.sbi_devices:SbiCamera",
    },
    "finger": {
        "zfm": "edge.sensors.fingerprint_zfm:ZfmScanner",
        "folder": "edge.sensors.fingerprint_folder:FolderScanner",
        "sbi": "edge.sensors.sbi_devices:SbiFingerScanner",
    },
    "slap": {
        "folder": "edge.sensors.slap_folder:FolderSlapScanner",
        "sbi": "edge.sensors.sbi_devices:SbiSlapScanner",
    },
    "iris": {
        "snapshot": "edge.sensors.iris_snapshot:SnapshotIrisScanner",
        "picamera2": "edge.sensors.iris_picamera2:PiIrisScanner",
        "sbi": "edge.sensors.sbi_devices:SbiIrisScanner",
    },
    "signature": {
        "isdv4": "edge.sensors.signature_isdv4:Isdv4Pad",
        "evdev": "edge.sensors.signature_evdev:EvdevTablet",
        "siglite": "edge.sensors.signature_siglite:SigLitePad",
        "screen": "edge.sensors.signature_screen:ScreenPad",
    },
    "code": {
        "serial": "edge.sensors.code_serial:SerialCodeScanner",
    },
    "card": {
        "pcsc": "edge.sensors.cardreader_pcsc:PcscReader",
    },
    "scanner": {
        "sane": "edge.sensors.scanner_sane:SaneScanner",
    },
    "ticket": {
        "serial": "edge.sensors.ticket_escpos:SerialTicketPrinter",
        "usb": "edge.sensors.ticket_escpos:UsbTicketPrinter",
        "network": "edge.sensors.ticket_escpos:NetworkTicketPrinter",
        "file": "edge.sensors.ticket_escpos:FileTicketPrinter",
    },
    "illumination": {
        "pca9685": "edge.sensors.lights_pca9685:Pca9685Lights",
    },
    "presence": {
        "vl53l0x": "edge.sensors.presence_vl53l0x:Vl53l0x",
    },
    "climate": {
        "sht31": "edge.sensors.climate_sht31:Sht31",
    },
    "identity": {
        "atecc608": "edge.sensors.identity_atecc608:Atecc608",
        "tpm": "edge.sensors.identity_tpm:Tpm",
    },
    "controller": {
        "panel": "edge.panel:Panel",
    },
}

INTERFACES: Mapping[str, type] = {
    "camera": Camera,
    "finger": FingerprintScanner,
    "slap": SlapScanner,
    "iris": IrisScanner,
    "signature": SignaturePad,
    "code": CodeScanner,
    "card": CardReader,
    "scanner": DocumentScanner,
    "ticket": TicketPrinter,
    "illumination": Illumination,
    "presence": PresenceSensor,
    "climate": ClimateSensor,
    "identity": IdentityChip,
    "controller": Illumination,
}

PLAIN_TYPES = (str, int, float, bool)


def open_driver(kind: str, settings: Mapping[str, object], **parts: object) -> Device:
    """Make the device of one `[devices.<kind>]` table; the device is not connected yet: call its `open()`.

    kind: one of DRIVERS, such as finger. settings: the table as read, with `driver` and the driver's keys. parts: what
    the unit has for its drivers besides, such as `illumination`; a driver gets those that its constructor names.
    Raises DeviceError for an unknown kind, driver or key, a missing key or a value of the wrong type, and names
    what exists.
    """
    if kind not in DRIVERS:
        raise DeviceError(f"There is no device kind {kind!r}.", next_step=f"Use one of {_names(DRIVERS)}.")
    driver = settings.get("driver")
    if not isinstance(driver, str):
        raise DeviceError(
            f"The table devices.{kind} names no driver.", next_step=f"Set driver to one of {_names(DRIVERS[kind])}."
        )
    make = driver_class(kind, driver)
    arguments = checked_settings(kind, driver, make, {k: v for k, v in settings.items() if k != "driver"})
    asked = inspect.signature(make).parameters
    device = make(**arguments, **{name: part for name, part in parts.items() if name in asked})
    if not fits(device, INTERFACES[kind]):
        raise DeviceError(
            f"Driver {driver!r} cannot serve as {INTERFACES[kind].__name__}.",
            next_step=f"Choose another driver for devices.{kind}: {_names(DRIVERS[kind])}, or module:Class.",
        )
    return typing.cast(Device, device)


def needs_light(kind: str, settings: Mapping[str, object]) -> bool:
    """Whether a driver takes the unit's light. False where it cannot be loaded: opening it says why."""
    try:
        make = driver_class(kind, str(settings.get("driver", "")))
    except DeviceError:
        return False
    return "illumination" in inspect.signature(make).parameters


@contextmanager
def light_for(kind: str, devices: Mapping[str, Mapping[str, object]]) -> Iterator[dict[str, Device]]:
    """The parts that a driver is to be made with: the unit's light, opened, where the driver takes one.

    devices: the tables of unit.toml by kind. The controller's light goes before [devices.illumination]. Raises
    DeviceError.
    """
    source = next((name for name in ("controller", "illumination") if name in devices), None)
    if source is None or not needs_light(kind, devices[kind]):
        yield {}
        return
    light = open_driver(source, devices[source])
    try:
        light.open()
        yield {"illumination": light}
    finally:
        light.close()


def driver_class(kind: str, driver: str) -> Callable[..., object]:
    """The class behind a driver's name or `module:Class` path. Raises DeviceError where it cannot be imported."""
    path = DRIVERS[kind].get(driver, driver)
    module_name, colon, class_name = path.partition(":")
    if not colon or not module_name or not class_name:
        raise DeviceError(
            f"There is no {kind} driver {driver!r}.",
            next_step=f"Use one of {_names(DRIVERS[kind])}, or package.module:Class.",
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise DeviceError(
            f"Driver {driver!r} cannot be loaded: {error}.",
            next_step=f"Install what it needs, or use one of {_names(DRIVERS[kind])}.",
        ) from error
    if not callable(found):
        raise DeviceError(f"{path} is not a class.", next_step="Name the driver's class after the colon.")
    return typing.cast(Callable[..., object], found)


def fits(device: object, interface: type) -> bool:
    """Whether an object's methods can be called as the interface's are; their presence alone tells no kind apart."""
    for name in (name for name in dir(interface) if not name.startswith("_")):
        method = getattr(device, name, None)
        if not callable(method):
            return False
        asked = len(inspect.signature(getattr(interface, name)).parameters) - 1
        try:
            inspect.signature(method).bind(*[None] * asked)
        except TypeError:
            return False
    return True


def settings_of(make: Callable[..., object]) -> dict[str, tuple[type, bool, bool]]:
    """What a driver can be told: key → (type, required, may be None)."""
    target = make.__init__ if inspect.isclass(make) else make
    hints = typing.get_type_hints(target)
    found: dict[str, tuple[type, bool, bool]] = {}
    for name, parameter in inspect.signature(make).parameters.items():
        if parameter.kind not in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            continue
        plain, optional = _plain_type(hints.get(name, str))
        if plain is not None:
            found[name] = (plain, parameter.default is inspect.Parameter.empty, optional)
    return found


def checked_settings(
    kind: str, driver: str, make: Callable[..., object], settings: Mapping[str, object]
) -> dict[str, object]:
    """The settings as the driver's constructor takes them; an integer is taken where a number is asked for."""
    known = settings_of(make)
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise DeviceError(
            f"Driver {driver!r} of devices.{kind} does not know {', '.join(unknown)}.",
            next_step=f"Its keys are {_names(known)}.",
        )
    missing = [name for name, (_, required, _) in known.items() if required and name not in settings]
    if missing:
        raise DeviceError(
            f"Driver {driver!r} of devices.{kind} lacks {', '.join(missing)}.", next_step=f"Set {', '.join(missing)}."
        )
    arguments: dict[str, object] = {}
    for name, value in settings.items():
        wanted, _, optional = known[name]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            arguments[name] = float(value)
        elif type(value) is wanted or (optional and value is None):
            arguments[name] = value
        else:
            raise DeviceError(
                f"devices.{kind}.{name} is {value!r}.", next_step=f"Give a value of type {wanted.__name__}."
            )
    return arguments


def _plain_type(hint: object) -> tuple[type | None, bool]:
    """The plain type of a parameter's annotation (None where it is no setting) and whether it may be None."""
    members = (
        [m for m in typing.get_args(hint) if m is not types.NoneType]
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
        else [hint]
    )
    if len(members) == 1 and members[0] in PLAIN_TYPES:
        return typing.cast(type, members[0]), members[0] is not hint
    return None, False


def _names(table: Mapping[str, object]) -> str:
    return ", ".join(sorted(table)) or "(none)"
