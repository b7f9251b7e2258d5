"""What a technician could put into unit.toml: every device that this machine sees, in a bounded time.

Each kind of wire is looked at on its own thread; one that hangs is named and left behind. Looking changes nothing:
files are listed, the I2C bus is read from the addresses of our parts only, and nobody's window or feeder moves.
"""

from __future__ import annotations

import errno
import json
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import smbus2

from contract.channel_pcsc import PcscChannel
from contract.clock import SystemClock
from contract.errors import DeviceError, RekamError
from edge.sensors.i2c_link import BusOpener, open_kernel_bus
from edge.sensors.sbi_frames import PORT_FIRST, PORT_LAST, parse_discovery
from edge.sensors.sbi_link import exchange
from edge.sensors.scanner_sane import list_scanners

DISCOVERY_TIMEOUT_S = 12.0
SBI_TIMEOUT_S = 0.5
IPP_TIMEOUT_S = 4.0
NAME_CHARACTERS_MAX = 120
I2C_PARTS = {
    0x29: ("presence", "vl53l0x"),
    0x35: ("identity", "atecc608"),
    0x36: ("identity", "atecc608"),
    0x40: ("illumination", "pca9685"),
    0x44: ("climate", "sht31"),
    0x45: ("climate", "sht31"),
    0x60: ("identity", "atecc608"),
}
_ASLEEP = frozenset({0x35, 0x36, 0x60})  # an ATECC608 answers only once it was woken


@dataclass(frozen=True, slots=True)
class Found:
    """One thing on a wire. table: the lines of unit.toml that would name it, as far as that can be known."""

    wire: str
    name: str
    table: str = ""


def discover(
    *, timeout_s: float = DISCOVERY_TIMEOUT_S, looks: Sequence[tuple[str, Callable[[], list[Found]]]] | None = None
) -> tuple[list[Found], list[str]]:
    """What was found, and which wires could not be looked at and why. Returns after timeout_s at the latest."""
    wires = looks if looks is not None else LOOKS
    results: dict[str, list[Found] | str] = {}

    def look(wire: str, call: Callable[[], list[Found]]) -> None:
        try:
            results[wire] = call()
        except RekamError as error:
            results[wire] = error.message
        except Exception as error:  # noqa: BLE001 - one broken wire must not hide the others
            results[wire] = type(error).__name__

    # Daemons: a driver that never returns from the kernel must not keep the command from ending.
    threads = [threading.Thread(target=look, args=pair, daemon=True) for pair in wires]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    found: list[Found] = []
    failed: list[str] = []
    for wire, _ in wires:
        result = results.get(wire, f"did not end in {timeout_s:.0f} s")
        if isinstance(result, str):
            failed.append(f"{wire}: {result}")
        else:
            found += sorted(result, key=lambda item: item.name)
    return found, failed


def serial_ports(root: Path = Path("/dev")) -> list[Found]:
    """UARTs and USB adapters, by the name that stays the same wherever they are plugged in."""
    by_id = sorted((root / "serial" / "by-id").glob("*")) if (root / "serial" / "by-id").is_dir() else []
    named = {path.resolve().name for path in by_id}
    plain = [path for pattern in ("ttyUSB*", "ttyACM*", "ttyAMA*") for path in sorted(root.glob(pattern))]
    plain = [path for path in plain if path.name not in named]
    return [Found("serial", path.name[:NAME_CHARACTERS_MAX], f'port = "{path}"') for path in (*by_id, *plain)]


def cameras(root: Path = Path("/sys/class/video4linux")) -> list[Found]:
    """V4L2 devices with the names that their drivers give them."""
    return [
        Found("V4L2", f"{_text(path / 'name')} ({path.name})", _table("camera", "uvc", device=f"/dev/{path.name}"))
        for path in _listed(root)
    ]


def input_devices(root: Path = Path("/sys/class/input"), names: Path = Path("/dev/input/by-id")) -> list[Found]:
    """Tablets and keyboard-wedge scanners: input devices with an absolute pen, and those with keys."""
    stable = {path.resolve().name: str(path) for path in _listed(names)}
    found = []
    for path in _listed(root):
        if not path.name.startswith("event"):
            continue
        absolute = int((_text(path / "device" / "capabilities" / "abs") or "0").split()[-1], 16)
        device = stable.get(path.name, f"/dev/input/{path.name}")
        is_tablet = absolute & 0b11 == 0b11 and absolute >> 24 & 1  # ABS_X, ABS_Y, ABS_PRESSURE
        table = _table("signature", "evdev", device=device) if is_tablet else ""
        found.append(Found("evdev", f"{_text(path / 'device' / 'name')} ({path.name})", table))
    return found


def card_readers() -> list[Found]:
    """PC/SC readers that pcscd has. Raises DeviceError where it does not run."""
    channel = PcscChannel()
    try:
        return [Found("PC/SC", name, _table("card", "pcsc", reader=name)) for name in channel.readers()]
    finally:
        channel.close()


def sbi_devices(first: int = PORT_FIRST, last: int = PORT_LAST) -> list[Found]:
    """Services on SBI's range of ports, as they call themselves; who they are is checked when they are used."""
    never, clock, found = threading.Event(), SystemClock(), []
    kinds = {"Finger": "finger", "Iris": "iris", "Face": "camera"}
    for port in range(first, last + 1):
        try:
            answer = exchange(
                port, "MOSIPDISC", "/device", b'{"type": "Biometric Device"}',
                timeout_s=SBI_TIMEOUT_S, cancel=never, clock=clock,
            )  # fmt: skip
            notices = parse_discovery(answer)
        except RekamError:
            continue
        found += [
            Found("SBI", f"{notice.kind} on port {port}", _table(kinds[notice.kind], "sbi", port=port))
            for notice in notices
            if notice.kind in kinds
        ]
    return found


def i2c_parts(root: Path = Path("/dev"), open_bus: BusOpener = open_kernel_bus) -> list[Found]:
    """Our parts' addresses that acknowledge a read of one byte."""
    found = []
    for path in sorted(root.glob("i2c-*")):
        number = int(path.name.removeprefix("i2c-"))
        try:
            bus = open_bus(number)
        except OSError:
            continue
        try:
            for address, (kind, driver) in I2C_PARTS.items():
                if _answers(bus, address):
                    table = _table(kind, driver, bus=number, address=address)
                    found.append(Found("I2C", f"{driver} at {address:#04x} on bus {number}", table))
        finally:
            bus.close()
    return found


def ticket_printers(root: Path = Path("/dev")) -> list[Found]:
    """USB printers that the kernel serves as device files."""
    paths = sorted((root / "usb").glob("lp*")) if (root / "usb").is_dir() else []
    return [Found("USB printer", path.name, _table("ticket", "file", device=str(path))) for path in paths]


def tpms(root: Path = Path("/dev")) -> list[Found]:
    """TPMs behind the kernel's resource manager; the PIN of the token in them is the technician's."""
    return [
        Found("TPM", path.name, _table("identity", "tpm", tcti=f"device:{path}", pin_file="tpm/pin"))
        for path in sorted(root.glob("tpmrm*"))
    ]


def document_scanners() -> list[Found]:
    """What SANE finds."""
    return [
        Found("SANE", f"{scanner.vendor} {scanner.model}", _table("scanner", "sane", device=scanner.device))
        for scanner in list_scanners(DISCOVERY_TIMEOUT_S)
    ]


def ipp_printers(timeout_s: float = IPP_TIMEOUT_S) -> list[Found]:
    """Printers that announce themselves by DNS-SD. Raises DeviceError where nothing on this machine can listen."""
    try:
        run = subprocess.run(
            ["ippfind", "-T", f"{timeout_s:.0f}"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * timeout_s, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        raise DeviceError("ippfind is not installed, or hangs.", next_step="apt install cups-ipp-utils") from None
    if run.stderr.strip():
        raise DeviceError(run.stderr.decode(errors="replace").strip()[:NAME_CHARACTERS_MAX])
    uris = run.stdout.decode(errors="replace").split()
    return [Found("IPP", uri[:NAME_CHARACTERS_MAX], f"[devices.printer]\nuri = {json.dumps(uri)}") for uri in uris]


def _table(kind: str, driver: str, **settings: str | int) -> str:
    """The lines of unit.toml; names are quoted as JSON, which TOML reads too."""
    lines = {"driver": driver, **settings}
    return "\n".join([f"[devices.{kind}]", *(f"{key} = {json.dumps(value)}" for key, value in lines.items())])


def _answers(bus: object, address: int) -> bool:
    transfer = bus.i2c_rdwr  # type: ignore[attr-defined]  # an I2cBus
    if address in _ASLEEP:
        try:
            transfer(smbus2.i2c_msg.write(0, b"\0"))
        except OSError:
            pass
    try:
        transfer(smbus2.i2c_msg.read(address, 1))
    except OSError as error:
        return error.errno == errno.EREMOTEIO and address not in _ASLEEP
    return True


def _listed(root: Path) -> list[Path]:
    return sorted(root.iterdir()) if root.is_dir() else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:NAME_CHARACTERS_MAX]
    except OSError:
        return ""


LOOKS: tuple[tuple[str, Callable[[], list[Found]]], ...] = (
    ("serial", serial_ports),
    ("V4L2", cameras),
    ("evdev", input_devices),
    ("PC/SC", card_readers),
    ("SBI", sbi_devices),
    ("I2C", i2c_parts),
    ("USB printer", ticket_printers),
    ("TPM", tpms),
    ("SANE", document_scanners),
    ("IPP", ipp_printers),
)
