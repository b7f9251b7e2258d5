"""A further technician: their keys are made in their own folder, the administrator certifies them, nobody else can."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from contract.certificates import common_name, load_certificate
from contract.dispatch import encode
from contract.identifiers import uuid7
from contract.technician import Order, StatusOrder, Verb, sign_order, verify_reply
from hub.__main__ import cli
from provisioning.__main__ import app
from provisioning.technician_identity import load_identity
from tests.commissioning.desk_world import DeskWorld
from tests.commissioning.stage import LOCAL, TECHNICIAN


def enrol(world: DeskWorld, name: str, folder: Path) -> str:
    """Make a folder; the order key's public part."""
    like = str(world.folder / "technicians" / TECHNICIAN)
    made = CliRunner().invoke(app, ["enrol", name, "--like", like, "--out", str(folder), "--json"])
    assert made.exit_code == 0, made.output
    return str(json.loads(made.stdout.splitlines()[-1])["order_key"])


def certify(world: DeskWorld, folder: Path, order_key: str) -> int:
    words = ["certify-technician", str(folder / "tls.csr"), "--order-key", order_key, "--out", str(folder / "tls.crt")]
    found = CliRunner().invoke(cli, [*words, "--config", str(world.folder / "hub" / "hub.toml")])
    return found.exit_code


def test_a_technician_of_the_fleet_file_is_certified_and_then_speaks_with_the_new_keys(tmp_path: Path) -> None:
    world, folder = DeskWorld(tmp_path / "world"), tmp_path / "mine"
    order_key = enrol(world, LOCAL, folder)
    assert folder.stat().st_mode & 0o077 == 0 and (folder / "order.key").stat().st_mode & 0o077 == 0
    assert certify(world, folder, order_key) == 0
    assert common_name(load_certificate((folder / "tls.crt").read_bytes())) == LOCAL
    assert world.certificates(LOCAL) == ["ACTIVE", "SUPERSEDED"]
    identity = load_identity(folder)
    order = Order(
        id=uuid7(world.clock), technician=LOCAL, verb=Verb.STATUS, at_ms=world.clock.wall_ms(),
        body=encode(StatusOrder()),
    )  # fmt: skip
    (said,) = world.desks.technicians.on_order(LOCAL, order.id, sign_order(order, identity.order))
    assert verify_reply(said.payload, identity.hub, order.id).done


def test_nobody_is_certified_who_is_no_technician_of_the_fleet_file(tmp_path: Path) -> None:
    world = DeskWorld(tmp_path / "world")
    for name in ("stranger", "hub"):
        folder = tmp_path / name
        assert certify(world, folder, enrol(world, name, folder)) == 1
        assert not (folder / "tls.crt").exists() and world.certificates(name) == []
