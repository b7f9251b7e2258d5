"""How updates look on a technician's screen: releases, rollouts, and one of them wave by wave and unit by unit."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from contract.clock import utc
from contract.rollouts import ReleasesResult, RolloutRow, RolloutUnitRow
from contract.update_problems import UPDATE_WORDING, UpdateProblem
from provisioning.session import aside, listing, screen

ORDER = ("waiting", "told", "fetching", "writing", "good", "failed", "left", "spared", "gone")
COLOURS = {
    "good": "green",
    "failed": "red",
    "stopped": "red",
    "paused": "yellow",
    "done": "green",
    "closed": "green",
    "left": "yellow",
    "running": "cyan",
}


def print_releases(found: ReleasesResult) -> None:
    """Which releases the hub has."""
    if found.alarm:
        aside.print(f"[bold red]{escape(found.alarm)}[/]")
    table = listing(
        "release", "artefact", "version", "number", "floor", whole=("artefact", "version", "number", "floor")
    )
    for row in found.rows:
        table.add_row(escape(row.target), row.artefact, escape(row.version), str(row.number), str(row.floor))
    screen.print(table)
    if found.targets_version:
        until = utc(found.targets_until_ms).strftime("%Y-%m-%d")
        screen.print(f"Targets {found.targets_version}, signed for until {until}.", highlight=False)
    else:
        screen.print("The hub has no releases: 'rekam-hub begin-updates' and 'take-release' bring them.")


def print_rollouts(rows: Sequence[RolloutRow]) -> None:
    """Three lines for each rollout, the newest first."""
    if not rows:
        screen.print("No update was ordered yet.")
    for row in rows:
        begun = sum(wave.begun for wave in row.waves)
        screen.print(f"{row.id}  {escape(row.release.target)}  {_coloured(row.state)}", soft_wrap=True)
        screen.print(f"  {begun} of {len(row.waves)} waves begun: {_counts(_all(row))}", soft_wrap=True)
        why = f": {escape(row.why)}" if row.why else ""
        if row.absent:
            screen.print(f"  {waiting(row)}", highlight=False, soft_wrap=True)
        screen.print(f"  ordered by {row.made_by} at {utc(row.made_ms):%m-%d %H:%M} UTC{why}", soft_wrap=True)


def print_rollout(row: RolloutRow, units: Sequence[RolloutUnitRow] = ()) -> None:
    """One rollout by its waves, and its units where they are known."""
    screen.print(f"{row.id}  {escape(row.release.target)}  {_coloured(row.state)}  {escape(row.why)}", soft_wrap=True)
    for number, wave in enumerate(row.waves, 1):
        begun = "" if wave.begun else "[dim]not begun[/]"
        screen.print(f"  wave {number} ({escape(wave.what)}), units {wave.units}: {_counts(wave.steps)} {begun}")
    if row.next_ms:
        screen.print(f"  The next wave begins at {utc(row.next_ms):%m-%d %H:%M} UTC if nothing fails until then.")
    if row.absent:
        screen.print(f"  {waiting(row)}", highlight=False, soft_wrap=True)
    if not units:
        return
    table = listing(
        "unit", "site", "wave", "step", "line", "runs", "since (UTC)", "what", whole=("unit", "step", "since (UTC)")
    )
    for unit in units:
        since = utc(unit.since_ms).strftime("%m-%d %H:%M")
        line = "on" if unit.present else "off"
        table.add_row(
            unit.unit, unit.site, str(unit.wave + 1), _coloured(unit.step), line, escape(unit.version), since,
            _what(unit),
        )  # fmt: skip
    screen.print(table)


def waiting(row: RolloutRow) -> str:
    """For whom a rollout waits, or whom it has left behind."""
    since = f"{row.absent} units off-line, the first since {utc(row.absent_since_ms):%Y-%m-%d %H:%M} UTC"
    if row.state == "closed":
        return f"Left behind: {since}. They get it when they come back."
    may_close = row.state == "running" and all(wave.begun for wave in row.waves)
    close = "; --close frees everybody for the next update" if may_close else ""
    return f"Waiting for {since}. They get it when they come back{close}."


def summary(row: RolloutRow) -> str:
    """A rollout in one line without colours."""
    begun = sum(wave.begun for wave in row.waves)
    counts = ", ".join(f"{count} {step}" for step, count in _ordered(_all(row)))
    return f"{row.state}: wave {begun} of {len(row.waves)}; {counts}"


def _what(unit: RolloutUnitRow) -> str:
    """What a technician should know of a unit: its progress, or why it failed and what to do."""
    if unit.problem:
        known = unit.problem in tuple(UpdateProblem)
        wording = UPDATE_WORDING[UpdateProblem(unit.problem)] if known else None
        said = f"{wording.what_en} {wording.do_en}" if wording else unit.problem
        return escape(f"{said} {unit.detail}".strip())
    if unit.step == "fetching" and unit.bytes_all:
        return f"{unit.bytes_done / 1e6:.1f} of {unit.bytes_all / 1e6:.1f} MB"
    return escape(unit.detail)


def _all(row: RolloutRow) -> dict[str, int]:
    return {step: sum(wave.steps.get(step, 0) for wave in row.waves) for step in ORDER}


def _ordered(steps: dict[str, int]) -> list[tuple[str, int]]:
    return [(step, steps[step]) for step in ORDER if steps.get(step)]


def _counts(steps: dict[str, int]) -> str:
    return ", ".join(f"{count} {_coloured(step)}" for step, count in _ordered(steps))


def _coloured(word: str) -> str:
    colour = COLOURS.get(word)
    return f"[{colour}]{word}[/]" if colour else escape(word)
