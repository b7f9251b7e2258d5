"""The unit's one TOML file as frozen settings. An unknown key is an error; paths are relative to the file.

A simulated unit differs from a real one only in ports and driver names here; nothing in the agent asks which it is.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contract.errors import DeviceError
from contract.packet import Name
from edge.time_servers import SERVERS_PATTERN

CONFIG_BYTES_MAX = 256 * 1024
Port = Annotated[int, Field(ge=1, le=65535)]
Fmr = Annotated[float, Field(gt=0, lt=1)]
Setting = str | int | float | bool


class _Table(BaseModel):
    """A table of the file: frozen and closed to unknown keys."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class UnitTable(_Table):
    """Who this unit is. language: of the second line on its pages beside Indonesian."""

    id: Name
    site: Name
    role: Literal["kiosk", "desk", "mobile", "handover", "station", "server"]
    data_dir: Path = Path("data")
    language: Literal["id", "en"] = "id"


class BrokerTable(_Table):
    """Where the broker listens, and this unit's TLS files (certificate CN = unit id).

    renewal_port: its door for a certificate that has ended; by default the second above `port`.
    """

    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Port = 8883
    ca: Path
    certificate: Path
    key: Path
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 20
    renewal_port: Port | None = None


class KeysTable(_Table):
    """Key files: the unit's own (sign, open, store), those of others (public), and the reader key of a card unit.

    sign: left out where the packet key lives in the chip of [devices.identity].
    """

    sign: Path | None = None
    open: Path
    store: Path
    hub_packet: Path
    recovery: Path
    hub_statement: Path
    hub_dispatch: Path = Path("hub-dispatch.pub")
    issuer: Path
    sam: Path | None = None


class ScreenTable(_Table):
    """Where the unit's own pages listen: loopback only, since the browser stands on the same machine."""

    host: Literal["127.0.0.1", "::1", "localhost"] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8101


class SpoolTable(_Table):
    """The high-water mark at which new captures are refused; nothing is ever deleted to make room."""

    bytes_max: Annotated[int, Field(ge=1_000_000)] = 2_000_000_000
    packets_max: Annotated[int, Field(ge=1)] = 2000


class PolicyTable(_Table):
    """Thresholds, named by their false match rates, and the quality gate's retries (M12, M43).

    sign_on_h, sign_on_idle_min: a sign-on ends after so long, or after so long without work.
    """

    sign_fmr: Fmr = 1e-4
    verify_fmr: Fmr = 1e-4
    local_duplicate_fmr: Fmr = 1e-6
    finger_quality_min: Annotated[int, Field(ge=0, le=100)] = 30
    face_quality_min: Annotated[int, Field(ge=0, le=100)] = 30
    iris_quality_min: Annotated[int, Field(ge=0, le=100)] = 30
    attempts_max: Annotated[int, Field(ge=1, le=20)] = 3
    capture_timeout_s: Annotated[float, Field(gt=0, le=300)] = 20.0
    signature_timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    scan_timeout_s: Annotated[float, Field(gt=0, le=600)] = 120.0
    card_timeout_s: Annotated[float, Field(gt=0, le=300)] = 30.0
    handover_policy: Literal["either", "both"] = "either"
    sign_on_h: Annotated[float, Field(gt=0, le=24)] = 10.0
    sign_on_idle_min: Annotated[float, Field(gt=0, le=1440)] = 60.0


class QueueTable(_Table):
    """Queue numbers (M9, M41). Units of one site that both hand out numbers have different prefixes.

    utc_offset_h: of the office: 7 WIB, 8 WITA, 9 WIT; it decides when a day begins.
    """

    capture_prefix: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,3}$")] = "A"
    handover_prefix: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,3}$")] = "B"
    utc_offset_h: Annotated[int, Field(ge=-12, le=14)] = 7

    @model_validator(mode="after")
    def _prefixes_differ(self) -> Self:
        if self.capture_prefix == self.handover_prefix:
            raise ValueError("capture_prefix and handover_prefix must differ, or a number would be called twice")
        return self


Gpio = Annotated[int, Field(ge=0, le=27)]


class EnclosureTable(_Table):
    """What is wired to the unit's own pins, by BCM number; what is not named is not there.

    pin_factory: lgpio for a Pi 3 to 5, rpigpio for old systems, native for none of them; lamps: by name, see
    edge.enclosure.LAMPS; help, cancel: buttons to ground; door: a switch to ground that is closed with the door.
    """

    pin_factory: Literal["lgpio", "rpigpio", "native"] = "lgpio"
    lamps: dict[Name, Gpio] = Field(default_factory=dict)
    lamps_active_high: bool = True
    help: Gpio | None = None
    cancel: Gpio | None = None
    door: Gpio | None = None
    bounce_s: Annotated[float, Field(gt=0, le=1)] = 0.05
    climate_period_s: Annotated[float, Field(ge=10, le=86400)] = 60.0
    temperature_max_c: Annotated[float, Field(ge=30, le=85)] = 60.0

    @property
    def has_pins(self) -> bool:
        """Whether anything is wired to a pin."""
        return bool(self.lamps) or any(pin is not None for pin in (self.help, self.cancel, self.door))


class TimeTable(_Table):
    """Where the machine's clock is set from. servers: up to four names or addresses; none: what DHCP says."""

    servers: Annotated[str, Field(pattern=SERVERS_PATTERN.pattern)] = ""


class UnitConfig(_Table):
    """The whole of unit.toml.

    devices: {kind: {"driver": name, …}} as edge.sensors.drivers takes them; `printer` is a station's IPP printer;
    uplink: settings that edge.uplink understands.
    """

    unit: UnitTable
    broker: BrokerTable
    keys: KeysTable
    screen: ScreenTable = ScreenTable()
    spool: SpoolTable = SpoolTable()
    policy: PolicyTable = PolicyTable()
    queue: QueueTable = QueueTable()
    enclosure: EnclosureTable = EnclosureTable()
    time: TimeTable = TimeTable()
    devices: dict[Name, dict[Name, Setting]] = Field(default_factory=dict)
    uplink: dict[Name, Setting] = Field(default_factory=dict)


def load_config(path: Path) -> UnitConfig:
    """The settings from `path`, with every path made absolute. Raises DeviceError that names the wrong key."""
    try:
        if path.stat().st_size > CONFIG_BYTES_MAX:
            raise DeviceError(f"{path} is larger than {CONFIG_BYTES_MAX} bytes.", next_step="Give the unit's own TOML.")
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DeviceError(
            f"{path} cannot be read: {error}.", next_step="Run 'rekam-provision setup' or correct the file."
        ) from None
    try:
        return _absolute(UnitConfig.model_validate(tables), path.resolve().parent)
    except ValidationError as error:
        raise DeviceError(f"{path}: {_problems(error)}.", next_step="Correct the named keys and start again.") from None


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()[:5])


def _absolute(config: UnitConfig, folder: Path) -> UnitConfig:
    """The same settings with every relative path taken from the file's own folder."""

    def resolved(table: _Table) -> dict[str, Any]:
        return {
            name: folder / value for name in type(table).model_fields if isinstance(value := getattr(table, name), Path)
        }

    return config.model_copy(
        update={
            name: table.model_copy(update=resolved(table))
            for name, table in (("unit", config.unit), ("broker", config.broker), ("keys", config.keys))
        }
    )
