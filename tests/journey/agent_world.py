"""One unit as deployed: the real agent process, its real drivers on twins, real keys, and a person in front of it.

There is no broker: the unit is off-line, as a mobile unit is for days. What the hub would have told it beforehand
(roster, register) lies in its sealed store.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from contract.clock import SystemClock
from contract.dispatch import RegisterEntry, RegisterPage
from contract.image_formats import ImageFormat, encode_image
from contract.lifecycle import RecordState
from contract.operators import Lease, OperatorEntry, Roster, sign_lease
from contract.sample import BOTH_EYES, FingerPosition
from contract.seal import StatementKey, load_statement_key, load_statement_public_key
from edge.matcher_lite import extract
from edge.register import Register
from edge.roster import RosterBook
from edge.sealed_store import SealedStore
from edge.trusted_time import TrustedTime
from provisioning.authority import Authority
from virtual.broker import free_port
from virtual.people import Person, duplicate, person
from virtual.unit_twin import CameraTable, FingerTable, SignatureTable, UnitTable, UnitTwin

SEED, RESIDENT, OPERATOR = 4107, 3, 11
PAPERS = ["application-form", "family-card"]
START_TIMEOUT_S = 60.0
UNIT = "desk-a1"
Snapshot = dict[str, Any]


def private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def entry_of(name: str, shown: str, templates: dict[int, bytes], hub: StatementKey) -> OperatorEntry:
    """An operator with a key of their own and a lease that outlives every test."""
    key = ec.generate_private_key(ec.SECP256R1())
    der, info = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(der, info)
    lease = Lease(
        operator=name, roles=("operator",), sites=("9901-A",), from_ms=1_700_000_000_000, until_ms=4_000_000_000_000,
        sequence=1, key_sha256=hashlib.sha256(public).digest(),
    )  # fmt: skip
    private = key.private_bytes(der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return OperatorEntry(
        operator=name, name=shown, templates=templates, public_key=public, private_key=private,
        lease=sign_lease(lease, hub),
    )  # fmt: skip


class AgentWorld:
    """A desk with its devices; `resident` sits in front of it, `twin_papers` is the same body under another NIK."""

    def __init__(self, folder: Path, role: str = "desk") -> None:
        self.folder = folder
        self.port = free_port()
        self.resident: Person = person(SEED, RESIDENT)
        self.twin_papers: Person = duplicate(self.resident)
        self.operator: Person = person(SEED, OPERATOR)
        self.hub_packet, self.sign = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.statement = ed25519.Ed25519PrivateKey.generate()
        self.devices = UnitTwin(
            UnitTable(
                finger=FingerTable(link=folder / "finger", width_px=388, height_px=374),
                signature=SignatureTable(link=folder / "pad", time_scale=20),
                camera=CameraTable(),
                iris=CameraTable(),
            )
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None
        self._write_files(role)
        self._tell_unit()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _write_files(self, role: str) -> None:
        opening, recovery, dispatch, issuer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(4))
        self.store_key = secrets.token_bytes(32)
        files = {
            "sign.key": private_pem(self.sign), "open.key": private_pem(opening), "store.key": self.store_key,
            "hub-packet.pub": public_pem(self.hub_packet), "recovery.pub": public_pem(recovery),
            "hub-statement.pub": public_pem(self.statement), "hub-dispatch.pub": public_pem(dispatch),
            "issuer.pub": public_pem(issuer),
        }  # fmt: skip
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        authority = Authority("test bus", datetime.now(UTC))
        credential = authority.issue(UNIT)
        (self.folder / "ca.crt").write_bytes(authority.certificate)
        (self.folder / "tls.crt").write_bytes(credential.certificate)
        (self.folder / "tls.key").write_bytes(credential.key)
        self._write_settings(role)

    def _write_settings(self, role: str) -> None:
        found = self.devices.status()
        (self.folder / "unit.toml").write_text(
            f"""
[unit]
id = "{UNIT}"
site = "9901-A"
role = "{role}"
[broker]
host = "127.0.0.1"
port = {free_port()}
ca = "ca.crt"
certificate = "tls.crt"
key = "tls.key"
[keys]
sign = "sign.key"
open = "open.key"
store = "store.key"
hub_packet = "hub-packet.pub"
recovery = "recovery.pub"
hub_statement = "hub-statement.pub"
issuer = "issuer.pub"
[screen]
port = {self.port}
[policy]
capture_timeout_s = 4
[devices.camera]
driver = "snapshot"
url = "{found["camera"]}"
[devices.iris]
driver = "snapshot"
url_right = "{found["iris_right"]}"
url_left = "{found["iris_left"]}"
[devices.finger]
driver = "zfm"
port = "{found["finger"]}"
width_px = 388
poll_interval_s = 0.01
lift_between = false
[devices.signature]
driver = "isdv4"
port = "{found["signature"]}"
settled_s = 0.2
""",
            encoding="utf-8",
        )

    def _tell_unit(self) -> None:
        """What the hub has told the unit before it went off-line."""
        store = SealedStore(self.data / "unit.db", self.store_key)
        register = Register(store, "9901-A")
        template = extract(self.operator.finger(FingerPosition.RIGHT_INDEX, 0)).to_iso()
        entry = entry_of("op-siti", "Siti Aminah", {2: template}, load_statement_key(private_pem(self.statement)))
        public = load_statement_public_key(public_pem(self.statement))
        RosterBook(store, "9901-A", public, TrustedTime(store, SystemClock())).take(
            Roster(version=1, operators=(entry,))
        )
        entries = tuple(
            RegisterEntry(
                biodata=who.biodata, status=RecordState.UNREGISTERED, eligible=True, required_papers=tuple(PAPERS)
            )
            for who in (self.resident, self.twin_papers)
        )
        register.take_page(RegisterPage(site="9901-A", page="p1", version=1, entries=entries))
        store.close()

    # --- the process ---

    def start(self) -> None:
        (self.data / "screen.token").unlink(missing_ok=True)
        log = (self.folder / "agent.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge", "run", "--config", str(self.folder / "unit.toml")], stderr=log, stdout=log
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "agent.log").read_text())
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            token = (self.data / "screen.token").read_text()
            self._client = httpx.Client(base_url=self.url, headers={"X-Rekam-Token": token}, timeout=40)
            return self._client.get("/api/status").is_success
        except (OSError, httpx.HTTPError):
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)

    def kill_worker(self) -> None:
        """SIGKILL to the comparison worker, and to nothing else."""
        assert self._process is not None
        agent = self._process.pid
        children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
        workers = [pid for pid in children if b"comparison_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(workers) == 1
        os.kill(int(workers[0]), signal.SIGKILL)

    def end(self) -> int:
        """SIGTERM; the exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(10)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self.devices.close()

    # --- the person and the API ---

    def get(self, path: str, **query: Any) -> Any:
        assert self._client is not None
        return self._client.get(path, params=query).json()

    def post(self, path: str, fields: dict[str, Any] | None = None) -> Any:
        assert self._client is not None
        return self._client.post(path, json=fields or {}, params={"wait_s": 30}).json()

    def sign_on(self, who: Person | None = None, operator: str = "op-siti", pin: str = "") -> Snapshot:
        """The officer lays the asked finger, and gives the PIN where one is asked."""
        found: Snapshot = self.post("/api/officer-work/identify", {"operator": operator})
        named = who or self.operator
        while found.get("step") in {"finger", "pin"}:
            if found["step"] == "pin":
                return self.post("/api/officer-work/pin", {"pin": pin})  # type: ignore[no-any-return]
            self.devices.obey(
                {"finger": {"person": [named.seed, named.index], "position": found["ask"]["position"], "impression": 1}}
            )
            found = self.post("/api/officer-work/capture")
            if found.get("advice_id"):
                break
        return found

    def begin(self, who: Person) -> Snapshot:
        if self.get("/api/sign-on")["officer"] is None:
            assert self.sign_on()["step"] == "signed_on"
        self.devices.obey({"person": {"seed": who.seed, "index": who.index}})
        found: Snapshot = self.post("/api/session", {"nik": who.nik, "operator": "op-siti", "papers": PAPERS})
        return found

    def do(self, snapshot: Snapshot) -> Snapshot:
        """What a willing resident does at this step, and the operator at the sign-off."""
        step, who = snapshot["step"], self.operator if snapshot["step"] == "sign_off" else self.resident
        named = [who.seed, who.index]
        if step in {"fingers", "verify", "sign_off"}:
            impression = 0 if step == "fingers" else 1
            self.devices.obey(
                {"finger": {"person": named, "position": snapshot["ask"]["position"], "impression": impression}}
            )
        if step in {"signature", "attest"}:
            self.devices.obey({"signature": {"person": named}})
        said = {"biodata": "confirm", "photo_review": "confirm", "iris_review": "confirm", "attest": "agree"}
        action = said.get(step, "capture")
        if "force" in snapshot["actions"]:
            action = "force"
        found: Snapshot = self.post(f"/api/session/{action}")
        return found

    def cross_the_eyes(self) -> None:
        """The iris camera's cables are swapped: each eye comes as the other one."""
        files = {}
        for position, side in zip(BOTH_EYES, ("left", "right"), strict=True):
            files[side] = str(self.folder / f"{side}.png")
            octets = encode_image(self.resident.iris(position), ImageFormat.PNG)
            Path(files[side]).write_bytes(octets)
        self.devices.obey({"iris": files})

    def walk(self, who: Person, until: Callable[[Snapshot], bool]) -> list[Snapshot]:
        """Serve a resident until the snapshot says so; every snapshot on the way."""
        return self.go_on([self.begin(who)], until)

    def go_on(self, seen: list[Snapshot], until: Callable[[Snapshot], bool]) -> list[Snapshot]:
        """The same from where a session stands."""
        while not until(seen[-1]):
            assert len(seen) < 60, [(s["step"], s["advice_en"], s["problem"]) for s in seen[-12:]]
            seen.append(self.do(seen[-1]))
            assert "step" in seen[-1], seen[-1]
        return seen


def environment_is_ready() -> bool:
    """Whether this machine has pseudo-terminals for the twins."""
    return os.path.exists("/dev/ptmx")  # noqa: PTH110 - a device node, not a file of ours
