"""How units look on a technician's screen: a line for each, or one with its uplink, links and certificates."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from contract.clock import utc
from contract.commissioning_problems import WORDING
from contract.technician import UnitRow
from contract.transfer import UplinkStatus
from contract.unit_alerts import ALERT_WORDS
from provisioning.session import listing, screen


def fleet_table(rows: list[UnitRow]) -> Table | str:
    """Two lines for each unit; what somebody has to see to stands last."""
    if not rows:
        return "No units yet. 'box' makes claim media for the first ones."
    whole = ("unit", "state", "last word\n(UTC)", "certificate")
    table = listing("unit", "state", "last word\n(UTC)", "certificate", "held", "to see to", whole=whole)
    for row in rows:
        active = next((c for c in row.certificates if c.state == "ACTIVE"), None)
        until = utc(active.until_ms).strftime("%Y-%m-%d") if active else "none"
        seen = utc(row.seen_ms).strftime("%m-%d %H:%M") if row.seen_ms else "never"
        table.add_row(
            f"{row.unit}\n[dim]{row.role} at {row.site}[/]",
            row.state,
            f"{seen}\n{'on-line' if row.online else 'off-line'}",
            f"until\n{until}" if active else until,
            _waiting(row),
            "\n".join(_troubles(row)),
        )
    return table


def print_unit(row: UnitRow) -> None:
    """What is known of one unit, below its line."""
    if row.problem is not None:
        screen.print(f"[red]{escape(row.detail)}[/red]\n{WORDING[row.problem].do_en}")
    for alert in row.alerts:
        words = ALERT_WORDS[alert]
        screen.print(f"[{'red' if alert.grave else 'yellow'}]{words.what_en}[/]: {escape(words.do_en)}", soft_wrap=True)
    versions = f"configuration {row.reported_version} of {row.desired_version}"
    screen.print(f"Serial {row.serial or '?'}, {escape(row.software) or 'software unknown'}, {versions}.")
    if row.uplink is not None:
        _print_uplink(row.uplink)
    for held in row.certificates:
        start, end = (utc(wall_ms).strftime("%Y-%m-%d") for wall_ms in (held.from_ms, held.until_ms))
        screen.print(
            f"  {held.state:10} {start} – {end}  {held.serial}  {held.key_home} {escape(held.reason)}", soft_wrap=True
        )


def _print_uplink(uplink: UplinkStatus) -> None:
    """The scheduler's lines (M20) and the newest link check (M21)."""
    screen.print(
        f"Uplink {uplink.mode}: database {uplink.database}, queue {uplink.queue}, scheduler {uplink.scheduler}, "
        f"{uplink.records_sent_since_restart} sent since restart, {uplink.pending} waiting, {uplink.held} set aside.",
        soft_wrap=True,
    )
    if uplink.last_error:
        screen.print(f"  last said: {escape(uplink.last_error)}", soft_wrap=True)
    if uplink.links is not None:
        screen.print(f"Link check of {utc(uplink.links.at_ms):%Y-%m-%d %H:%M} UTC (the unit's clock):")
        for hop in uplink.links.hops:
            answer = f"{hop.round_trip_ms:.0f} ms" if hop.reachable else f"[red]{escape(hop.problem)}[/red]"
            screen.print(f"  {escape(hop.name):16} {escape(hop.address)}  {answer}", soft_wrap=True)


def _waiting(row: UnitRow) -> str:
    if row.pending < 0:
        return "?"
    return f"{row.pending}, oldest {age(row.oldest_age_s)}" if row.pending else "0"


def _troubles(row: UnitRow) -> list[str]:
    found = [f"[{'red' if alert.grave else 'yellow'}]{ALERT_WORDS[alert].what_en}[/]" for alert in row.alerts]
    return found + ([WORDING[row.problem].what_en] if row.problem else [])


def age(seconds: int) -> str:
    """An age in the largest unit that says enough."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size} {unit}"
    return f"{seconds // 86_400} d"
