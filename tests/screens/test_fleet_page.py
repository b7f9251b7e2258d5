"""The fleet page in a real browser: who needs a visit is seen at a glance, and the table stays within the screen.

The picture is left in out/screens for people to look at.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from contract.dispatch import encode
from contract.transfer import LinkCheck, LinkHop, UnitState
from contract.update_problems import UpdateProblem
from contract.updates import Running, UpdateReport
from contract.updates import UpdateState as Said
from hub import presence
from hub.certificates import CertificateState
from hub.console.application import create_application
from hub.schema.commissioning_tables import Technician
from hub.schema.tables import Site, Unit
from hub.schema.update_tables import Rollout, RolloutUnit, UnitUpdate
from tests.hub_world import (
    DESK,
    HANDOVER,
    KIOSK,
    OFFICERS,
    OPERATOR,
    SECRET,
    SITE_A,
    SITE_B,
    SITE_K,
    STATION,
    build_world,
)
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


def rollout_id(name: str) -> str:
    return f"01939c6e-7c1e-7aaa-8000-00000000000{name}"


def bring_updates(fleet: Fleet) -> None:
    """A rollout that runs, one that has stopped by itself, one that was closed, and a unit that went back."""
    now = world_ms(fleet.world)
    with fleet.database.transaction() as session:
        session.add(Technician(id=OPERATOR, public_key=b"key"))
        session.flush()
        for name, version, state, waves in (
            ("0", "0.8.0", "running", ({"good": 1}, {"good": 6, "fetching": 2, "writing": 1}, {"waiting": 6})),
            ("1", "0.7.0", "stopped", ({"good": 1}, {"good": 2, "failed": 2, "told": 4}, {"waiting": 5})),
            ("2", "0.5.0", "closed", ({"good": 1}, {"good": 8, "left": 3})),
        ):
            session.add(
                Rollout(
                    id=rollout_id(name), target=f"rekam-edge-{version}.json", artefact="edge", number=1,
                    version=version, made_by=OPERATOR, made_ms=now - 3_600_000, state=state, wave=1,
                    waves='["1 %", "20 %", "100 %"]',
                    wave_count=3, soak_ms=7_200_000, overdue_ms=1, good_share=0.9, stop_share=0.05, changed_ms=now,
                    reached_ms=now - 60_000 if state == "running" else None,
                    why={"stopped": "2 of 9 units failed", "closed": "tek-a: in the hills until March"}.get(state, ""),
                )
            )  # fmt: skip
            session.flush()
            for wave, steps in enumerate(waves):
                for step, count in steps.items():
                    for number in range(count):
                        unit = Unit(id=f"m-{name}-{wave}-{step}-{number}", site=SITE_K, role="desk", state="retired",
                                    sign_public_pem="", open_public_pem="", seen_ms=1)  # fmt: skip
                        session.add(unit)
                        session.flush()
                        session.add(
                            RolloutUnit(rollout=rollout_id(name), unit=unit.id, wave=wave, step=step, since_ms=now)
                        )
        for unit_id, fields in (
            (DESK, {"state": Said.DOWNLOADING, "bytes_done": 12_400_000, "bytes_all": 48_100_000}),
            (HANDOVER, {"state": Said.RETURNED, "problem": UpdateProblem.UNHEALTHY, "detail": "finger: No answer."}),
            (STATION, {"state": Said.GOOD}),
        ):
            running = Running(version="0.6.0", number=1, slot="a", floor=0, firmware="0.1.0", firmware_number=256)
            report = UpdateReport(job="j", running=running, at_ms=1).model_copy(update=fields)
            session.add(UnitUpdate(unit=unit_id, report=report.model_dump_json(), heard_ms=now))


def test_how_an_update_goes_is_seen_wave_by_wave(page: Page, tmp_path: Path) -> None:
    worlds = build_world(tmp_path, "sqlite")
    world = next(worlds)
    fleet = Fleet(world)
    furnish(fleet)
    bring_updates(fleet)
    with served(create_application(world.central)) as address:
        page.request.post(f"{address}/api/login", data={"operator": OFFICERS[0], "secret": SECRET})
        page.goto(f"{address}/units")
        stopped = page.locator(".rollout", has_text="0.7.0")
        expect(stopped).to_contain_text("dihentikan")
        expect(stopped).to_contain_text("2 of 9 units failed")
        running = page.locator(".rollout", has_text="0.8.0")
        expect(running.locator(".wave").nth(1)).to_contain_text("6 baik")
        expect(running).to_contain_text("Gelombang berikutnya")
        expect(page.locator("tr", has_text=DESK).first).to_contain_text("12.4 / 48.1 MB")
        closed = page.locator(".rollout", has_text="0.5.0")
        expect(closed).to_contain_text("3 tertinggal")
        expect(closed).to_contain_text("Tertinggal: 3 unit luring sejak")
        expect(running).to_contain_text("Menunggu: 2 unit luring sejak")
        gone_back = page.locator("tr.todo", has_text="Pembaruan gagal")
        expect(gone_back).to_contain_text("finger: No answer.")
        assert fits(page)
        page.screenshot(path=PICTURES / "fleet-updates.png", full_page=True)
        page.set_viewport_size({"width": 800, "height": 1000})
        assert fits(page)
        page.screenshot(path=PICTURES / "fleet-updates-narrow.png", full_page=True)
    worlds.close()


def place(fleet: Fleet) -> None:
    """Two of the sites on the map."""
    with fleet.database.transaction() as session:
        for code, latitude, longitude in ((SITE_A, -6.21, 106.85), (SITE_B, -6.34, 107.02)):
            site = session.get_one(Site, code)
            site.latitude, site.longitude = latitude, longitude


def test_the_map_shows_the_worst_of_each_site_and_leads_to_its_units(page: Page, tmp_path: Path) -> None:
    worlds = build_world(tmp_path, "sqlite")
    world = next(worlds)
    fleet = Fleet(world)
    furnish(fleet)
    place(fleet)
    world.central.roll.begin()
    with served(create_application(world.central)) as address:
        page.request.post(f"{address}/api/login", data={"operator": OFFICERS[0], "secret": SECRET})
        page.goto(f"{address}/units")
        expect(page.locator("svg.map circle")).to_have_count(2)
        expect(page.locator("svg.map circle.bad")).to_have_count(1)
        expect(page.locator(".lost")).to_contain_text("Dinas Dukcapil Contoh")
        assert fits(page)
        page.screenshot(path=PICTURES / "fleet-map.png", full_page=True)
        page.locator("svg.map a", has=page.locator("circle.bad")).click()
        expect(page.locator("tr", has_text=KIOSK)).to_be_visible()
        expect(page.locator("tr", has_text=DESK)).to_have_count(0)
        page.goto(f"{address}/units?state=offline")
        expect(page.locator("table.fleet td b")).to_have_text([STATION])
        page.locator("input[name=text]").fill("handover")
        page.locator("select[name=state]").select_option("")
        page.locator("form.filter button").click()
        expect(page.locator("table.fleet td b")).to_have_text([HANDOVER])
    worlds.close()


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
