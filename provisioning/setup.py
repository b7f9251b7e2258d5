"""Makes a whole world's keys, certificates and configuration in one command, so that its first packet can be believed.

Everything is written into a fresh folder that takes its final name last: an interrupted setup leaves nothing that looks
finished, and an existing world is never written over. Private files are readable by their owner alone.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from contract.card_keys import CardRole, role_key_file
from contract.certificates import load_certificate, pem, private_pem
from contract.configuration import as_toml
from contract.errors import DeviceError
from contract.secret import SALT_BYTES, hash_secret
from provisioning.authority import Authority
from provisioning.broker_files import access_lists, mosquitto_conf
from provisioning.release_folder import UPDATE_ROOT_FILE, KeyPlan, give_to_hub, make_repository
from provisioning.technician_identity import identity_files, new_order_key, order_public_der
from provisioning.world import Operator, Setting, Unit, World

TEMPLATE_BYTES_MAX = 16 * 1024
CARD_ROLES = frozenset({"station", "handover"})
PHRASE_COST = 2**14
KEY_HOME = "tls=software sign=software"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class HubKeys:
    """The hub's private keys, as they are made once."""

    packet: ec.EllipticCurvePrivateKey
    dispatch: ec.EllipticCurvePrivateKey
    issuer: ec.EllipticCurvePrivateKey
    recovery: ec.EllipticCurvePrivateKey
    statement: ed25519.Ed25519PrivateKey
    blob: bytes
    sam: bytes


@dataclass(frozen=True, slots=True)
class IssuingModule:
    """An issuing key in a hardware module. request: its PKCS#10; uri: how the hub finds it (RFC 7512)."""

    request: x509.CertificateSigningRequest
    uri: str


def set_up(
    world: World,
    source: Path,
    target: Path,
    now: datetime,
    progress: Progress,
    module: IssuingModule | None = None,
) -> None:
    """Write the world into `target`, which must not exist. Paths in the world file start at `source`.

    module: where the issuing key is not made here; such a world starts without units, and the hub certifies the rest.
    """
    if target.exists():
        raise DeviceError(f"{target} exists already.", next_step="Name a new folder; keys are never written over.")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        _write_world(world, source, draft, target.absolute(), now, progress, module)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _write_world(
    world: World,
    source: Path,
    draft: Path,
    target: Path,
    now: datetime,
    progress: Progress,
    module: IssuingModule | None,
) -> None:
    progress("Authority")
    authority = Authority(f"{world.name} message bus", now, module.request if module else None)
    _write(draft / "ca", {"ca.crt": authority.certificate, "ca.key": authority.root.key})
    progress("Broker")
    _write_broker(world, authority, draft / "broker", target / "broker")
    keys = HubKeys(
        packet=_new_key(),
        dispatch=_new_key(),
        issuer=_new_key(),
        recovery=_new_key(),
        statement=ed25519.Ed25519PrivateKey.generate(),
        blob=secrets.token_bytes(32),
        sam=secrets.token_bytes(32),
    )
    # The recovery key opens every packet ever sealed: it is made here and must leave this machine.
    _write(draft / "recovery", {"recovery.key": private_pem(keys.recovery)})
    update_root = b""
    if world.updates is not None:
        progress("Releases")
        update_root = make_repository(draft / "releases", now, KeyPlan(**world.updates.model_dump()))
    units = []
    for unit in world.units:
        progress(f"Unit {unit.id}")
        units.append(_write_unit(world, unit, authority, keys, update_root, draft / "units" / unit.id))
    technicians = {}
    for operator in filter(lambda operator: operator.is_technician, world.operators):
        progress(f"Technician {operator.id}")
        technicians[operator.id] = _write_technician(world, operator.id, authority, keys, draft / "technicians")
    progress("Hub")
    _write_hub(world, source, authority, keys, units, technicians, draft / "hub", module)
    if update_root:
        give_to_hub(draft / "releases", draft / "hub" / "updates")


def _write_broker(world: World, authority: Authority, draft: Path, folder: Path) -> None:
    """Everything the broker reads. folder: where the files will lie in the end."""
    issuing, key = authority.issuing
    files = {
        "ca.crt": authority.certificate,
        "trust.crt": authority.certificate + issuing,
        "claims.crt": authority.claims.certificate,
        "control.crt": authority.control,
        "mosquitto.conf": mosquitto_conf(world, folder).encode(),
        **access_lists(world),
    }
    if key is not None:
        server = authority.issue(
            "broker", server_names=tuple(dict.fromkeys((world.broker.host, "localhost", "127.0.0.1")))
        )
        files |= {"tls.crt": server.certificate, "tls.key": server.key, "crl.pem": authority.revocation_list()}
    _write(draft, files)


def _write_technician(world: World, name: str, authority: Authority, keys: HubKeys, folder: Path) -> dict[str, str]:
    """A technician's folder; returns what the hub must know of them."""
    key = new_order_key()
    known = {"technician_key": base64.b64encode(order_public_der(key)).decode()}
    statement = _public_pem(keys.statement.public_key())
    files = identity_files(name, world.broker, authority.certificate, statement, key)
    if authority.issuing[1] is not None:
        client = authority.issue(name, key_home=KEY_HOME)
        files |= {"tls.crt": client.certificate, "tls.key": client.key}
        known["certificate"] = _leaf(client.certificate)
    _write(folder / name, files)
    return known


def _authority_files(authority: Authority) -> dict[str, bytes]:
    issuing, key = authority.issuing
    control = authority.issue_control()
    files = {
        "issuing.crt": issuing,
        "claims.crt": authority.claims.certificate,
        "claims.key": authority.claims.key,
        "control.crt": control.certificate,
        "control.key": control.key,
    }
    if key is not None:
        client = authority.issue("hub")
        files |= {"issuing.key": key, "tls.crt": client.certificate, "tls.key": client.key}
    return files


def _leaf(chain: bytes) -> str:
    return pem(load_certificate(chain)).decode()


def _write_hub(
    world: World,
    source: Path,
    authority: Authority,
    keys: HubKeys,
    units: list[dict[str, str]],
    technicians: Mapping[str, Mapping[str, str]],
    folder: Path,
    module: IssuingModule | None,
) -> None:
    fleet = {
        "sites": [site.model_dump() for site in world.sites],
        "units": units,
        "operators": [
            _operator(operator, source) | dict(technicians.get(operator.id, {})) for operator in world.operators
        ],
    }
    register = b'{"residents": []}'
    if world.register_file is not None:
        register = (source / world.register_file).read_bytes()
    _write(
        folder,
        {
            "ca.crt": authority.certificate,
            **_authority_files(authority),
            "packet.key": private_pem(keys.packet),
            "dispatch.key": private_pem(keys.dispatch),
            "issuer.key": private_pem(keys.issuer),
            "statement.key": keys.statement.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            "blob.key": keys.blob,
            "sam.key": keys.sam,
            "recovery.pub": _public_pem(keys.recovery.public_key()),
            "fleet.json": json.dumps(fleet, indent=1).encode(),
            "register.json": register,
            "hub.toml": _hub_toml(world, module).encode(),
        },
    )


def _write_unit(
    world: World, unit: Unit, authority: Authority, keys: HubKeys, update_root: bytes, folder: Path
) -> dict[str, str]:
    client = authority.issue(unit.id, key_home=KEY_HOME)
    sign, opening = _new_key(), _new_key()
    files = {
        "ca.crt": authority.certificate,
        "tls.crt": client.certificate,
        "tls.key": client.key,
        "sign.key": private_pem(sign),
        "open.key": private_pem(opening),
        "store.key": secrets.token_bytes(32),
        "hub-packet.pub": _public_pem(keys.packet.public_key()),
        "hub-dispatch.pub": _public_pem(keys.dispatch.public_key()),
        "hub-statement.pub": _public_pem(keys.statement.public_key()),
        "issuer.pub": _public_pem(keys.issuer.public_key()),
        "recovery.pub": _public_pem(keys.recovery.public_key()),
        "unit.toml": _unit_toml(world, unit).encode(),
    }
    if unit.role == "station":
        files["sam.key"] = keys.sam
    elif unit.role == "handover":
        files["sam.key"] = role_key_file(keys.sam, CardRole.READER)
    if update_root:
        files[UPDATE_ROOT_FILE] = update_root
    _write(folder, files)
    return {
        "id": unit.id,
        "site": unit.site,
        "role": unit.role,
        "sign_public_pem": _public_pem(sign.public_key()).decode(),
        "open_public_pem": _public_pem(opening.public_key()).decode(),
        "certificate": _leaf(client.certificate),
    }


def _operator(operator: Operator, source: Path) -> dict[str, Any]:
    """The operator's entry in fleet.json, with a new signing key that reaches the units sealed in the roster."""
    key = _new_key()
    templates = {}
    for position, path in operator.templates.items():
        template = (source / path).read_bytes()
        if not template.startswith(b"FMR\x00") or len(template) > TEMPLATE_BYTES_MAX:
            raise DeviceError(
                f"{path} is not an ISO/IEC 19794-2 record.",
                next_step="Make one with 'rekam-match extract IMAGE --iso FILE'.",
            )
        templates[position] = base64.b64encode(template).decode()
    secret = ""
    if operator.console_secret_file is not None:
        phrase = (source / operator.console_secret_file).read_text(encoding="utf-8").strip()
        secret = hash_secret(phrase, secrets.token_bytes(SALT_BYTES), PHRASE_COST)
    return {
        "id": operator.id,
        "name": operator.name,
        "roles": list(operator.roles),
        "sites": list(operator.sites),
        "templates": templates,
        "public_key": base64.b64encode(
            key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        ).decode(),
        "private_key": base64.b64encode(
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        ).decode(),
        "lease_days": operator.lease_days,
        "console_secret": secret,
    }


def _hub_toml(world: World, module: IssuingModule | None) -> str:
    _, claims, renewals, control = world.broker.doors
    return as_toml(
        {
            "hub": {"name": world.name, "database_url": "sqlite:///hub.db", "blob_dir": "blobs", **world.hub},
            "broker": {
                "host": world.broker.host,
                "port": world.broker.port,
                "ca": "ca.crt",
                "certificate": "tls.crt",
                "key": "tls.key",
            },
            "keys": {
                "packet": "packet.key",
                "dispatch": "dispatch.key",
                "statement": "statement.key",
                "issuer": "issuer.key",
                "blob": "blob.key",
                "sam": "sam.key",
                "recovery": "recovery.pub",
            },
            "authority": {
                "issuing_key": module.uri if module else "issuing.key",
                "broker_dir": "../broker",
                "claim_port": claims,
                "renewal_port": renewals,
                "control_port": control,
            },
            "console": {"host": world.console.host, "port": world.console.port},
            "fleet": {"fleet": "fleet.json", "register": "register.json"},
        }
    )


def _unit_toml(world: World, unit: Unit) -> str:
    keys = {
        "sign": "sign.key",
        "open": "open.key",
        "store": "store.key",
        "hub_packet": "hub-packet.pub",
        "hub_dispatch": "hub-dispatch.pub",
        "hub_statement": "hub-statement.pub",
        "issuer": "issuer.pub",
        "recovery": "recovery.pub",
    }
    if unit.role in CARD_ROLES:
        keys["sam"] = "sam.key"
    broker = unit.broker or world.broker
    # Where a unit goes through a gateway of its own, the renewal listener is two ports above, as the agent assumes.
    late: dict[str, Setting] = {} if unit.broker else {"renewal_port": world.broker.doors[2]}
    tables: dict[str, Mapping[str, Setting]] = {
        "unit": {"id": unit.id, "site": unit.site, "role": unit.role, "data_dir": "data"},
        "broker": {
            "host": broker.host,
            "port": broker.port,
            "ca": "ca.crt",
            "certificate": "tls.crt",
            "key": "tls.key",
            **late,
        },
        "keys": keys,
        "screen": {"host": "127.0.0.1", "port": unit.screen_port},
    }
    tables |= {f"devices.{kind}": settings for kind, settings in unit.devices.items()}
    optional: dict[str, Mapping[str, Setting]] = {
        "policy": unit.policy, "spool": unit.spool, "uplink": unit.uplink, "queue": unit.queue,
        "enclosure": unit.enclosure, "enclosure.lamps": unit.lamps,
    }  # fmt: skip
    tables |= {name: table for name, table in optional.items() if table}
    return as_toml(tables)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _public_pem(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, mode=0o700)
    for name, content in files.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
