"""rekam-hub: the centre as a process, and what an administrator asks of it on a terminal."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Row, func, select

from contract.clock import Clock, SystemClock, utc
from contract.errors import RekamError
from hub import history, ledger, outbox
from hub.authority_commands import UriArgument, certify_technician, issuing_request
from hub.config import HubSettings, load_settings
from hub.log_bound import LogBound
from hub.schema.commissioning_tables import TechnicianHistory, UnitHistory
from hub.schema.database import Database
from hub.schema.operator_tables import OperatorHistory
from hub.schema.tables import Card, CardHistory, Packet, Record, RecordHistory
from hub.update_media import Taken, begin_updates, take_release

cli = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", help=__doc__)
screen = Console()
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The hub's configuration, as setup wrote it.")]
DEFAULT_CONFIG = Path("hub.toml")
# Every message makes dozens of objects that die with it; looked at only so seldom, hardly any are looked at.
YOUNG_OBJECTS_MAX = 10_000


def configure_log(clock: Clock) -> None:
    """One JSON object a line, to standard output, and not without end."""
    structlog.configure(
        processors=[LogBound(clock), structlog.processors.TimeStamper("iso"), structlog.processors.JSONRenderer()]
    )


@cli.command()
def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the hub until Ctrl-C or SIGTERM: receive, search, personalise, publish, and serve the console.

    Brings the database up to date first, and merges fleet.json and register.json into it.

    Example:  rekam-hub run --config out/world/hub/hub.toml
    """
    gc.disable()  # what is imported lives as long as the hub
    from hub.service import HubService

    gc.freeze()
    gc.enable()
    gc.set_threshold(YOUNG_OBJECTS_MAX)
    configure_log(SystemClock())
    service = HubService(_settings(config))

    async def main() -> None:
        task = asyncio.ensure_future(service.run())
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    _guarded(lambda: asyncio.run(main()))


@cli.command()
def migrate(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Bring the database to the newest schema, and say which it is. Safe to repeat; 'run' does the same.

    Example:  rekam-hub migrate --config /etc/rekam/hub.toml
    """

    def work(database: Database) -> None:
        database.upgrade()
        screen.print(f"Schema revision {database.revision()}.")

    _with_database(config, work)


@cli.command()
def status(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Count records, packets, cards and blanks, and verify that no history was altered.

    Works on the database alone, whether or not the hub runs.

    Example:  rekam-hub status --config out/world/hub/hub.toml
    """

    def work(database: Database) -> None:
        with database.reading() as session:
            _print_counts("Records", session.execute(select(Record.state, func.count()).group_by(Record.state)).all())
            _print_counts("Cards", session.execute(select(Card.state, func.count()).group_by(Card.state)).all())
            held = session.scalar(select(func.count()).where(Packet.quarantine != ""))
            total = session.scalar(select(func.count()).select_from(Packet))
            screen.print(f"Packets: {total}, of these {held} in quarantine. Outbox: {outbox.waiting(session)} waiting.")
            for balance in ledger.balances(session):
                verdict = "balances" if balance.balances else "[red]DOES NOT BALANCE[/red]"
                screen.print(f"Blanks at {balance.place}: {balance.left} left, {balance.made} cards made, {verdict}.")
            links = history.verify(session, RecordHistory) + history.verify(session, CardHistory)
            for kind in (UnitHistory, OperatorHistory, TechnicianHistory):
                links += history.verify(session, kind)
            screen.print(f"Histories: {links} links, every one verified.")

    _with_database(config, work)


@cli.command(name="history")
def show_history(
    capture_id: Annotated[str, typer.Argument(help="A capture's id, as on the proof of capture.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Show the way of one record: every transition, when, by whom, and why.

    Example:  rekam-hub history 01939c6e-7c1e-7aaa-8000-0123456789ab --config hub.toml
    """

    def work(database: Database) -> None:
        with database.reading() as session:
            links = history.way_of(session, RecordHistory, capture_id)
        if not links:
            screen.print(f"No record of capture {capture_id} is known here.")
            raise typer.Exit(1)
        for link in links:
            moment = utc(link.at_ms).strftime("%Y-%m-%d %H:%M:%S")
            # One line each, never folded: codes and ids are there to be copied and searched for.
            screen.print(f"{moment}  {link.to_state:27} {link.event}, by {link.actor}", soft_wrap=True, markup=False)
            if link.note != "{}":
                screen.print(f"{'':21}{link.note}", soft_wrap=True, markup=False)

    _with_database(config, work)


@cli.command(name="issuing-key")
def issuing_key(
    uri: UriArgument,
    out: Annotated[Path, typer.Option(help="Where the request goes, PEM.")],
    make: Annotated[bool, typer.Option("--make", help="Make the key in the module first.")] = False,
) -> None:
    """Write the certificate request of an issuing key in a hardware module, for the ceremony with the root.

    Example:  rekam-hub issuing-key "pkcs11:token=rekam;object=issuing?module-path=/usr/lib/softhsm/libsofthsm2.so&
    pin-source=/etc/rekam/pin" --make --out issuing.csr
    """
    _guarded(lambda: out.write_bytes(issuing_request(uri, make=make)))
    screen.print(f"{out}: give it to 'rekam-provision init --issuing-request'.")


@cli.command(name="certify-technician")
def certify_technician_command(
    request: Annotated[Path, typer.Argument(help="Their certificate request, PEM.")],
    order_key: Annotated[str, typer.Option(help="Their order key's public part, base64.")],
    out: Annotated[Path, typer.Option(help="Where their certificate goes, PEM.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Certify a further technician, who is an operator with that role in the fleet file already.

    Example:  rekam-hub certify-technician tek-budi/tls.csr --order-key MCowBQ… --out tek-budi/tls.crt

    The technician makes request and order key with 'rekam-provision enrol'; a running hub lets them in within seconds.
    """

    def work(database: Database) -> None:
        out.write_bytes(certify_technician(_settings(config), database, request, order_key))
        screen.print(f"{out} written.")

    _with_database(config, work)


@cli.command(name="begin-updates")
def begin_updates_command(
    folder: Annotated[Path, typer.Argument(help="The folder that 'rekam-provision release init' made.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Begin to serve a repository of releases: its snapshot and timestamp keys come here, and nowhere else.

    Example:  rekam-hub begin-updates /media/usb/releases --config /etc/rekam/hub.toml

    Once for a repository, and again after 'release rotate-root' has replaced one of these two keys; a running hub takes
    them up by itself. Remove FOLDER/online afterwards.
    """
    _with_database(config, lambda database: _print_taken(begin_updates(_settings(config), database, folder)))


@cli.command(name="take-release")
def take_release_command(
    media: Annotated[Path, typer.Argument(help="The folder that 'rekam-provision release publish' wrote to.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Take releases from media: signatures and every file are checked before units are served any of it.

    Example:  rekam-hub take-release /media/usb --config /etc/rekam/hub.toml

    Safe to repeat, and to cut: until it says so the hub serves what it served before. Damaged files are replaced.
    """
    _with_database(config, lambda database: _print_taken(take_release(_settings(config), database, media)))


def _print_taken(taken: Taken) -> None:
    what = "New" if taken.new else "Known already"
    screen.print(f"{what}: targets {taken.version}, {taken.files} files copied.", highlight=False)
    for name in taken.releases:
        screen.print(f"  {name}", highlight=False)


def _settings(config: Path) -> HubSettings:
    try:
        return load_settings(config)
    except RekamError as error:
        raise _told(error) from None


def _with_database(config: Path, work: Callable[[Database], None]) -> None:
    database = Database(_settings(config).database_url)
    try:
        _guarded(lambda: work(database))
    finally:
        database.close()


def _guarded(work: Callable[[], object]) -> None:
    try:
        work()
    except RekamError as error:
        raise _told(error) from None
    except BaseExceptionGroup as group:
        expected, others = group.split(RekamError)
        if expected is None or others is not None:
            raise
        raise _told(_first(expected)) from None


def _first(group: BaseExceptionGroup[RekamError]) -> RekamError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _told(error: RekamError) -> typer.Exit:
    screen.print(f"[red]{error.message}[/red]\n{error.next_step}")
    return typer.Exit(1)


def _print_counts(title: str, rows: Sequence[Row[str, int]]) -> None:
    table = Table(title, "count")
    for row in rows:
        table.add_row(str(row[0]), str(row[1]))
    screen.print(table)


def main() -> None:
    """The console command."""
    cli()


if __name__ == "__main__":
    main()
