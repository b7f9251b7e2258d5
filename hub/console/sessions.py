"""Who is at the console: a pass phrase checked by scrypt, then a signed token that ends by itself.

The token names operator and end under an HMAC of the hub's own key, so that nothing has to be remembered between
requests. Browsers carry it in a cookie (HttpOnly, SameSite=Strict), programs in the Authorization header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from threading import Lock

from contract.clock import Clock
from contract.errors import RekamError
from contract.secret import secret_matches
from hub.fleet import Role
from hub.schema.tables import Operator

COOKIE = "rekam_console"
FAILURES_MAX = 5
LOCKED_MS = 60_000
# What a pass phrase is compared with where nobody has this name: the answer takes as long as for a name we know.
NOBODY = "scrypt$16384$8$1$" + base64.b64encode(bytes(16)).decode() + "$" + base64.b64encode(bytes(32)).decode()


class NotLoggedIn(RekamError):
    """Nobody is logged in, or the log-in ended."""

    default_next_step = "Log in again."


@dataclass(frozen=True, slots=True)
class Visitor:
    """A logged-in operator with the rights of this moment."""

    operator: str
    name: str
    roles: frozenset[str]

    def may(self, *roles: Role) -> bool:
        """Whether the visitor holds one of these roles."""
        return any(role in self.roles for role in roles)


class Sessions:
    """Checks pass phrases, makes and reads tokens. Slows guessing down per operator."""

    def __init__(self, blob_key: bytes, clock: Clock, session_ms: int) -> None:
        self._key = hmac.new(blob_key, b"rekam console token 1", hashlib.sha256).digest()
        self._clock = clock
        self._session_ms = session_ms
        self._attempts: dict[str, list[int]] = {}
        self._lock = Lock()

    def check(self, operator: Operator | None, secret: str, name: str) -> None:
        """Compare a pass phrase with the operator's. Raises NotLoggedIn, also after too many failures.

        An attempt counts before it is compared: requests that run side by side cannot try more than one by one.
        """
        self._count_attempt(name)
        stored = operator.console_secret if operator is not None and not operator.revoked else ""
        is_right = secret_matches(secret, stored or NOBODY)
        if not stored or not is_right:
            raise NotLoggedIn("Name or pass phrase is wrong.", next_step="Check both, then try again.")
        with self._lock:
            self._attempts.pop(name, None)

    def _count_attempt(self, name: str) -> None:
        """Note an attempt, and forget those of all names that no longer count. Raises NotLoggedIn above the limit."""
        now = self._clock.wall_ms()
        with self._lock:
            recent = {who: [at for at in times if now - at < LOCKED_MS] for who, times in self._attempts.items()}
            self._attempts = {who: times for who, times in recent.items() if times}
            mine = self._attempts.setdefault(name, [])
            if len(mine) >= FAILURES_MAX:
                raise NotLoggedIn("Too many failed log-ins.", next_step="Wait a minute, then try again.")
            mine.append(now)

    def token(self, operator: str) -> str:
        """A token for this operator, until the session's end."""
        claim = json.dumps({"operator": operator, "until_ms": self._clock.wall_ms() + self._session_ms}).encode()
        return base64.urlsafe_b64encode(claim).decode() + "." + self._sign(claim)

    def operator_of(self, token: str) -> str:
        """Who carries this token. Raises NotLoggedIn for one that we did not make, or that has ended."""
        encoded, _, signature = token.partition(".")
        try:
            claim = base64.urlsafe_b64decode(encoded.encode("ascii"))
        except (binascii.Error, ValueError):
            raise NotLoggedIn("The log-in is not valid.") from None
        if not hmac.compare_digest(signature.encode(), self._sign(claim).encode()):
            raise NotLoggedIn("The log-in is not valid.")
        fields = json.loads(claim)
        if fields["until_ms"] < self._clock.wall_ms():
            raise NotLoggedIn("The log-in has ended.")
        return str(fields["operator"])

    def _sign(self, claim: bytes) -> str:
        return hmac.new(self._key, claim, hashlib.sha256).hexdigest()
