"""`release …`: the officer's commands for releases, off-line: keys, contents, signatures, and the media for the hub."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape

from contract.errors import RekamError
from contract.update_metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, role_lacks
from contract.updates import Artefact
from provisioning.release_contents import Listed, add_edge, add_firmware, add_schema, drop, listed
from provisioning.release_folder import KeyPlan, ReleaseFolder, make_repository
from provisioning.release_keys import load_signers, name_of, write_keys
from provisioning.session import JsonOption, aside, listing, print_json, screen, told

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, help="Make, sign and publish releases, on a machine without a network.")
FolderOption = Annotated[
    Path, typer.Option("--folder", "-f", envvar="REKAM_RELEASES", help="Your folder of releases, as 'init' made it.")
]
KeysOption = Annotated[
    list[Path] | None, typer.Option("--key", help="A key that signs, such as /media/a/targets-1.key; once for each.")
]
HERE = Path("releases")


def register(tool: typer.Typer) -> None:
    """Add the commands."""
    for command in (init, add, drop_release, sign, renew, publish, show, rotate_root):
        name = {drop_release: "drop", rotate_root: "rotate-root"}.get(command)
        app.command(name)(command)
    tool.add_typer(app, name="release")


def init(
    out: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
    root_keys: Annotated[int, typer.Option(min=1, max=9, help="Keys that say who signs what.")] = 3,
    root_threshold: Annotated[int, typer.Option(min=1, max=9, help="How many of them must sign together.")] = 2,
    targets_keys: Annotated[int, typer.Option(min=1, max=9, help="Keys that sign releases.")] = 3,
    targets_threshold: Annotated[int, typer.Option(min=1, max=9, help="How many of them must sign together.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Begin a repository of releases, with keys of its own.

    Example: rekam-provision release init --out /media/office/releases --root-keys 3 --root-threshold 2

    By default no single key, lost, stolen or turned, signs anything, and none that is lost is missed.
    Then give each key in OUT/keys to another person, and OUT/online to the hub, once ('rekam-hub begin-updates').
    OUT/update-root.json is what units trust; 'setup' and 'init' give it to units that they make (--update-root).
    """
    plan = KeyPlan(root_keys, root_threshold, targets_keys, targets_threshold)
    _guarded(lambda: make_repository(out, datetime.now(UTC), plan), as_json)
    if as_json:
        print_json({"done": True, "folder": str(out), "update_root": str(out / "update-root.json")})
        return
    aside.print(f"[green]Done.[/green] Give each key in {escape(str(out))}/keys to another person, off this machine.")
    aside.print(f"Take {escape(str(out))}/online to the hub, once: rekam-hub begin-updates {escape(str(out))}")


def add(
    edge: Annotated[Path | None, typer.Option(help="Folder of wheels: the unit's whole virtual environment.")] = None,
    firmware: Annotated[Path | None, typer.Option(help="Folder that 'make firmware' built.")] = None,
    schema: Annotated[Path | None, typer.Option(help="JSON schema of the settings.")] = None,
    version: Annotated[str, typer.Option(help="Of edge and schema, such as 0.7.0; firmware states its own.")] = "",
    floor: Annotated[str, typer.Option(help="Install nothing below this version any more; it only rises.")] = "",
    key: KeysOption = None,
    folder: FolderOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Add a release to the draft. What is given together belongs together, and is taken up together.

    Example: rekam-provision release add --edge wheelhouse --version 0.7.0 --firmware build/firmware --key targets-1.key
    """

    def work() -> list[Listed]:
        signers, office, now = load_signers(key or []), ReleaseFolder(folder), datetime.now(UTC)
        targets = office.change_targets(now)
        added = []
        if firmware is not None:
            added.append(add_firmware(office, targets, firmware, floor if edge is None else ""))
        if schema is not None:
            added.append(add_schema(office, targets, schema, version, floor if edge is None else ""))
        if edge is not None:
            added.append(add_edge(office, targets, edge, version, floor, tuple(added)))
        if not added:
            raise typer.BadParameter("Give --edge, --firmware or --schema.")
        office.keep_targets(targets)
        office.sign(signers)
        return added

    added = _guarded(work, as_json)
    _tell(as_json, folder, {"added": [row.target for row in added]}, f"Added {', '.join(row.target for row in added)}.")


def drop_release(
    name: Annotated[str, typer.Argument(help="A release as 'show' names it.")],
    key: KeysOption = None,
    folder: FolderOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Take a release out of the draft, with the wheels that no other one names.

    Example: rekam-provision release drop rekam-edge-0.5.0.json --key targets-1.key
    """

    def work() -> list[str]:
        signers, office = load_signers(key or []), ReleaseFolder(folder)
        targets = office.change_targets(datetime.now(UTC))
        gone = drop(office, targets, name)
        office.keep_targets(targets)
        office.sign(signers)
        return gone

    gone = _guarded(work, as_json)
    _tell(as_json, folder, {"dropped": gone}, f"Dropped {name} and {len(gone) - 1} wheels.")


def sign(
    key: Annotated[list[Path], typer.Option("--key", help="A key's file; once for each.")],
    folder: FolderOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Put signatures under whatever waits for them: a release, a new root.

    Example: rekam-provision release sign --key /media/andi/root-1.key --key /media/budi/root-2.key
    """
    done = _guarded(lambda: ReleaseFolder(folder).sign(load_signers(key)), as_json)
    what = ", ".join(done) if done else "nothing: none of it waits for these keys"
    _tell(as_json, folder, {"signed": done}, f"Signed {what}.")


def renew(key: KeysOption = None, folder: FolderOption = HERE, as_json: JsonOption = False) -> None:
    """Draft the same releases again with a year to come; the hub warns when the signatures near their end.

    Example: rekam-provision release renew --key targets-1.key
    """

    def work() -> int:
        signers, office = load_signers(key or []), ReleaseFolder(folder)
        targets = office.change_targets(datetime.now(UTC))
        office.keep_targets(targets)
        office.sign(signers)
        return targets.version

    version = _guarded(work, as_json)
    _tell(as_json, folder, {"targets": version}, f"Targets {version} live until a year from now.")


def publish(
    media: Annotated[Path, typer.Argument(help="Folder of the media that go to the hub.")],
    folder: FolderOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write what is signed to media for the hub; refused where signatures or files are missing.

    Example: rekam-provision release publish /media/usb

    At the hub's machine: rekam-hub take-release /media/usb. Media cut half-way are refused there; write them again.
    """
    place = _guarded(lambda: ReleaseFolder(folder).publish(media, datetime.now(UTC)), as_json)
    if as_json:
        print_json({"done": True, "media": str(place)})
    else:
        screen.print(f"[green]Written.[/green] At the hub: rekam-hub take-release {escape(str(media))}", soft_wrap=True)


def rotate_root(
    replace: Annotated[list[str] | None, typer.Option(help="A key to be replaced, such as root-2.")] = None,
    root_threshold: Annotated[int | None, typer.Option(min=1, max=9, help="How many root keys must sign.")] = None,
    targets_threshold: Annotated[int | None, typer.Option(min=1, max=9, help="How many targets keys must.")] = None,
    key: KeysOption = None,
    folder: FolderOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Draft the next root: keys replaced, thresholds changed, or only two more years. Old and new keys must sign it.

    Example: rekam-provision release rotate-root --replace root-2 --key root-1.key --key root-3.key

    New keys are written beside the others. Units follow every root in turn, also those that were off for months.
    """

    def work() -> tuple[list[Path], int]:
        signers, office = load_signers(key or []), ReleaseFolder(folder)
        wanted = {ROOT: root_threshold, TARGETS: targets_threshold}
        thresholds = {role: count for role, count in wanted.items() if count is not None}
        fresh, version = office.rotate(datetime.now(UTC), replace or [], thresholds)
        offline = {name: made for name, made in fresh.items() if not name.startswith((SNAPSHOT, TIMESTAMP))}
        online = {name: made for name, made in fresh.items() if name not in offline}
        written = write_keys(folder / "keys", offline) + (write_keys(folder / "online", online) if online else [])
        office.sign([*signers, *offline.values()])
        return written, version

    written, version = _guarded(work, as_json)
    names = [str(path) for path in written]
    _tell(
        as_json,
        folder,
        {"root": version, "new_keys": names},
        f"Root {version} is drafted. New keys: {names or 'none'}.",
    )


def show(folder: FolderOption = HERE, as_json: JsonOption = False) -> None:
    """Show releases, keys, and what still has to be signed.

    Example: rekam-provision release show
    """
    found = _guarded(lambda: state_of(ReleaseFolder(folder)), as_json)
    if as_json:
        print_json(found)
        return
    for role in (ROOT, TARGETS):
        row = found[role]
        lacks = f"[yellow]lacks {row['lacks']} signatures[/]" if row["lacks"] else "[green]signed[/green]"
        keys = ", ".join(row["keys"])
        screen.print(f"{role} {row['version']} {lacks}, until {row['until']}; {row['threshold']} of: {escape(keys)}")
    table = listing(
        "release", "artefact", "version", "number", "floor", whole=("artefact", "version", "number", "floor")
    )
    for row in found["releases"]:
        table.add_row(row["release"], row["artefact"], row["version"], str(row["number"]), str(row["floor"]))
    screen.print(table)
    screen.print(f"{found['wheels']} wheels.")


def state_of(folder: ReleaseFolder) -> dict[str, Any]:
    """How a folder stands, as plain values."""
    root, targets = folder.roots()[-1], folder.targets()
    lacks = {ROOT: folder.root_lacks(), TARGETS: role_lacks(root, targets)}
    found: dict[str, Any] = {
        role: {
            "version": metadata.version,
            "until": f"{metadata.expires:%Y-%m-%d}",
            "lacks": lacks[role],
            "threshold": root.signed.roles[role].threshold,
            "keys": sorted(name_of(root.signed.keys[keyid]) for keyid in root.signed.roles[role].keyids),
        }
        for role, metadata in ((ROOT, root.signed), (TARGETS, targets.signed))
    }
    kinds = (Artefact.EDGE, Artefact.FIRMWARE, Artefact.CONFIGURATION_SCHEMA)
    found["releases"] = [
        {
            "release": row.target,
            "artefact": row.custom.artefact.value,
            "version": row.custom.version,
            "number": row.custom.number,
            "floor": row.custom.floor,
        }
        for kind in kinds
        for row in listed(targets.signed, kind)
    ]
    found["wheels"] = len(listed(targets.signed, Artefact.WHEEL))
    return found


def _guarded(work: Callable[[], T], as_json: bool) -> T:
    try:
        return work()
    except RekamError as error:
        raise told(error, as_json) from None


def _tell(as_json: bool, folder: Path, fields: dict[str, Any], text: str) -> None:
    """What was done, and what still has to be signed."""
    state = state_of(ReleaseFolder(folder))
    lacks = {role: state[role]["lacks"] for role in (ROOT, TARGETS)}
    if as_json:
        print_json({"done": True, **fields, "lacks": lacks})
        return
    screen.print(escape(text), soft_wrap=True, highlight=False)
    for role, count in lacks.items():
        if count:
            screen.print(f"{role} {state[role]['version']} still lacks {count} signatures: release sign --key …")
