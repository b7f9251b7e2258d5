"""`init`: the authority of a new world, its hub and broker, and the first technician; units come later, by claim."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from pydantic import ValidationError

from contract.certificates import der, load_request
from contract.errors import DeviceError, RekamError
from provisioning.session import JsonOption, aside, print_json, told
from provisioning.setup import IssuingModule, set_up
from provisioning.technician_identity import load_identity, make_folder
from provisioning.world import TECHNICIAN, Broker, Listener, Operator, Site, Updates, World

REQUEST_BYTES_MAX = 64 * 1024
SITE_PATTERN = re.compile(
    r"(?P<code>[^:]+):(?P<region>[^:]+):(?P<name>[^@]+)"
    r"(@(?P<latitude>-?[0-9]{1,3}(\.[0-9]{1,8})?),(?P<longitude>-?[0-9]{1,3}(\.[0-9]{1,8})?))?"
)


# As `release init`: no single key, lost, stolen or turned, brings software to units.
OFFICE = Updates(targets_keys=3, targets_threshold=2)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(init)
    app.command()(enrol)


def init(
    out: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
    name: Annotated[str, typer.Option(help="What the authority is called, such as the regency.")],
    host: Annotated[str, typer.Option(help="Under what name or address units reach the broker.")],
    site: Annotated[
        list[str],
        typer.Option(help="CODE:REGION:NAME or CODE:REGION:NAME@LATITUDE,LONGITUDE of a site; once for each."),
    ],
    technician: Annotated[str, typer.Option(help="ID:NAME of the first technician.")],
    port: Annotated[int, typer.Option(help="The broker's service port; the three above it are used too.")] = 8883,
    console_port: Annotated[int, typer.Option(help="Of the hub's console, on loopback.")] = 8100,
    issuing_request: Annotated[
        Path | None, typer.Option(help="PKCS#10 of an issuing key in a hardware module ('rekam-hub issuing-key').")
    ] = None,
    issuing_uri: Annotated[str, typer.Option(help="The module's PKCS#11 URI, as the hub will use it.")] = "",
    updates: Annotated[
        bool, typer.Option("--updates", help="Make a repository of releases too, in OUT/releases.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a new authority: root, issuing key, hub, broker, and the folder of the first technician.

    Example: rekam-provision init --out /var/lib/rekam --name "Kabupaten Contoh" --host hub.contoh.go.id
    --site "9901-A:9901:Kecamatan Contoh@-6.2,106.8" --technician tek-andi:Andi

    Then take OUT/ca and OUT/recovery off this machine, start the broker with OUT/broker/mosquitto.conf and the hub with
    OUT/hub/hub.toml, and give OUT/technicians/ID to the technician. With an issuing key in a hardware module start the
    hub first: it certifies itself and the broker.
    """
    try:
        world = _world(name, host, port, console_port, site, technician)
        world = world.model_copy(update={"updates": OFFICE if updates else None})
        module = _module(issuing_request, issuing_uri)
        with aside.status("Making the authority") as status:
            set_up(world, Path(), out, datetime.now(UTC), lambda what: status.update(f"Making: {what}"), module)
    except (RekamError, OSError) as error:
        failed = error if isinstance(error, RekamError) else DeviceError(str(error))
        raise told(failed, as_json) from None
    who = world.operators[0].id
    if as_json:
        print_json({"done": True, "out": str(out), "technician": str(out / "technicians" / who)})
        return
    aside.print(f"[green]Done.[/green] Give {out}/technicians/{who} to {world.operators[0].name}.")
    if updates:
        aside.print(
            f"Take {out}/releases off this machine, and give each key in {out}/releases/keys to another person."
        )
    aside.print(
        f"Take {out}/ca and {out}/recovery off this machine: they can make anybody a unit, and open any packet."
    )


def enrol(
    name: Annotated[str, typer.Argument(help="Your id, as the fleet file has it.")],
    like: Annotated[Path, typer.Option(help="A colleague's folder, for the broker's address and the pinned keys.")],
    out: Annotated[Path, typer.Option(help="Your folder; it must not exist yet.")],
    as_json: JsonOption = False,
) -> None:
    """Make your own folder as a technician; your keys never leave it.

    Example: rekam-provision enrol tek-budi --like technicians/tek-andi --out technicians/tek-budi

    Give OUT/tls.csr and the order key that is printed to the administrator, who answers with your tls.crt
    ('rekam-hub certify-technician'). Put it into the folder, and you can speak.
    """
    try:
        public = base64.b64encode(make_folder(name, load_identity(like), out)).decode()
    except (RekamError, OSError) as error:
        failed = error if isinstance(error, RekamError) else DeviceError(str(error))
        raise told(failed, as_json) from None
    if as_json:
        print_json({"done": True, "request": str(out / "tls.csr"), "order_key": public})
        return
    aside.print(f"Request: {out}/tls.csr\nOrder key: {public}", soft_wrap=True, highlight=False)


def _world(name: str, host: str, port: int, console_port: int, sites: list[str], technician: str) -> World:
    advice = "See 'rekam-provision init --help' for an example."
    who, _, called = technician.partition(":")
    if not called:
        raise DeviceError("A technician is ID:NAME.", next_step=advice)
    try:
        return World(
            name=name,
            broker=Broker(host=host, port=port),
            console=Listener(port=console_port),
            sites=tuple(_site(text, advice) for text in sites),
            operators=(Operator(id=who, name=called, roles=(TECHNICIAN,), sites=("*",)),),
        )
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:4])
        raise DeviceError(f"Not valid: {wrong}.", next_step=advice) from None


def _site(text: str, advice: str) -> Site:
    """CODE:REGION:NAME, with @LATITUDE,LONGITUDE behind it where the site should be on the map."""
    found = SITE_PATTERN.fullmatch(text)
    if found is None:
        raise DeviceError("A site is CODE:REGION:NAME or CODE:REGION:NAME@LATITUDE,LONGITUDE.", next_step=advice)
    latitude, longitude = (None if found[name] is None else float(found[name]) for name in ("latitude", "longitude"))
    return Site(code=found["code"], region=found["region"], name=found["name"], latitude=latitude, longitude=longitude)


def _module(path: Path | None, uri: str) -> IssuingModule | None:
    if path is None and not uri:
        return None
    if path is None or not uri.startswith("pkcs11:"):
        raise DeviceError(
            "A hardware module needs both --issuing-request and --issuing-uri pkcs11:….",
            next_step="Run 'rekam-hub issuing-key' where the module is plugged in.",
        )
    content = path.read_bytes()[:REQUEST_BYTES_MAX]
    try:
        request = x509.load_pem_x509_csr(content)
        load_request(der(request))
    except ValueError:
        raise DeviceError(f"{path} is no PKCS#10 request.", next_step="Run 'rekam-hub issuing-key' again.") from None
    return IssuingModule(request, uri)
