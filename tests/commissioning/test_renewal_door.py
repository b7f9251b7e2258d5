"""The renewal door takes anybody, and nobody there harms those who are let in; technicians stay in through it too."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.channel_mqtt import MqttChannel
from contract.channel_renewal import Door, ask, framed
from contract.clock import SystemClock
from contract.commissioning import MESSAGE_BYTES_MAX
from contract.errors import RemoteError, TransientError
from contract.technician import StatusOrder, StatusResult, Verb
from hub import renewal_door
from hub.authority_commands import certify_technician
from hub.renewal_door import RenewalDoor
from hub.schema.commissioning_tables import Technician
from provisioning.line import Patience
from provisioning.technician_identity import load_identity, make_folder
from tests.commissioning.stage import TECHNICIAN, Stage, make_stage, until
from virtual.broker import free_port


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


@dataclass
class Later:
    """A clock some days ahead."""

    days: float

    def wall_ms(self) -> int:
        return SystemClock().wall_ms() + int(self.days * 86_400_000)

    def monotonic_ms(self) -> int:
        return SystemClock().monotonic_ms()


async def echo(question: bytes) -> bytes:
    if question == b"bad":
        raise RemoteError("That is no question.")
    if question == b"worse":
        raise KeyError("a fault")
    return question[::-1]


async def serving(stage: Stage) -> tuple[asyncio.Task[None], Door]:
    port = free_port()
    door = RenewalDoor("127.0.0.1", port, stage.folder / "broker", echo)
    task = asyncio.create_task(door.run())
    await asyncio.sleep(0.1)
    return task, Door("127.0.0.1", port, stage.folder / "broker/ca.crt")


def send(door: Door, content: bytes) -> bytes:
    """What the door answers to these bytes, and nothing where it hangs up."""
    context = ssl.create_default_context(cafile=door.ca)
    with (
        socket.create_connection((door.host, door.port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=door.host) as line,
    ):
        line.sendall(content)
        try:
            return line.recv(1024)
        except OSError:
            return b""


async def test_whatever_strangers_send_the_next_question_is_answered(stage: Stage) -> None:
    task, door = await serving(stage)
    hostile = (
        framed(b"bad"), framed(b"worse"), struct.pack(">I", 0), struct.pack(">I", MESSAGE_BYTES_MAX + 1),
        b"\xff" * 4000, b"GET / HTTP/1.1\r\n\r\n",
    )  # fmt: skip
    for content in hostile:
        assert await asyncio.to_thread(send, door, content) == b""
        assert await asyncio.to_thread(ask, door, b"abc") == b"cba"
    with pytest.raises(TransientError, match="does not answer"):
        await asyncio.to_thread(ask, door, b"bad")
    task.cancel()


async def test_who_takes_every_place_and_says_nothing_loses_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal_door, "TIMEOUT_S", 0.5)
    task, door = await serving(stage)
    idle = [socket.create_connection((door.host, door.port)) for _ in range(renewal_door.PLACES)]
    assert await asyncio.to_thread(ask, door, b"abc") == b"cba"
    for line in idle:
        line.close()
    task.cancel()


async def test_a_door_with_another_certificate_is_not_asked(stage: Stage, tmp_path: Path) -> None:
    task, door = await serving(stage)
    other = make_stage(tmp_path / "other")
    with pytest.raises(TransientError):
        await asyncio.to_thread(ask, Door(door.host, door.port, other.folder / "broker/ca.crt"), b"abc")
    task.cancel()


async def test_nobody_without_a_certificate_can_end_a_session_at_the_broker(stage: Stage) -> None:
    losses: list[str] = []
    hub = MqttChannel(stage.hub_settings())
    hub.on_lost(lambda loss: losses.append(loss.message))
    connect = bytes.fromhex("101000044d5154540502003c000003") + b"hub"  # MQTT 5, client id hub

    def attack(port: int) -> None:
        context = ssl.create_default_context(cafile=stage.folder / "hub/ca.crt")
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as line,
        ):
            line.sendall(connect)
            line.recv(16)

    with stage.broker:
        async with hub:
            await until(lambda: hub.connection is not None)
            losses.clear()
            for port in stage.ports:
                try:
                    await asyncio.to_thread(attack, port)
                except OSError:
                    continue
            await asyncio.sleep(0.3)
            assert not losses and hub.connection is not None


async def test_a_changed_order_key_stays_changed_when_the_hub_starts_again(stage: Stage, tmp_path: Path) -> None:
    """The laptop was stolen; fleet.json still names its key."""
    identity = load_identity(stage.folder / "technicians" / TECHNICIAN)
    with stage.broker:
        async with stage.hub() as hub, stage.line() as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            public = make_folder(TECHNICIAN, identity, tmp_path / "new")
            context = hub.central.context
            certified = certify_technician(
                context.settings, context.database, tmp_path / "new/tls.csr", base64.b64encode(public).decode()
            )
        shutil.copy(tmp_path / "new/tls.key", stage.folder / "technicians" / TECHNICIAN)
        (stage.folder / "technicians" / TECHNICIAN / "tls.crt").write_bytes(certified)
        async with stage.hub() as hub, stage.line(patience=Patience(3, 0.5)) as line:
            with pytest.raises(TransientError):  # by the old order key nothing is ordered any more
                await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
            with hub.central.context.database.reading() as session:
                assert session.get_one(Technician, TECHNICIAN).public_key == public
