"""Why the tool has no line to the hub, for the technician who waits: what passes is waited out, what does not ends it.

The causes are those of the table of problems, looked for beside the MQTT client; the words here speak of the technician
and their folder, where the table speaks of a unit.
"""

from __future__ import annotations

from contract.commissioning_problems import Problem, Refusal
from contract.errors import RemoteError

PASSING = frozenset({Problem.BROKER_UNREACHABLE, Problem.BROKER_FULL})
_FOLDER = "your folder (--identity)"
_WORDS = {
    Problem.BROKER_UNREACHABLE: (
        "The broker cannot be reached.",
        "Check this machine's network, and the host in technician.toml; the tool goes on trying.",
    ),
    Problem.BROKER_FULL: (
        "The broker takes no new connection.",
        "It may be full, or starting: the tool goes on trying. If it stays so, look at the broker's log.",
    ),
    Problem.BROKER_UNKNOWN: (
        "What answers there is not your hub's broker: its certificate is of another authority.",
        f"Check host and port in technician.toml, and that {_FOLDER} belongs to this world. Do not go on in a network "
        "that you do not know.",
    ),
    Problem.CERTIFICATE_REVOKED: (
        "Your certificate was revoked, or another copy of your folder has renewed it.",
        "Use the newest copy of your folder; or 'rekam-provision enrol', and ask the administrator to certify you.",
    ),
    Problem.CERTIFICATE_ENDED: (
        "Your certificate has ended by the broker's clock.",
        "Set this machine's clock (UTC) right: then the tool renews it by itself. If the clock is right, the broker's "
        "revocation list has run out: look at the hub's log.",
    ),
    Problem.CLOCK_WRONG: (
        "This machine's clock and the broker's certificate do not agree.",
        "Set date and time (UTC) right, and give the command again.",
    ),
    Problem.BROKER_TLS_OLD: (
        "The broker does not speak TLS 1.2 or later on this port.",
        "Check the port in technician.toml; if it is right, the administrator updates the broker.",
    ),
    Problem.ACCESS_DENIED: (
        "The broker knows you and does not let you speak.",
        "The hub writes the list of who may: see that it runs, and ask the administrator whether you are a technician.",
    ),
    Problem.STORE_UNUSABLE: (
        f"The certificate or key in {_FOLDER} cannot be used.",
        "Name the right folder, or make a new one with 'rekam-provision enrol'.",
    ),
}
_REFUSED = ("The broker refuses your certificate.", f"See that {_FOLDER} belongs to this world.")


class LineRefused(RemoteError):
    """There is no line, and waiting brings none."""

    def __init__(self, refusal: Refusal) -> None:
        what, do = _WORDS.get(refusal.problem, _REFUSED)
        super().__init__(f"{what} {refusal.detail}".strip(), next_step=do)
        self.problem = refusal.problem


def waits_for(refusal: Refusal) -> str:
    """What is waited out, in a line."""
    what, do = _WORDS[refusal.problem]
    return f"{what} {refusal.detail} {do}"
