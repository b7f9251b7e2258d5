"""`update`: a release to units in waves, how that stands, and pausing, resuming or cancelling it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape

from contract.durations import duration_s
from contract.errors import DeviceError, RekamError
from contract.rollouts import (
    ReleasesOrder,
    ReleasesResult,
    RolloutAction,
    RolloutOrder,
    RolloutRow,
    RolloutsOrder,
    RolloutsResult,
    RolloutUnitRow,
    UpdateOrder,
    UpdateResult,
    Wave,
)
from contract.technician import Verb
from provisioning.line import HubLine
from provisioning.session import (
    HERE,
    WAIT_S,
    IdentityOption,
    JsonOption,
    WaitOption,
    aside,
    converse,
    plain,
    print_json,
    screen,
    told,
)
from provisioning.update_tables import print_releases, print_rollout, print_rollouts, summary

LOOK_AGAIN_S = 2.0
NEWEST = "newest"
RolloutOption = Annotated[str, typer.Option("--rollout", help="Which update, by its id; the newest by default.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(update)


def update(
    release: Annotated[str, typer.Argument(help="An edge release's version, or a release as --list names it.")] = "",
    units: Annotated[str, typer.Option(help="Only these, with commas between.")] = "",
    site: Annotated[str, typer.Option(help="Only units of these sites, with commas between.")] = "",
    waves: Annotated[
        str, typer.Option(help="Percent of the units, or names joined by +, with commas between.")
    ] = "1,10,50,100",
    soak: Annotated[str, typer.Option(help="How long a wave must have been good before the next: 30m, 2h, 1d.")] = "1h",
    good: Annotated[str, typer.Option(help="Share of a wave that must be good.")] = "95%",
    stop_at: Annotated[str, typer.Option(help="Failures beyond this share stop everything.")] = "5%",
    overdue: Annotated[str, typer.Option(help="Silence in the middle of it after which a unit has failed.")] = "1h",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Order it without asking.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Show how it goes until it ends or stops.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="Which releases the hub has.")] = False,
    status: Annotated[bool, typer.Option("--status", help="How updates stand; with --rollout, unit by unit.")] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Tell nobody more for now.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on, also after it stopped by itself.")] = False,
    close: Annotated[bool, typer.Option("--close", help="Leave units behind that stay off the line.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Spare whoever has not begun to write, for good.")] = False,
    reason: Annotated[str, typer.Option(help="Why, in a sentence; for --pause, --resume, --close, --cancel.")] = "",
    rollout: RolloutOption = NEWEST,
    identity: IdentityOption = HERE,
    wait: WaitOption = WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Bring a release to units, wave by wave; it stops by itself where too many fail.

    Example: rekam-provision update 0.7.0 --waves desk-a7,10,50,100 --soak 2h --stop-at 5%
             rekam-provision update --status
             rekam-provision update --pause --reason "the printer driver is suspected"

    A percentage counts from the first wave on. Units that are off-line get it when they come back; where they alone
    keep an update open, --close names them and frees all for the next one. A unit goes back by itself where it is not
    healthy on the new release, and that counts as a failure.
    """
    talk = _Talk(identity, wait, as_json)
    wanted = (pause, resume, close, cancel)  # in the order of RolloutAction
    asked = [action for action, is_wanted in zip(RolloutAction, wanted, strict=True) if is_wanted]
    if sum((bool(release), show_list, status, len(asked) > 0)) != 1 or len(asked) > 1:
        raise typer.BadParameter("Give a release, or one of --list, --status, --pause, --resume, --close, --cancel.")
    if show_list:
        talk.list_releases()
    elif status:
        talk.show(rollout, follow=follow)
    elif asked:
        talk.steer(rollout, asked[0], reason)
    else:
        words = {"units": units, "sites": site, "waves": waves, "soak": soak, "good": good, "stop": stop_at}
        talk.begin(release, words | {"overdue": overdue}, yes=yes, follow=follow)


class _Talk:
    """One conversation with the hub about updates."""

    def __init__(self, identity: Path, wait_s: float, as_json: bool) -> None:
        self._identity, self._wait_s, self._as_json = identity, wait_s, as_json

    def list_releases(self) -> None:
        """Which releases the hub has."""
        found = converse(
            self._identity, self._wait_s, self._as_json,
            lambda line: line.ask(Verb.RELEASES, ReleasesOrder(), ReleasesResult),
        )  # fmt: skip
        if self._as_json:
            print_json(plain(found))
        else:
            print_releases(found)

    def begin(self, release: str, words: dict[str, str], *, yes: bool, follow: bool) -> None:
        """Order an update, once somebody said yes."""
        try:
            order = order_from(release, words)
        except RekamError as error:
            raise told(error, self._as_json) from None
        whom = ", ".join((*order.units, *order.sites)) or "every unit that you look after"
        how = f"{release} to {whom}, in waves: {', '.join(wave.what for wave in order.waves)}"
        if self._as_json and not yes:
            print_json({"done": False, "update": how, "next_step": "Add --yes to order it."})
            raise typer.Exit(1)
        if not yes and not typer.confirm(f"Bring {how}?", err=True):
            raise typer.Exit(1)
        found = converse(
            self._identity, self._wait_s, self._as_json, lambda line: line.ask(Verb.UPDATE, order, UpdateResult)
        )
        if self._as_json:
            print_json({"done": True, **plain(found)})
        else:
            print_rollout(found.rollout)
            screen.print(f"{found.ahead} run it already, {found.left_out} are in no wave.", highlight=False)
        if follow:
            self.show(found.rollout.id, follow=True)

    def steer(self, rollout: str, action: RolloutAction, reason: str) -> None:
        """Pause, resume, close or cancel; names whoever is left behind."""

        async def talk(line: HubLine) -> tuple[RolloutRow, list[RolloutUnitRow]]:
            row = (await _find(line, rollout)).rows[0]
            order = RolloutOrder(rollout=row.id, action=action, reason=reason[:200])
            row = await line.ask(Verb.ROLLOUT, order, RolloutRow)
            if action is not RolloutAction.CLOSE:
                return row, []
            units = await _all_units(line, await _find(line, row.id))
            return row, [unit for unit in units if unit.step == "left"]

        row, left = converse(self._identity, self._wait_s, self._as_json, talk)
        if self._as_json:
            print_json({"done": True, **plain(row), "left_behind": [unit.unit for unit in left]})
        else:
            print_rollout(row, left)

    def show(self, rollout: str, *, follow: bool) -> None:
        """How updates stand: all, or one with its units; with `follow` until it ends. Exit 1 where it stopped."""
        if rollout == NEWEST and not follow:
            rows = converse(self._identity, self._wait_s, self._as_json, _all_rollouts)
            if self._as_json:
                print_json({"rollouts": [plain(row) for row in rows]})
            else:
                print_rollouts(rows)
            return
        row, units = converse(
            self._identity, self._wait_s, self._as_json, lambda line: self._followed(line, rollout, follow=follow)
        )
        if not follow and self._as_json:
            print_json({**plain(row), "units_in_it": [plain(unit) for unit in units]})
        elif not self._as_json:
            print_rollout(row, units)
        if follow and row.state != "done":
            raise typer.Exit(1)

    async def _followed(self, line: HubLine, rollout: str, *, follow: bool) -> tuple[RolloutRow, list[RolloutUnitRow]]:
        """Look until it ends or stops, telling every change; once where nobody wants to follow."""
        known: Any = None
        while True:
            found = await _find(line, rollout)
            row, units = found.rows[0], await _all_units(line, found)
            rollout = row.id
            seen = (row.state, [dict(wave.steps) for wave in row.waves])
            if follow and seen != known:
                known = seen
                if self._as_json:
                    print_json(plain(row))
                else:
                    aside.print(escape(summary(row)), highlight=False)
            if not follow or row.state != "running":
                return row, units
            await asyncio.sleep(LOOK_AGAIN_S)


def order_from(release: str, words: dict[str, str]) -> UpdateOrder:
    """An order from what was typed. Raises DeviceError that names the wrong word."""
    try:
        return UpdateOrder(
            release=release,
            units=_names(words["units"]),
            sites=_names(words["sites"]),
            waves=tuple(_wave(text) for text in words["waves"].split(",")),
            soak_s=duration_s(words["soak"]),
            good_percent=_percent(words["good"]),
            stop_percent=_percent(words["stop"]),
            overdue_s=duration_s(words["overdue"]),
        )
    except ValidationError as error:
        wrong = ", ".join(sorted({str(item["loc"][0]) if item["loc"] else "waves" for item in error.errors()}))
        raise DeviceError(f"Not valid: {wrong}.", next_step="See 'rekam-provision update --help'.") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _wave(text: str) -> Wave:
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,3}%?", text):
        return Wave(percent=_percent(text))
    return Wave(names=tuple(name for name in text.split("+") if name))


def _percent(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,3})%?", text.strip())
    if match is None or int(match[1]) > 100:
        raise DeviceError(f"'{text[:40]}' is no percentage.", next_step="Write one such as 5%.")
    return int(match[1])


async def _find(line: HubLine, rollout: str, page: int = 0) -> RolloutsResult:
    found = await line.ask(Verb.ROLLOUTS, RolloutsOrder(rollout=rollout, page=page), RolloutsResult)
    if not found.rows:
        raise DeviceError("There is no such update.", next_step="'rekam-provision update --status' lists them.")
    return found


async def _all_units(line: HubLine, found: RolloutsResult) -> list[RolloutUnitRow]:
    units, page = list(found.units), 0
    while found.more:
        page += 1
        found = await _find(line, found.rows[0].id, page)
        units += found.units
    return units


async def _all_rollouts(line: HubLine) -> list[RolloutRow]:
    rows: list[RolloutRow] = []
    page = 0
    while True:
        found = await line.ask(Verb.ROLLOUTS, RolloutsOrder(page=page), RolloutsResult)
        rows += found.rows
        if not found.more:
            return rows
        page += 1
