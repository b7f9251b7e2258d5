"""Takes the orders of technicians: signed by their own key, within their rights, carried out once, answered always.

The reply is written in the transaction that carried the order out, so that a repetition, after whatever was cut, gets
the same reply and changes nothing. Orders that only read are answered anew each time.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from contract import topics
from contract.certificates import der, load_public
from contract.commissioning import CLAIM_PREFIX, MESSAGE_BYTES_MAX, Renewal, SignedBirth
from contract.commissioning_problems import Problem, Refusal
from contract.dispatch import decode, encode
from contract.errors import RekamError, RemoteError
from contract.lifecycle import UnitEvent, UnitState
from contract.packet import Model
from contract.rollouts import ReleasesOrder, RolloutOrder, RolloutsOrder, UpdateOrder, UpdateResult
from contract.seal import load_statement_public_key
from contract.technician import (
    COMMANDS,
    ORDER_AGE_MS_MAX,
    ORDER_AHEAD_MS_MAX,
    ApproveOrder,
    AssignOrder,
    ClaimsOrder,
    ClaimsResult,
    ConfigureOrder,
    DismissOrder,
    KnocksOrder,
    Order,
    RefusedOrder,
    ReplaceOrder,
    Reply,
    SettingsOrder,
    StatusOrder,
    UnitOrder,
    Verb,
    WhereaboutsOrder,
    sign_reply,
    verify_order,
)
from contract.unit_command import LIFE_MS, CommandOrder
from hub import approvals, certificates, technician_certificates, update_views
from hub import technician_rights as rights
from hub.command_relay import CommandRelay
from hub.commissioning import DeskParts, Said
from hub.context import HUB_KEY_ID
from hub.refused_orders import RefusedOrders, refused
from hub.rights import EVERYWHERE
from hub.schema.commissioning_tables import ClaimRow, Commissioning, Technician, TechnicianOrder
from hub.schema.tables import Operator, Site, Unit
from hub.technician_views import account_for, find_knock, knocks, settings, status, whereabouts
from hub.update_desk import UpdateDesk

REASON_CHARACTERS_MIN = 5
READING = frozenset(
    {Verb.KNOCKS, Verb.STATUS, Verb.SETTINGS, Verb.WHEREABOUTS, Verb.RELEASES, Verb.ROLLOUTS, Verb.REFUSED}
)
UPDATES = frozenset({Verb.RELEASES, Verb.UPDATE, Verb.ROLLOUT, Verb.ROLLOUTS})
NOTHING = b"\xa0"  # an empty CBOR map
log = structlog.get_logger("technicians")


class TechnicianDesk:
    """Answers orders."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts
        self._context, self._authority, self._setups = parts.context, parts.authority, parts.setups
        self._updates = UpdateDesk(parts.context, parts.repository)
        self._refusals = RefusedOrders(parts.context)
        self.relay = CommandRelay(parts.context)

    def on_order(self, technician: str, order_id: str, payload: bytes) -> list[Said]:
        """Carry an order out, or answer it again. Raises RemoteError for one that nobody known has signed."""
        key, order = self._verified(technician, payload)
        if order.id != order_id:
            raise RemoteError("The order is another one than its topic says.")
        topic = topics.TECHNICIAN_REPLY.at(technician=technician, order=order_id)
        if order.verb in COMMANDS:
            return self._passed_on(key, order, payload, topic)
        return [Said(topic, self._answered(order, payload))]

    def answer_late(self, technician: str, payload: bytes) -> bytes:
        """The reply at the renewal door, where a technician whose certificate has ended orders the next one."""
        _, order = self._verified(technician, payload)
        if order.verb is not Verb.CERTIFICATE:
            raise RemoteError("At this door only the next certificate can be asked for.")
        return self._answered(order, payload)

    def _verified(self, technician: str, payload: bytes) -> tuple[Technician, Order]:
        """Whose order this is, and what it says. Raises RemoteError."""
        with self._context.database.reading() as session:
            key = session.get(Technician, technician)
        if key is None:
            raise RemoteError(f"'{technician}' is no technician.", next_step="Enrol them at the hub.")
        return key, verify_order(payload, load_statement_public_key(key.public_key, technician))

    def _answered(self, order: Order, payload: bytes) -> bytes:
        known = self._known_reply(order, payload)
        return self._carried_out(order, payload) if known is None else known

    def _passed_on(self, technician: Technician, order: Order, payload: bytes, topic: str) -> list[Said]:
        """A command for a unit, passed on now; the reply says that it was, or why not."""
        try:
            with self._context.database.transaction() as session:
                if not -ORDER_AHEAD_MS_MAX <= self._now() - order.at_ms <= ORDER_AHEAD_MS_MAX + LIFE_MS:
                    raise Refusal(Problem.ORDER_STALE)
                who, body = rights.technician(session, order.technician), decode(CommandOrder, order.body)
                unit = rights.unit_of(session, who, body.unit)
                command, passed = self.relay.pass_on(session, unit, technician, order, body, payload)
        except RekamError as error:
            return [Said(topic, self._refused(order, error))]
        reply = Reply(id=order.id, done=True, hub_ms=self._now(), body=encode(passed))
        return [command, Said(topic, self._signed(reply))]

    def _known_reply(self, order: Order, payload: bytes) -> bytes | None:
        with self._context.database.reading() as session:
            row = session.get(TechnicianOrder, order.id)
        if row is None:
            return None
        if row.signed != payload or row.technician != order.technician:
            raise RemoteError("Another order carries this id already.", next_step="Give the order again.")
        return row.reply

    def _carried_out(self, order: Order, payload: bytes) -> bytes:
        try:
            with self._context.database.transaction() as session:
                result = self._perform(session, order)
                reply = self._signed(Reply(id=order.id, done=True, hub_ms=self._now(), body=result))
                if order.verb not in READING:
                    self._remember(session, order, payload, reply)
        except RekamError as error:
            return self._refused(order, error)
        if order.verb not in READING:
            log.info("order carried out", technician=order.technician, verb=order.verb, order=order.id)
            self._parts.changed()
        return reply

    def _refused(self, order: Order, error: RekamError) -> bytes:
        log.warning("order refused", technician=order.technician, verb=order.verb, **error.diagnostics())
        if order.verb not in READING:
            self._refusals.note(order, error)
        answer = Reply(
            id=order.id,
            done=False,
            problem=error.problem if isinstance(error, Refusal) else None,
            message=error.message[:600],
            next_step=error.next_step[:600],
            hub_ms=self._now(),
        )
        return self._signed(answer)

    def _signed(self, reply: Reply) -> bytes:
        return sign_reply(reply, self._context.keys.statement)

    def _remember(self, session: Session, order: Order, payload: bytes, reply: bytes) -> None:
        session.add(
            TechnicianOrder(
                id=order.id,
                technician=order.technician,
                verb=order.verb,
                signed=payload,
                reply=reply,
                at_ms=self._now(),
            )
        )

    def _perform(self, session: Session, order: Order) -> bytes:
        """Carry out an order whose signature is good; the result as CBOR. Raises RemoteError."""
        if not -ORDER_AHEAD_MS_MAX <= self._now() - order.at_ms <= ORDER_AGE_MS_MAX:
            raise Refusal(Problem.ORDER_STALE)
        who = rights.technician(session, order.technician)
        if order.verb is Verb.CLAIMS:
            return encode(self._claims(session, who, decode(ClaimsOrder, order.body)))
        if order.verb is Verb.KNOCKS:
            return encode(knocks(session, decode(KnocksOrder, order.body).page))
        if order.verb is Verb.STATUS:
            asked = decode(StatusOrder, order.body)
            return encode(status(session, self._context, asked.unit, asked.page, self._alarm(session)))
        if order.verb is Verb.REFUSED:
            own = "" if rights.works_at(who, EVERYWHERE) else who.id
            return encode(refused(session, own, decode(RefusedOrder, order.body).page))
        if order.verb is Verb.WHEREABOUTS:
            return encode(whereabouts(session, decode(WhereaboutsOrder, order.body)))
        if order.verb in UPDATES:
            return encode(self._update(session, who, order))
        if order.verb is Verb.SETTINGS:
            return encode(settings(session, rights.unit_of(session, who, decode(SettingsOrder, order.body).unit)))
        if order.verb is Verb.CERTIFICATE:
            renewal = decode(Renewal, order.body, MESSAGE_BYTES_MAX)
            return encode(technician_certificates.renew(session, self._parts, who, renewal))
        if order.verb is Verb.APPROVE:
            self._approve(session, who, decode(ApproveOrder, order.body), order)
        elif order.verb is Verb.ASSIGN:
            self._assign(session, who, decode(AssignOrder, order.body))
        elif order.verb is Verb.CERTIFICATE_USED:
            technician_certificates.take_into_use(session, self._parts, who, decode(SignedBirth, order.body))
        elif order.verb is Verb.DISMISS:
            technician_certificates.dismiss(session, self._parts, who, decode(DismissOrder, order.body))
        elif order.verb is Verb.CONFIGURE:
            self._configure(session, who, decode(ConfigureOrder, order.body))
        elif order.verb is Verb.REPLACE:
            return encode(self._replace(session, who, decode(ReplaceOrder, order.body)))
        else:
            return self._move(session, who, order.verb, decode(UnitOrder, order.body))
        return NOTHING

    def _alarm(self, session: Session) -> str:
        """What threatens everybody: first the authority's, then the updates'."""
        updates = self._parts.repository.alarm(session) or self._updates.alarm(session)
        return self._authority.alarm(session) or updates

    def _update(self, session: Session, who: Operator, order: Order) -> Model:
        if order.verb is Verb.RELEASES:
            decode(ReleasesOrder, order.body)
            repository = self._parts.repository
            return update_views.releases(session, repository, repository.alarm(session))
        if order.verb is Verb.ROLLOUTS:
            return update_views.rollouts(session, decode(RolloutsOrder, order.body))
        if order.verb is Verb.ROLLOUT:
            row = self._updates.steer(session, who, decode(RolloutOrder, order.body))
            return update_views.rollout_row(session, row)
        row, left_out, ahead = self._updates.begin(session, who, decode(UpdateOrder, order.body))
        return UpdateResult(rollout=update_views.rollout_row(session, row), left_out=left_out, ahead=ahead)

    def _claims(self, session: Session, who: Operator, order: ClaimsOrder) -> ClaimsResult:
        section, broker = self._context.settings.authority, self._context.settings.broker
        if section is None:
            raise RemoteError("This hub is no authority.", next_step="Add [authority] to hub.toml.")
        now = self._now()
        life = timedelta(hours=order.life_h)
        issued = []
        for claim in order.claims:
            if not claim.nonce.startswith(CLAIM_PREFIX) or session.get(ClaimRow, claim.nonce) is not None:
                raise RemoteError("A claim's nonce is in use, or is none.", next_step="Run 'box' again.")
            until = now + int(life / timedelta(milliseconds=1))
            session.add(ClaimRow(nonce=claim.nonce, serial=claim.serial, made_by=who.id, made_ms=now, expires_ms=until))
            issued.append(der(self._authority.issue_claim(claim.nonce, load_public(claim.key), life)))
        session.flush()
        return ClaimsResult(
            certificates=tuple(issued),
            hub_statement=self._parts.public.statement,
            hub_dispatch=self._parts.public.dispatch,
            host=broker.host,
            claim_port=section.claim_port,
            service_port=broker.port,
            renewal_port=section.renewal_port,
            made_ms=now,
            expires_ms=now + int(life / timedelta(milliseconds=1)),
            update_root=self._parts.repository.update_root(session),
        )

    def _approve(self, session: Session, who: Operator, order: ApproveOrder, signed: Order) -> None:
        """Bind a knocking box to a name at a site; the signed order is the evidence."""
        site = rights.site_of(session, who, order.site)
        row = find_knock(session, order.nonce)
        if row.serial != order.serial or row.key_digest != order.key_digest:
            raise Refusal(Problem.KEYS_CHANGED, "It is not the box that was seen.")
        claim = session.get_one(ClaimRow, order.nonce)
        if claim.burned_ms is not None:
            raise Refusal(Problem.CLAIM_USED, f"It became {claim.unit}.")
        if self._now() > claim.expires_ms:
            raise Refusal(Problem.CLAIM_EXPIRED)
        if row.problem and row.problem not in (Problem.SERIAL_TAKEN, Problem.SERIAL_SHARED):
            raise Refusal(Problem(row.problem), row.detail)
        taken = self._setups.holder_of_serial(session, row.serial)
        if taken is not None and taken not in (order.unit, order.replaces):
            raise Refusal(Problem.SERIAL_TAKEN, approvals.who_has_it(session, taken, row))
        if order.replaces:
            _check_other(order.unit, order.replaces)
            rights.unit_of(session, who, order.replaces)
        unit = self._named(session, who, order, row, site)
        self._promise(session, row, unit)
        row.unit, row.site, row.role = unit.id, site.code, order.role
        row.replaces = order.replaces
        row.approval, row.problem, row.detail = encode(signed), "", ""
        self._setups.desire(session, unit, order.tables, row.serial)

    def _named(self, session: Session, who: Operator, order: ApproveOrder, row: Commissioning, site: Site) -> Unit:
        """The unit of this name: a new one, or the same box that comes again. Raises Refusal where it is another's."""
        sign_pem, open_pem = approvals.packet_keys(row)
        unit = session.get(Unit, order.unit, with_for_update=True)
        clash = order.unit == HUB_KEY_ID or order.unit.startswith(CLAIM_PREFIX)
        clash = clash or session.get(Operator, order.unit) is not None
        if unit is None and not clash:
            unit = Unit(
                id=order.unit,
                site=site.code,
                role=order.role,
                state=UnitState.FACTORY,
                sign_public_pem=sign_pem,
                open_public_pem=open_pem,
            )
            session.add(unit)
            session.flush()
            note = {"claim": row.nonce, "serial": row.serial, "site": site.code}
            self._setups.move(session, unit, UnitEvent.CLAIMED, who.id, note)
            return unit
        active = certificates.active_of(session, order.unit)
        if unit is None or unit.state == UnitState.RETIRED or (active is not None and active.until_ms > self._now()):
            raise Refusal(Problem.UNIT_TAKEN, f"'{order.unit}' is somebody already.")
        rights.unit_of(session, who, unit.id)
        if unit.state == UnitState.CLAIMED:
            unit.sign_public_pem, unit.open_public_pem = sign_pem, open_pem
        elif not approvals.is_same_box(session, row, unit.id):
            raise Refusal(Problem.UNIT_TAKEN, "This box has other packet keys than the unit had.")
        if unit.state == UnitState.IN_SERVICE and (unit.site, unit.role) != (site.code, order.role):
            raise Refusal(Problem.UNIT_TAKEN, f"It is in service as {unit.role} at {unit.site}; suspend it first.")
        unit.site, unit.role = site.code, order.role
        return unit

    def _promise(self, session: Session, row: Commissioning, unit: Unit) -> None:
        """One name to one box, and one box to one name: what was promised before, and granted, does not count."""
        before = row.unit if row.unit not in (None, unit.id) else None
        if approvals.withdraw(session, unit.id, but=row.nonce):
            certificates.drop_pending(session, unit.id, self._now())
        if before is not None:
            certificates.drop_pending(session, before, self._now())

    def _configure(self, session: Session, who: Operator, order: ConfigureOrder) -> None:
        unit = rights.unit_of(session, who, order.unit)
        version = settings(session, unit).version
        if order.after is not None and order.after != version:
            raise Refusal(Problem.CONFIGURATION_OLD, f"Somebody has sent version {version} meanwhile.")
        self._setups.desire(session, unit, order.tables)

    def _assign(self, session: Session, who: Operator, order: AssignOrder) -> None:
        unit = rights.unit_of(session, who, order.unit)
        site = rights.site_of(session, who, order.site)
        if unit.state == UnitState.IN_SERVICE:
            raise RemoteError(
                f"{unit.id} is in service at {unit.site}.", next_step="Suspend it first, then assign it and resume it."
            )
        if unit.state == UnitState.RETIRED:
            raise Refusal(Problem.CERTIFICATE_REVOKED, "The unit is retired.")
        told = settings(session, unit)
        if told.refused:
            raise RemoteError(
                f"{unit.id} has not taken version {told.version} of its settings, which would go with it.",
                next_step="Send it settings that it takes ('rekam-provision configure'), then assign it.",
            )
        unit.site = site.code
        session.flush()
        self._setups.desire_again(session, unit)

    def _move(self, session: Session, who: Operator, verb: Verb, order: UnitOrder) -> bytes:
        unit = rights.unit_of(session, who, order.unit)
        if len(order.reason.strip()) < REASON_CHARACTERS_MIN:
            raise RemoteError(
                "Taking or giving back rights needs a reason of a few words.", next_step="Add --reason with a sentence."
            )
        note = {"reason": order.reason.strip()}
        if verb is Verb.REVOKE:
            if unit.state == UnitState.IN_SERVICE:
                self._setups.move(session, unit, UnitEvent.SUSPENDED, who.id, note)
            self._setups.bar(session, unit.id, order.reason.strip())
            return encode(account_for(session, self._context, unit))
        event = {
            Verb.SUSPEND: UnitEvent.SUSPENDED,
            Verb.RESUME: UnitEvent.RESUMED,
            Verb.RETIRE: UnitEvent.RETIRED,
        }[verb]
        self._setups.move(session, unit, event, who.id, note)
        return encode(account_for(session, self._context, unit))

    def _replace(self, session: Session, who: Operator, order: ReplaceOrder) -> Model:
        """The dead unit goes at once; what it still held is accounted for in the reply."""
        unit = rights.unit_of(session, who, order.unit)
        if order.successor:
            _check_other(order.unit, order.successor)
            rights.unit_of(session, who, order.successor)
        if len(order.reason.strip()) < REASON_CHARACTERS_MIN:
            raise RemoteError(
                "Replacing a unit needs a reason of a few words.", next_step="Add --reason with a sentence."
            )
        note = {"reason": order.reason.strip(), "successor": order.successor}
        if unit.state != UnitState.RETIRED:
            self._setups.move(session, unit, UnitEvent.RETIRED, who.id, note)
        return account_for(session, self._context, unit)

    def _now(self) -> int:
        return self._context.clock.wall_ms()


def _check_other(unit: str, other: str) -> None:
    if unit == other:
        raise RemoteError(
            f"{unit} cannot take its own place.",
            next_step="Name another unit. A box that comes again is revoked, and approved without --replaces.",
        )
