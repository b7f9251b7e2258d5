"""Who may say and hear what at the broker: Mosquitto's access lists, one text for a fleet, the same whoever writes it.

Nothing is granted by pattern on the service listener: a name that is not listed can do nothing there, so that taking
its lines away is what denies it. A forbidden SUBSCRIBE is granted by Mosquitto and then filtered at every message.

Units and claims speak on the product's topics and on no others: Mosquitto keeps what is retained for ever and without a
limit, and the hub clears only what it hears.
"""

from __future__ import annotations

from collections.abc import Iterable

from contract import topics
from contract.topics import Topic


def _lines(right: str, written: Iterable[Topic], **names: str) -> list[str]:
    """A line for each of these topics; what is not named matches everything."""
    return [f"{right} {topic.filter_for(**names)}" for topic in written]


CLAIM_ACCESS = "\n".join(
    [
        "# The provisioning listener: the user is the nonce of a claim.",
        *_lines("pattern write", (topics.CLAIM_KNOCK, topics.CLAIM_ASK), nonce="%u"),
        *_lines("pattern read", (topics.CLAIM_ANSWER, topics.CLAIM_GRANT), nonce="%u"),
        "",
    ]
)
CONTROL_ACCESS = """\
# The control listener: connecting under a client id ends that id's session, and that is all it is for.
"""
_UP = tuple(topic for topic in topics.ALL_TOPICS if topic.template.startswith("k/{unit}/up/"))
_HUB = ("k/#", "s/#", "hub/#", "t/#", "prov/#")


def service_access(units: Iterable[tuple[str, str]], technicians: Iterable[str]) -> str:
    """The service listener's list. units: (name, site): each speaks under its own name and hears its own site."""
    lines = ["user hub", *(f"topic readwrite {branch}" for branch in _HUB)]
    for unit, site in sorted(units):
        lines += [
            "",
            f"user {unit}",
            *_lines("topic write", _UP, unit=unit),
            f"topic read k/{unit}/dn/#",
            "topic read hub/state",
            f"topic read s/{site}/#",
            *_lines("topic write", (topics.SITE_GALLERY,), site=site),
        ]
    for technician in sorted(technicians):
        lines += [
            "",
            f"user {technician}",
            *_lines("topic write", (topics.TECHNICIAN_ORDER,), technician=technician),
            f"topic read t/{technician}/dn/#",
            "topic read hub/state",
        ]
    return "\n".join(lines) + "\n"
