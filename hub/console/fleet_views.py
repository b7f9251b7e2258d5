"""What the fleet page shows: every unit by site, with what somebody has to see to (M19–M21). It only reads."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from contract.unit_alerts import ALERT_WORDS
from hub.central import Central
from hub.fleet_watch import Watched, look_at_all
from hub.schema.tables import Site
from hub.unit_setup import reported_of

UNITS_SHOWN_MAX = 300
Fields = dict[str, Any]


def fleet(session: Session, central: Central) -> Fields:
    """Counts over the fleet, and its units by site; where they are too many, those that need nobody are left out."""
    context = central.context
    now_ms = context.clock.wall_ms()
    watched = look_at_all(session, context.settings.deadlines, now_ms)
    shown = sorted(watched, key=lambda w: (not w.alerts, w.unit.site, w.unit.id))[:UNITS_SHOWN_MAX]
    shown.sort(key=lambda w: (w.unit.site, w.unit.id))
    names = {site.code: site.name for site in session.scalars(select(Site))}
    deadlines = context.settings.deadlines
    return {
        "units": len(watched),
        "online": sum(1 for w in watched if w.said is not None and w.said.state == "online"),
        "grave": sum(1 for w in watched if any(alert.grave for alert in w.alerts)),
        "noticed": sum(1 for w in watched if w.alerts),
        "waiting": sum(w.uplink.pending for w in watched if w.uplink),
        "oldest_age_s": max((w.oldest_age_s for w in watched), default=0),
        "left_out": len(watched) - len(shown),
        "limits": {
            "waits_h": deadlines.data_waits_h,
            "stuck_h": deadlines.data_stuck_h,
            "silent_h": deadlines.silent_h,
        },
        "sites": [
            {"code": code, "name": names.get(code, ""), "units": [_unit(w, now_ms) for w in group]}
            for code, group in groupby(shown, key=lambda w: w.unit.site)
        ],
        "time_ms": now_ms,
    }


def _unit(watched: Watched, now_ms: int) -> Fields:
    unit, setup = watched.unit, watched.setup
    reported = reported_of(setup) if setup is not None else None
    return {
        "id": unit.id,
        "role": unit.role,
        "state": unit.state,
        "online": watched.said is not None and watched.said.state == "online",
        "seen_ago_s": max(0, now_ms - unit.seen_ms) // 1000 if unit.seen_ms else None,
        "software": watched.said.software if watched.said else "",
        "desired_version": setup.version if setup else 0,
        "reported_version": reported.version if reported else 0,
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
