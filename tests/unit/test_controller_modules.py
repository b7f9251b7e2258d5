"""The controller's state machines by themselves: the light's limits, motors that end, switches, patterns."""

from __future__ import annotations

import struct
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware import dictionary as words
from firmware.axis import BACK_OFF_STEPS, IDLE, SLACK_STEPS, Axis
from firmware.buzzer import TUNES, Buzzer
from firmware.commands import Commands
from firmware.contacts import SETTLE_MS, Contacts
from firmware.illumination import CELSIUS_AGAIN, CELSIUS_MAX, DUTY_MAX, ON_MS_MAX, REST_PER_LIT, Illumination
from firmware.lamps import BRIGHTNESS_MAX, RING_PIXELS, Ring, lamp_lit
from firmware.outputs import Outputs

WINDOW_MS = 60_000
REQUESTS = st.lists(
    st.tuples(st.integers(0, 12_000), st.sampled_from((850, 940)), st.integers(1, 100), st.integers(1, ON_MS_MAX)),
    min_size=5, max_size=60,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(REQUESTS)
def test_whatever_is_asked_the_light_keeps_to_its_limits(asked: list[tuple[int, int, int, int]]) -> None:
    """Per millisecond for minutes of any requests: stretch, one wavelength at a time, share of any minute, duty."""
    light, now_ms, lit = Illumination(0), 0, []
    for pause_ms, wavelength_nm, level, duration_ms in asked:
        for _ in range(pause_ms // 10):
            now_ms += 10
            light.tick(now_ms, 25)
            lit.append(bool(light.level))
        light.on(wavelength_nm, level, duration_ms, now_ms, 25)
        assert min(light.duty(850), light.duty(940)) == 0
        assert max(light.duty(850), light.duty(940)) <= DUTY_MAX
    stretch = longest = 0
    for on in lit:
        stretch = stretch + 1 if on else 0
        longest = max(longest, stretch)
    assert longest * 10 <= ON_MS_MAX + 10 * 10, "requests one after another add up to no longer stretch"
    window = WINDOW_MS // 10
    sums = [0]
    for on in lit:
        sums.append(sums[-1] + on)
    worst = max((sums[min(at + window, len(lit))] - sums[at] for at in range(0, len(lit), 50)), default=0)
    assert worst * 10 <= ON_MS_MAX + WINDOW_MS // (1 + REST_PER_LIT)


def test_the_light_rests_first_and_says_for_how_long() -> None:
    light = Illumination(0)
    assert light.on(850, 100, 1000, 0, 25) == (words.RESTING, 3000)
    light.tick(2000, 25)
    assert light.on(850, 100, 1000, 2000, 25) == (words.RESTING, 1000)
    assert light.on(850, 100, 1000, 3000, 25) == (words.OK, 0)
    assert light.duty(850) == DUTY_MAX and light.duty(940) == 0
    light.tick(3999, 25)
    assert light.level
    light.tick(4000, 25)
    assert not light.level


def test_heat_and_a_missing_thermometer_end_the_light_at_once() -> None:
    light = Illumination(0)
    light.tick(60_000, 25)
    assert light.on(850, 50, 5000, 60_000, 25)[0] == words.OK
    assert light.tick(60_100, CELSIUS_MAX) and not light.level
    assert not light.tick(60_200, CELSIUS_MAX), "said once"
    assert light.on(850, 50, 100, 60_300, CELSIUS_AGAIN) == (words.TOO_HOT, 0)
    assert light.on(850, 50, 100, 60_400, CELSIUS_AGAIN - 1) == (words.OK, 0)
    light.tick(60_410, None)
    assert not light.level
    assert light.on(850, 50, 100, 60_500, None) == (words.NO_THERMOMETER, 0)


@pytest.mark.parametrize("bad", [(700, 50, 10), (850, 0, 10), (850, 101, 10), (850, 50, 0), (850, 50, ON_MS_MAX + 1)])
def test_what_is_beyond_a_limit_is_refused_and_not_trimmed(bad: tuple[int, int, int]) -> None:
    light = Illumination(0)
    light.tick(60_000, 25)
    assert light.on(*bad, 60_000, 25)[0] == words.NO_SUCH_PART
    assert not light.level


class Motor:
    """What an axis moves: a home switch at 0, a card that shows at `card_at`."""

    def __init__(self, axis: Axis, at: int, card_at: int | None = None) -> None:
        self.axis, self.at, self.card_at, self.stuck, self.steps = axis, at, card_at, False, 0

    def run(self, steps_max: int = 5000) -> int:
        for now_ms in range(0, steps_max * 2, 2):
            if self.axis.state == IDLE:
                return self.axis.result
            out = self.card_at is not None and self.at >= self.card_at
            direction = self.axis.tick(self.at <= 0, out, now_ms)
            self.steps += abs(direction)
            self.at += 0 if self.stuck else direction
        raise AssertionError("the move does not end")


def test_nothing_moves_before_it_was_homed_and_nothing_leaves_its_travel() -> None:
    axis = Axis(300)
    assert axis.move(1) == axis.move_to(300) == axis.feed(exit_taken=False) == words.NOT_HOMED
    motor = Motor(axis, 120)
    assert axis.home() == words.OK and axis.home() == words.BUSY
    assert motor.run() == words.OK and axis.position == 0 and motor.at == 0
    assert axis.move(301) == axis.move(-1) == words.JAMMED
    assert axis.move_to(300) == words.OK and motor.run() == words.OK and motor.at == 300


@given(st.integers(0, 900), st.booleans(), st.one_of(st.none(), st.integers(1, 900)))
def test_every_move_ends_wherever_it_starts(at: int, stuck: bool, card_at: int | None) -> None:
    axis = Axis(900)
    motor = Motor(axis, at, card_at)
    motor.stuck = stuck
    axis.home()
    result = motor.run()
    assert result == (words.JAMMED if stuck and at > 0 else words.OK)
    assert motor.steps <= 900 + SLACK_STEPS + BACK_OFF_STEPS
    if result == words.OK and axis.feed(exit_taken=False) == words.OK:
        result = motor.run()
        if not stuck:
            assert result == (words.EMPTY if card_at is None else words.OK)
            assert motor.at <= 0
        else:
            assert axis.state == IDLE


def test_a_jam_forgets_the_position_and_a_taken_exit_is_not_pushed_against() -> None:
    axis = Axis(300)
    motor = Motor(axis, 50)
    axis.home()
    motor.run()
    assert axis.feed(exit_taken=True) == words.JAMMED
    axis.move_to(100)
    motor.run()
    motor.stuck = True
    axis.home()
    assert motor.run() == words.JAMMED and not axis.homed
    axis.home()
    axis.stop()
    assert axis.state == IDLE and axis.result == words.STOPPED and not axis.homed


def test_contacts_change_once_however_they_bounce() -> None:
    contacts, changes = Contacts(), []
    for now_ms in range(200):
        bouncing = words.IN_DOOR if now_ms > 20 and (now_ms > 40 or now_ms % 3) else 0
        changes.append(contacts.tick(bouncing, now_ms))
    assert [change for change in changes if change] == [words.IN_DOOR]
    assert contacts.bits == words.IN_DOOR
    for now_ms in range(200, 200 + SETTLE_MS - 1):
        assert contacts.tick(0, now_ms) == 0, "a glitch is no event"
    assert contacts.tick(words.IN_DOOR, 200 + SETTLE_MS) == 0


def test_the_button_counts_while_it_is_held() -> None:
    contacts = Contacts()
    for now_ms in range(0, 4000, 10):
        contacts.tick(words.IN_BUTTON, now_ms)
    assert contacts.button_ms(4000) == 4000 - SETTLE_MS
    for now_ms in range(4000, 4100, 10):
        contacts.tick(0, now_ms)
    assert contacts.button_ms(4100) == 0


@given(st.integers(0, 5), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_the_ring_never_outshines_its_limit_and_shows_once(mode: int, red: int, green: int, blue: int) -> None:
    ring = Ring()
    ring.show(mode, red, green, blue)
    pictures = [ring.pixels(now_ms) for now_ms in range(0, 4000, 7)]
    shown = [picture for picture in pictures if picture is not None]
    assert shown and all(len(picture) == RING_PIXELS for picture in shown)
    assert max(part for picture in shown for pixel in picture for part in pixel) <= BRIGHTNESS_MAX
    if max(red, green, blue) >= 16:  # fainter ones round to the same picture
        assert all(one != other for one, other in pairwise(shown))


def test_lamps_and_tunes() -> None:
    assert [lamp_lit(words.LAMP_BLINK, now_ms) for now_ms in (0, 499, 500, 999, 1000)] == [1, 1, 0, 0, 1]
    buzzer = Buzzer()
    assert not buzzer.play(99, 0)
    for tune in TUNES:
        assert buzzer.play(tune, 1000)
        heard = [buzzer.hertz(now_ms) for now_ms in range(1000, 6000, 10)]
        assert heard[-1] == 0, "every tune ends"
        assert bool(any(heard)) == (tune != words.BUZZ_OFF)


class PlayedBoard:
    """What the pins were last told."""

    def __init__(self) -> None:
        self.duties, self.hertz = [0, 0], 0

    def nir(self, place: int, duty: int) -> None:
        self.duties[place] = duty

    def nir_celsius(self) -> int | None:
        return 25

    def lamp(self, place: int, lit: bool) -> None: ...

    def ring(self, pixels: list[tuple[int, int, int]]) -> None: ...

    def buzz(self, hertz: int) -> None:
        self.hertz = hertz

    def restart(self) -> None: ...


@pytest.mark.parametrize("request_code", [words.DO_UPDATE_END, words.DO_FACTORY_RESET, words.DO_RESTART])
def test_what_takes_long_begins_in_the_dark(request_code: int) -> None:
    """While flash is written nothing watches the light, so it has to be off on the pins, not only in the state."""
    pins = PlayedBoard()
    outputs = Outputs(pins, 0)  # type: ignore[arg-type]
    controller = SimpleNamespace(outputs=outputs, contacts=Contacts(), restart=lambda _now_ms: None)
    commands = Commands(controller)  # type: ignore[arg-type]
    outputs.tick(0, 40_000)
    commands.take(struct.pack(words.COMMAND_HEAD, 1, words.DO_LIGHT) + struct.pack("<HBH", 850, 100, 5000), 40_000)
    commands.take(struct.pack(words.COMMAND_HEAD, 2, words.DO_BUZZ) + bytes([words.BUZZ_ALARM]), 40_000)
    outputs.tick(0, 40_010)
    assert pins.duties[0] == DUTY_MAX and pins.hertz
    commands.take(struct.pack(words.COMMAND_HEAD, 3, request_code), 40_020)
    assert pins.duties == [0, 0]
    assert pins.hertz == 0
