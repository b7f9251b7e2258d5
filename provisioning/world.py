"""What a technician writes down before the first start: sites, units with their devices, operators, ports.

One TOML file; unknown keys are errors, and each error names the key that is wrong. See `rekam-provision example`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contract.commissioning import CLAIM_PREFIX
from contract.errors import DeviceError
from contract.packet import Name

WORLD_BYTES_MAX = 4 * 1024 * 1024
Port = Annotated[int, Field(ge=1, le=65535)]
Setting = str | int | float | bool
TECHNICIAN = "technician"

EXAMPLE = """\
# One regency with a desk, a kiosk, a printing station and a handover desk.
# rekam-provision setup world.toml --out /var/lib/rekam
name = "Kabupaten Contoh"
register = "register.json"      # residents, as hub/fleet.py describes them; omit it to start with an empty register

[broker]
host = "127.0.0.1"
port = 8883

# claim_port = 8884, renewal_port = 8885, control_port = 8886: the three above, unless you say otherwise

[console]
host = "127.0.0.1"
port = 8100

[updates]                       # a repository for releases, in OUT/releases; leave the table out for none
# targets_keys = 3              # two of three officers sign a release, and two of three keys say who may;
# targets_threshold = 2         # to try it out alone: 1

[[sites]]
code = "9901-A"
name = "Kecamatan Contoh"
region = "9901"
latitude = -6.2                 # for the map of sites; leave both out where you do not know them
longitude = 106.8

[[units]]
id = "desk-a1"
site = "9901-A"
role = "desk"
screen_port = 8101

[units.devices.finger]
driver = "zfm"
port = "/dev/ttyUSB0"
baud = 57600
width_px = 256
ppi = 500

[[operators]]
id = "tek-andi"                 # 'rekam-provision' speaks as this technician, from OUT/technicians/tek-andi
name = "Andi"
roles = ["technician"]
sites = ["*"]

[[operators]]
id = "op-siti"
name = "Siti Aminah"
roles = ["operator"]
sites = ["9901-A"]
templates = { 2 = "op-siti-right-index.fmr" }   # ISO/IEC 19794-2 records, see 'rekam-match extract --help'
"""


class _Table(BaseModel):
    """A table of the world file: frozen and closed to unknown keys."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class Listener(_Table):
    """Where a server listens."""

    host: str = "127.0.0.1"
    port: Port


class Broker(Listener):
    """The broker's four doors. claim_port, renewal_port, control_port: by default the three ports above `port`."""

    claim_port: Port | None = None
    renewal_port: Port | None = None
    control_port: Port | None = None

    @property
    def doors(self) -> tuple[int, int, int, int]:
        """The ports of service, claims, renewals and control."""
        port = self.port
        return port, self.claim_port or port + 1, self.renewal_port or port + 2, self.control_port or port + 3

    @model_validator(mode="after")
    def _doors_differ(self) -> Self:
        if len(set(self.doors)) != len(self.doors) or max(self.doors) > 65535:
            raise ValueError("the broker's four ports must differ and end at 65535")
        return self


class Site(_Table):
    """A place of service; region: the regency code its captures carry; blanks: cards in stock at the start.

    sign_on: what an operator has to show there: finger, finger+pin or finger+card; latitude, longitude: degrees, for
    the map of sites.
    """

    code: Name
    name: Annotated[str, Field(min_length=1, max_length=120)]
    region: Annotated[str, Field(pattern=r"^[0-9]{4}$")]
    blanks: Annotated[int, Field(ge=0)] = 0
    sign_on: Literal["finger", "finger+pin", "finger+card"] = "finger"
    latitude: Annotated[float | None, Field(ge=-90, le=90, allow_inf_nan=False)] = None
    longitude: Annotated[float | None, Field(ge=-180, le=180, allow_inf_nan=False)] = None


class Unit(_Table):
    """A box with its role and devices; the tables below go into unit.toml, where the agent checks them.

    broker: where this unit finds the broker, if it reaches it through a gateway; lamps: enclosure.lamps.
    """

    id: Name
    site: Name
    role: Literal["kiosk", "desk", "mobile", "handover", "station", "server"]
    screen_port: Port
    devices: dict[Name, dict[Name, Setting]] = Field(default_factory=dict)
    policy: dict[Name, Setting] = Field(default_factory=dict)
    spool: dict[Name, Setting] = Field(default_factory=dict)
    uplink: dict[Name, Setting] = Field(default_factory=dict)
    queue: dict[Name, Setting] = Field(default_factory=dict)
    enclosure: dict[Name, Setting] = Field(default_factory=dict)
    lamps: dict[Name, int] = Field(default_factory=dict)
    broker: Listener | None = None


class Operator(_Table):
    """A person with rights. templates: {finger position: path of an ISO/IEC 19794-2 record}.

    console_secret_file: a file with the pass phrase for the hub's console; without it the operator has none.
    """

    id: Name
    name: Annotated[str, Field(min_length=1, max_length=120)]
    roles: Annotated[tuple[Name, ...], Field(min_length=1)]
    sites: tuple[str, ...] = ()
    templates: dict[Annotated[str, Field(pattern=r"^([1-9]|10)$")], Path] = Field(default_factory=dict)
    console_secret_file: Path | None = None
    lease_days: Annotated[int, Field(ge=1, le=3650)] = 30

    @property
    def is_technician(self) -> bool:
        """Whether this person gets a key that signs orders to the hub."""
        return TECHNICIAN in self.roles


class Updates(_Table):
    """Make an update repository too: how many keys there are of each kind, and how many must sign together.

    By default no single key, lost, stolen or turned, signs anything, and none that is lost is missed.
    """

    root_keys: Annotated[int, Field(ge=1, le=9)] = 3
    root_threshold: Annotated[int, Field(ge=1, le=9)] = 2
    targets_keys: Annotated[int, Field(ge=1, le=9)] = 3
    targets_threshold: Annotated[int, Field(ge=1, le=9)] = 2

    @model_validator(mode="after")
    def _thresholds_can_be_reached(self) -> Self:
        if self.root_threshold > self.root_keys or self.targets_threshold > self.targets_keys:
            raise ValueError("more keys must sign together than there are")
        return self


class World(_Table):
    """The whole file."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    register_file: Annotated[Path | None, Field(alias="register")] = None
    broker: Broker
    console: Listener
    hub: dict[Name, Setting] = Field(default_factory=dict)
    sites: Annotated[tuple[Site, ...], Field(min_length=1)]
    units: tuple[Unit, ...] = ()
    operators: tuple[Operator, ...] = ()
    updates: Updates | None = None

    @model_validator(mode="after")
    def _ids_are_unique_and_known(self) -> Self:
        codes = [site.code for site in self.sites]
        ids = [unit.id for unit in self.units]
        names = [operator.id for operator in self.operators]
        for what, values in (("site", codes), ("unit", ids), ("operator", names)):
            if len(set(values)) != len(values):
                raise ValueError(f"two {what}s carry the same id")
        if "hub" in ids + names or set(ids) & set(names) or any(one.startswith(CLAIM_PREFIX) for one in ids + names):
            raise ValueError("nobody may be called 'hub' or 'c-…', and no unit like an operator")
        if unknown := sorted({unit.site for unit in self.units} - set(codes)):
            raise ValueError(f"units stand at unknown sites: {unknown}")
        return self


def load_world(path: Path) -> World:
    """The world file, with relative paths taken from its folder. Raises DeviceError that names the wrong key."""
    try:
        if path.stat().st_size > WORLD_BYTES_MAX:
            raise DeviceError(f"{path} is larger than {WORLD_BYTES_MAX} bytes.", next_step="Give a world file.")
        fields: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        world = World.model_validate(fields)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DeviceError(
            f"{path} cannot be read: {error}.", next_step="Start from 'rekam-provision example > world.toml'."
        ) from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'file'}: {p['msg']}" for p in error.errors()[:8])
        raise DeviceError(f"{path}: {problems}.", next_step="Correct these keys and run setup again.") from None
    return world
