"""A unit begins a technician's command once, while it is fresh, and says every part of the answer sealed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from contract.certificates import private_pem, public_der
from contract.commissioning_problems import Problem
from contract.dispatch import decode, encode
from contract.errors import DeviceError, RemoteError
from contract.packet import Model
from contract.seal import (
    load_opening_key,
    load_public_key,
    load_recipient_key,
    load_signing_key,
    load_statement_key,
    open_sealed,
    seal,
)
from contract.technician import Order, Verb, sign_order
from contract.topics import DN_COMMAND, UP_PART
from contract.unit_command import Command, CommandOrder, LogPage, Nothing, Part, Passed, TriedDevice, open_part
from edge.command_desk import JOB_LIFE_MS, Begun, CommandDesk
from edge.sealed_store import SealedStore
from tests.unit.transfer_keys import STORE_KEY, SetClock
from tests.unit.uplink_fakes import Line

UNIT, TECHNICIAN = "desk-a1", "tek-andi"
IDS = [f"0199a1b2-0000-7000-8000-{number:012x}" for number in range(60)]
HUB, OPEN, SIGN, TOOL = (ec.derive_private_key(number, ec.SECP256R1()) for number in (11, 12, 13, 14))
ORDER = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORDER_PEM = ORDER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ORDER_DER = ORDER.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
YEAR_MS = 366 * 86_400_000


class Word(Model):
    """A part of an answer here."""

    text: str


class Nobody:
    """Takes what is published."""

    async def hear(self, _line: Line, _topic: str, _payload: bytes) -> bool:
        return True


@dataclass
class World:
    """One unit's command desk on a line without a broker. words: what its handler answers."""

    folder: Path
    clock: SetClock = field(default_factory=SetClock)
    words: tuple[str, ...] = ("one", "two")
    begun: list[tuple[str, bytes]] = field(default_factory=list)
    failing: bool = False

    def __post_init__(self) -> None:
        self.store = SealedStore(self.folder / "unit.db", STORE_KEY)
        self.restart()

    def restart(self) -> None:
        self.line = Line(Nobody())
        self.tasks: list[asyncio.Task[None]] = []
        hub = load_public_key(public_der(HUB.public_key()), "hub")
        opening = load_opening_key(private_pem(OPEN), UNIT)

        def opened(kind, payload):
            return decode(kind, open_sealed(payload, opening, lambda who: hub if who == "hub" else None).payload)

        self.desk = CommandDesk(
            self.line, opened, UNIT, load_signing_key(private_pem(SIGN), UNIT), self.store, self.clock,
            {Verb.TEST: self.handle, Verb.LOGS: self.handle}, lambda work: self.tasks.append(asyncio.create_task(work)),
        )  # fmt: skip

    async def handle(self, technician: str, ask: bytes) -> AsyncGenerator[Model, None]:
        self.begun.append((technician, ask))
        for word in self.words:
            yield Word(text=word)
        if self.failing:
            raise DeviceError("It is broken.", next_step="Mend it.")

    def given(
        self, command: str = IDS[0], *, heard: int = 0, verb: Verb = Verb.TEST, unit: str = UNIT, tool=TOOL, **changes
    ) -> bytes:
        """One attempt, as the hub passes it on."""
        body = CommandOrder(
            unit=unit, command=command, answer_key=public_der(tool.public_key()), heard=heard, ask=b"ask"
        )
        now = self.clock.wall_ms()
        order = Order(id=IDS[-1], technician=TECHNICIAN, verb=verb, at_ms=now, body=encode(body))
        fields = {
            "unit": UNIT, "command": command, "technician": TECHNICIAN, "order_key": ORDER_DER,
            "order": sign_order(order, load_statement_key(ORDER_PEM, TECHNICIAN)), "issued_ms": now, **changes,
        }  # fmt: skip
        recipient = load_recipient_key(public_der(OPEN.public_key()), UNIT)
        return seal(encode(Command(**fields)), load_signing_key(private_pem(HUB), "hub"), [recipient])

    async def hear(self, payload: bytes, command: str = IDS[0]) -> list[Part]:
        """What the unit says to an attempt; raises nothing, as the channel does not."""
        before = len(self.line.published)
        await self.line.say(DN_COMMAND.at(unit=UNIT, command=command), payload)
        await asyncio.gather(*self.tasks)
        key = load_opening_key(private_pem(TOOL), command)
        unit = load_public_key(public_der(SIGN.public_key()), UNIT)
        said = self.line.published[before:]
        return [open_part(sealed, key, unit) for topic, sealed in said if UP_PART.parse(topic)]

    @property
    def refused(self) -> int:
        return sum(topic == "refused" for topic, _ in self.line.published)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_it_is_carried_out_once_and_every_attempt_gets_what_was_not_heard(world: World) -> None:
    parts = await world.hear(world.given())
    assert [(part.number, part.last) for part in parts] == [(0, False), (1, False), (2, True)]
    assert [decode(Word, part.body).text for part in parts[:2]] == ["one", "two"]
    assert [part.number for part in await world.hear(world.given(heard=1))] == [1, 2]
    assert await world.hear(world.given(heard=3)) == []
    assert world.begun == [(TECHNICIAN, b"ask")]


async def test_a_log_that_is_followed_does_not_fill_itself(world: World) -> None:
    with capture_logs() as said:
        for number in range(5):
            await world.hear(world.given(IDS[number], verb=Verb.LOGS), IDS[number])
        await world.hear(world.given(IDS[9]), IDS[9])
    assert len(world.begun) == 6
    assert [line["verb"] for line in said if line["log_level"] != "debug"] == [Verb.TEST]


async def test_a_fault_is_told_with_what_to_do(world: World) -> None:
    world.failing = True
    *_, last = await world.hear(world.given())
    assert (last.last, last.message, last.next_step) == (True, "It is broken.", "Mend it.")


async def test_a_line_that_is_down_loses_no_part(world: World) -> None:
    connection, world.line.connection = world.line.connection, None
    assert await world.hear(world.given()) == []
    world.line.connection = connection
    assert len(await world.hear(world.given())) == 3 and len(world.begun) == 1


@pytest.mark.parametrize("off_ms", [-YEAR_MS, YEAR_MS, 6 * 60_000, -6 * 60_000])
async def test_a_clock_that_is_off_is_named_with_both_times_and_nothing_is_done(world: World, off_ms: int) -> None:
    payload = world.given()
    world.clock.now_ms += off_ms
    (part,) = await world.hear(payload)
    assert part.last and part.problem is Problem.CLOCK_WRONG and "was given at" in part.message
    assert "Set date and time" in part.next_step and world.begun == []


async def test_a_replay_is_answered_from_memory_and_begins_nothing_after_a_restart(world: World) -> None:
    recorded = world.given()
    await world.hear(recorded)
    assert len(await world.hear(recorded)) == 3 and len(world.begun) == 1
    world.restart()
    (part,) = await world.hear(recorded)
    assert part.problem is Problem.COMMAND_OVER and "anew" in part.next_step
    (again,) = await world.hear(world.given())  # another attempt of the same
    assert again.problem is Problem.COMMAND_OVER and len(world.begun) == 1
    assert len(await world.hear(world.given(IDS[1]), IDS[1])) == 3


async def test_a_tool_that_had_heard_some_is_told_after_a_restart_that_it_is_over(world: World) -> None:
    await world.hear(world.given())
    world.restart()
    (part,) = await world.hear(world.given(heard=2))
    assert (part.problem, part.number, part.last) == (Problem.COMMAND_OVER, 2, True)


async def test_answers_are_forgotten_in_time_and_in_number_and_never_begun_again(world: World) -> None:
    for number in range(50):
        world.clock.now_ms += 1
        await world.hear(world.given(IDS[number]), IDS[number])
    assert len(world.desk._jobs) <= 6 and len(world.begun) == 50
    (part,) = await world.hear(world.given(IDS[0], issued_ms=world.clock.now_ms - 49), IDS[0])
    assert part.problem is Problem.COMMAND_OVER
    world.clock.now_ms += JOB_LIFE_MS
    (part,) = await world.hear(world.given(IDS[49]), IDS[49])
    assert part.problem is Problem.COMMAND_OVER and len(world.begun) == 50


async def test_what_is_not_for_this_unit_or_not_by_these_people_begins_nothing(world: World) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())
    other_der = ed25519.Ed25519PrivateKey.generate().public_key()
    wrong = [
        world.given(unit="desk-b2"),
        world.given(verb=Verb.REVOKE),
        world.given(technician="tek-lokal"),
        world.given(order_key=other_der.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
        world.given(order_key=b"x" * 44),
        world.given(order=b"x"),
        world.given(IDS[1]),
        seal(b"\xa0", load_signing_key(private_pem(HUB), "hub"),
             [load_recipient_key(public_der(OPEN.public_key()), UNIT)]),
        seal(b"\xa0", load_signing_key(private_pem(stranger), "hub"),
             [load_recipient_key(public_der(OPEN.public_key()), UNIT)]),
    ]  # fmt: skip
    for payload in wrong:
        assert await world.hear(payload) == []
    assert world.refused == len(wrong) and world.begun == []
    await world.hear(world.given())
    assert await world.hear(world.given(tool=stranger)) == []  # the same command under another key
    assert world.refused == len(wrong) + 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.integers(0, 5000), st.integers(0, 7))
def test_garbage_and_damaged_commands_are_refused_and_nothing_else_happens(
    tmp_path: Path, garbage: bytes, place: int, bit: int
) -> None:
    async def main() -> None:
        world = World(tmp_path)
        damaged = bytearray(world.given())
        damaged[place % len(damaged)] ^= 1 << bit
        for payload in (garbage, bytes(damaged)):
            await world.hear(payload)
        assert world.begun == [] and world.refused == 2
        world.store.close()

    asyncio.run(main())


@given(st.binary(max_size=300))
def test_garbage_is_no_message(garbage: bytes) -> None:
    for kind in (Begun, Command, CommandOrder, LogPage, Nothing, Part, Passed, TriedDevice):
        try:
            decode(kind, garbage)
        except RemoteError:
            continue
        assert kind in (Begun, Nothing)  # an empty map is one
