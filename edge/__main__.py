"""Commands of a unit: run the agent, ask it how it is, look at its devices, test them."""

from __future__ import annotations

import faulthandler
import gc
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contract.clock import SystemClock
from contract.errors import DeviceError, RekamError
from edge.box_files import CONFIG
from edge.command_options import DEFAULT_CONFIG, ConfigPath
from edge.config import UnitConfig, load_config
from edge.data_lock import only_agent
from edge.device_commands import capture, devices, selftest
from edge.keys import load_store_key
from edge.log_command import logs
from edge.log_ring import LogRing
from edge.logs import configure_logs
from edge.media import export_packets, import_packets, leave_list
from edge.panel_commands import update_controller
from edge.spool import Spool

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""The agent on a unit (kiosk, desk, handover desk, station).

Start it with its configuration, which `rekam-provision setup` writes:

    rekam-edge run --config /var/lib/rekam/unit/unit.toml

Then open the address that it prints in the unit's own browser. Everything that was captured is sealed on the unit and
offered to the hub until its signed receipt comes; the agent may be stopped, or lose power, at any moment.
""",
)
out = Console()
err = Console(stderr=True)
ANSWER_TIMEOUT_S = 20.0


@app.command()
def run(
    config: ConfigPath = DEFAULT_CONFIG,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the agent until SIGTERM or Ctrl-C.

    Where there is no unit.toml yet, the box knocks: its page (http://127.0.0.1:8101) says what to do, it looks for
    claim media, and goes on as the agent once a technician has approved it and its devices have passed.

    Serves the unit's pages on loopback, keeps the line to the broker, and sends what the spool holds. Exit code 0 after
    an orderly stop, 2 where something has to be put right first (the message says what).
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))  # until the loop hears it
    gc.disable()  # what is imported lives as long as the agent: collecting while it grows takes a sixth of a start
    from edge.agent_run import run_agent
    from edge.service_notice import ServiceNotice

    gc.freeze()
    gc.enable()
    ring = LogRing(SystemClock())
    configure_logs(log_level, ring)
    faulthandler.enable()  # one that hangs is ended by the service: its log says where, never with what
    notice = ServiceNotice()
    if config.name == CONFIG and not config.exists():
        from edge.first_boot import run_first_boot

        if not run_first_boot(config.absolute().parent, notice):
            return
    run_agent(config, notice, ring)


@app.command(name="recommission")
def recommission_command(
    claim: Annotated[Path, typer.Argument(help="The rekam-claim.bin on the technician's media.")],
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Commission this unit again with a new claim: after it was revoked, or away for more than 180 days.

    Stop the agent before and start it after: it knocks like a new box. Keys, packets and records stay on the unit.

    Example: rekam-edge recommission /media/usb/rekam-claim.bin --config /var/lib/rekam/unit/unit.toml
    """
    from edge.recommission import recommission

    unit = recommission(config, claim, SystemClock())
    out.print(f"{unit} knocks at its next start. Approve it under the name '{unit}': it keeps its keys and data.")


@app.command()
def status(
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    links: Annotated[bool, typer.Option("--links", help="Check every hop to the centre as well.")] = False,
) -> None:
    """Ask the running agent how it is.

    Prints the five lines of the uplink (mode, database, correlation id, queue, scheduler) with the records sent since
    its start, the software that runs with its slot and update, and every packet that has not reached the centre with
    its age. `--links` checks each hop.
    """
    loaded = _loaded(config)
    found = _ask(loaded, "GET", "/api/status")
    hops = _ask(loaded, "POST", "/api/links") if links else []
    if as_json:
        out.print_json(json.dumps(found | ({"links": hops} if links else {})))
        return
    uplink = found["uplink"]
    _print_pairs(
        f"{found['unit']} · {found['site']} · {found['role']}",
        {
            "Mode": uplink["mode"],
            "Database": uplink["database"],
            "Correlation id": uplink["correlation_id"],
            "Queue": uplink["queue"],
            "Scheduler": uplink["scheduler"],
            "Records sent since restart": uplink["records_sent_since_restart"],
            "Not yet at the centre": uplink["pending"],
            "Set aside": uplink["held"],
            "Hub": "on-line" if uplink["hub_online"] else "off-line",
            "Clock": found["clock"]["problem_en"] or "the machine's",
            **_software_rows(found["software"]),
        },
    )
    for packet in found["waiting"]:
        out.print(
            f"  {packet['kind']:16} {packet['state']:10} {packet['age_s']:>7} s  {packet['length']:>9} bytes  "
            f"{packet['pid'][:16]}  {escape(packet['held_reason'])}",
            soft_wrap=True,
        )
    for hop in hops:
        seen = f"{hop['round_trip_ms']:.1f} ms" if hop["reachable"] else f"not reached: {hop['problem']}"
        out.print(escape(f"  {hop['name']:16} {hop['address']:24} {seen}"), soft_wrap=True)


MediaPath = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder on the removable media.")]


@app.command("export")
def export_command(media: MediaPath, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Copy every packet that the centre has not freed to removable media; nothing is deleted here.

    For a unit whose line stays down. The files are sealed to the centre: who finds the media can read nothing. Stop the
    agent first.

        rekam-edge export /media/usb --config /var/lib/rekam/unit/unit.toml
    """
    loaded = _loaded(config)
    with _spool(loaded) as spool:
        try:
            copied = export_packets(spool, media)
        finally:
            leave_list(spool, media, loaded.unit.id, loaded.unit.site, SystemClock().wall_ms())
    out.print(f"{copied} packets copied to {escape(str(media))}. Import them at a unit that has a line.")


@app.command("import")
def import_command(media: MediaPath, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Take up packets that another unit exported; this unit's line carries them to the centre.

    The same media twice is the same as once. Stop the agent first, and start it again to send.

        rekam-edge import /media/usb --config /var/lib/rekam/unit/unit.toml
    """
    with _spool(_loaded(config)) as spool:
        taken = import_packets(spool, media)
    out.print(f"{taken} packets taken up from {escape(str(media))}. They go out when the agent runs again.")


@app.command()
def release(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Tell the running agent to try held packets again: those it has set aside after repeated failures.

    A start of the agent does the same once.

        rekam-edge release --config /var/lib/rekam/unit/unit.toml
    """
    found = _ask(_loaded(config), "POST", "/api/release")
    out.print(f"{found['released']} packets are tried again. 'rekam-edge status' shows what becomes of them.")


@contextmanager
def _spool(config: UnitConfig) -> Iterator[Spool]:
    """The spool of a unit whose agent does not run. Raises DeviceError where it does."""
    store = load_store_key(config.keys)
    with only_agent(config.unit.data_dir):
        spool = Spool(
            config.unit.data_dir / "spool", store, SystemClock(), config.spool.bytes_max, config.spool.packets_max
        )
        try:
            yield spool
        finally:
            spool.close()


app.command()(devices)
app.command()(selftest)
app.command()(capture)
app.command()(logs)
app.command("update-controller")(update_controller)


def _loaded(path: Path) -> UnitConfig:
    return load_config(path)


def _ask(config: UnitConfig, method: str, path: str) -> Any:
    """The running agent's answer. Raises DeviceError where none runs."""
    host = f"[{config.screen.host}]" if ":" in config.screen.host else config.screen.host
    try:
        token = (config.unit.data_dir / "screen.token").read_text(encoding="ascii")
        answer = httpx.request(
            method,
            f"http://{host}:{config.screen.port}{path}",
            headers={"X-Rekam-Token": token},
            timeout=ANSWER_TIMEOUT_S,
        )
        answer.raise_for_status()
        return answer.json()
    except (OSError, httpx.HTTPError, ValueError) as error:
        raise DeviceError(
            f"The agent of {config.unit.id} does not answer ({type(error).__name__}).",
            next_step="Start it with 'rekam-edge run', or look at its service's log.",
        ) from None


def _software_rows(software: dict[str, Any]) -> dict[str, Any]:
    """What runs, from which slot, and how far the newest update is."""
    rows = {"Software": software["version"] + (" (on trial)" if software["on_trial"] else "")}
    if software["slot"]:
        rows |= {"Slot": software["slot"], "Nothing older than number": software["floor"]}
    if software["state"]:
        done = f" {software['done']} of {software['all']} bytes" if software["state"] == "downloading" else ""
        rows["Update"] = f"{software['artefact']} {software['to']}: {software['state']}{done}"
    if "problem_en" in software:
        rows["Update's problem"] = escape(software["problem_en"])
    return rows


def _print_pairs(title: str, pairs: dict[str, Any]) -> None:
    table = Table(title=title, show_header=False)
    for name, value in pairs.items():
        table.add_row(name, str(value))
    out.print(table)


def main() -> None:
    """Entry point of `rekam-edge`: an error says what happened and what to do next, without a traceback."""
    try:
        app()
    except RekamError as error:
        err.print(f"[bold red]{escape(error.message)}[/]\n{escape(error.next_step)}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
