"""Who holds a stolen claim, or a unit's certificate, fills neither broker nor hub, and keeps nobody else from them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from contract import topics
from contract.certificates import load_certificate, pem
from contract.channel_mqtt import Disconnected, MqttChannel, MqttSettings
from contract.commissioning import CLAIM_FILE, decode_claim
from contract.errors import RemoteError
from contract.technician import KnocksOrder, KnocksResult, StatusOrder, StatusResult, Verb
from edge.box_files import claim_credential
from hub.claim_gate import BURST, PER_SECOND, ClaimGate
from tests.commissioning.boxes import knocking, make_commissioner, put_claims
from tests.commissioning.desk_world import SetClock
from tests.commissioning.stage import FAST, UNIT, Stage, make_stage, until

LUMP = bytes(200_000)
PIECES = 60
GROWTH_MIB_MAX = 3.0  # of PIECES · LUMP = 11.4 MiB


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


def claim_settings(stage: Stage, media: Path, folder: Path) -> MqttSettings:
    """How whoever has this claim media reaches the provisioning listener."""
    claim = decode_claim((media / CLAIM_FILE).read_bytes())
    folder.mkdir(exist_ok=True)
    (folder / "claim.pem").write_bytes(claim_credential(claim))
    (folder / "ca.crt").write_bytes(pem(load_certificate(claim.ca)))
    files = (folder / "ca.crt", folder / "claim.pem", folder / "claim.pem")
    return MqttSettings("127.0.0.1", claim.claim_port, *files, client_id=claim.nonce, backoff=FAST)


def broker_mib(stage: Stage) -> float:
    """What the broker holds in memory."""
    pages = int(Path(f"/proc/{stage.broker.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


async def fill(channel: MqttChannel, names: list[str], *, retain: bool = True) -> None:
    """Leave a lump at each of these topics, however often the broker ends the session for it."""
    for name in names:
        for _ in range(3):
            await until(lambda: channel.connection is not None)
            with suppress(RemoteError, Disconnected):
                await channel.publish(name, LUMP, retain=retain)
                break


async def left_at(stage: Stage, topic: topics.Topic) -> list[str]:
    """What the broker keeps at a topic, as the hub hears it when it comes."""
    found: list[str] = []

    async def note(names: dict[str, str], _payload: bytes) -> None:
        found.append(next(iter(names.values())))

    hub = MqttChannel(stage.hub_settings())
    hub.on(topic, note)
    async with hub:
        await until(lambda: hub.connection is not None)
        await asyncio.sleep(0.3)
    return found


@asynccontextmanager
async def thief(stage: Stage, tmp_path: Path) -> AsyncIterator[MqttChannel]:
    """Somebody with a claim that a technician made for a box."""
    async with stage.line() as line:
        await put_claims(line, [tmp_path / "stolen"])
    channel = MqttChannel(claim_settings(stage, tmp_path / "stolen", tmp_path / "thief"))
    async with channel:
        await until(lambda: channel.connection is not None)
        yield channel


async def test_a_claim_leaves_nothing_at_the_broker(stage: Stage, tmp_path: Path) -> None:
    with stage.broker:
        async with stage.hub(), thief(stage, tmp_path) as channel:
            before = broker_mib(stage)
            nonce = channel._settings().client_id
            await fill(channel, [f"prov/{nonce}/up/{number}" for number in range(PIECES)])
            await fill(channel, [f"prov/{nonce}/up/knock/{number}" for number in range(PIECES)])
            assert broker_mib(stage) - before < GROWTH_MIB_MAX
            await fill(channel, [topics.CLAIM_KNOCK.at(nonce=nonce), topics.CLAIM_ASK.at(nonce=nonce)])
            await asyncio.sleep(0.5)  # the hub clears what it hears
        assert not await left_at(stage, topics.CLAIM_KNOCK) and not await left_at(stage, topics.CLAIM_ASK)


async def test_a_units_certificate_leaves_only_what_units_leave(stage: Stage) -> None:
    with stage.broker:
        async with stage.hub(), stage.line() as line, MqttChannel(stage.unit_settings()) as unit:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            before = broker_mib(stage)
            await fill(unit, [f"k/{UNIT}/up/mine/{number}" for number in range(PIECES)])
            await fill(unit, [topics.UP_OFFER.at(unit=UNIT, pid=f"p{number}") for number in range(PIECES)])
            await fill(unit, [topics.UP_EVENT.at(unit=UNIT, event=f"e{number}") for number in range(PIECES)])
            await asyncio.sleep(0.5)
            assert broker_mib(stage) - before < GROWTH_MIB_MAX
        assert not await left_at(stage, topics.UP_OFFER) and not await left_at(stage, topics.UP_EVENT)


async def test_what_waits_for_a_hub_that_hangs_is_bounded(stage: Stage, tmp_path: Path) -> None:
    conf = stage.folder / "broker" / "mosquitto.conf"
    text = conf.read_text(encoding="utf-8")
    assert "\nmax_queued_bytes 268435456\n" in text and "\nmemory_limit 1073741824\n" in text
    conf.write_text(text.replace("max_queued_bytes 268435456", "max_queued_bytes 2000000"))
    never = asyncio.Event()
    stage = make_again(stage, tmp_path)
    hub = MqttChannel(stage.hub_settings())

    async def hang(_names: dict[str, str], _payload: bytes) -> None:
        await never.wait()

    hub.on(topics.UP_OFFER, hang)
    with stage.broker:
        async with hub, MqttChannel(stage.unit_settings()) as unit:
            await until(lambda: hub.connection is not None)
            await fill(unit, [topics.UP_OFFER.at(unit=UNIT, pid="p")] * 40, retain=False)  # more than are on their way
            before = broker_mib(stage)
            await fill(unit, [topics.UP_OFFER.at(unit=UNIT, pid="p")] * PIECES, retain=False)
            assert broker_mib(stage) - before < GROWTH_MIB_MAX


def make_again(stage: Stage, tmp_path: Path) -> Stage:
    """The same world with a broker that reads its configuration as it is now."""
    from virtual.broker import PrivateBroker

    conf = stage.folder / "broker" / "mosquitto.conf"
    return Stage(stage.folder, PrivateBroker(conf, tmp_path / "again.log"), stage.ports)


async def test_one_claim_that_knocks_without_end_hides_nobody(stage: Stage, tmp_path: Path) -> None:
    media = tmp_path / "media"
    with stage.broker:
        async with stage.hub(), stage.line() as line, thief(stage, tmp_path) as channel:
            knock = topics.CLAIM_KNOCK.at(nonce=channel._settings().client_id)

            async def flood() -> None:
                while True:
                    with suppress(Disconnected, RemoteError):
                        await asyncio.gather(*(channel.publish(knock, b"\xa0" * 2000) for _ in range(16)))
                    await asyncio.sleep(0)

            flooding = asyncio.create_task(flood())
            await put_claims(line, [media])
            box = make_commissioner(tmp_path / "box", "S-1", media)
            running = asyncio.create_task(box.run())
            begun = time.monotonic()
            (row,) = await knocking(line)
            assert row.serial == "S-1" and time.monotonic() - begun < 20
            found = await line.ask(Verb.KNOCKS, KnocksOrder(), KnocksResult)
            assert [row.serial for row in found.rows] == ["S-1"]
            for task in (flooding, running):
                task.cancel()


def test_a_claim_is_heard_so_often_and_no_more_and_no_other_pays_for_it() -> None:
    clock = SetClock()
    gate = ClaimGate(clock)

    def heard(nonce: str, times: int) -> int:
        return sum(gate.enter(nonce) and not gate.leave(nonce) for _ in range(times))

    assert heard("c-1", 10 * BURST) == BURST and heard("c-2", 1) == 1
    for _ in range(60):
        clock.now_ms += 1000
        assert heard("c-1", 100) == PER_SECOND
    assert gate.enter("c-2") and not gate.enter("c-2")  # one at a time
    gate.leave("c-2")
    assert gate.enter("c-2")


def test_the_gate_keeps_no_more_claims_than_knock() -> None:
    clock = SetClock()
    gate = ClaimGate(clock)
    for number in range(20_000):
        gate.enter(f"c-{number}")
        gate.leave(f"c-{number}")
        clock.now_ms += 10
    assert len(gate) < 6_000
