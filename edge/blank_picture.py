"""How a blank is laid into the printer: garuda upwards, as a picture for the operator (M34). Drawn, not copied."""

from __future__ import annotations

GOLD, RED, BLUE, PAPER = "#c49842", "#b02a30", "#22508c", "#eef5fa"
_MIDDLE, _SHOULDER = 240, 218
_WING_FEATHERS = ((-76, 96), (-60, 104), (-44, 104), (-28, 98), (-12, 86), (4, 72))
_TAIL_FEATHERS = (-24, -12, 0, 12, 24)


def blank_picture() -> bytes:
    """An SVG: an arrow, a blank that enters the printer, and on it a bird with spread wings, its head towards it."""
    shapes = [
        f'<path d="M240 8 l34 44 h-20 v36 h-28 v-36 h-20 z" fill="{RED}"/>',
        f'<rect x="40" y="104" width="400" height="246" rx="16" fill="{PAPER}" stroke="{BLUE}" stroke-width="4"/>',
        f'<g fill="{GOLD}" stroke="{PAPER}" stroke-width="1.5">',
        *(_wing_feather(side, angle, length) for side in (1, -1) for angle, length in _WING_FEATHERS),
        *(_tail_feather(angle) for angle in _TAIL_FEATHERS),
        f'<ellipse cx="{_MIDDLE}" cy="232" rx="25" ry="38"/>',
        '<path d="M230 204 q-6 -34 14 -40 q20 -3 23 14 l13 8 l-15 4 q-7 12 -12 22 z"/>',
        "</g>",
        f'<circle cx="250" cy="177" r="3" fill="{BLUE}"/>',
        f'<path d="M222 214 h36 v26 q-2 18 -18 26 q-16 -8 -18 -26 z" fill="{RED}" stroke="{PAPER}" stroke-width="2"/>',
        f'<text x="240" y="337" font-family="sans-serif" font-size="22" font-weight="700" text-anchor="middle" '
        f'fill="{BLUE}">GARUDA MENGHADAP KE ATAS</text>',
    ]
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 360" role="img" aria-label="blangko">'
    return "\n".join((head, *shapes, "</svg>")).encode()


def _wing_feather(side: int, angle: int, length: int) -> str:
    """A long leaf from the shoulder outwards; side: 1 right, -1 left."""
    shoulder = _MIDDLE + side * 12
    turn = f"translate({shoulder} {_SHOULDER}) scale({side} 1) rotate({angle + 30})"
    return f'<path transform="{turn}" d="M0 0 q{length // 2} -15 {length} 0 q-{length // 2} 15 -{length} 0 z"/>'


def _tail_feather(angle: int) -> str:
    return f'<path transform="translate({_MIDDLE} 256) rotate({angle})" d="M-8 0 q-4 36 8 50 q12 -14 8 -50 z"/>'
