"""What the fleet page shows: every unit by site, with what somebody has to see to (M19–M21). It only reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.lifecycle import UnitState as UnitLife
from contract.rollouts import RolloutsOrder, WaveRow
from contract.unit_alerts import ALERT_WORDS
from contract.update_problems import UPDATE_WORDING
from contract.updates import UpdateReport
from hub.central import Central
from hub.console.fleet_map import site_map
from hub.fleet_watch import Watched, look_at_all
from hub.rollout import OPEN_STATES, UnitStep
from hub.schema.tables import Site
from hub.unit_setup import reported_of
from hub.update_views import rollouts

UNITS_SHOWN_MAX = 50
ROLLOUTS_SHOWN_MAX = 5
ENDED_SHOWN_MS = 7 * 86_400_000
Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """Which units somebody wants to see, a page at a time. site: its code; text: part of a name; "": any."""

    site: str = ""
    state: Literal["", "visit", "look", "offline", "online"] = ""
    text: str = ""
    page: int = 0

    def wants(self, watched: Watched, site: str) -> bool:
        """Whether a unit is meant. site: the name of where it stands."""
        named = self.text.lower() in f"{watched.unit.id} {watched.unit.site} {site}".lower()
        held = {
            "": True,
            "visit": any(alert.grave for alert in watched.alerts),
            "look": bool(watched.alerts),
            "offline": not watched.is_online,
            "online": watched.is_online,
        }
        return named and held[self.state] and self.site in ("", watched.unit.site)


def fleet(session: Session, central: Central, wish: Wish = Wish()) -> Fields:
    """Counts over the fleet, its sites on a map, and a page of the units that are meant: who needs somebody first."""
    context = central.context
    now_ms = context.clock.wall_ms()
    known = look_at_all(session, context.settings.deadlines, now_ms)
    # Whoever was retired is no part of the fleet any more, unless somebody looks for it or its data are not here.
    watched = [w for w in known if w.unit.state != UnitLife.RETIRED or w.alerts or wish.text]
    sites = session.scalars(select(Site).order_by(Site.code)).all()
    names = {site.code: site.name for site in sites}
    meant = [w for w in watched if wish.wants(w, names.get(w.unit.site, ""))]
    pages = max(1, -(-len(meant) // UNITS_SHOWN_MAX))
    page = min(wish.page, pages - 1)
    meant.sort(key=lambda w: (not w.alerts, w.unit.site, w.unit.id))
    shown = meant[page * UNITS_SHOWN_MAX : (page + 1) * UNITS_SHOWN_MAX]
    shown.sort(key=lambda w: (w.unit.site, w.unit.id))
    deadlines = context.settings.deadlines
    return {
        "units": len(watched),
        "online": sum(w.is_online for w in watched),
        "grave": sum(1 for w in watched if any(alert.grave for alert in w.alerts)),
        "noticed": sum(1 for w in watched if w.alerts),
        "waiting": sum(w.uplink.pending for w in watched if w.uplink),
        "oldest_age_s": max((w.oldest_age_s for w in watched), default=0),
        "meant": len(meant),
        "left_out": len(watched) - len(shown),
        "page": page,
        "pages": pages,
        "line_lost_ms": central.roll.lost_ms,
        "map": site_map(sites, _by_site(watched)),
        "limits": {
            "waits_h": deadlines.data_waits_h,
            "stuck_h": deadlines.data_stuck_h,
            "silent_h": deadlines.silent_h,
        },
        "sites": [
            {"code": code, "name": names.get(code, ""), "units": [_unit(w, now_ms) for w in group]}
            for code, group in groupby(shown, key=lambda w: w.unit.site)
        ],
        "updates": _updates(session, central, now_ms),
        "time_ms": now_ms,
    }


def _by_site(watched: list[Watched]) -> dict[str, list[Watched]]:
    found: dict[str, list[Watched]] = {}
    for one in watched:
        found.setdefault(one.unit.site, []).append(one)
    return found


def _updates(session: Session, central: Central, now_ms: int) -> Fields:
    """Updates on their way, and those that ended lately: wave by wave, with what keeps units from updating."""
    newest = rollouts(session, RolloutsOrder()).rows
    shown = [row for row in newest if row.state in OPEN_STATES or now_ms - row.made_ms < ENDED_SHOWN_MS]
    return {
        "alarm": central.repository.alarm(session),
        "rollouts": [
            {
                "release": row.release.target, "version": row.release.version, "state": row.state, "why": row.why,
                "made_ms": row.made_ms, "made_by": row.made_by, "next_in_ms": max(0, row.next_ms - now_ms),
                "begun": sum(wave.begun for wave in row.waves),
                "absent": row.absent, "absent_since_ms": row.absent_since_ms,
                "failed": sum(wave.steps.get(UnitStep.FAILED, 0) for wave in row.waves),
                "waves": [
                    {"what": wave.what, "begun": wave.begun, "units": wave.units, "steps": _steps(wave)}
                    for wave in row.waves
                ],
            }
            for row in shown[:ROLLOUTS_SHOWN_MAX]
        ],
    }  # fmt: skip


def _steps(wave: WaveRow) -> list[tuple[str, int, int]]:
    """Each step with its count, and how many units stand before it, the furthest first."""
    furthest = (UnitStep.GOOD, UnitStep.WRITING, UnitStep.FETCHING, UnitStep.TOLD, UnitStep.WAITING)
    found, before = [], 0
    for step in (*furthest, UnitStep.FAILED, UnitStep.LEFT, UnitStep.SPARED, UnitStep.GONE):
        if count := wave.steps.get(step, 0):
            found.append((step.value, count, before))
            before += count
    return found


def _software(update: UpdateReport | None) -> Fields | None:
    """What a unit runs, and what it does about another."""
    if update is None:
        return None
    running, wording = update.running, UPDATE_WORDING[update.problem] if update.problem else None
    return {
        "version": running.version, "slot": running.slot, "firmware": running.firmware,
        "state": update.state.value if update.state else "", "detail": update.detail,
        "done": update.bytes_done, "all": update.bytes_all,
        "problem_id": wording.what_id if wording else "", "problem_en": wording.what_en if wording else "",
    }  # fmt: skip


def _unit(watched: Watched, now_ms: int) -> Fields:
    unit, setup = watched.unit, watched.setup
    reported = reported_of(setup) if setup is not None else None
    return {
        "id": unit.id,
        "role": unit.role,
        "state": unit.state,
        "online": watched.is_online,
        "seen_ago_s": max(0, now_ms - unit.seen_ms) // 1000 if unit.seen_ms else None,
        "software": watched.said.software if watched.said else "",
        "runs": _software(watched.update),
        "desired_version": setup.version if setup else 0,
        "reported_version": reported.version if reported else 0,
        "is_refused": bool(setup and reported and reported.problem and reported.refused_version == setup.version),
        "certificate_until_ms": watched.until_ms,
        "certificate_left_s": (watched.until_ms - now_ms) // 1000 if watched.until_ms else None,
        "oldest_age_s": watched.oldest_age_s,
        "uplink": watched.uplink.model_dump() if watched.uplink else None,
        "alerts": [
            {"alert": alert.value, "grave": alert.grave, "id": ALERT_WORDS[alert].what_id,
             "en": ALERT_WORDS[alert].what_en, "do_id": ALERT_WORDS[alert].do_id, "do_en": ALERT_WORDS[alert].do_en}
            for alert in watched.alerts
        ],
    }  # fmt: skip
