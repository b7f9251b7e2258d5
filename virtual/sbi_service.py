"""One SBI device for any SBI client, a browser too:

    python -m virtual.sbi_service --kind Finger --sub-kind Slap --port 4501 --person 1 3 --trust trust.pem

serves a ten-print scanner with the hands of the third person of population 1 on it, until it is ended.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from contract.sample import FingerPosition, IrisPosition
from edge.sensors.sbi_frames import EYE_NAMES, FINGER_NAMES
from virtual.people import person
from virtual.sbi_twin import SUB_KINDS, SbiTwin


def lay(twin: SbiTwin, seed: int, index: int, impression: int = 0) -> None:
    """Let a person of virtual.people stand before the device with everything that it can take."""
    who = person(seed, index)
    if twin.kind == "Finger":
        for finger in list(FingerPosition)[1:11]:
            twin.show(FINGER_NAMES[finger], who.finger(finger, impression))
    elif twin.kind == "Iris":
        for eye in (IrisPosition.RIGHT, IrisPosition.LEFT):
            twin.show(EYE_NAMES[eye], who.iris(eye, impression))
    else:
        twin.show("", who.portrait(impression))


def main(arguments: list[str] | None = None) -> int:
    """Serve one device until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m virtual.sbi_service",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kind", choices=sorted(SUB_KINDS), default="Finger")
    parser.add_argument("--sub-kind", default="", help="deviceSubType: Slap, Single, Double, Touchless or Full face")
    parser.add_argument("--port", type=int, default=4501, help="SBI clients look on 4501 to 4600")
    parser.add_argument("--serial", default="TWIN0000000001")
    parser.add_argument("--person", type=int, nargs=2, metavar=("SEED", "INDEX"), help="who is before the device")
    parser.add_argument("--trust", type=Path, help="where to write the trust provider's certificate, PEM")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    twin = SbiTwin(options.kind, options.port, sub_kind=options.sub_kind, serial=options.serial)
    if options.trust is not None:
        options.trust.write_bytes(twin.trust_pem)
    if options.person is not None:
        lay(twin, *options.person)
    sys.stdout.write(f"ready on port {twin.port}\n")
    sys.stdout.flush()
    stop.wait()
    twin.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
