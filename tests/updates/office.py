"""An officer's folder of releases with wheels to put into it: what the tests of releases and of the hub stand on."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import structlog
from typer.testing import CliRunner

from provisioning.__main__ import app
from provisioning.release_folder import ReleaseFolder


def release(*words: str, done: bool = True) -> Any:
    """Run `rekam-provision release … --json`; what it printed."""
    found = CliRunner().invoke(app, ["release", *words, "--json"])
    structlog.reset_defaults()  # the tool has set it to a stream that is closed by now
    assert (found.exit_code == 0) is done, found.output
    return json.loads(found.stdout.splitlines()[-1])


class Office:
    """A folder of releases; every command is the tool's own."""

    def __init__(self, scratch: Path, *words: str, folder: Path | None = None) -> None:
        """folder: of releases that somebody began already; without one it is begun here."""
        self.scratch, self.folder = scratch, folder or scratch / "releases"
        if folder is None:
            one = ("--targets-keys", "2", "--targets-threshold", "1")  # most tests are not about who signs
            release("init", "--out", str(self.folder), *one, *words)

    @property
    def releases(self) -> ReleaseFolder:
        """The folder as the tool reads it."""
        return ReleaseFolder(self.folder)

    @property
    def root(self) -> bytes:
        """What units trust."""
        return (self.folder / "update-root.json").read_bytes()

    def keys(self, *names: str) -> list[str]:
        """The words that name these keys."""
        return [word for name in names for word in ("--key", str(self.folder / "keys" / f"{name}.key"))]

    def run(self, command: str, *words: str, keys: tuple[str, ...] = (), done: bool = True) -> Any:
        """A command on this folder, signed by these keys."""
        return release(command, *words, "--folder", str(self.folder), *self.keys(*keys), done=done)

    def wheelhouse(self, version: str, **others: str) -> Path:
        """A folder of wheels: our own of this version, and others by project and version."""
        house = self.scratch / f"wheels-{version}"
        house.mkdir(exist_ok=True)
        for project, built in {"rekam": version, "cbor2": "5.6.5", **others}.items():
            make_wheel(house, project, built)
        return house

    def add_edge(self, version: str, *words: str, keys: tuple[str, ...] = ("targets-1",), **others: str) -> str:
        """An edge release of these wheels; its target's name."""
        house = self.wheelhouse(version, **others)
        added = self.run("add", "--edge", str(house), "--version", version, *words, keys=keys)
        return str(added["added"][-1])

    def publish(self, name: str = "media") -> Path:
        """Media for the hub."""
        media = self.scratch / name
        media.mkdir(exist_ok=True)
        self.run("publish", str(media))
        return media


def make_wheel(house: Path, project: str, version: str, content: str = "") -> Path:
    """A small wheel, the same bytes for the same words."""
    path = house / f"{project}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo(f"{project}/__init__.py")
        archive.writestr(entry, content or f"VERSION = '{version}'\n")
    return path
