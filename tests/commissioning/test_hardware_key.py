"""The issuing key in a hardware module, on SoftHSM: made there, certified by the root, used by the hub, never seen."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from contract.certificates import is_issued_by, load_certificate
from contract.errors import DeviceError
from hub.__main__ import cli
from hub.config import load_settings
from hub.hardware_key import HardwareKey
from provisioning.__main__ import app
from tests.commissioning.desk_world import hub_authority

MODULE = next((path for path in Path("/usr/lib").rglob("libsofthsm2.so")), Path("/usr/lib/softhsm/libsofthsm2.so"))
TOKEN, PIN = "rekam", "4711"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A module with one token for all tests: it looks for tokens once a process. Returns the file with its PIN."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    conf = folder / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(conf))
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "0815"],
            check=True, capture_output=True,
        )  # fmt: skip
        (folder / "pin").write_text(PIN + "\n", encoding="utf-8")
        yield folder / "pin"


@pytest.fixture
def uri(token: Path, tmp_path: Path) -> str:
    """A key of this test's own in the token."""
    return f"pkcs11:token={TOKEN};object={tmp_path.name}?module-path={MODULE}&pin-source=file:{token}"


def test_the_module_signs_and_its_key_stays(uri: str) -> None:
    key = HardwareKey.generate(uri)
    again = HardwareKey(uri)
    again.public_key().verify(key.sign(b"text", ec.ECDSA(hashes.SHA256())), b"text", ec.ECDSA(hashes.SHA256()))
    for leave in (key.private_numbers, key.private_bytes):
        with pytest.raises(DeviceError, match="stays in its module"):
            leave()
    with pytest.raises(DeviceError, match="already"):
        HardwareKey.generate(uri)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda uri: uri.replace("token=", "tok="), "names no token"),
        (lambda uri: uri.replace("token=rekam", "token=nobody"), "no token 'nobody'"),
        (lambda uri: uri.replace("object=", "object=no-"), "no key 'no-"),
        (lambda uri: uri + "-not-there", "PIN of token 'rekam' cannot be read"),
        (lambda uri: uri.replace("softhsm2", "nothing"), "cannot be loaded"),
    ],
)
def test_a_module_that_cannot_be_used_says_what_to_check(uri: str, change, named: str) -> None:
    HardwareKey.generate(uri)
    with pytest.raises(DeviceError, match=named) as refused:
        HardwareKey(change(uri))
    assert "hub.toml" in refused.value.next_step


def test_a_hub_whose_issuing_key_is_in_a_module_certifies_itself_and_its_broker(uri: str, tmp_path: Path) -> None:
    runner, world, csr = CliRunner(), tmp_path / "world", tmp_path / "issuing.csr"
    made = runner.invoke(cli, ["issuing-key", uri, "--make", "--out", str(csr)])
    assert made.exit_code == 0, made.output
    words = [
        "init", "--out", str(world), "--name", "Uji", "--host", "127.0.0.1", "--site", "9901-A:9901:Uji",
        "--technician", "tek-a:Andi", "--issuing-request", str(csr), "--issuing-uri", uri, "--json",
    ]  # fmt: skip
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    assert not (world / "hub/issuing.key").exists() and not (world / "hub/tls.crt").exists()
    authority = hub_authority(load_settings(world / "hub/hub.toml"))
    assert authority.certify_hub() and authority.certify_broker(world / "broker")
    assert not authority.certify_hub() and not authority.certify_broker(world / "broker")
    root = load_certificate((world / "ca/ca.crt").read_bytes())
    issuing = load_certificate((world / "hub/issuing.crt").read_bytes())
    for path in ("hub/tls.crt", "broker/tls.crt"):
        assert is_issued_by(load_certificate((world / path).read_bytes()), issuing)
    assert is_issued_by(issuing, root)
    assert x509.load_pem_x509_csr(csr.read_bytes()).is_signature_valid
