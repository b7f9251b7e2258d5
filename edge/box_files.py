"""What a box keeps on disk while it becomes a unit: claim, keys, identity, draft of its configuration.

The phase is read from these files alone. A key that exists is never made again, since packets may be signed with it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.certificates import load_certificate, new_key, pem, private_pem
from contract.commissioning import Claim, Grant, decode_claim, encode_claim
from contract.commissioning_problems import Problem, Refusal
from contract.configuration import Desired, Reported, SelftestReport, Setting, as_toml
from contract.credential import NEXT, NEXT_KEY, FileSigner
from contract.dispatch import decode
from contract.durable_files import DurableFolder
from contract.errors import DeviceError
from contract.seal import KEY_BYTES
from edge.unit_signer import PartSigner, UnitSigner

CLAIM, IDENTITY, CONFIG = "claim.bin", "identity.json", "unit.toml"
TLS_KEY, SIGN_KEY, OPEN_KEY, STORE_KEY = "tls.key", "sign.key", "open.key", "store.key"
SIGN_PUBLIC = "sign.pub"  # of a key in a part: what it was when it was first seen
TLS_CHAIN, CA = "tls.crt", "ca.crt"
HUB_PACKET, HUB_DISPATCH, HUB_STATEMENT = "hub-packet.pub", "hub-dispatch.pub", "hub-statement.pub"
ISSUER, RECOVERY, SAM = "issuer.pub", "recovery.pub", "sam.key"
UPDATE_ROOT = "update-root.json"
REPORTED, SELFTEST = "reported.bin", "selftest.bin"
DRAFT, CANDIDATE = "unit.draft.toml", "unit.candidate.toml"
_BY_GRANT = frozenset({"unit", "broker", "keys"})


class Phase(StrEnum):
    """How far a box is."""

    UNCLAIMED = "unclaimed"
    KNOCKING = "knocking"
    BORN = "born"
    CONFIRMED = "confirmed"
    COMMISSIONED = "commissioned"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the box will be: the durable part of the grant. confirmed: the hub counts its certificate."""

    nonce: str
    unit: str
    site: str
    role: str
    host: str
    port: int
    renewal_port: int
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class BoxKeys:
    """The box's keys; the packet key may live in a part."""

    tls: FileSigner
    sign: UnitSigner
    opening: FileSigner

    @property
    def home(self) -> str:
        """Where they live, as the certificate says it."""
        return f"tls={self.tls.home} sign={self.sign.home}"


class BoxFiles:
    """The files of one box. Raises Refusal (STORE_UNUSABLE, KEY_PART_UNUSABLE) where disk or part fail."""

    def __init__(
        self, folder: DurableFolder, chip: PartSigner | None = None, identity: Mapping[str, Setting] | None = None
    ) -> None:
        """chip: signs packets; without one the packet key is a file. identity: the chip's table of settings."""
        self.folder = folder
        self._chip = chip
        self._identity = dict(identity or {})

    @property
    def phase(self) -> Phase:
        """How far the box is."""
        if self.folder.path(CONFIG).exists():
            return Phase.COMMISSIONED
        identity = self.identity()
        if identity is not None:
            return Phase.CONFIRMED if identity.confirmed else Phase.BORN
        return Phase.KNOCKING if self.folder.path(CLAIM).exists() else Phase.UNCLAIMED

    def claim(self) -> Claim:
        """The claim. Raises Refusal where there is none."""
        content = self.folder.read(CLAIM)
        if content is None:
            raise Refusal(Problem.CLAIM_MISSING)
        return decode_claim(content)

    def begin(self, claim: Claim) -> None:
        """Take up a claim; whatever was granted before is forgotten, the keys stay."""
        self.keys()
        for name in (NEXT, NEXT_KEY, IDENTITY):
            self.folder.remove(name)
        self.folder.write(CLAIM, encode_claim(claim))

    def identity(self) -> Identity | None:
        """Who it will be, once it was granted."""
        content = self.folder.read(IDENTITY)
        return Identity(**json.loads(content)) if content is not None else None

    def identified(self) -> Identity:
        """The same, where it must be there."""
        identity = self.identity()
        if identity is None:
            raise DeviceError("This box has not been granted a name yet.", next_step="Wait for the approval.")
        return identity

    def keep_grant(self, grant: Grant, claim: Claim) -> None:
        """Keep everything that a grant brings; the identity last, since it says that all is there."""
        kept = {
            TLS_CHAIN: pem(load_certificate(grant.certificate), load_certificate(grant.issuing)),
            CA: pem(load_certificate(claim.ca)),
            HUB_PACKET: grant.hub_packet,
            RECOVERY: grant.recovery,
            ISSUER: grant.issuer,
            HUB_DISPATCH: _as_pem(claim.hub_dispatch),
            HUB_STATEMENT: _as_pem(claim.hub_statement),
        }
        if grant.sam:
            kept[SAM] = grant.sam
        if claim.update_root:
            kept[UPDATE_ROOT] = claim.update_root
        for name, content in kept.items():
            self.folder.write(name, content)
        identity = Identity(
            nonce=grant.nonce,
            unit=grant.unit,
            site=grant.site,
            role=grant.role,
            host=claim.host,
            port=claim.service_port,
            renewal_port=claim.renewal_port,
        )
        self._keep_identity(identity)

    def confirm(self) -> None:
        """The hub counts the certificate."""
        self._keep_identity(replace(self.identified(), confirmed=True))

    def certificate(self) -> x509.Certificate:
        """The granted certificate."""
        return load_certificate(self.kept(TLS_CHAIN))

    def kept(self, name: str) -> bytes:
        """A file that must be there. Raises DeviceError."""
        content = self.folder.read(name)
        if content is None:
            raise DeviceError(f"{self.folder.path(name)} is missing.", next_step="Commission this unit again.")
        return content

    def reported(self) -> Reported | None:
        """What was reported of the configuration."""
        content = self.folder.read(REPORTED)
        return decode(Reported, content) if content is not None else None

    def selftest(self) -> SelftestReport | None:
        """What the unit's own test found."""
        content = self.folder.read(SELFTEST)
        return decode(SelftestReport, content) if content is not None else None

    def drafted(self, desired: Desired) -> bytes:
        """A desired configuration as the unit.toml that it would become."""
        identity = self.identified()
        keys = {
            "sign": SIGN_KEY, "open": OPEN_KEY, "store": STORE_KEY, "hub_packet": HUB_PACKET,
            "hub_dispatch": HUB_DISPATCH, "hub_statement": HUB_STATEMENT, "issuer": ISSUER, "recovery": RECOVERY,
        }  # fmt: skip
        if self.folder.path(SAM).exists():
            keys["sam"] = SAM
        broker: dict[str, Setting] = {
            "host": identity.host, "port": identity.port, "ca": CA, "certificate": TLS_CHAIN, "key": TLS_KEY,
            "renewal_port": identity.renewal_port,
        }  # fmt: skip
        theirs: dict[str, Mapping[str, Setting]] = {
            name: table for name, table in desired.tables.items() if name not in _BY_GRANT
        }
        if self._chip is not None:
            del keys["sign"]
            theirs["devices.identity"] = self._identity
        unit = {"id": identity.unit, "site": desired.site, "role": identity.role, "data_dir": "data"}
        return as_toml({"unit": unit, "broker": broker, "keys": keys, **theirs}).encode()

    def finish(self) -> None:
        """Take up the draft as the unit's configuration: the last step of all."""
        self.folder.write(CONFIG, self.kept(DRAFT))

    def keys(self) -> BoxKeys:
        """The box's keys, made where they are missing."""
        for name in (TLS_KEY, OPEN_KEY, SIGN_KEY) if self._chip is None else (TLS_KEY, OPEN_KEY):
            if self.folder.read(name) is None:
                self.folder.write(name, private_pem(new_key()))
        if self.folder.read(STORE_KEY) is None:
            self.folder.write(STORE_KEY, secrets.token_bytes(KEY_BYTES))
        sign = self._in_part(self._chip) if self._chip is not None else FileSigner(self.kept(SIGN_KEY))
        return BoxKeys(FileSigner(self.kept(TLS_KEY)), sign, FileSigner(self.kept(OPEN_KEY)))

    def part_problem(self) -> Refusal | None:
        """What is wrong with the part that holds the packet key; None where it is well, or there is none."""
        try:
            if self._chip is not None:
                self._in_part(self._chip)
        except Refusal as refusal:
            return refusal
        return None

    def _in_part(self, chip: PartSigner) -> PartSigner:
        """The part with its key, made there before it was first seen and never after: what it signed would be lost."""
        known = self.folder.read(SIGN_PUBLIC)
        try:
            if known is None:
                chip.make()
            public = chip.public()
        except DeviceError as error:
            raise Refusal(Problem.KEY_PART_UNUSABLE, str(error)) from None
        if known is None:
            self.folder.write(SIGN_PUBLIC, public)
        elif public != known:
            raise Refusal(
                Problem.KEY_PART_UNUSABLE,
                f"It holds another key than before. If that is meant, remove {self.folder.path(SIGN_PUBLIC)}.",
            )
        return chip

    def _keep_identity(self, identity: Identity) -> None:
        self.folder.write(IDENTITY, json.dumps(asdict(identity)).encode())


def claim_credential(claim: Claim) -> bytes:
    """A claim's certificate and key, PEM, for the provisioning listener. Raises Refusal."""
    try:
        key = serialization.load_der_private_key(claim.key, password=None)
    except (ValueError, TypeError):
        raise Refusal(Problem.CLAIM_INCOMPLETE) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refusal(Problem.CLAIM_INCOMPLETE)
    return pem(load_certificate(claim.certificate)) + private_pem(key)


def _as_pem(der: bytes) -> bytes:
    key = serialization.load_der_public_key(der)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
