"""A broker that refuses: each cause has its name and what to do, on the unit's page and at the technician's tool."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract.certificates import certify_client, load_certificate, new_key, pem, private_pem
from contract.channel_mqtt import Disconnected, MqttChannel
from contract.channel_probe import probe, refusal_of
from contract.commissioning_problems import Problem
from contract.errors import DeviceError, TransientError
from contract.technician import DepartureResult, DismissOrder, StatusOrder, StatusResult, UnitOrder, Verb
from edge.line_watch import LineWatch, words_of
from hub.issuers import load_issuers
from provisioning.line import HubLine, Patience
from provisioning.line_trouble import LineRefused
from provisioning.technician_identity import Identity, load_identity
from tests.commissioning.stage import LOCAL, PATIENCE, TECHNICIAN, UNIT, Stage, make_stage, until
from tests.commissioning.test_own_certificate import is_listed
from virtual.broker import PrivateBroker

TLS_ALERT_PROTOCOL_VERSION = bytes.fromhex("15 03 01 00 02 02 46")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that says this to everybody and hangs up; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                with line:
                    line.settimeout(2)
                    line.recv(4096)
                    line.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


async def refusal(identity: Identity, patience: Patience = PATIENCE) -> LineRefused:
    """What the tool says instead of an answer."""
    with pytest.raises(LineRefused) as refused:
        async with HubLine(identity, lambda _: None, patience) as line:
            await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
    return refused.value


def test_an_old_tls_and_a_broker_without_room_have_names_of_their_own(stage: Stage, tmp_path: Path) -> None:
    settings = stage.unit_settings()
    for answer, problem in ((TLS_ALERT_PROTOCOL_VERSION, Problem.BROKER_TLS_OLD), (b"", Problem.BROKER_FULL),
                            (b"HTTP/1.1 400 no\r\n\r\n", Problem.BROKER_TLS_OLD)):  # fmt: skip
        with answering(answer) as port:
            found = probe(replace(settings, port=port))
        assert found is not None and found.problem is problem, found
    for code, named in ((0x87, Problem.ACCESS_DENIED), (0x97, Problem.BROKER_FULL), (0x8E, Problem.NAME_IN_USE)):
        said = refusal_of(Disconnected("ended", code))
        assert said is not None and said.problem is named
    assert refusal_of(Disconnected("ended")) is None


async def test_a_real_broker_without_room_is_waited_out_and_said(stage: Stage, tmp_path: Path) -> None:
    conf = stage.folder / "broker" / "mosquitto.conf"
    text = conf.read_text(encoding="utf-8")
    conf.write_text(text.replace("allow_anonymous false\n", "allow_anonymous false\nmax_connections 1\n", 1))
    said: list[str] = []
    with PrivateBroker(conf, tmp_path / "full.log"):
        async with MqttChannel(stage.unit_settings()) as first:
            await until(lambda: first.connection is not None)
            identity = load_identity(stage.folder / "technicians" / TECHNICIAN)
            with pytest.raises(TransientError):
                async with HubLine(identity, said.append, Patience(total_s=6, repeat_s=0.3)) as line:
                    await line.ask(Verb.STATUS, StatusOrder(), StatusResult)
    assert any("takes no new connection" in what for what in said), said


async def test_the_tool_says_which_authority_clock_or_port_is_wrong_and_does_not_wait_for_it(
    stage: Stage, tmp_path: Path
) -> None:
    identity = load_identity(stage.folder / "technicians" / TECHNICIAN)
    other = make_stage(tmp_path / "other").folder / "technicians" / TECHNICIAN
    with stage.broker:
        stranger = await refusal(replace(load_identity(other), host="127.0.0.1", port=stage.broker.port))
    assert stranger.problem is Problem.BROKER_UNKNOWN and "technician.toml" in stranger.next_step
    with answering(TLS_ALERT_PROTOCOL_VERSION) as port:
        old = await refusal(replace(identity, port=port))
    assert old.problem is Problem.BROKER_TLS_OLD and "TLS 1.2" in old.message
    future = make_stage(tmp_path / "future", datetime.now(UTC) + timedelta(days=366))
    with future.broker:
        clock = await refusal(load_identity(future.folder / "technicians" / TECHNICIAN))
    assert clock.problem is Problem.CLOCK_WRONG and f"{datetime.now(UTC):%Y-%m-%d}" in clock.message
    (identity.folder / "tls.key").write_text("no key")
    with pytest.raises(DeviceError, match="no P-256 key") as broken:
        async with HubLine(identity, lambda _: None):
            pass
    assert "enrol" in broken.value.next_step


async def test_who_was_revoked_or_is_on_no_list_is_told_so(stage: Stage) -> None:
    with stage.broker:
        async with stage.hub(), stage.line() as line:
            await line.tell(Verb.DISMISS, DismissOrder(technician=LOCAL, reason="laptop stolen"))
            await line.ask(Verb.REVOKE, UnitOrder(unit=UNIT, reason="stolen on the road"), DepartureResult)
            gone = load_certificate((stage.folder / "technicians" / LOCAL / "tls.crt").read_bytes())
            await until(lambda: is_listed(stage, gone.serial_number))
            await asyncio.sleep(0.5)  # the broker has read it
            revoked = await refusal(load_identity(stage.folder / "technicians" / LOCAL))
            assert revoked.problem is Problem.CERTIFICATE_REVOKED and "newest copy" in revoked.next_step
            unit = await asyncio.to_thread(probe, stage.unit_settings())
            assert unit is not None and unit.problem is Problem.CERTIFICATE_REVOKED
        acl = stage.folder / "broker" / "acl"
        acl.write_text(acl.read_text().replace(f"user {TECHNICIAN}\n", "user nobody\n"))
        stage.broker.stop()
        stage.broker.start()
        denied = await refusal(load_identity(stage.folder / "technicians" / TECHNICIAN))
        assert denied.problem is Problem.ACCESS_DENIED and "administrator" in denied.next_step


async def test_a_unit_in_service_says_on_its_page_why_it_has_no_line(stage: Stage, tmp_path: Path) -> None:
    settings = stage.unit_settings()
    channel = MqttChannel(settings)
    watch = LineWatch(channel, lambda: settings)
    running = asyncio.create_task(watch.run())
    async with channel:
        await until(lambda: watch.problem is not None)
        shown = words_of(watch.problem)
        assert shown["problem"] == Problem.BROKER_UNREACHABLE and "Server pesan tidak terjangkau" in shown["message_id"]
        with stage.broker:
            await until(lambda: channel.connection is not None)
            assert words_of(watch.problem) == {}
    running.cancel()


async def test_an_ended_certificate_has_a_name_and_its_unit_knows_to_renew(stage: Stage) -> None:
    from hub.config import load_settings

    settings = load_settings(stage.folder / "hub" / "hub.toml")
    assert settings.authority is not None
    issuer = load_issuers(settings, settings.authority).issuing
    key = new_key()
    ended = certify_client(issuer, UNIT, key.public_key(), datetime.now(UTC) - timedelta(days=31))
    line = stage.unit_settings()
    line.certificate.write_bytes(pem(ended, issuer.certificate))
    line.key.write_bytes(private_pem(key))
    with stage.broker:
        found = await asyncio.to_thread(probe, line)
    assert found is not None and found.problem is Problem.CERTIFICATE_ENDED and "certificate expired" in found.detail
