"""The demo's world as files: the world file that the setup command takes, the register, the devices' configuration."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.sample import FingerPosition
from virtual.broker import free_ports
from virtual.demo.cast import DESK, HANDOVER, KIOSK, SITE_A, SITE_B, SITE_K, STATION, Cast

BLANKS = 12
PEN_TIME_SCALE = 8
UNITS = {DESK: (SITE_A, "desk"), KIOSK: (SITE_B, "kiosk"), HANDOVER: (SITE_A, "handover"), STATION: (SITE_K, "station")}
CAPTURE_UNITS = (DESK, KIOSK)
SITES = (
    (SITE_A, "Kecamatan Sukatirta", "9901", 0),
    (SITE_B, "Kecamatan Muara Kencana", "9902", 0),
    (SITE_K, "Dinas Dukcapil Kabupaten Arga Mulya", "9901", BLANKS),
)
DOORS = ("", "claim_", "renewal_", "control_")
POLICY: Mapping[str, str | int | float] = {"finger_quality_min": 20}


@dataclass(frozen=True, slots=True)
class Ports:
    """Who listens where on loopback."""

    broker: tuple[int, ...]
    console: int
    printer: int
    screens: Mapping[str, int]
    links: Mapping[str, int]
    cameras: Mapping[str, int]
    irises: Mapping[str, int]


def choose_ports() -> Ports:
    """Free ports for everybody."""
    units = list(UNITS)
    free = iter(free_ports(6 + 4 * len(units)))
    return Ports(
        broker=(next(free), next(free), next(free), next(free)),
        console=next(free),
        printer=next(free),
        screens={unit: next(free) for unit in units},
        links={unit: next(free) for unit in units},
        cameras={unit: next(free) for unit in units},
        irises={unit: next(free) for unit in units},
    )


def write_register(cast: Cast, path: Path) -> None:
    """The residents whom the register knows; whoever comes twice stands in it under each of their NIKs."""
    residents = [
        {
            "biodata": resident.person.biodata.model_dump(),
            "site": resident.site,
            "desk": HANDOVER,
            "old_card_due": resident.key == "third",
        }
        for resident in cast.residents.values()
        if resident.key != "impostor"
    ]
    path.write_text(json.dumps({"residents": residents}, indent=1), encoding="utf-8")


def write_devices(wire: Path, ports: Ports, path: Path, finger_size_px: tuple[int, int], papers: Path) -> None:
    """The configuration of the twins. finger_size_px: (height, width) of the scanners' windows; papers: of tickets."""
    height, width = finger_size_px
    lines = [f'control = "{wire}/devices.sock"']
    for unit in (DESK, KIOSK, HANDOVER):
        lines += [
            f"[units.{unit}]",
            f'finger = {{ link = "{wire}/{unit}-finger", width_px = {width}, height_px = {height} }}',
            f'signature = {{ link = "{wire}/{unit}-pen", time_scale = {PEN_TIME_SCALE} }}',
            f'ticket = {{ link = "{wire}/{unit}-ticket", papers = "{papers}/{unit}" }}',
        ]
        if unit in CAPTURE_UNITS:
            lines += [f"camera = {{ port = {ports.cameras[unit]} }}", f"iris = {{ port = {ports.irises[unit]} }}"]
    lines += [
        f"[units.{STATION}]",
        f'finger = {{ link = "{wire}/{STATION}-finger", width_px = {width}, height_px = {height} }}',
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def unit_devices(unit: str, wire: Path, ports: Ports, width_px: int, card: Mapping[str, str]) -> str:
    """The [units.devices.*] tables of one unit in the world file."""
    tables: dict[str, Mapping[str, object]] = {
        "finger": {"driver": "zfm", "port": f"{wire}/{unit}-finger", "baud": 57600, "width_px": width_px, "ppi": 500}
    }
    if unit != STATION:
        tables["signature"] = {"driver": "isdv4", "port": f"{wire}/{unit}-pen", "baud": 38400, "settled_s": 0.6}
        tables["ticket"] = {"driver": "serial", "port": f"{wire}/{unit}-ticket", "width_mm": 58}
    if unit in CAPTURE_UNITS:
        camera = f"http://127.0.0.1:{ports.cameras[unit]}"
        tables["camera"] = {
            "driver": "snapshot",
            "url": f"{camera}/face.png",
            "preview_url": f"{camera}/face-small.jpg",
        }
        eyes = f"http://127.0.0.1:{ports.irises[unit]}"
        tables["iris"] = {"driver": "snapshot", "url_right": f"{eyes}/right.png", "url_left": f"{eyes}/left.png"}
    if card:
        tables["card"] = card
    if unit == STATION:
        tables["printer"] = {"uri": f"ipp://127.0.0.1:{ports.printer}/ipp/print"}
    return "\n".join(
        f"[units.devices.{kind}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for kind, table in tables.items()
    )


def write_world(
    cast: Cast, folder: Path, wire: Path, ports: Ports, cards: Mapping[str, Mapping[str, str]], width_px: int
) -> Path:
    """The world file, its register, templates and pass phrases. cards: [devices.card] of the units with a reader."""
    write_register(cast, folder / "register.json")
    parts = [
        'name = "Kabupaten Arga Mulya"\nregister = "register.json"\n',
        "[broker]\n" + "".join(f"{door}port = {port}\n" for door, port in zip(DOORS, ports.broker, strict=True)),
        f"[console]\nport = {ports.console}\n",
        "[hub]\ncheckpoint_period_s = 5.0\n",
    ]
    for code, name, region, blanks in SITES:
        parts.append(f'[[sites]]\ncode = "{code}"\nname = "{name}"\nregion = "{region}"\nblanks = {blanks}\n')
    for unit, (site, role) in UNITS.items():
        parts.append(
            f'[[units]]\nid = "{unit}"\nsite = "{site}"\nrole = "{role}"\nscreen_port = {ports.screens[unit]}\n'
            f"broker = {{ port = {ports.links[unit]} }}\n"
            + "[units.policy]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in POLICY.items())
            + unit_devices(unit, wire, ports, width_px, cards.get(unit, {}))
        )
    for staff in cast.staff.values():
        template = cast.template(staff, FingerPosition.RIGHT_INDEX)
        entry = (
            f'[[operators]]\nid = "{staff.id}"\nname = {json.dumps(staff.name)}\nroles = {_list(staff.roles)}\n'
            f"sites = {_list(staff.sites)}\ntemplates = {{ 2 = {json.dumps(str(template.absolute()))} }}\n"
        )
        if staff.console:
            secret = folder / f"{staff.id}.secret"
            secret.touch(mode=0o600)
            secret.write_text(secrets.token_urlsafe(12), encoding="ascii")
            entry += f'console_secret_file = "{secret.name}"\n'
        parts.append(entry)
    path = folder / "world.toml"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _list(words: Sequence[str]) -> str:
    return json.dumps(list(words))
