"""The fleet and the register as the setup command hands them to the hub: two JSON files, checked at the door.

`fleet.json` names the sites, the units with their public keys, and the operators with their rights (M66, M67);
`register.json` names the residents of the sites' extracts with what the age and marital rule needs (M8). Both are read
when the hub starts and merged into the database: what is already there keeps its history. Unknown keys are errors.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from contract.certificates import CERTIFICATE_BYTES_MAX
from contract.errors import DeviceError
from contract.operators import SignOnPolicy
from contract.packet import Biodata, Name

FILE_BYTES_MAX = 256 * 1024 * 1024
ADULT_YEARS = 17
ELIGIBLE_MARITAL = frozenset({"KAWIN", "CERAI HIDUP", "CERAI MATI"})
REPAIR = "Correct the file, or make it again with 'rekam-provision setup'."
DEFAULT_PAPERS = ("application-form", "family-card")


class Role(StrEnum):
    """What an operator may be (Words in the domain); one person may hold several roles."""

    FRONT_DESK = "front-desk-officer"
    OPERATOR = "operator"
    ADB = "adb"
    SECTION_HEAD = "section-head"
    DISTRIBUTION = "distribution-officer"
    DC_OFFICER = "dc-officer"
    ADJUDICATOR = "adjudicator"
    TECHNICIAN = "technician"


class FileModel(BaseModel):
    """Base of what stands in the two files: frozen, and closed to unknown keys. Bytes are base64 text."""

    model_config = ConfigDict(
        defer_build=True,
        frozen=True,
        extra="forbid",
        val_json_bytes="base64",
        ser_json_bytes="base64",
        hide_input_in_errors=True,
    )


class FleetSite(FileModel):
    """A place of service. code: as in topics (`9901-A`); region: the regency code that its captures must carry.

    blanks: unpersonalised cards that the place holds when it is first told of; counted from then on (M38);
    sign_on: what everybody who signs on at a unit there has to show, besides what their own entry asks (M67);
    latitude, longitude: degrees, for the map of sites.
    """

    code: Name
    name: Annotated[str, Field(min_length=1, max_length=120)]
    region: Annotated[str, Field(pattern=r"^[0-9]{4}$")]
    blanks: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    sign_on: SignOnPolicy = SignOnPolicy.FINGER
    latitude: Annotated[float | None, Field(ge=-90, le=90, allow_inf_nan=False)] = None
    longitude: Annotated[float | None, Field(ge=-180, le=180, allow_inf_nan=False)] = None


class FleetUnit(FileModel):
    """A box that runs the agent. Public keys are PEM, P-256: one verifies its packets, one seals dispatches to it.

    certificate: PEM of the one that setup issued to it, so that it can be renewed and revoked.
    """

    id: Name
    site: Name
    role: Literal["kiosk", "desk", "mobile", "handover", "station", "server"]
    sign_public_pem: Annotated[str, Field(max_length=1000)]
    open_public_pem: Annotated[str, Field(max_length=1000)]
    certificate: Annotated[str, Field(max_length=CERTIFICATE_BYTES_MAX)] = ""

    @model_validator(mode="after")
    def _keys_are_p256(self) -> Self:
        for pem in (self.sign_public_pem, self.open_public_pem):
            try:
                key = load_pem_public_key(pem.encode())
            except (ValueError, UnsupportedAlgorithm):
                raise ValueError(f"unit {self.id}: a public key is not PEM") from None
            if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != "secp256r1":
                raise ValueError(f"unit {self.id}: a public key is not P-256")
        return self


class FleetOperator(FileModel):
    """A person who works at units or at the hub's console.

    templates: {finger position: base64 of an ISO/IEC 19794-2 record}; public_key, private_key: base64 of
    SubjectPublicKeyInfo and PKCS#8 DER, P-256, for sign-offs (the private one reaches the units sealed, in the roster);
    sites: where the operator may work, "*" for every site; console_secret: empty for no console, else
    `scrypt$16384$8$1$<base64 salt, 16 bytes>$<base64 of 32 bytes>`, made by hashlib.scrypt(secret, n, r, p, dklen=32).
    technician_key: of a technician, base64 of SubjectPublicKeyInfo DER, Ed25519: verifies their orders; certificate:
    PEM of the one that setup issued to them.
    """

    id: Name
    name: Annotated[str, Field(min_length=1, max_length=120)]
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=8)]
    sites: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    templates: Annotated[dict[Annotated[int, Field(ge=1, le=10)], bytes], Field(max_length=10)] = Field(
        default_factory=dict
    )
    public_key: bytes = b""
    private_key: bytes = b""
    lease_days: Annotated[int, Field(ge=1, le=3650)] = 30
    technician_key: Annotated[bytes, Field(max_length=200)] = b""
    certificate: Annotated[str, Field(max_length=CERTIFICATE_BYTES_MAX)] = ""
    console_secret: Annotated[
        str, Field(pattern=r"^(|scrypt\$[0-9]+\$[0-9]+\$[0-9]+\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+)$")
    ] = ""


class Fleet(FileModel):
    """The whole of `fleet.json`."""

    sites: tuple[FleetSite, ...]
    units: tuple[FleetUnit, ...]
    operators: tuple[FleetOperator, ...]

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        codes = {site.code for site in self.sites}
        for what, ids in (
            ("site", [site.code for site in self.sites]),
            ("unit", [unit.id for unit in self.units]),
            ("operator", [operator.id for operator in self.operators]),
        ):
            if len(set(ids)) != len(ids):
                raise ValueError(f"two entries carry the same {what} id")
        for unit in self.units:
            if unit.site not in codes:
                raise ValueError(f"unit {unit.id} stands at an unknown site {unit.site}")
        for operator in self.operators:
            unknown = set(operator.sites) - codes - {"*"}
            if unknown:
                raise ValueError(f"operator {operator.id} works at unknown sites {sorted(unknown)}")
        return self


class RegisteredResident(FileModel):
    """One resident of the register's extract.

    site: whose wajib-KTP list the resident is on; desk: the handover unit that will serve them, empty for the site's
    first one; ever_married: is or was married, where the biodata's marital status does not say so already;
    old_card_due: an earlier card exists and must come in at handover (M49).
    """

    biodata: Biodata
    site: Name
    desk: Annotated[str, Field(max_length=64)] = ""
    ever_married: bool = False
    old_card_due: bool = False
    required_papers: tuple[Name, ...] = DEFAULT_PAPERS

    def is_eligible(self, today: date) -> bool:
        """Whether the resident must hold a card: 17 years old, or is or was married."""
        born = date.fromisoformat(self.biodata.birth_date)
        years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
        return years >= ADULT_YEARS or self.ever_married or self.biodata.marital_status in ELIGIBLE_MARITAL


class Register(FileModel):
    """The whole of `register.json`."""

    residents: tuple[RegisteredResident, ...]

    @model_validator(mode="after")
    def _niks_are_unique(self) -> Self:
        if len({resident.biodata.nik for resident in self.residents}) != len(self.residents):
            raise ValueError("two residents carry the same NIK")
        return self


F = TypeVar("F", bound=FileModel)


def load_fleet(path: Path) -> Fleet:
    """The fleet from its file. Raises DeviceError with the field that is wrong."""
    return _load(path, Fleet)


def load_register(path: Path) -> Register:
    """The residents from their file. Raises DeviceError with the field that is wrong, never its content."""
    return _load(path, Register)


def _load(path: Path, kind: type[F]) -> F:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise DeviceError(f"{path} cannot be read: {error.strerror}.", next_step=REPAIR) from None
    if len(content) > FILE_BYTES_MAX:
        raise DeviceError(f"{path} is larger than {FILE_BYTES_MAX} bytes.", next_step=REPAIR)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg'][:120]}"
            for problem in error.errors(include_input=False, include_context=False)[:5]
        )
        raise DeviceError(f"{path.name} is not valid: {problems}.", next_step=REPAIR) from None
