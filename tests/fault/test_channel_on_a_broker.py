"""The line on a real Mosquitto with mutual TLS and the ACL: what it says, and that it comes back."""

from __future__ import annotations

import asyncio

import pytest

from contract.channel_mqtt import Backoff, Disconnected, MqttChannel, Will
from contract.errors import DeviceError, RemoteError
from contract.topics import DN_NEED, HUB_STATE, UP_EVENT, UP_OFFER, UP_STATE
from tests.fault.rig import OTHER_UNIT, UNIT
from tests.fault.rig_world import make_world
from virtual.broker import PrivateBroker

PID = "ab" * 32
NOW = Backoff(first_s=0.02, max_s=0.05)


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("broker"), packet_bytes_max=20_000)


@pytest.fixture
def broker(rig, tmp_path):
    with PrivateBroker(rig.folder / "broker" / "mosquitto.conf", tmp_path / "broker.log") as broker:
        yield broker


class Heard:
    """Collects what arrives."""

    def __init__(self):
        self.messages = []
        self.connections = []
        self.losses = []

    def listen(self, channel, topic, **names):
        async def hear(found, payload):
            self.messages.append((found, payload))
            if payload == b"refuse":
                raise RemoteError("refused")

        async def connected(connection):
            self.connections.append(connection)

        channel.on(topic, hear, **names)
        channel.on_connected(connected)
        channel.on_lost(self.losses.append)


async def until(condition, timeout_s=8.0):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - tests look from outside
            await asyncio.sleep(0.005)


async def test_the_hub_hears_a_unit_and_the_unit_knows_whether_it_did(rig, broker):
    heard = Heard()
    hub, unit = MqttChannel(rig.mqtt("hub", NOW)), MqttChannel(rig.mqtt(UNIT, NOW))
    heard.listen(hub, UP_OFFER)
    topic = UP_OFFER.at(unit=UNIT, pid=PID)
    async with unit:
        await until(lambda: unit.connection)
        assert unit.connection.packet_bytes_max == 20_000
        assert await unit.publish(topic, b"nobody") is False
        async with hub:
            await until(lambda: heard.connections)
            assert await unit.publish(topic, b"somebody") is True
            assert await unit.publish(topic, b"refuse") is True
            await until(lambda: len(heard.messages) == 2)
            assert await unit.publish(topic, b"still alive") is True
            await until(lambda: len(heard.messages) == 3)
    assert heard.messages[0] == ({"unit": UNIT, "pid": PID}, b"somebody")


@pytest.mark.parametrize("topic", [UP_STATE.at(unit=OTHER_UNIT), HUB_STATE.template, DN_NEED.at(unit=UNIT, pid=PID)])
async def test_a_unit_cannot_speak_under_another_s_name(rig, broker, topic):
    unit = MqttChannel(rig.mqtt(UNIT, NOW))
    async with unit:
        await until(lambda: unit.connection)
        with pytest.raises(RemoteError, match="0x87"):
            await unit.publish(topic, b"x")  # Mosquitto 2.0 also ends the connection of whoever tries


async def test_a_unit_does_not_hear_what_is_for_another(rig, broker):
    heard = Heard()
    hub, unit = MqttChannel(rig.mqtt("hub", NOW)), MqttChannel(rig.mqtt(UNIT, NOW))
    heard.listen(unit, DN_NEED)
    async with hub, unit:
        await until(lambda: hub.connection and heard.connections)
        await hub.publish(DN_NEED.at(unit=OTHER_UNIT, pid=PID), b"not for us")
        await hub.publish(DN_NEED.at(unit=UNIT, pid=PID), b"for us")
        await until(lambda: heard.messages)
    assert [payload for _, payload in heard.messages] == [b"for us"]


async def test_a_stranger_s_certificate_and_a_stranger_s_broker_are_refused(rig, broker, tmp_path):
    stranger = make_world(tmp_path)
    heard = Heard()
    for wrong in (
        {"certificate": stranger.mqtt(UNIT).certificate, "key": stranger.mqtt(UNIT).key},
        {"ca": stranger.mqtt(UNIT).ca},
    ):
        settings = rig.mqtt(UNIT, NOW)
        fields = {name: wrong.get(name, getattr(settings, name)) for name in settings.__slots__}
        channel = MqttChannel(type(settings)(**fields))
        heard.listen(channel, HUB_STATE)
        heard.losses.clear()
        async with channel:
            await until(lambda: len(heard.losses) >= 2)
    assert heard.connections == []


async def test_the_line_comes_back_after_the_broker_was_killed_and_subscribes_again(rig, broker):
    heard = Heard()
    hub, unit = MqttChannel(rig.mqtt("hub", NOW)), MqttChannel(rig.mqtt(UNIT, NOW))
    heard.listen(hub, UP_OFFER)
    topic = UP_OFFER.at(unit=UNIT, pid=PID)
    async with hub, unit:
        await until(lambda: heard.connections and unit.connection)
        broker.kill()
        with pytest.raises(Disconnected):
            for _ in range(100):
                await unit.publish(topic, b"into the dark")
        await until(lambda: heard.losses and not hub.connection)
        broker.start()
        await until(lambda: len(heard.connections) == 2 and unit.connection)
        assert await unit.publish(topic, b"back") is True
        await until(lambda: heard.messages)
    assert heard.messages[-1][1] == b"back"


async def test_a_message_that_the_broker_would_not_take_is_never_sent(rig, broker):
    unit = MqttChannel(rig.mqtt(UNIT, NOW))
    async with unit:
        await until(lambda: unit.connection)
        number = unit.connection.number
        with pytest.raises(RemoteError, match="too large"):
            await unit.publish(UP_OFFER.at(unit=UNIT, pid=PID), bytes(30_000))
        await unit.publish(UP_OFFER.at(unit=UNIT, pid=PID), b"small")
        assert unit.connection.number == number


async def test_the_will_speaks_for_a_unit_that_vanished(rig, broker):
    heard = Heard()
    hub = MqttChannel(rig.mqtt("hub", NOW))
    heard.listen(hub, UP_STATE)
    unit = MqttChannel(rig.mqtt(UNIT, NOW), lambda: Will(UP_STATE.at(unit=UNIT), b"gone"))
    async with hub:
        await until(lambda: heard.connections)
        async with unit:
            await until(lambda: unit.connection)
            second = MqttChannel(rig.mqtt(UNIT, NOW))
            async with second:  # takes the client id over, as the hub does with a revoked unit
                await until(lambda: heard.messages)
    assert heard.messages[0] == ({"unit": UNIT}, b"gone")


async def test_a_fault_in_a_handler_is_not_swallowed(rig, broker):
    async def broken(_names, _payload):
        raise ZeroDivisionError

    hub, unit = MqttChannel(rig.mqtt("hub", NOW)), MqttChannel(rig.mqtt(UNIT, NOW))
    hub.on(UP_EVENT, broken)
    async with hub, unit:
        await until(lambda: hub.connection and unit.connection)
        await unit.publish(UP_EVENT.at(unit=UNIT, event="door"), b"x")
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(hub.closed(), 5)


async def test_without_a_connection_nothing_is_queued(rig):
    unit = MqttChannel(rig.mqtt(UNIT, NOW))
    async with unit:
        with pytest.raises(Disconnected):
            await unit.publish(UP_OFFER.at(unit=UNIT, pid=PID), b"x")


async def test_a_missing_certificate_is_for_the_technician(rig, tmp_path):
    settings = rig.mqtt(UNIT, NOW)
    fields = {name: getattr(settings, name) for name in settings.__slots__} | {"key": tmp_path / "none"}
    channel = MqttChannel(type(settings)(**fields))
    async with channel:
        with pytest.raises(DeviceError):
            await asyncio.wait_for(channel.closed(), 5)
