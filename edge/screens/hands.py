"""Two hands as an inline picture whose fingers carry their ISO position, so that a page can light up the asked one.

Drawn as a person sees the backs of their own hands on the table: left hand left, thumbs inwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from contract.sample import FINGER_LABELS, FingerPosition

WIDTH, HEIGHT = 560, 330
RIGHT_HAND_X = 300


@dataclass(frozen=True, slots=True)
class _Finger:
    """A finger of the left hand: base point, length and width in drawing units, tilt in degrees to the right."""

    left: FingerPosition
    right: FingerPosition
    x: float
    y: float
    length: float
    width: float
    tilt: float


_FINGERS = (
    _Finger(FingerPosition.LEFT_LITTLE, FingerPosition.RIGHT_LITTLE, 72, 196, 104, 31, -15),
    _Finger(FingerPosition.LEFT_RING, FingerPosition.RIGHT_RING, 103, 184, 136, 34, -6),
    _Finger(FingerPosition.LEFT_MIDDLE, FingerPosition.RIGHT_MIDDLE, 138, 180, 150, 35, 1),
    _Finger(FingerPosition.LEFT_INDEX, FingerPosition.RIGHT_INDEX, 172, 186, 132, 34, 9),
    _Finger(FingerPosition.LEFT_THUMB, FingerPosition.RIGHT_THUMB, 172, 258, 112, 38, 46),
)


def hands() -> str:
    """The drawing as SVG markup."""
    parts = [
        f'<svg class="hands" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Kedua tangan (both hands)">',
        _hand(mirrored=False),
        _hand(mirrored=True),
        f'<text x="118" y="{HEIGHT - 6}" class="hand-name">Kiri · Left</text>',
        f'<text x="{WIDTH - 118}" y="{HEIGHT - 6}" class="hand-name">Kanan · Right</text>',
        "</svg>",
    ]
    return "".join(parts)


def _hand(*, mirrored: bool) -> str:
    turn = f' transform="translate({WIDTH} 0) scale(-1 1)"' if mirrored else ""
    fingers = "".join(_finger(finger, finger.right if mirrored else finger.left) for finger in _FINGERS)
    palm = (
        '<path class="palm" d="M58 206 Q52 178 84 174 L168 172 Q190 176 190 204 L190 258 '
        'Q188 306 132 308 Q74 308 64 262 Z"/>'
    )
    return f"<g{turn}>{fingers}{palm}</g>"


def _finger(finger: _Finger, position: FingerPosition) -> str:
    half = finger.width / 2
    nail_y = finger.y - finger.length + half * 0.55
    return (
        f'<g class="finger" data-finger="{int(position)}" '
        f'transform="rotate({finger.tilt} {finger.x} {finger.y})"><title>{FINGER_LABELS[position]}</title>'
        f'<rect x="{finger.x - half}" y="{finger.y - finger.length}" width="{finger.width}" '
        f'height="{finger.length + 24}" rx="{half}"/>'
        f'<rect class="nail" x="{finger.x - half * 0.52}" y="{nail_y}" width="{half * 1.04}" '
        f'height="{half * 1.2}" rx="{half * 0.5}"/></g>'
    )
