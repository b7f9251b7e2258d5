"""Who may say and hear what at the broker: Mosquitto's access lists, one text for a fleet, the same whoever writes it.

Nothing is granted by pattern on the service listener: a name that is not listed can do nothing there, so that taking
its lines away is what denies it. A forbidden SUBSCRIBE is granted by Mosquitto and then filtered at every message.
"""

from __future__ import annotations

from collections.abc import Iterable

CLAIM_ACCESS = """\
# The provisioning listener: the user is the nonce of a claim.
pattern write prov/%u/up/#
pattern read prov/%u/dn/#
"""
CONTROL_ACCESS = """\
# The control listener: connecting under a client id ends that id's session, and that is all it is for.
"""
_HUB = ("k/#", "s/#", "hub/#", "t/#", "prov/#")


def service_access(units: Iterable[tuple[str, str]], technicians: Iterable[str]) -> str:
    """The service listener's list. units: (name, site): each speaks under its own name and hears its own site."""
    lines = ["user hub", *(f"topic readwrite {branch}" for branch in _HUB)]
    for unit, site in sorted(units):
        lines += [
            "",
            f"user {unit}",
            f"topic write k/{unit}/up/#",
            f"topic read k/{unit}/dn/#",
            "topic read hub/state",
            f"topic read s/{site}/#",
            f"topic write s/{site}/gallery/#",
        ]
    for technician in sorted(technicians):
        lines += [
            "",
            f"user {technician}",
            f"topic write t/{technician}/up/#",
            f"topic read t/{technician}/dn/#",
            "topic read hub/state",
        ]
    return "\n".join(lines) + "\n"
