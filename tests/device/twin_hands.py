"""A person's hands at a unit made of twins, for KIOSK_HARDWARE_HANDS: does what the suites ask for.

    KIOSK_HARDWARE_HANDS="python -m tests.device.twin_hands devices.sock desk-a1 card.sock"

It speaks to the twins' control sockets by itself, one JSON object a line, so that it starts as fast as a hand moves.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

PERSON = [1, 3]
DOINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("finger", "lay"): {"finger": {"person": PERSON, "position": 2}},
    ("finger", "lift"): {"remove": "finger"},
    ("code", "show"): {"code": {"text": "9901014107900001"}},
    ("signature", "sign"): {"signature": {"person": PERSON}},
    ("iris", "look"): {"iris": {"person": PERSON}},
}


def message(kind: str, word: str) -> dict[str, Any]:
    """What is asked for, as the twins' control message."""
    if word not in ("unplug", "plug in"):
        return DOINGS[kind, word]
    if kind in ("camera", "iris"):
        return {"fault": {"device": kind, "fault": "hang-up" if word == "unplug" else "none"}}
    return {"fault": {"device": kind, "unplug": word == "unplug"}}


def say(path: str, words: dict[str, Any]) -> dict[str, Any]:
    """One line to a control socket, and its answer."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(30)
        line.connect(path)
        line.sendall(json.dumps(words).encode() + b"\n")
        answer: dict[str, Any] = json.loads(line.makefile("rb").readline())
    return answer


def main(devices: str, unit: str, card: str, kind: str, word: str) -> None:
    """One thing done to one device; a card that does not lie there cannot be lifted, which is no failure."""
    if kind == "card":
        say(card, {"do": "insert", "uid": ""} if word == "lay" else {"do": "remove"})
        return
    answer = say(devices, {"unit": unit, **message(kind, word)})
    if not answer.get("ok"):
        raise SystemExit(str(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
