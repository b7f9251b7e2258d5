"""The officer's commands for releases: what may be signed, by whom and how many, and that nothing ever goes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp
from typer.testing import CliRunner

from contract.errors import RemoteError
from contract.update_metadata import believe, believe_root, read_metadata
from contract.updates import Artefact
from provisioning.__main__ import app
from provisioning.firmware_image import Image, write_image
from provisioning.release_contents import listed, manifests
from tests.updates.office import Office, make_wheel, release


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_release_is_its_wheels_and_an_unchanged_wheel_is_the_same_target(office: Office) -> None:
    first = office.add_edge("0.7.0", numpy="2.2.0")
    second = office.add_edge("0.8.0", numpy="2.2.0")
    targets = office.releases.targets()
    (_, one), (row, two) = manifests(office.releases, targets.signed)
    assert (first, second, row.custom.number) == ("rekam-edge-0.7.0.json", "rekam-edge-0.8.0.json", 2)
    shared = {wheel.target for wheel in one.wheels} & {wheel.target for wheel in two.wheels}
    assert shared == {"cbor2-5.6.5-py3-none-any.whl", "numpy-2.2.0-py3-none-any.whl"}
    assert len(listed(targets.signed, Artefact.WHEEL)) == 4
    assert believe(targets.to_bytes(), Targets, office.releases.roots()[-1]).signed.version == 3


def test_what_a_release_is_made_of_is_checked_before_anybody_signs(office: Office) -> None:
    office.add_edge("0.7.0")
    for version, says in (("0.7.0", "only grow"), ("0.6.9", "only grow"), ("seven", "PEP 4")):
        house = office.wheelhouse("0.7.0")
        refused = office.run("add", "--edge", str(house), "--version", version, done=False)
        assert says in refused["next_step"], refused
    house = office.wheelhouse("0.8.0")
    make_wheel(house, "cbor2", "5.6.5", "other bytes")
    refused = office.run("add", "--edge", str(house), "--version", "0.8.0", done=False)
    assert "another file" in refused["message"] and "build number" in refused["next_step"]
    (house / "cbor2-5.6.5-py3-none-any.whl").unlink()
    whole = (house / "rekam-0.8.0-py3-none-any.whl").read_bytes()
    for cut in (0, 10, len(whole) - 1):
        (house / "rekam-0.8.0-py3-none-any.whl").write_bytes(whole[:cut])
        assert "torn" in office.run("add", "--edge", str(house), "--version", "0.8.0", done=False)["message"]
    (house / "rekam-0.8.0-py3-none-any.whl").unlink()
    make_wheel(house, "numpy", "2.2.0")
    refused = office.run("add", "--edge", str(house), "--version", "0.8.0", done=False)
    assert "pip wheel" in refused["next_step"]
    assert office.releases.targets().signed.version == 2


def test_a_floor_only_rises_and_names_a_release(office: Office) -> None:
    office.add_edge("0.7.0")
    office.add_edge("0.8.0", "--floor", "0.7.0")
    office.add_edge("0.9.0")
    rows = listed(office.releases.targets().signed, Artefact.EDGE)
    assert [row.custom.floor for row in rows] == [0, 1, 1]
    house = str(office.wheelhouse("1.0.0"))
    assert (
        "No release has the version"
        in office.run("add", "--edge", house, "--version", "1.0.0", "--floor", "0.1.0", done=False)["message"]
    )
    office.add_edge("1.0.0", "--floor", "1.0.0")
    assert listed(office.releases.targets().signed, Artefact.EDGE)[-1].custom.floor == 4


def test_firmware_and_schema_belong_to_the_release_that_they_are_given_with(office: Office, tmp_path: Path) -> None:
    write_image(Image(0x000203, {"link.mpy": b"code"}, {"main.py": b"start"}), tmp_path / "firmware")
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    words = ("--firmware", str(tmp_path / "firmware"), "--schema", str(schema))
    office.add_edge("0.7.0", *words)
    ((_, manifest),) = manifests(office.releases, office.releases.targets().signed)
    assert manifest.firmware is not None and manifest.configuration_schema is not None
    assert (manifest.firmware.target, manifest.firmware.number) == ("rekam-controller-0.2.3.bin", 0x000203)
    assert manifest.configuration_schema.target == "rekam-settings-0.7.0.json"
    assert "only grow" in office.run("add", "--firmware", str(tmp_path / "firmware"), done=False)["next_step"]
    schema.write_text('{"$ref": "http://example.org/other.json"}')
    assert "another document" in office.run("add", "--schema", str(schema), "--version", "0.8.0", done=False)["message"]
    schema.write_text("[1]")
    assert "JSON" in office.run("add", "--schema", str(schema), "--version", "0.8.0", done=False)["message"]
    assert "belongs to" in office.run("drop", "rekam-settings-0.7.0.json", done=False)["message"]
    office.add_edge("0.8.0")
    gone = office.run("drop", "rekam-edge-0.7.0.json", keys=("targets-1",))["dropped"]
    assert gone == ["rekam-edge-0.7.0.json", "rekam-0.7.0-py3-none-any.whl"]


def test_one_stolen_key_signs_no_release_unless_somebody_asked_for_that(tmp_path: Path) -> None:
    release("init", "--out", str(tmp_path / "releases"))
    office = Office(tmp_path, folder=tmp_path / "releases")
    office.add_edge("0.7.0")
    (tmp_path / "media").mkdir()
    refused = office.run("publish", str(tmp_path / "media"), done=False)
    assert "1 signatures" in refused["message"] and "release sign" in refused["next_step"]
    office.run("sign", keys=("targets-3",))
    assert office.publish().is_dir()


def test_too_few_signatures_are_not_published(tmp_path: Path) -> None:
    office = Office(tmp_path, "--targets-keys", "3", "--targets-threshold", "2")
    media = tmp_path / "media"
    media.mkdir()
    office.add_edge("0.7.0", keys=("targets-1",))
    assert "lack 1 signatures" in office.run("publish", str(media), done=False)["message"]
    assert office.run("sign", keys=("targets-1",))["lacks"] == {"root": 0, "targets": 1}  # the same key twice is one
    refused = release(
        "sign", "--folder", str(office.folder), "--key", str(office.folder / "online/snapshot.key"), done=False
    )
    assert "neither root nor targets" in refused["message"]
    assert office.run("sign", keys=("root-1",))["signed"] == []
    assert office.run("sign", keys=("targets-3",))["lacks"] == {"root": 0, "targets": 0}
    assert office.publish() == media
    assert office.run("sign", keys=("targets-2",))["signed"] == []


def test_a_root_is_rotated_by_enough_of_the_old_keys_and_its_own(office: Office) -> None:
    office.add_edge("0.7.0")
    drafted = office.run("rotate-root", "--replace", "root-2", "--replace", "targets-1", keys=("root-1",))
    assert [Path(path).name for path in drafted["new_keys"]] == ["root-4.key", "targets-3.key"]
    # Of the old root's keys only root-1 has signed; the targets have lost one key of two, whose word was enough.
    assert drafted["lacks"] == {"root": 1, "targets": 0}
    assert "lacks 1 signatures" in office.run("publish", str(office.scratch), done=False)["message"]
    assert office.run("sign", keys=("root-2",))["lacks"]["root"] == 0  # the one that goes may still say who follows
    media = office.publish()
    chain = sorted(path.name for path in (media / "rekam-release" / "metadata").iterdir())
    assert chain == ["1.root.json", "2.root.json", "3.targets.json"]
    assert "neither" in office.run("sign", keys=("targets-1",), done=False)["message"]
    office.run("rotate-root", "--root-threshold", "3", keys=("root-1", "root-3", "root-4"))
    names = office.run("show")["root"]
    assert (names["version"], names["lacks"], names["threshold"]) == (3, 0, 3)
    assert names["keys"] == ["root-1", "root-3", "root-4"]


def test_keys_are_their_owners_alone_and_never_written_over(office: Office) -> None:
    for path in (*(office.folder / "keys").iterdir(), *(office.folder / "online").iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path
    assert "never written over" in release("init", "--out", str(office.folder), done=False)["next_step"]
    few = release("init", "--out", str(office.scratch / "few"), "--root-keys", "1", done=False)
    assert "cannot be" in few["message"] and not (office.scratch / "few").exists()
    assert "no folder of releases" in release("show", "--folder", "/nonexistent", done=False)["message"]


def test_every_command_teaches_with_an_example() -> None:
    for name in ("init", "add", "drop", "sign", "renew", "publish", "show", "rotate-root"):
        shown = CliRunner().invoke(app, ["release", name, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0 and "Example:" in shown.stdout and "--json" in shown.stdout, name


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(max_size=4), st.lists).map(repr).map(str.encode)
)
@settings(max_examples=150, deadline=None)
def test_garbage_is_no_metadata(garbage: bytes) -> None:
    for kind in (Root, Targets, Snapshot, Timestamp):
        with pytest.raises(RemoteError):
            read_metadata(garbage, kind)


def test_a_changed_byte_anywhere_is_not_believed(tmp_path: Path) -> None:
    office = Office(tmp_path, "--targets-keys", "1")
    root, encoded = office.releases.roots()[0], office.releases.targets().to_bytes()
    assert believe(encoded, Targets, root)
    for place in range(0, len(encoded), 5):
        with pytest.raises(RemoteError):
            believe(encoded[:place] + bytes([encoded[place] ^ 1]) + encoded[place + 1 :], Targets, root)
    with pytest.raises(RemoteError):
        believe_root(b"[" * 100_000, None)
