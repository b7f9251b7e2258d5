"""The hub's one configuration file, `hub.toml`, as frozen settings. Unknown keys are errors; secrets come by path.

Paths are taken from the folder of the file, so that a world can be moved as a whole.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contract.errors import DeviceError

FILE_BYTES_MAX = 1024 * 1024
SQLITE_PREFIX = "sqlite:///"

Port = Annotated[int, Field(ge=1, le=65535)]
Rate = Annotated[float, Field(gt=0, le=1)]


class Section(BaseModel):
    """A table of the file: frozen and closed to unknown keys."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", hide_input_in_errors=True)


class HubSection(Section):
    """What the hub is called and where it keeps things.

    database_url: SQLAlchemy URL, `sqlite:///hub.db` or `postgresql+psycopg://…`; blob_dir: sealed packets.
    checkpoint_period_s: how often the signed clock ticks (M28).
    """

    name: Annotated[str, Field(min_length=1, max_length=120)] = "Pusat Data"
    database_url: str = "sqlite:///hub.db"
    blob_dir: Path = Path("blobs")
    checkpoint_period_s: Annotated[float, Field(gt=0, le=3600)] = 60.0


class BrokerSection(Section):
    """The message broker and the hub's certificate there (its common name is `hub`)."""

    host: str = "127.0.0.1"
    port: Port = 8883
    ca: Path = Path("ca.crt")
    certificate: Path = Path("tls.crt")
    key: Path = Path("tls.key")
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 20


class KeysSection(Section):
    """Files of the hub's keys.

    packet opens packets; dispatch signs what goes to units; statement signs receipts and checkpoints; issuer signs
    chips; blob locks what lies at rest; sam is the cards' master key; recovery is the off-line key's public part.
    """

    packet: Path = Path("packet.key")
    dispatch: Path = Path("dispatch.key")
    statement: Path = Path("statement.key")
    issuer: Path = Path("issuer.key")
    blob: Path = Path("blob.key")
    sam: Path = Path("sam.key")
    recovery: Path = Path("recovery.pub")


class AuthoritySection(Section):
    """The hub as the authority of the message bus, and the broker whose lists it writes.

    issuing_key: a file, or a key in a hardware module as a PKCS#11 URI (RFC 7512:
    `pkcs11:token=rekam;object=issuing?module-path=/usr/lib/…so&pin-source=/etc/rekam/pin`); broker_dir: where
    mosquitto.conf lies; broker_names: further host names and addresses under which units reach the broker;
    control_port: its door for the hub on loopback; revocation_list_h: life of the list, which is signed anew at half of
    it; claim_port, renewal_port: told to boxes.
    """

    issuing_certificate: Path = Path("issuing.crt")
    issuing_key: Annotated[str, Field(max_length=1000)] = "issuing.key"
    claims_certificate: Path = Path("claims.crt")
    claims_key: Path = Path("claims.key")
    control_certificate: Path = Path("control.crt")
    control_key: Path = Path("control.key")
    broker_dir: Path
    broker_names: tuple[Annotated[str, Field(min_length=1, max_length=253)], ...] = ()
    claim_port: Port = 8884
    renewal_port: Port = 8885
    control_port: Port = 8886
    revocation_list_h: Annotated[float, Field(gt=0, le=24 * 90)] = 168.0


class ConsoleSection(Section):
    """Where the console listens. session_h: a log-in ends after so many hours."""

    host: str = "127.0.0.1"
    port: Port = 8100
    session_h: Annotated[float, Field(gt=0, le=24)] = 8.0


class FleetSection(Section):
    """The two files that the setup command hands over (hub.fleet)."""

    fleet: Path = Path("fleet.json")
    register_file: Annotated[Path, Field(alias="register")] = Path("register.json")


class SearchSection(Section):
    """Thresholds of the 1:N search, each named by its false match rate per compared pair of persons (M24).

    candidate_fmr: a person is a candidate where fingers and irises fused reach it; finger_fmr, iris_fmr: or where a
    single finger or eye does. finger_margin, iris_margin: what is taken off each value (−10·log10 of its FMR) before,
    because a calibration made on some people may flatter others, and ten flattered fingers would add up.
    candidates_max: how many go to a case.
    """

    candidate_fmr: Rate = 1e-6
    finger_fmr: Rate = 1e-6
    iris_fmr: Rate = 1e-6
    finger_margin: Annotated[float, Field(ge=0, le=100)] = 25.0
    iris_margin: Annotated[float, Field(ge=0, le=100)] = 10.0
    candidates_max: Annotated[int, Field(ge=1, le=100)] = 10


class PolicySection(Section):
    """What the centre demands of a capture and of a handover.

    handover: which index fingers must match on the desk (M43); verify_fmr: highest FMR at which the check after the
    capture may have been decided; finger_quality_min: below it a sample must be marked as forced; lease_days: how long
    a lease runs of an operator who was enrolled at a unit; it is renewed daily while there is a line (M67);
    pin_reset_h: how long an operator whose PIN was reset may make a new one.
    """

    handover: Literal["either", "both"] = "either"
    verify_fmr: Rate = 1e-3
    finger_quality_min: Annotated[int, Field(ge=0, le=100)] = 0
    lease_days: Annotated[int, Field(ge=1, le=3650)] = 7
    pin_reset_h: Annotated[float, Field(gt=0, le=24 * 31)] = 72.0


class DeadlinesSection(Section):
    """When waiting becomes an event (M23: a stall is an event, not a silence).

    seat_h: an adjudicator who has not decided by then has lost the seat to whoever claims it.
    data_waits_h, data_stuck_h: a unit's oldest packet that is not here is noticed, then grave; silent_h: a unit in
    service of which nothing was heard; certificate_ends_h: a certificate that ends so soon was not renewed in time.
    alarms_kept_days: how long an alarm of a unit is kept after an officer has seen it; before that it always is.
    """

    search_retry_s: Annotated[float, Field(gt=0)] = 30.0
    search_h: Annotated[float, Field(gt=0)] = 24.0
    checks_h: Annotated[float, Field(gt=0)] = 1.0
    adjudication_h: Annotated[float, Field(gt=0)] = 72.0
    seat_h: Annotated[float, Field(gt=0)] = 4.0
    printing_h: Annotated[float, Field(gt=0)] = 24.0
    handover_h: Annotated[float, Field(gt=0)] = 24.0 * 30
    data_waits_h: Annotated[float, Field(gt=0)] = 8.0
    data_stuck_h: Annotated[float, Field(gt=0)] = 48.0
    silent_h: Annotated[float, Field(gt=0)] = 24.0
    certificate_ends_h: Annotated[float, Field(gt=0)] = 24.0 * 8
    alarms_kept_days: Annotated[float, Field(gt=0)] = 90.0


class UpdatesSection(Section):
    """Releases for units (contract.updates): where they lie, how long the hub's own signatures live, what of the line.

    timestamp_h, snapshot_h: lives of what the hub signs, anew at half of them; ends_soon_days: how long before root or
    targets end somebody is told; bytes_per_s, unit_bytes_per_s: for all units together, for one of them, so that
    captures keep the line.
    """

    folder: Path = Path("updates")
    timestamp_h: Annotated[float, Field(gt=0, le=24 * 30)] = 24.0
    snapshot_h: Annotated[float, Field(gt=0, le=24 * 90)] = 168.0
    ends_soon_days: Annotated[int, Field(ge=1, le=365)] = 60
    bytes_per_s: Annotated[int, Field(ge=1024, le=10**9)] = 2 * 1024 * 1024
    unit_bytes_per_s: Annotated[int, Field(ge=1024, le=10**9)] = 256 * 1024


class HubSettings(Section):
    """The whole file. `folder` is where it lies."""

    hub: HubSection = HubSection()
    broker: BrokerSection = BrokerSection()
    keys: KeysSection = KeysSection()
    authority: AuthoritySection | None = None
    console: ConsoleSection = ConsoleSection()
    fleet: FleetSection = FleetSection()
    search: SearchSection = SearchSection()
    policy: PolicySection = PolicySection()
    deadlines: DeadlinesSection = DeadlinesSection()
    updates: UpdatesSection = UpdatesSection()
    folder: Path = Path()

    def path(self, path: Path) -> Path:
        """A path of the file, from the file's folder."""
        return self.folder / path

    @property
    def database_url(self) -> str:
        """The database URL with a relative SQLite path taken from the file's folder."""
        url = self.hub.database_url
        if url.startswith(SQLITE_PREFIX):
            return SQLITE_PREFIX + str((self.folder / url.removeprefix(SQLITE_PREFIX)).absolute())
        return url


def load_settings(path: Path) -> HubSettings:
    """The settings from a TOML file. Raises DeviceError that names the key that is wrong."""
    advice = "Correct the file; 'rekam-provision setup' writes a complete one."
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise DeviceError(f"{path} is larger than {FILE_BYTES_MAX} bytes.", next_step=advice)
        fields: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DeviceError(f"{path} cannot be read: {error}.", next_step=advice) from None
    if "folder" in fields:
        raise DeviceError(f"{path}: folder: extra_forbidden.", next_step=advice)
    try:
        return HubSettings.model_validate({**fields, "folder": path.absolute().parent})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'file'}: {p['msg']}" for p in error.errors()[:8])
        raise DeviceError(f"{path}: {problems}.", next_step=advice) from None
