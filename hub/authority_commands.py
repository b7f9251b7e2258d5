"""What an administrator asks of the authority on a terminal: the issuing key's request, and technicians."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from contract.certificates import common_name, der, load_certificate, load_request, make_request, pem, request_key
from contract.clock import SystemClock
from contract.errors import DeviceError, RemoteError
from contract.seal import load_statement_public_key
from hub import certificates, register
from hub.authority import Authority
from hub.config import HubSettings
from hub.context import HubContext, load_keys
from hub.fleet import Role
from hub.hardware_key import HardwareKey
from hub.schema.commissioning_tables import Technician
from hub.schema.database import Database
from hub.schema.tables import Unit
from hub.vault import Vault

ISSUING_NAME = "issuing"
REQUEST_BYTES_MAX = 64 * 1024


def issuing_request(uri: str, *, make: bool) -> bytes:
    """PKCS#10, PEM, of the issuing key in a hardware module; `make` makes the key first. Raises DeviceError."""
    key = HardwareKey.generate(uri) if make else HardwareKey(uri)
    return make_request(ISSUING_NAME, key).public_bytes(serialization.Encoding.PEM)


def certify_technician(settings: HubSettings, database: Database, request: Path, order_key: str) -> bytes:
    """A technician's certificate, PEM with its issuer, for the operator whom the request names.

    order_key: base64 of the public key that signs their orders, SubjectPublicKeyInfo DER. Raises RemoteError where the
    operator is no technician, DeviceError where this hub is no authority.
    """
    if settings.authority is None:
        raise DeviceError("This hub is no authority.", next_step="Add [authority] to hub.toml.")
    keys = load_keys(settings)
    clock = SystemClock()
    authority = Authority(HubContext(settings, database, Vault(keys.blob), keys, clock), settings.authority)
    found = _request(request)
    name = common_name(found)
    try:
        public = base64.b64decode(order_key, validate=True)
    except binascii.Error:
        raise RemoteError("The order key is no base64.", next_step="Copy it from 'rekam-provision enrol'.") from None
    load_statement_public_key(public, name)
    with database.transaction() as session:
        register.operator_with(session, name, Role.TECHNICIAN)
        if session.get(Unit, name) is not None:
            raise RemoteError(f"A unit is called '{name}'.", next_step="Give the technician another id.")
        session.merge(Technician(id=name, public_key=public))
        session.flush()
        row = authority.issue(session, name, request_key(found), "tls=software sign=software")
        certificates.activate(session, row, clock.wall_ms())
        return pem(load_certificate(row.encoded), authority.issuing_certificate)


def _request(path: Path) -> x509.CertificateSigningRequest:
    try:
        return load_request(der(x509.load_pem_x509_csr(path.read_bytes()[:REQUEST_BYTES_MAX])))
    except (OSError, ValueError):
        raise DeviceError(
            f"{path} is no PKCS#10 request.", next_step="Make one with 'rekam-provision enrol'."
        ) from None


UriArgument = Annotated[
    str, typer.Argument(help="pkcs11:token=…;object=…?module-path=…&pin-source=… (RFC 7512).", metavar="URI")
]
