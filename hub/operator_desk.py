"""Operators come, change and go (M67): enrolled at a unit, approved by another officer, revoked by one, back by two.

Nothing that a unit says gives a right: it waits here until an officer who neither enrolled the person nor is that
person says yes. Taking a right away needs one officer and works at once. Every step is in the operators' history
(M69). Methods run in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

import cbor2
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy.orm import Session

from contract.dispatch import encode
from contract.errors import RemoteError
from contract.packet import Envelope, OperatorBody, PinBody
from hub import leases, operator_factors, register, rights, rosters
from hub.context import HubContext
from hub.fleet import Role
from hub.fleet_control import FleetControl
from hub.leases import ACTIVE, HUB, REVOKED, UNKNOWN
from hub.schema.operator_tables import PENDING, OperatorEnrolment
from hub.schema.tables import Operator, Site, Unit
from hub.search.operator_fingers import OperatorFingers
from hub.sign_offs import is_signed

ENROLLING = (Role.SECTION_HEAD, Role.DC_OFFICER)
APPROVING = (Role.SECTION_HEAD, Role.DC_OFFICER)
GRANTED_BY_HEADS = frozenset({Role.OPERATOR, Role.FRONT_DESK, Role.DISTRIBUTION})
GRANTED_BY_THE_CENTRE = GRANTED_BY_HEADS | {Role.ADB, Role.SECTION_HEAD}
REASON_CHARACTERS_MIN = 5
APPROVED, REFUSED = "approved", "refused"

log = structlog.get_logger("operators")


class OperatorDesk:
    """Who may work at units, and since when not any more."""

    def __init__(self, context: HubContext, fleet: FleetControl) -> None:
        """fleet: takes the certificates of an operator who is a technician too."""
        self._context = context
        self._fleet = fleet
        self._fingers = OperatorFingers(context.vault)

    def rebuild(self) -> int:
        """Ready everybody's fingers to be compared; how many persons there are."""
        with self._context.database.reading() as session:
            return self._fingers.follow(session)

    # --- what units send ---

    def receive(self, session: Session, envelope: Envelope, body: OperatorBody) -> str:
        """Keep an enrolment for a second officer; why a person has to look at the packet instead, or ''."""
        reason = self._unvouched(session, envelope, body, ENROLLING)
        if reason or body.signoff is None:
            return reason
        if body.operator == HUB or session.get(Unit, body.operator) is not None:
            return f"'{body.operator}' is no name for a person: a machine is called so."
        if session.get(OperatorEnrolment, envelope.id) is not None:
            return ""
        try:
            self._fingers.follow(session)
            similar = self._fingers.resembling(body.templates, body.operator)
        except RemoteError:
            return "The fingers of the operator cannot be read."
        by = body.signoff.operator
        revoked = session.get_one(Operator, by).revoked
        session.add(
            OperatorEnrolment(
                id=envelope.id,
                operator=body.operator,
                unit=envelope.unit,
                site=envelope.site,
                enrolled_by=by,
                content=self._context.vault.lock(encode(body), "operator-enrolment", envelope.id),
                similar=",".join(similar),
                warning="revoked" if revoked else "",
                received_ms=self._context.clock.wall_ms(),
            )
        )
        session.flush()
        self._note(session, body.operator, "enrolled", by, f"{UNKNOWN} {PENDING}", unit=envelope.unit, id=envelope.id)
        return ""

    def take_pin(self, session: Session, envelope: Envelope, body: PinBody) -> str:
        """Take an operator's own new PIN; why a person has to look at the packet instead, or ''."""
        reason = self._unvouched(session, envelope, body, tuple(Role))
        operator = session.get(Operator, body.operator, with_for_update=True)
        if reason or body.signoff is None or operator is None:
            return reason or "Nobody is known by this name."
        if body.signoff.operator != body.operator:
            return "A PIN was changed by somebody else."
        if operator.revoked:
            return f"{body.operator} was revoked."
        order = body.order
        if order is not None and order.epoch > operator_factors.factors_of(self._context, operator).pin_state.epoch:
            return "A PIN was changed after a reset that nobody knows of here."
        event = operator_factors.change_pin(self._context, operator, body)
        session.flush()
        self._note(session, operator.id, event, operator.id, ACTIVE, unit=envelope.unit)
        self._tell(session, operator.sites)
        return ""

    # --- what officers decide ---

    def approve(
        self, session: Session, enrolment_id: str, actor: str, roles: Sequence[str], sites: Sequence[str]
    ) -> Operator:
        """Give an enrolled person these rights, as another officer than the one who enrolled. Raises RemoteError."""
        enrolment = self._open(session, enrolment_id, actor)
        self._check_grant(session, actor, roles, sites)
        body = self.body_of(enrolment)
        operator = session.get(Operator, body.operator, with_for_update=True)
        if operator is not None:
            self._check_change(session, actor, operator)
        before = operator.sites if operator is not None else ""
        worked = operator is not None and leases.works_at_units(operator)
        is_known = operator is not None
        operator = operator or self._made(session, body.operator)
        if not operator.public_key:
            self._give_key(operator)
        operator.name, operator.roles, operator.sites = body.name, ",".join(roles), ",".join(sites)
        operator.templates = self._context.vault.lock(cbor2.dumps(body.templates), "operator-templates", operator.id)
        operator_factors.enrol(self._context, operator, body.pin, body.card_uid, anew=is_known)
        operator.approved_ms = self._context.clock.wall_ms()
        self._decided(enrolment, actor, APPROVED, "")
        session.flush()
        rosters.check_room(session, set(sites) - set(before.split(",") if worked else ()))
        granted = {"enrolled_by": enrolment.enrolled_by, "roles": operator.roles, "sites": operator.sites}
        self._note(session, operator.id, "approved", actor, f"{PENDING} {ACTIVE}", **granted)
        leases.lease_of(session, self._context, operator)
        self._tell(session, f"{before},{operator.sites}")
        return operator

    def refuse(self, session: Session, enrolment_id: str, actor: str, reason: str) -> None:
        """Turn an enrolment down. Raises RemoteError."""
        _check_reason(reason)
        enrolment = self._open(session, enrolment_id, actor)
        self._decided(enrolment, actor, REFUSED, reason.strip())
        session.flush()
        self._note(session, enrolment.operator, "refused", actor, f"{PENDING} {REFUSED}", reason=reason.strip())

    def revoke(self, session: Session, operator_id: str, actor: str, reason: str) -> Operator:
        """Take an operator's rights at once; every unit where they worked hears it. Raises RemoteError."""
        _check_reason(reason)
        operator = self._operator(session, operator_id)
        officer = register.operator_with(session, actor, *APPROVING)
        if not any(register.works_in_region(session, officer, site) for site in operator.sites.split(",")):
            raise RemoteError(f"'{actor}' does not work where {operator_id} does.", next_step="Ask the centre.")
        if operator_id == actor:
            raise RemoteError("Nobody revokes themselves.", next_step="Another officer does this for you.")
        if operator.revoked:
            return operator
        operator.revoked = True
        session.flush()
        if session.get(Unit, operator_id) is None:  # certificates know holders by name alone
            self._fleet.bar(session, operator_id, reason.strip())
        self._note(session, operator_id, "revoked", actor, f"{ACTIVE} {REVOKED}", reason=reason.strip())
        self._tell(session, operator.sites)
        log.warning("operator revoked", operator=operator_id, actor=actor)
        return operator

    def reinstate(self, session: Session, operator_id: str, actors: str, reason: str) -> Operator:
        """Give rights back, on the word of the two officers named in `actors` (hub.proposals). Raises RemoteError."""
        operator = self._operator(session, operator_id)
        if operator_id in actors.split("+"):
            raise RemoteError("Nobody reinstates themselves.", next_step="Two other officers do this.")
        operator.revoked = False
        session.flush()
        if leases.works_at_units(operator):
            rosters.check_room(session, operator.sites.split(","))
        self._note(session, operator_id, "reinstated", actors, f"{REVOKED} {ACTIVE}", reason=reason)
        if leases.works_at_units(operator):
            leases.lease_of(session, self._context, operator, renewed=True)
        self._tell(session, operator.sites)
        return operator

    def check_reset(self, session: Session, operator_id: str, actor: str) -> None:
        """Whether this officer may ask that a PIN be reset, or confirm it. Raises RemoteError.

        That is whoever could give its owner's rights, and for all others the centre.
        """
        operator = self._operator(session, operator_id)
        officer = register.operator_with(session, actor, *APPROVING)
        if operator_id == actor:
            raise RemoteError("Nobody resets their own PIN.", next_step="Two other officers do this for you.")
        if operator.revoked:
            raise RemoteError(f"{operator_id} was revoked.", next_step="Two officers reinstate them first.")
        if Role.DC_OFFICER not in officer.roles.split(","):
            self._check_change(session, actor, operator, "Ask the centre to reset this PIN.")
        factors = operator_factors.factors_of(self._context, operator)
        if not factors.pin and not factors.awaits_pin:
            raise RemoteError(f"{operator_id} has no PIN.", next_step="A first PIN is made at a unit, page Petugas.")

    def reset_pin(self, session: Session, operator_id: str, actors: str, reason: str) -> Operator:
        """Void a PIN on the word of the two officers named in `actors` (hub.proposals). Raises RemoteError."""
        operator = self._operator(session, operator_id)
        hours = self._context.settings.policy.pin_reset_h
        set_by_ms = self._context.clock.wall_ms() + int(hours * 3_600_000)
        operator_factors.reset_pin(self._context, operator, set_by_ms)
        session.flush()
        self._note(session, operator_id, "PIN reset", actors, ACTIVE, reason=reason, set_by_ms=set_by_ms)
        self._tell(session, operator.sites)
        return operator

    def renew(self, session: Session) -> int:
        """Renew the leases that are due, and tell the units; returns how many had to hear something."""
        if not leases.renew_due(session, self._context):
            return 0
        return rosters.say_to_all(session, self._context)

    def body_of(self, enrolment: OperatorEnrolment) -> OperatorBody:
        """What the unit sent."""
        content = self._context.vault.unlock(enrolment.content, "operator-enrolment", enrolment.id)
        return OperatorBody.model_validate(cbor2.loads(content), strict=False)

    # --- parts ---

    def _unvouched(
        self, session: Session, envelope: Envelope, body: OperatorBody | PinBody, roles: tuple[Role, ...]
    ) -> str:
        """Why nobody who may do so stands behind a body, or ''. A revocation is left to the second officer."""
        if body.signoff is None:
            return "No officer signed this off."
        officer = session.get(Operator, body.signoff.operator)
        if officer is None or not rights.holds(officer, roles, envelope.site):
            return f"{body.signoff.operator} may not do this at {envelope.site}."
        if not officer.public_key or not is_signed(body.digest(), body.signoff.signature, officer.public_key):
            return f"The sign-off of {officer.id} does not verify."
        return ""

    def _open(self, session: Session, enrolment_id: str, actor: str) -> OperatorEnrolment:
        enrolment = session.get(OperatorEnrolment, enrolment_id, with_for_update=True)
        if enrolment is None or enrolment.state != PENDING:
            raise RemoteError("There is no such open enrolment.", next_step="Reload the page.")
        register.operator_at(session, actor, enrolment.site, *APPROVING)
        if actor in (enrolment.enrolled_by, enrolment.operator, *enrolment.similar.split(",")):
            raise RemoteError(
                "Nobody decides on whom they enrolled, or on themselves.", next_step="Ask another officer to log in."
            )
        return enrolment

    def _check_grant(self, session: Session, actor: str, roles: Sequence[str], sites: Sequence[str]) -> None:
        officer = register.operator_with(session, actor, *APPROVING)
        allowed = _grantable(officer)
        if not roles or not sites or len(set(roles)) != len(roles) or not set(roles) <= allowed:
            raise RemoteError(
                "These roles or sites cannot be given by you.", next_step=f"Choose among {', '.join(sorted(allowed))}."
            )
        for site in sites:
            if session.get(Site, site) is None or not register.works_in_region(session, officer, site):
                raise RemoteError(f"{site} is no site of yours.", next_step="Leave it to that region's officers.")

    def _check_change(self, session: Session, actor: str, operator: Operator, next_step: str = "") -> None:
        """Whoever takes a known operator anew replaces all rights, so these must be the actor's to give as well."""
        if operator.revoked:
            raise RemoteError("This operator was revoked.", next_step="Two officers reinstate them first.")
        officer = register.operator_with(session, actor, *APPROVING)
        beyond = set(operator.roles.split(",")) - _grantable(officer)
        if beyond:
            raise RemoteError(
                f"{operator.id} is {' and '.join(sorted(beyond))}, which is not yours to replace.",
                next_step=next_step or "Refuse, and enrol under another name; or ask the centre.",
            )
        for site in filter(None, operator.sites.split(",")):
            if not register.works_in_region(session, officer, site):
                raise RemoteError(f"{operator.id} works at {site} too, no site of yours.", next_step="Ask the centre.")

    def _made(self, session: Session, name: str) -> Operator:
        operator = Operator(
            id=name,
            public_key=b"",
            lease_days=self._context.settings.policy.lease_days,
            console_secret="",
            revoked=False,
        )
        session.add(operator)
        return operator

    def _give_key(self, operator: Operator) -> None:
        """A key for sign-offs, which reaches units sealed, in the roster. One who has a key keeps it."""
        key = ec.generate_private_key(ec.SECP256R1())
        der = serialization.Encoding.DER
        private = key.private_bytes(der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        operator.public_key = key.public_key().public_bytes(der, serialization.PublicFormat.SubjectPublicKeyInfo)
        operator.private_key = self._context.vault.lock(private, "operator-key", operator.id)

    def _decided(self, enrolment: OperatorEnrolment, actor: str, state: str, reason: str) -> None:
        enrolment.state, enrolment.decided_by, enrolment.reason = state, actor, reason
        enrolment.decided_ms = self._context.clock.wall_ms()

    def _operator(self, session: Session, operator_id: str) -> Operator:
        operator = session.get(Operator, operator_id, with_for_update=True)
        if operator is None:
            raise RemoteError(f"Nobody is known as '{operator_id}'.", next_step="Choose from the list.")
        return operator

    def _tell(self, session: Session, sites: str) -> None:
        rosters.say_to_all(session, self._context, [site for site in sites.split(",") if site])

    def _note(
        self, session: Session, operator: str, event: str, actor: str, states: str, **what: str | int | bool
    ) -> None:
        leases.note(session, self._context, operator, event, actor, states, what)


def _grantable(officer: Operator) -> frozenset[Role]:
    """The roles that this officer may give."""
    return GRANTED_BY_THE_CENTRE if Role.DC_OFFICER in officer.roles.split(",") else GRANTED_BY_HEADS


def _check_reason(reason: str) -> None:
    if len(reason.strip()) < REASON_CHARACTERS_MIN:
        raise RemoteError("Taking a right, or refusing one, needs a reason.", next_step="Write why, in a sentence.")
