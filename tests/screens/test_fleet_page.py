"""The fleet page in a real browser: who needs a visit is seen at a glance, and the table stays within the screen.

The picture is left in out/screens for people to look at.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from contract.dispatch import encode
from contract.transfer import LinkCheck, LinkHop, UnitState
from hub import presence
from hub.certificates import CertificateState
from hub.console.application import create_application
from hub.schema.tables import Unit
from tests.hub_world import DESK, HANDOVER, KIOSK, OFFICERS, SECRET, STATION, build_world
from tests.screens.conftest import PICTURES, fits, served
from tests.unit.test_fleet_watch import HOUR_S, Fleet, world_ms

NAMES = ("jaringan (TCP)", "broker (MQTT)", "pusat (hub)")


def links(*round_trips_ms: float) -> LinkCheck:
    """A check whose later hops were not reached."""
    hops = [
        LinkHop(name=name, address="hub.contoh.go.id:8883", reachable=True, round_trip_ms=took_ms)
        for name, took_ms in zip(NAMES, round_trips_ms, strict=False)
    ]
    silent = [LinkHop(name=name, address="hub", reachable=False, problem="the hub is not on-line") for name in NAMES]
    return LinkCheck(at_ms=1_790_000_000_000, hops=(*hops, *silent[len(hops) :]))


def furnish(fleet: Fleet) -> None:
    """Four units: one that is well, one with stuck data, one with a broken line, one that never spoke."""
    with fleet.database.transaction() as session:
        for unit in (DESK, KIOSK, HANDOVER):
            up = UnitState(state="online", boot=1, software="rekam-edge 0.6.0", sequence=1, time_ms=1)
            presence.take_state(session, unit, encode(up), world_ms(fleet.world))
    fleet.hear(KIOSK, pending=212, oldest_age_s=75 * HOUR_S, held=3, links=links(18.2, 55.0, 55.0))
    fleet.hear(HANDOVER, pending=2, oldest_age_s=9 * HOUR_S, links=links(22.0, 96.4), records_sent_since_restart=31)
    fleet.hear(DESK, links=links(9.1, 31.0, 31.0), records_sent_since_restart=1204)
    fleet.certify(CertificateState.ACTIVE, 24 * 6)


def test_who_needs_a_visit_is_seen_at_a_glance(page: Page, tmp_path: Path) -> None:
    worlds = build_world(tmp_path, "sqlite")
    world = next(worlds)
    fleet = Fleet(world)
    furnish(fleet)
    with fleet.database.reading() as session:
        assert session.get_one(Unit, STATION).seen_ms == 0
    with served(create_application(world.central)) as address:
        page.request.post(f"{address}/api/login", data={"operator": OFFICERS[0], "secret": SECRET})
        page.goto(f"{address}/units")
        kiosk = page.locator("tr", has_text=KIOSK)
        expect(kiosk).to_contain_text("212")
        expect(kiosk.locator("xpath=following-sibling::tr[1]")).to_contain_text("Data tertahan lama")
        expect(page.locator("tr.todo", has_text="Sertifikat hampir habis")).to_have_count(1)
        assert fits(page)
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / "fleet.png", full_page=True)
        page.set_viewport_size({"width": 800, "height": 1000})
        assert fits(page)
        page.screenshot(path=PICTURES / "fleet-narrow.png", full_page=True)
    worlds.close()
