"""One setup command gives every party keys that fit together, and never harms a world that exists."""

from __future__ import annotations

import json
import os
import pwd
import re
import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner, Result

from contract.card_keys import CardRole, role_key_file
from contract.errors import DeviceError
from contract.topics import ALL_TOPICS
from provisioning.__main__ import app
from provisioning.broker_files import access_lists, mosquitto_conf
from provisioning.setup import set_up
from provisioning.technician_identity import load_identity, make_folder
from provisioning.world import load_world

WORLD = """
name = "Uji"
[broker]
port = 18883
[console]
port = 18100
[[sites]]
code = "9901-A"
name = "Kecamatan Uji"
region = "9901"
[[units]]
id = "desk-a1"
site = "9901-A"
role = "desk"
screen_port = 18101
[units.devices.finger]
driver = "zfm"
port = "/dev/ttyUSB0"
ppi = 500
[[units]]
id = "handover-a1"
site = "9901-A"
role = "handover"
screen_port = 18102
[[operators]]
id = "op-a"
name = "Operator A"
roles = ["operator"]
sites = ["9901-A"]
"""
TECHNICIAN = """
[[operators]]
id = "tek-a"
name = "Teknisi A"
roles = ["technician"]
sites = ["*"]
"""
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def write(tmp_path: Path, text: str = WORLD) -> Path:
    path = tmp_path / "world.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_party_gets_a_certificate_in_its_own_name(tmp_path: Path) -> None:
    path = write(tmp_path)
    set_up(load_world(path), tmp_path, tmp_path / "out", NOW, lambda _: None)
    for folder, name in (("hub", "hub"), ("units/desk-a1", "desk-a1"), ("broker", "broker")):
        pem = (tmp_path / "out" / folder / "tls.crt").read_bytes()
        assert x509.load_pem_x509_certificate(pem).subject.rfc4514_string() == f"CN={name}"
        context = ssl.create_default_context(cafile=tmp_path / "out" / folder / "ca.crt")
        context.load_cert_chain(tmp_path / "out" / folder / "tls.crt", tmp_path / "out" / folder / "tls.key")


def test_private_files_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    set_up(load_world(write(tmp_path)), tmp_path, tmp_path / "out", NOW, lambda _: None)
    for path in (tmp_path / "out").rglob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_handover_desk_can_read_chips_and_never_write_them(tmp_path: Path) -> None:
    set_up(load_world(write(tmp_path)), tmp_path, tmp_path / "out", NOW, lambda _: None)
    master = (tmp_path / "out/hub/sam.key").read_bytes()
    assert not (tmp_path / "out/units/desk-a1/sam.key").exists()
    assert (tmp_path / "out/units/handover-a1/sam.key").read_bytes() == role_key_file(master, CardRole.READER)
    assert master not in (tmp_path / "out/units/handover-a1/sam.key").read_bytes()


def test_an_existing_world_is_never_written_over(tmp_path: Path) -> None:
    world = load_world(write(tmp_path))
    set_up(world, tmp_path, tmp_path / "out", NOW, lambda _: None)
    before = (tmp_path / "out/hub/packet.key").read_bytes()
    with pytest.raises(DeviceError, match="exists already"):
        set_up(world, tmp_path, tmp_path / "out", NOW, lambda _: None)
    assert (tmp_path / "out/hub/packet.key").read_bytes() == before


def test_an_interrupted_setup_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    def stop_at_the_hub(what: str) -> None:
        if what == "Hub":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        set_up(load_world(write(tmp_path)), tmp_path, tmp_path / "out", NOW, stop_at_the_hub)
    assert [path.name for path in tmp_path.iterdir()] == ["world.toml"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (WORLD.replace('role = "desk"', 'role = "bar"'), "units.0.role"),
        (WORLD.replace('site = "9901-A"\nrole = "desk"', 'site = "9999-Z"\nrole = "desk"'), "unknown sites"),
        (WORLD.replace("screen_port = 18101", "screen_port = 99999"), "screen_port"),
        (WORLD + "\nextra = 1", "extra"),
        (WORLD.replace('id = "handover-a1"', 'id = "desk-a1"'), "same id"),
        ("not toml", "cannot be read"),
    ],
)
def test_a_wrong_world_file_names_the_key_that_is_wrong(tmp_path: Path, wrong: str, named: str) -> None:
    with pytest.raises(DeviceError, match=named):
        load_world(write(tmp_path, wrong))


def test_a_unit_may_write_only_under_its_own_name_and_its_sites_gallery(tmp_path: Path) -> None:
    rules = access_lists(load_world(write(tmp_path)))["acl"].decode().splitlines()
    after = rules[rules.index("user desk-a1") + 1 :]
    own = after[: after.index("")]
    written = [rule.removeprefix("topic write ") for rule in own if rule.startswith("topic write ")]
    assert [rule for rule in own if not rule.startswith("topic write ")] == [
        "topic read k/desk-a1/dn/#", "topic read hub/state", "topic read s/9901-A/#",
    ]  # fmt: skip
    spoken = {topic.filter_for(unit="desk-a1") for topic in ALL_TOPICS if topic.template.startswith("k/{unit}/up/")}
    assert set(written) == spoken | {"s/9901-A/gallery/+"}
    assert len(spoken) > 10 and not any("#" in name for name in written), "what nobody hears is kept for ever"
    assert not any(rule.startswith("pattern") for rule in rules), "who is not listed can do nothing"


def test_each_of_the_brokers_doors_trusts_one_root_and_ties_sessions_to_certificates(tmp_path: Path) -> None:
    text = mosquitto_conf(load_world(write(tmp_path)), tmp_path)
    above, *doors = re.split(r"^listener ", text, flags=re.MULTILINE)
    assert [door.splitlines()[0] for door in doors] == [f"{18883 + place} 127.0.0.1" for place in (0, 1, 3)]
    service, claims, control = (door.splitlines() for door in doors)
    for door, trusted in ((service, "trust.crt"), (claims, "claims.crt"), (control, "control.crt")):
        assert f"cafile {tmp_path}/{trusted}" in door
        assert {"require_certificate true", "use_identity_as_username true", "allow_anonymous false"} <= set(door)
    assert "use_username_as_clientid true" in service and "use_username_as_clientid true" in claims
    assert f"crlfile {tmp_path}/crl.pem" in service
    account = pwd.getpwuid(os.geteuid()).pw_name
    assert f"user {account}\n" in text  # as root it would become 'mosquitto', who may not read these files
    assert "allow_anonymous true" not in text  # who may connect at all can end any session by its client id
    assert "use_username_as_clientid" not in above  # above a listener it would open a plain one


def test_a_technician_gets_a_folder_that_speaks_for_them_and_nobody_else_does(tmp_path: Path) -> None:
    world = load_world(write(tmp_path, WORLD + TECHNICIAN))
    set_up(world, tmp_path, tmp_path / "out", NOW, lambda _: None)
    assert [path.name for path in (tmp_path / "out/technicians").iterdir()] == ["tek-a"]
    identity = load_identity(tmp_path / "out/technicians/tek-a")
    assert (identity.technician, identity.port, identity.renewal_port) == ("tek-a", 18883, 18885)
    fleet = json.loads((tmp_path / "out/hub/fleet.json").read_text())
    known = {operator["id"]: operator.get("technician_key", "") for operator in fleet["operators"]}
    assert known["tek-a"] and not known["op-a"]
    with pytest.raises(DeviceError, match="no technician's folder"):
        load_identity(tmp_path / "out/units/desk-a1")


def test_a_technician_who_is_not_certified_yet_is_told_whose_turn_it_is(tmp_path: Path) -> None:
    world = load_world(write(tmp_path, WORLD + TECHNICIAN))
    set_up(world, tmp_path, tmp_path / "out", NOW, lambda _: None)
    make_folder("tek-b", load_identity(tmp_path / "out/technicians/tek-a"), tmp_path / "tek-b")
    with pytest.raises(DeviceError, match="not certified yet") as refused:
        load_identity(tmp_path / "tek-b")
    assert "certify-technician" in refused.value.next_step


def test_the_printed_example_is_a_valid_world(tmp_path: Path) -> None:
    runner = CliRunner()
    example = runner.invoke(app, ["example"])
    world = load_world(write(tmp_path, example.stdout))
    assert world.units[0].devices["finger"]["driver"] == "zfm"


def test_the_console_pass_phrase_is_not_in_the_fleet_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("kata sandi uji\n")
    path = write(tmp_path, WORLD + 'console_secret_file = "secret"\n')
    set_up(load_world(path), tmp_path, tmp_path / "out", NOW, lambda _: None)
    text = (tmp_path / "out/hub/fleet.json").read_text()
    assert "kata sandi" not in text
    assert json.loads(text)["operators"][0]["console_secret"].startswith("scrypt$16384$8$1$")


def test_a_repository_of_releases_is_made_where_the_world_asks_for_one(tmp_path: Path) -> None:
    world = load_world(write(tmp_path, WORLD + "[updates]\n"))
    set_up(world, tmp_path, tmp_path / "world", NOW, lambda _: None)
    out = tmp_path / "world"
    trusted = (out / "releases" / "update-root.json").read_bytes()
    assert (out / "units" / "desk-a1" / "update-root.json").read_bytes() == trusted
    held = sorted(path.name for path in (out / "hub" / "updates").glob("*.key"))
    assert held == ["snapshot.key", "timestamp.key"] and not (out / "releases" / "online").exists()
    assert not list((out / "hub").rglob("root-*.key")) and len(list((out / "releases" / "keys").iterdir())) == 6
    roles = json.loads(trusted)["signed"]["roles"]  # nobody signs a release alone, unless the world says so
    assert {name: (len(roles[name]["keyids"]), roles[name]["threshold"]) for name in ("root", "targets")} == {
        "root": (3, 2), "targets": (3, 2)
    }  # fmt: skip
    with pytest.raises(DeviceError, match="more keys must sign together than there are"):
        load_world(write(tmp_path, WORLD + "[updates]\ntargets_keys = 1\n"))
    without = world.model_copy(update={"updates": None})
    set_up(without, tmp_path, tmp_path / "plain", NOW, lambda _: None)
    assert not (tmp_path / "plain" / "releases").exists()
    assert not list((tmp_path / "plain").rglob("update-root.json"))


def test_no_single_key_signs_a_release_of_a_new_authority(tmp_path: Path) -> None:
    words = ["init", "--name", "Uji", "--host", "127.0.0.1", "--site", "9901-A:9901:Uji", "--technician", "tek-a:Andi"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "world"), "--updates", "--json"])
    assert done.exit_code == 0, done.output
    root = json.loads((tmp_path / "world/releases/update-root.json").read_text())["signed"]["roles"]
    assert {name: (len(root[name]["keyids"]), root[name]["threshold"]) for name in ("root", "targets")} == {
        "root": (3, 2),
        "targets": (3, 2),
    }


@pytest.mark.parametrize(
    ("site", "place"),
    [("9901-A:9901:Kecamatan Uji@-6.2,106.8", (-6.2, 106.8)), ("9901-A:9901:Kecamatan Uji", (None, None))],
)
def test_a_site_is_on_the_map_where_init_is_told_its_place(
    tmp_path: Path, site: str, place: tuple[float, float]
) -> None:
    assert _init(tmp_path, site).exit_code == 0
    (known,) = json.loads((tmp_path / "world" / "hub" / "fleet.json").read_text(encoding="utf-8"))["sites"]
    assert (known["latitude"], known["longitude"]) == place and known["name"] == "Kecamatan Uji"


@pytest.mark.parametrize("place", ["@-6.2", "@-96.2,106.8", "@six,106.8", "@-6.2,1068"])
def test_a_place_that_is_none_is_refused_with_advice(tmp_path: Path, place: str) -> None:
    found = _init(tmp_path, f"9901-A:9901:Kecamatan Uji{place}")
    assert found.exit_code != 0 and "--help" in found.stderr
    assert not (tmp_path / "world").exists()


def _init(folder: Path, site: str) -> Result:
    words = ["init", "--out", str(folder / "world"), "--name", "Uji", "--host", "127.0.0.1", "--site", site]
    return CliRunner().invoke(app, [*words, "--technician", "tek-a:Andi"])
