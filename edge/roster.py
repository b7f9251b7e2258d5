"""Who may work at this unit, and until when (M67): the hub's roster at rest, its deltas, and the leases in it.

The roster is one value in the store: a delta is applied in memory, proven by its digest, and then takes the place of
the roster before in a single write. A power cut leaves the one or the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.operators import Lease, OperatorEntry, Roster, RosterDelta, RosterHeld, SignOnPolicy
from contract.seal import StatementPublicKey
from edge.eligibility import Refusal
from edge.sealed_store import SealedStore
from edge.trusted_time import TrustedTime

KIND = "roster"
ROSTER_BYTES_MAX = 4 * 1024 * 1024
FINISH_MS = 3_600_000  # for the person who is being served when a lease ends
NOBODY = Roster(version=0, operators=())

log = structlog.get_logger("edge.roster")


@dataclass(frozen=True, slots=True)
class Officer:
    """An operator of the roster with the rights that the lease gives."""

    entry: OperatorEntry
    lease: Lease

    @property
    def operator(self) -> str:
        """The operator's id."""
        return self.entry.operator

    @property
    def name(self) -> str:
        """The operator's name, for screens."""
        return self.entry.name

    @property
    def roles(self) -> tuple[str, ...]:
        """What the lease lets this operator be."""
        return self.lease.roles

    @property
    def templates(self) -> Mapping[int, bytes]:
        """Enrolled fingers: {position: ISO/IEC 19794-2 record}."""
        return self.entry.templates


class RosterBook:
    """The roster in memory, on disk first. Taking one blocks: call it off the event loop."""

    def __init__(self, store: SealedStore, site: str, hub_statement: StatementPublicKey, time: TrustedTime) -> None:
        self._store = store
        self._site = site
        self._hub_statement = hub_statement
        self.time = time
        self._roster, self._officers = self._load()

    @property
    def held(self) -> RosterHeld:
        """Which roster is here, as it is told to the hub."""
        return RosterHeld(version=self._roster.version, digest=self._roster.digest())

    @property
    def sign_on(self) -> SignOnPolicy:
        """What this site asks of everybody who signs on."""
        return self._roster.sign_on

    def take(self, roster: Roster) -> bool:
        """Keep the whole roster; False where it is no newer than what is there. Raises RemoteError for a false lease.

        A version that is here already is taken again only where it is another roster: the one here is then damaged.
        """
        here = self._roster
        if roster.version < here.version or (roster.version == here.version and roster.digest() == here.digest()):
            return False
        self._keep(roster)
        return True

    def take_delta(self, delta: RosterDelta) -> bool:
        """Apply a delta; False where the roster is that new. Raises RosterGap where the whole has to be asked for."""
        result = delta.applied_to(self._roster)
        if result is self._roster:
            return False
        self._keep(result)
        return True

    def officer(self, name: str) -> Officer | None:
        """An operator of the roster, whatever their lease."""
        return self._officers.get(name)

    def officers(self) -> list[Officer]:
        """All of the roster, by name, whatever their leases."""
        return list(self._officers.values())

    def standing(self) -> list[Officer]:
        """The operators whose lease runs now."""
        if self.time.is_doubted:
            return []
        now_ms = self.time.now_ms()
        return [officer for officer in self._officers.values() if officer.lease.until_ms > now_ms]

    def may_work(self, name: str, *roles: str) -> Officer | Refusal:
        """The operator, where they may work in one of `roles` now (in any, where none is named), or why not."""
        officer = self._officers.get(name)
        if officer is None or (roles and not set(roles) & set(officer.roles)):
            return Refusal.OPERATOR_UNKNOWN
        if self.time.is_doubted:
            return Refusal.DISK_PUT_BACK
        return officer if officer.lease.until_ms > self.time.now_ms() else Refusal.LEASE_ENDED

    def may_finish(self, name: str, *roles: str) -> Officer | Refusal:
        """The operator, where they may finish what they began, or why not.

        A lease that ends meanwhile sends nobody home: the person who is being served is served. A revocation counts at
        once, because nobody can tell what a revoked operator would still vouch for.
        """
        officer = self._officers.get(name)
        if officer is None or (roles and not set(roles) & set(officer.roles)):
            return Refusal.OPERATOR_REVOKED
        if self.time.is_doubted:
            return Refusal.DISK_PUT_BACK
        return officer if officer.lease.until_ms + FINISH_MS > self.time.now_ms() else Refusal.LEASE_ENDED

    def _keep(self, roster: Roster) -> None:
        officers = self._officers_of(roster)
        self._store.put(KIND, "", encode(roster))
        self._roster, self._officers = roster, officers
        self._believe_leases()

    def _load(self) -> tuple[Roster, dict[str, Officer]]:
        kept = self._store.get(KIND, "")
        if kept is None:
            return NOBODY, {}
        try:
            roster = decode(Roster, kept, ROSTER_BYTES_MAX)
            return roster, self._officers_of(roster)
        except RemoteError as error:  # of an earlier version of this software, or from before the hub's key changed
            log.warning("roster cannot be used; the hub is asked for it", **error.diagnostics())
            return NOBODY, {}

    def _officers_of(self, roster: Roster) -> dict[str, Officer]:
        return {
            entry.operator: Officer(entry, entry.rights(self._hub_statement, self._site)) for entry in roster.operators
        }

    def _believe_leases(self) -> None:
        """The newest lease was signed at its beginning, so it is not earlier now."""
        self.time.is_at_least(max((officer.lease.from_ms for officer in self._officers.values()), default=0))
