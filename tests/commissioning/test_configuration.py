"""A unit's configuration on its disk, on trial and back: refusals, power cuts at every write, and the two minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.channel_mqtt import Handler, MqttChannel
from contract.commissioning_problems import Problem
from contract.configuration import CONFIGURABLE, Desired, Reported, Tables, objection
from contract.dispatch import decode
from contract.durable_files import unobserved
from contract.errors import DeviceError
from contract.topics import UP_REPORTED, Topic
from edge.agent import Agent
from edge.bounded_clock import BoundedClock
from edge.config import load_config
from edge.configuration import TRIAL, Configurations, Trial
from edge.configuration_trial import HEALTHY_WITHIN_S, ConfigurationIntake, ConfigurationOnTrial
from edge.downlink import Downlink
from edge.service_notice import ServiceNotice
from edge.trial import prove
from edge.update_record import Updates
from tests.commissioning.desk_world import SetClock
from tests.commissioning.test_power_cuts import Cutter, PowerCut

UNIT, SITE = "desk-a1", "9901-A"
OLD = f"""# written by hand
[unit]
id = "{UNIT}"
site = "{SITE}"
role = "desk"
[broker]
host = "hub"
ca = "ca.crt"
certificate = "tls.crt"
key = "tls.key"
[keys]
open = "open.key"
store = "store.key"
hub_packet = "a"
recovery = "b"
hub_statement = "c"
issuer = "d"
[devices.identity]
driver = "atecc608"
[policy]
attempts_max = 4
"""
NEW: Tables = {"policy": {"attempts_max": 7}, "screen": {"port": 8123}, "enclosure.lamps": {"ring": 5}}


def desired(version: int = 2, tables: Tables = NEW, unit: str = UNIT, site: str = SITE) -> Desired:
    return Desired(unit=unit, site=site, version=version, tables=tables)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "unit.toml").write_text(OLD, encoding="utf-8")
    return tmp_path


def configurations(home: Path) -> Configurations:
    return Configurations(home / "unit.toml", SetClock())


def reported(found: Configurations) -> Reported:
    content = found.reported()
    assert content is not None
    return decode(Reported, content)


def begun(home: Path, **changes: tuple[str, ...]) -> tuple[Configurations, Trial]:
    """A unit that has begun again on a configuration on trial."""
    before = configurations(home)
    trial = before.consider(desired())
    assert trial is not None
    before.begin(trial.model_copy(update=changes))
    after = configurations(home)
    config, trial = after.start()
    assert trial is not None and config.policy.attempts_max == 7 and after.config.policy.attempts_max == 4
    return after, trial


def test_a_configuration_keeps_who_the_unit_is_and_where_its_keys_lie(home: Path) -> None:
    found, trial = begun(home)
    found.adopt(trial)
    config = load_config(home / "unit.toml")
    assert (config.unit.id, config.keys.open, config.broker.host) == (UNIT, home / "open.key", "hub")
    assert (config.policy.attempts_max, config.screen.port, config.enclosure.lamps) == (7, 8123, {"ring": 5})
    assert config.devices == {"identity": {"driver": "atecc608"}}  # the packet key lives in it
    report = reported(found)
    assert (report.version, report.digest, report.problem) == (2, desired().digest(), None)
    assert configurations(home).consider(desired()) is None  # the retained message comes at every connect


@pytest.mark.parametrize(
    ("wrong", "problem", "named"),
    [
        (desired(unit="desk-z9"), Problem.CONFIGURATION_FOR_OTHER_UNIT, "desk-z9"),
        (desired(1, {"policy": {"attempts_max": 9}}), Problem.CONFIGURATION_OLD, "version 1; 2 is in force"),
        (desired(2, {"policy": {"attempts_max": 9}}), Problem.CONFIGURATION_OLD, "version 2"),
        (desired(3, {"policy": {"attempts_maximum": 9}}), Problem.CONFIGURATION_INVALID, "policy.attempts_maximum"),
        (desired(3, {"keys": {"sign": "/etc/shadow"}}), Problem.CONFIGURATION_INVALID, "[keys]"),
        (desired(3, {"devices.camera": {"password": "geheim7"}}), Problem.CONFIGURATION_SECRET, "password"),
        (desired(3, {"devices.camera": {"url": "rtsp://u:geheim7@h/1"}}), Problem.CONFIGURATION_SECRET, "url"),
    ],
)
def test_what_is_wrong_changes_nothing_and_is_reported_with_what_to_do(
    home: Path, wrong: Desired, problem: Problem, named: str
) -> None:
    found, trial = begun(home)
    found.adopt(trial)
    before = (home / "unit.toml").read_bytes()
    assert found.consider(wrong) is None
    report = reported(found)
    assert (report.problem, report.refused_version, report.version) == (problem, wrong.version, 2)
    assert named in report.detail and "geheim7" not in report.detail
    assert (home / "unit.toml").read_bytes() == before and configurations(home).start()[1] is None


def test_the_same_settings_under_a_new_number_are_taken_up_without_a_trial(home: Path) -> None:
    found, trial = begun(home)
    found.adopt(trial)
    found.consider(desired(3, {"keys": {"sign": "x"}}))
    assert found.consider(desired(4)) is None
    assert (reported(found).version, reported(found).problem) == (4, None)


def test_an_old_message_does_not_make_a_unit_forget_what_it_gave_up(home: Path) -> None:
    found, trial = begun(home)
    found.adopt(trial)
    bad = desired(5, {"policy": {"attempts_max": 9}})
    trial = found.consider(bad)
    assert trial is not None
    found.roll_back(trial, "finger: no answer")
    for replayed in (desired(1, {"policy": {"attempts_max": 8}}), desired(3, {"keys": {"sign": "x"}})):
        assert found.consider(replayed) is None
    assert found.consider(bad) is None  # it is not tried again
    assert (reported(found).problem, reported(found).refused_version) == (Problem.CONFIGURATION_UNHEALTHY, 5)


def test_a_unit_that_moves_is_told_its_new_site(home: Path) -> None:
    found = configurations(home)
    trial = found.consider(desired(site="9902-B"))
    assert trial is not None and b"9902-B" in trial.content


@given(
    st.dictionaries(
        st.sampled_from(sorted(CONFIGURABLE))
        | st.from_regex(r"[a-z][a-z0-9_]{0,8}\.[a-z][a-z0-9_]{0,8}", fullmatch=True),
        st.dictionaries(
            st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
            st.booleans()
            | st.integers(-(2**53), 2**53)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=20),
            max_size=4,
        ),
        max_size=4,
    )
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tables_are_tried_or_refused_and_nothing_else_happens(home: Path, tables: Tables) -> None:
    found = configurations(home)
    trial = found.consider(desired(9, tables))
    assert (trial is None) == (reported(found).problem is not None if found.reported() else False)
    assert (home / "unit.toml").read_text(encoding="utf-8") == OLD
    (home / "reported.bin").unlink(missing_ok=True)


@given(st.binary(max_size=200))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_trial_that_the_disk_spoiled_is_none(home: Path, garbage: bytes) -> None:
    (home / TRIAL).write_bytes(garbage)
    assert configurations(home).start()[1] is None


def test_names_of_files_are_no_secrets() -> None:
    tables: Tables = {
        "devices.finger": {"password_file": "/etc/rekam/finger"}, "enclosure": {"pin_factory": "lgpio"},
        "devices.camera": {"url": "http://camera/1", "credentials_file": "c"},
    }  # fmt: skip
    assert objection(tables) is None
    for value in ("-----BEGIN " + "PRIVATE KEY-----", "ab" * 32):
        assert objection({"uplink": {"x": value}}) is not None


def live(home: Path, cutter: Cutter, *, well: bool) -> bool:
    """One life of a unit whose hub offers a configuration; whether it is settled. Raises PowerCut."""
    found = Configurations(home / "unit.toml", SetClock(), cutter if cutter.at else unobserved)
    _, trial = found.start()
    if trial is not None:
        if well:
            found.adopt(trial)
        else:
            found.roll_back(trial, "finger: It does not open.")
            return False  # begins again
    wanted = found.consider(desired())
    if wanted is None:
        return True
    found.begin(wanted)
    return False


@pytest.mark.parametrize("well", [True, False])
def test_a_power_cut_at_every_write_ends_where_none_would_have(tmp_path: Path, well: bool) -> None:
    places: list[str] = []
    for at in range(1, 100):
        home = tmp_path / str(at)
        home.mkdir()
        (home / "unit.toml").write_text(OLD, encoding="utf-8")
        cutter = Cutter(at)
        settled = cut = False
        for _ in range(8):
            try:
                settled = live(home, cutter, well=well)
            except PowerCut:
                cut = True
            assert load_config(home / "unit.toml").policy.attempts_max in (4, 7)  # whole at every moment
            if settled:
                break
        places = cutter.places
        found = configurations(home)
        report = reported(found)
        assert settled and not (home / TRIAL).exists(), cutter.places[-1]
        assert found.config.policy.attempts_max == (7 if well else 4)
        assert (report.problem is None, report.version) == ((True, 2) if well else (False, 0))
        if not cut:
            break
    assert len(places) >= 10 and any("trial.bin" in place for place in places)


def test_a_unit_that_ends_twice_on_trial_goes_back(home: Path) -> None:
    begun(home)
    assert configurations(home).start()[1] is not None  # a power cut says nothing yet
    found = configurations(home)
    config, trial = found.start()
    assert trial is None and config.policy.attempts_max == 4
    assert reported(found).problem is Problem.CONFIGURATION_UNHEALTHY
    assert found.consider(desired()) is None  # and is not tried for ever


class FakeAgent:
    """An agent that complains as it is told, one answer a look, the last for ever."""

    def __init__(self, *answers: Mapping[str, str], error: Exception | None = None) -> None:
        self.answers = list(answers)
        self.error = error
        self.stopped = asyncio.Event()
        self.reported = asyncio.Event()

    async def run(self) -> None:
        if self.error is not None:
            raise self.error
        await self.stopped.wait()

    def stop(self) -> None:
        self.stopped.set()

    async def complaints(self) -> Mapping[str, str]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def report_configuration(self) -> None:
        self.reported.set()


class Time(SetClock):
    """A clock that goes on when somebody pauses. end: called at that moment."""

    async def pause(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)
        await asyncio.sleep(0)


HUB_AWAY = {"hub": "It was not reached."}


async def test_a_unit_that_is_healthy_in_time_keeps_its_configuration(home: Path) -> None:
    found, trial = begun(home, failing=("iris",))
    agent, time = (
        FakeAgent(HUB_AWAY, {**HUB_AWAY, "iris": "unplugged for weeks"}, {"iris": "unplugged for weeks"}),
        Time(),
    )
    proving = asyncio.create_task(prove(agent, ConfigurationOnTrial(agent, trial, found), time, time.pause))
    async with asyncio.timeout(5):
        await agent.reported.wait()
    assert load_config(home / "unit.toml").policy.attempts_max == 7 and not proving.done()
    agent.stop()
    assert await proving is True


@pytest.mark.parametrize("complaint", [HUB_AWAY, {"finger": "No answer on /dev/finger."}])
async def test_after_two_minutes_it_goes_back_and_says_why(home: Path, complaint: Mapping[str, str]) -> None:
    found, trial = begun(home, failing=("iris",))
    agent, time = FakeAgent(complaint), Time()
    start_ms = time.now_ms
    assert await prove(agent, ConfigurationOnTrial(agent, trial, found), time, time.pause) is False
    assert agent.stopped.is_set() and time.now_ms - start_ms == HEALTHY_WITHIN_S * 1000 == 120_000
    assert (home / "unit.toml").read_text(encoding="utf-8") == OLD
    report = reported(found)
    assert (report.problem, report.refused_version) == (Problem.CONFIGURATION_UNHEALTHY, 2)
    assert next(iter(complaint.values())) in report.detail
    assert configurations(home).start()[1] is None


@pytest.mark.parametrize("error", [DeviceError("The pages cannot listen."), RuntimeError("geheim7")])
async def test_one_that_cannot_even_start_goes_back_at_once(home: Path, error: Exception) -> None:
    found, trial = begun(home)
    time = Time()
    start_ms = time.now_ms
    agent = FakeAgent(HUB_AWAY, error=error)
    assert await prove(agent, ConfigurationOnTrial(agent, trial, found), time, time.pause) is False
    assert time.now_ms - start_ms <= 2000
    detail = reported(found).detail
    assert ("pages cannot listen" in detail or "RuntimeError" in detail) and "geheim7" not in detail


async def test_one_that_is_stopped_by_a_person_stays_on_trial(home: Path) -> None:
    found, trial = begun(home)
    agent, time = FakeAgent(HUB_AWAY), Time()
    agent.stop()
    assert await prove(agent, ConfigurationOnTrial(agent, trial, found), time, time.pause) is True
    assert found.reported() is None and configurations(home).start()[1] is not None


class FakeDownlink:
    """Opens what a test says; whether the seal fits is the downlink's own test."""

    def __init__(self, found: Desired) -> None:
        self.found = found

    def opened(self, kind: type[Desired], _payload: bytes) -> Desired:
        assert kind is Desired
        return self.found


class FakeLine:
    """Keeps the handler, and what was published."""

    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.published: list[tuple[str, bytes, bool]] = []

    def on(self, _topic: Topic, handler: Handler, **_names: str) -> None:
        self.handler = handler

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> bool:
        self.published.append((topic, payload, retain))
        return True


async def test_a_running_unit_tries_a_configuration_only_between_two_people(home: Path) -> None:
    found, line, time = configurations(home), FakeLine(), Time()
    served, began = iter([False, False, True, False, True, True]), asyncio.Event()

    async def problems() -> Mapping[str, str]:
        return {"iris": "unplugged for weeks"}

    intake = ConfigurationIntake(
        cast(MqttChannel, line), cast(Downlink, FakeDownlink(desired())), found, UNIT,
        is_free=lambda: next(served), problems=problems, restart=began.set, pause=time.pause,
    )  # fmt: skip
    working = asyncio.create_task(intake.run())
    assert line.handler is not None
    await line.handler({}, b"")  # a retained message that was cleared
    await line.handler({}, b"sealed")
    assert not began.is_set() and not (home / TRIAL).exists()
    await asyncio.wait_for(working, 5)
    assert began.is_set() and next(served, None) is None
    _, trial = configurations(home).start()
    assert trial is not None and trial.failing == ("iris",)


async def test_a_refusal_is_told_the_hub_at_once_and_begins_nothing(home: Path) -> None:
    found, line = configurations(home), FakeLine()
    ConfigurationIntake(
        cast(MqttChannel, line), cast(Downlink, FakeDownlink(desired(unit="desk-z9"))), found, UNIT,
        is_free=lambda: True, problems=FakeAgent({}).complaints, restart=lambda: pytest.fail("it began"),
    )  # fmt: skip
    assert line.handler is not None
    await line.handler({}, b"sealed")
    ((topic, payload, retain),) = line.published
    assert (topic, retain) == (UP_REPORTED.at(unit=UNIT), True)
    assert decode(Reported, payload).problem is Problem.CONFIGURATION_FOR_OTHER_UNIT


async def test_who_is_asked_to_end_does_not_begin_again(home: Path) -> None:
    found = configurations(home)
    updates = Updates(home / "update", None, SetClock())
    agent = Agent(found.config, found, updates, BoundedClock(SetClock(), home), ServiceNotice({}))
    agent.begin_again()
    assert agent.begins_again
    agent.end()
    assert not agent.begins_again
