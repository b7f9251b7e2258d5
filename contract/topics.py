"""Every MQTT topic of the product: its name, quality of service, retain flag and payload.

`{unit}` is the certificate's common name, `{site}` the site code. Bulk never relies on the broker's acknowledgement:
only the hub's signed receipt frees anything on a unit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from contract.errors import RemoteError

COMMAND_LIFE_S = 30  # a command that did not arrive by then is not carried out: who gave it may have gone
NAME_PATTERN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's template and how it is published.

    template: with `{name}` fields; payload: what travels; qos: 0 or 1; expiry_s: 0 for none; only_fresh: a message
    that was retained, or came without such an expiry, is refused by whoever hears it.
    """

    template: str
    payload: str
    qos: int = 1
    retain: bool = False
    expiry_s: int = 0
    only_fresh: bool = False

    def at(self, **names: str) -> str:
        """The topic for these names. Raises RemoteError for a name that could widen the topic."""
        for key, name in names.items():
            if not NAME_PATTERN.fullmatch(name):
                raise RemoteError(
                    f"'{name[:64]}' cannot be a {key} in a topic.",
                    next_step="Use letters, digits, dot, dash, underscore.",
                )
        return self.template.format(**names)

    def filter_for(self, **names: str) -> str:
        """The filter that matches the topic for these names, and for every name of the fields not given."""
        return re.sub(r"\{([a-z]+)\}", lambda field: names.get(field[1], "+"), self.template)

    def parse(self, topic: str) -> dict[str, str] | None:
        """The names in `topic`, or None where it is not one of these."""
        return self.names_in(topic.split("/"))

    def names_in(self, levels: Sequence[str]) -> dict[str, str] | None:
        """What `parse` gives for a topic that is cut into its levels already."""
        wanted = _levels(self.template)
        if len(levels) != len(wanted):
            return None
        names: dict[str, str] = {}
        for level, (literal, field) in zip(levels, wanted, strict=True):
            if field:
                names[field] = level
            elif level != literal:
                return None
        return names if all(map(NAME_PATTERN.fullmatch, names.values())) else None

    def check_fresh(self, was_retained: bool, expires_s: int) -> None:
        """Raise RemoteError for a message that only counts while it is fresh, and may not be."""
        if self.only_fresh and (was_retained or not 0 < expires_s <= self.expiry_s):
            raise RemoteError("It was kept by the broker, or does not say until when it counts.")


@cache
def _levels(template: str) -> tuple[tuple[str, str], ...]:
    """A template's levels, each (literal, name of its field), one of them empty."""
    levels = template.split("/")
    return tuple(("", level[1:-1]) if level.startswith("{") else (level, "") for level in levels)


UP_STATE = Topic("k/{unit}/up/state", "transfer.UnitState, also the will", retain=True)
UP_OFFER = Topic("k/{unit}/up/pkt/{pid}/offer", "transfer.Offer")
UP_CHUNK = Topic("k/{unit}/up/pkt/{pid}/chunk", "transfer.Chunk")
DN_NEED = Topic("k/{unit}/dn/pkt/{pid}/need", "transfer.Need")
DN_RECEIPT = Topic("k/{unit}/dn/pkt/{pid}/receipt", "transfer.Receipt, signed by the hub")
UP_STATUS = Topic("k/{unit}/up/tele/uplink", "transfer.UplinkStatus", qos=0, expiry_s=60)
UP_EVENT = Topic("k/{unit}/up/evt/{event}", "transfer.UnitAlarm; link-check is a CBOR map that is heard and forgotten")
DN_ALARM = Topic("k/{unit}/dn/alarm/{alarm}", "empty: the hub has written this alarm down", expiry_s=60)
UP_JOB = Topic("k/{unit}/up/job/{job}", "dispatch.JobAnswer, sealed to the hub")
DN_JOB = Topic("k/{unit}/dn/job/next", "dispatch.PrintJob, sealed to the station", retain=True)
DN_CHECKPOINT = Topic("k/{unit}/dn/checkpoint", "checkpoint.Checkpoint, signed by the hub", retain=True)
DN_SITE_KEY = Topic("k/{unit}/dn/site-key", "dispatch.SiteKey, sealed to the unit", retain=True)
DN_ROSTER = Topic("k/{unit}/dn/roster", "operators.Roster, sealed to the unit", retain=True)
DN_ROSTER_DELTA = Topic("k/{unit}/dn/roster-delta", "operators.RosterDelta, sealed to the unit", retain=True)
UP_ROSTER = Topic("k/{unit}/up/roster", "operators.RosterHeld", retain=True)
UP_SIGN_ONS = Topic("k/{unit}/up/sign-ons", "operators.SignOns", retain=True)
DN_CONSIGNMENT = Topic("k/{unit}/dn/consignment/{card}", "dispatch.ConsignedCard, sealed to the desk", retain=True)
SITE_REGISTER = Topic("s/{site}/register/{page}", "dispatch.RegisterPage under the site key", retain=True)
SITE_NOTICE = Topic("s/{site}/notice/{capture}", "dispatch.Notice under the site key", retain=True)
SITE_GALLERY = Topic("s/{site}/gallery/{capture}", "dispatch.GalleryEntry under the site key", retain=True)
HUB_STATE = Topic("hub/state", "transfer.HubState, also the hub's will", retain=True)
UP_BIRTH = Topic("k/{unit}/up/birth", "commissioning.SignedBirth", retain=True)
DN_CONFIRMED = Topic("k/{unit}/dn/confirmed", "commissioning.Confirmation, signed by the hub")
UP_RENEWAL = Topic("k/{unit}/up/renewal", "commissioning.Renewal")
DN_RENEWAL = Topic("k/{unit}/dn/renewal", "commissioning.RenewalAnswer, signed by the hub")
DN_COMMAND = Topic(
    "k/{unit}/dn/cmd/{command}", "unit_command.Command, sealed to the unit", expiry_s=COMMAND_LIFE_S, only_fresh=True
)
UP_PART = Topic("k/{unit}/up/rsp/{command}", "unit_command.Part, sealed to the tool", expiry_s=COMMAND_LIFE_S)
DN_DESIRED = Topic("k/{unit}/dn/shadow/desired", "configuration.Desired, sealed to the unit", retain=True)
UP_REPORTED = Topic("k/{unit}/up/shadow/reported", "configuration.Reported", retain=True)
UP_SELFTEST = Topic("k/{unit}/up/selftest", "configuration.SelftestReport", retain=True)
DN_UPDATE = Topic("k/{unit}/dn/update/next", "updates.UpdateJob, sealed to the unit; empty takes it back", retain=True)
UP_UPDATE = Topic("k/{unit}/up/update/report", "updates.UpdateReport", retain=True)
UP_UPDATE_ASK = Topic("k/{unit}/up/update/ask", "updates.FileAsk", expiry_s=60)
DN_UPDATE_PART = Topic("k/{unit}/dn/update/part", "updates.FilePart", expiry_s=60)
# The provisioning listener, whose client id is the nonce of a claim.
CLAIM_KNOCK = Topic("prov/{nonce}/up/knock", "commissioning.Knock")
CLAIM_ASK = Topic("prov/{nonce}/up/ask", "commissioning.CertificateAsk")
CLAIM_ANSWER = Topic("prov/{nonce}/dn/answer", "commissioning.Answer, signed by the hub")
CLAIM_GRANT = Topic("prov/{nonce}/dn/grant", "commissioning.Grant, sealed to the unit")
TECHNICIAN_ORDER = Topic("t/{technician}/up/order/{order}", "technician.Order, signed by the technician")
TECHNICIAN_REPLY = Topic("t/{technician}/dn/reply/{order}", "technician.Reply, signed by the hub")
TECHNICIAN_PART = Topic(
    "t/{technician}/dn/rsp/{command}", "unit_command.Part, as the unit sealed it", expiry_s=COMMAND_LIFE_S
)

ALL_TOPICS = tuple(value for value in list(globals().values()) if isinstance(value, Topic))
