"""Signatures as movement: ISO/IEC 19794-7:2007, full format (clause 7).

A record is a header that says which channels were sampled and how they are scaled, then the sample points.
Signed channels are stored with an offset of 32768. Scaling values say how many units of a channel make one
millimetre (X, Y), one second (T, DT) or one newton (F). X grows to the right, Y upwards. The compact format for cards
(clause 8) and the compressed one of later editions are not read: they have another header and are refused by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from contract.errors import RekamError
from contract.octets import OctetReader, checked_size, field

MAGIC = b"SDI\x00"
VERSION = b" 10\x00"
RECORD_BYTES_MAX = 1 << 20
POINTS_MAX = 65_536
CLOCK_HZ, CLOCK_HZ_LONG = 1000.0, 100.0  # milliseconds while 16 bits hold them, else hundredths


class Channel(IntEnum):
    """The channels in the order of the channel inclusion field, highest bit first (table 4)."""

    X = 15
    Y = 14
    Z = 13
    VX = 12
    VY = 11
    AX = 10
    AY = 9
    T = 8
    DT = 7
    F = 6
    S = 5
    TX = 4
    TY = 3
    AZ = 2
    EL = 1
    R = 0

    @property
    def value_min(self) -> int:
        """Smallest value that the channel can hold."""
        return -32768 if self in _SIGNED else 0

    @property
    def value_max(self) -> int:
        """Largest value that the channel can hold."""
        return 255 if self is Channel.S else self.value_min + 65535

    @property
    def octets(self) -> int:
        """Bytes of one value."""
        return 1 if self is Channel.S else 2


_SIGNED = frozenset((Channel.X, Channel.Y, Channel.VX, Channel.VY, Channel.AX, Channel.AY, Channel.TX, Channel.TY))
_SCALING, _MIN, _MAX, _MEAN, _DEVIATION, _CONSTANT, _LINEAR_REMOVED = 0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02


@dataclass(frozen=True, slots=True)
class ChannelDescription:
    """What the header says of a channel.

    scaling: units per millimetre, second or newton (None: not stated). value_min, value_max, mean: as recorded.
    constant: the channel has one value, so it is absent from the sample points.
    """

    scaling: float | None = None
    value_min: int | None = None
    value_max: int | None = None
    mean: int | None = None
    deviation: int | None = None
    constant: bool = False
    linear_removed: bool = False


@dataclass(frozen=True, slots=True)
class SignatureSeries:
    """A signature: `channels` maps each sampled channel to its values, all of one length; X and Y are always there.

    Pen state is channel S (1: the tip touches), pressure is F, time is T or DT.
    """

    channels: Mapping[Channel, tuple[int, ...]]
    descriptions: Mapping[Channel, ChannelDescription]
    extended: bytes = b""

    @property
    def point_count(self) -> int:
        """Number of sample points."""
        return len(self.channels[Channel.X])


def signature_of(
    points: list[tuple[int, int, int, int, bool]], *, units_per_mm: float, units_per_newton: float | None = None
) -> SignatureSeries:
    """A series of (x, y, time in ms, pressure, tip touches) as a pad delivers it: its units, y downwards."""
    x, y, time_ms, pressure, touches = zip(*points, strict=True) if points else ((), (), (), (), ())
    start = time_ms[0] if time_ms else 0
    clock_hz = CLOCK_HZ if not time_ms or time_ms[-1] - start <= Channel.T.value_max else CLOCK_HZ_LONG
    channels: dict[Channel, tuple[int, ...]] = {
        Channel.X: tuple(x),
        Channel.Y: tuple(-value for value in y),
        Channel.T: tuple(round((value - start) * clock_hz / 1000) for value in time_ms),
        Channel.F: tuple(pressure),
        Channel.S: tuple(int(touch) for touch in touches),
    }
    scaling: dict[Channel, float | None] = {
        Channel.X: units_per_mm,
        Channel.Y: units_per_mm,
        Channel.T: clock_hz,
        Channel.F: units_per_newton,
    }
    descriptions = {
        channel: ChannelDescription(
            scaling=scaling.get(channel),
            value_min=min(values, default=None) if channel is not Channel.S else None,
            value_max=max(values, default=None) if channel is not Channel.S else None,
        )
        for channel, values in channels.items()
    }
    return SignatureSeries(channels, descriptions)


def encode_series(series: SignatureSeries) -> bytes:
    """`series` as ISO/IEC 19794-7:2007 bytes."""
    present = [channel for channel in Channel if channel in series.descriptions]
    sampled = [channel for channel in present if not series.descriptions[channel].constant]
    if set(sampled) != set(series.channels) or not {Channel.X, Channel.Y} <= set(sampled):
        raise RekamError("A signature needs X and Y, and a description for each channel and no other.")
    columns = [series.channels[channel] for channel in sampled]
    if len({len(column) for column in columns}) != 1:
        raise RekamError("A signature's channels differ in length.")
    points = b"".join(
        _encode_value(channel, value)
        for values in zip(*columns, strict=True)
        for channel, value in zip(sampled, values, strict=True)
    )
    return b"".join(
        (
            MAGIC,
            VERSION,
            field(sum(1 << channel for channel in present), 2, "Channels"),
            *(_encode_description(channel, series.descriptions[channel]) for channel in present),
            b"\x00",
            b"\x80" if series.extended else b"\x00",
            field(series.point_count, 3, "Number of sample points", maximum=POINTS_MAX),
            points,
            field(len(series.extended), 2, "Extended data length") + series.extended if series.extended else b"",
        )
    )


def decode_series(octets: bytes) -> SignatureSeries:
    """Read a record; anything that the standard does not allow is a RemoteError."""
    octets = checked_size(octets, RECORD_BYTES_MAX, "signature record")
    reader = OctetReader(octets, "signature record")
    reader.expect(MAGIC, "format identifier")
    reader.expect(VERSION, "version")
    included = reader.u16()
    descriptions = {channel: _decode_description(reader, channel) for channel in Channel if included & 1 << channel}
    reader.u8()
    sampled = [channel for channel, description in descriptions.items() if not description.constant]
    if not {Channel.X, Channel.Y} <= set(sampled):
        raise reader.error("has no X or no Y channel")
    has_extended = bool(reader.u8() & 0x80)
    count = reader.uint(3)
    if count > POINTS_MAX:
        raise reader.error(f"has {count} sample points; up to {POINTS_MAX} are accepted")
    points = reader.part(count * sum(channel.octets for channel in sampled), "sample points")
    columns: dict[Channel, list[int]] = {channel: [] for channel in sampled}
    for _ in range(count):
        for channel, column in columns.items():
            column.append(points.uint(channel.octets) + channel.value_min)
    extended = reader.take(reader.u16()) if has_extended else b""
    reader.expect_end()
    return SignatureSeries({channel: tuple(column) for channel, column in columns.items()}, descriptions, extended)


def _encode_value(channel: Channel, value: int) -> bytes:
    return field(value - channel.value_min, channel.octets, f"Channel {channel.name}")


def _encode_description(channel: Channel, description: ChannelDescription) -> bytes:
    preamble = (_CONSTANT if description.constant else 0) | (_LINEAR_REMOVED if description.linear_removed else 0)
    attributes = b""
    if description.scaling is not None:
        preamble |= _SCALING
        attributes += _encode_scaling(description.scaling)
    for flag, value, offset in (
        (_MIN, description.value_min, channel.value_min),
        (_MAX, description.value_max, channel.value_min),
        (_MEAN, description.mean, channel.value_min),
        (_DEVIATION, description.deviation, 0),
    ):
        if value is not None:
            preamble |= flag
            attributes += field(value - offset, 2, f"Attribute of channel {channel.name}")
    return bytes((preamble,)) + attributes


def _decode_description(reader: OctetReader, channel: Channel) -> ChannelDescription:
    preamble = reader.u8()
    scaling = _decode_scaling(reader.u16()) if preamble & _SCALING else None
    value_min, value_max, mean = (
        reader.u16() + channel.value_min if preamble & flag else None for flag in (_MIN, _MAX, _MEAN)
    )
    deviation = reader.u16() if preamble & _DEVIATION else None
    return ChannelDescription(
        scaling, value_min, value_max, mean, deviation, bool(preamble & _CONSTANT), bool(preamble & _LINEAR_REMOVED)
    )


def _encode_scaling(scaling: float) -> bytes:
    """Five bits of exponent (biased by 16) and eleven of fraction: (1 + F / 2048) · 2^(E − 16)."""
    if not math.isfinite(scaling) or scaling <= 0:
        raise RekamError(f"{scaling} is no scaling value.", next_step="Give a positive number.")
    exponent = math.floor(math.log2(scaling))
    fraction = round((scaling / 2.0**exponent - 1.0) * 2048)
    if fraction == 2048:
        exponent, fraction = exponent + 1, 0
    if not -16 <= exponent <= 15:
        raise RekamError(f"The scaling value {scaling} has no room.", next_step="Give a value of 2^-16 to 2^16.")
    return ((exponent + 16) << 11 | fraction).to_bytes(2, "big")


def _decode_scaling(value: int) -> float:
    return (1.0 + (value & 0x7FF) / 2048.0) * 2.0 ** ((value >> 11) - 16)
