"""A P-256 key in a hardware module: found there or made there, and asked to sign; it never leaves (PKCS#11 v2.40).

The only importer of the PKCS#11 library. A module's log-in and its faults are the whole process's, and one that hangs
never returns: so every call into a module runs on one thread of that module's own, and its caller waits for so long
and no longer. A module that fails is begun again once, because they close sessions and lose their part. A PIN that was
refused is not tried again, at a later start either, since modules lock themselves after a few.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.constants import DEFAULT
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from contract.errors import DeviceError
from contract.refused_pin import RefusedPin

CALL_TIMEOUT_S = 10.0
PIN_BYTES_MAX = 256
SIGNATURE_BYTES = 64
_PIN_WRONG = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.PinExpired)
# Trying these again changes nothing, or costs one of the few tries that a module allows.
_LASTING = (*_PIN_WRONG, pkcs11.PinLocked, pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key lies. library: the module's, as a path or a name that the loader knows."""

    library: str
    token: str
    label: str
    pin_file: Path


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """What library and token say of themselves."""

    library: str
    manufacturer: str
    model: str
    serial: str
    firmware: str


class ModuleKey:
    """One key pair. Every method blocks for timeout_s at most and raises DeviceError. advice: what to check then."""

    def __init__(self, place: KeyPlace, advice: str, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._place, self._advice, self._timeout_s = place, advice, timeout_s

    def open(self) -> ModuleInfo:
        """Log in at the token."""

        def said(_session: Any, token: Any) -> ModuleInfo:
            _pin(self._place.pin_file)  # has to be there although another key's session may serve this one
            library = pkcs11.lib(self._place.library)
            return ModuleInfo(
                library=library.library_description.strip(),
                manufacturer=token.manufacturer_id.strip(),
                model=" ".join(token.model.split()),
                serial=token.serial.decode("ascii", errors="replace").strip(),
                firmware=".".join(str(part) for part in token.firmware_version),
            )

        _module(self._place.library).users.add(id(self))
        try:
            return self._asked(said)
        except DeviceError:
            self.close()
            raise

    def close(self) -> None:
        """Let the module go; the last one ends its sessions. Never raises, and does not wait."""
        module = _module(self._place.library)
        if id(self) in module.users:
            module.users.discard(id(self))
            if not module.users:
                module.post(module.end)

    def has_key(self) -> bool:
        """Whether both halves are there."""
        return self._asked(lambda session, _token: len(self._halves(session)) == 2)

    def make(self, *, over_a_half: bool = False) -> bool:
        """Make the pair where there is none; whether it was made.

        over_a_half: throw away a half that a power cut left, which is right for a key that nothing relies on yet.
        """

        def made(session: Any, _token: Any) -> bool:
            halves = self._halves(session)
            if len(halves) == 2 or (halves and not over_a_half):
                return False
            for half in halves.values():
                half.destroy()
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
                local=True,
            )
            # A TPM's library refuses templates that deny what it has set by itself; silence is taken by all.
            parameters.generate_keypair(
                store=True,
                label=self._place.label,
                capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
                public_template={pkcs11.Attribute.ENCRYPT: DEFAULT},
                private_template={pkcs11.Attribute.DECRYPT: DEFAULT},
            )
            return True

        return self._asked(made)

    def stays(self) -> bool:
        """Whether the module says that the key was made in it and cannot be taken out."""

        def looked(session: Any, _token: Any) -> bool:
            private = self._private(session)
            return bool(private[pkcs11.Attribute.LOCAL]) and not private[pkcs11.Attribute.EXTRACTABLE]

        return self._asked(looked)

    def public(self) -> ec.EllipticCurvePublicKey:
        """The public half."""

        def read(session: Any, _token: Any) -> bytes:
            stored = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=self._place.label)
            encoded: bytes = encode_ec_public_key(stored)
            return encoded

        try:
            public = serialization.load_der_public_key(self._asked(read))
        except ValueError:
            public = None
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            raise DeviceError("The module's key is not P-256.", next_step=self._advice)
        return public

    def sign(self, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest: R and S, 32 bytes each."""
        raw = self._asked(
            lambda session, _token: bytes(self._private(session).sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
        )
        if len(raw) != SIGNATURE_BYTES:
            raise DeviceError(f"The module sent a signature of {len(raw)} bytes.", next_step=self._advice)
        return raw

    def _private(self, session: Any) -> Any:
        return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self._place.label)

    def _halves(self, session: Any) -> dict[pkcs11.ObjectClass, Any]:
        found = {}
        for kind in (pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.ObjectClass.PUBLIC_KEY):
            for half in session.get_objects({pkcs11.Attribute.CLASS: kind, pkcs11.Attribute.LABEL: self._place.label}):
                found[kind] = half
        return found

    def _asked(self, job: Callable[[Any, Any], T]) -> T:
        """A job's answer, from the module's thread; after a fault the module is begun again, once."""
        module = _module(self._place.library)

        def run() -> T:
            try:
                return job(*module.session(self._place))
            except _LASTING:
                raise
            except pkcs11.PKCS11Error:
                module.begin_again()
                return job(*module.session(self._place))

        future = module.post(run)
        try:
            return future.result(self._timeout_s)
        except TimeoutError:
            future.cancel()
            raise DeviceError(
                f"The hardware module did not answer within {self._timeout_s:g} s.", next_step=self._advice
            ) from None
        except (OSError, UnicodeDecodeError):
            raise DeviceError(
                f"The PIN of token '{self._place.token}' cannot be read from {self._place.pin_file}.",
                next_step=self._advice,
            ) from None
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> DeviceError:
        token, label = self._place.token, self._place.label
        if isinstance(error, _PIN_WRONG):
            return DeviceError(
                f"Token '{token}' refuses its PIN.",
                next_step=f"Write the right PIN into {self._place.pin_file}, or the same again if the token was put "
                "right: it is tried once, since a few wrong ones lock the module.",
            )
        if isinstance(error, pkcs11.PinLocked):
            return DeviceError(
                f"Token '{token}' has locked itself, after wrong PINs or many power cuts.",
                next_step="Wait until it opens by itself, or unlock it (TPM: tpm2_dictionarylockout --clear-lockout).",
            )
        if type(error) is pkcs11.PKCS11Error and "loading" in str(error):  # the loader's, under no name of its own
            return DeviceError(
                f"The library {self._place.library} cannot be loaded.",
                next_step=f"Install the package that brings it. {self._advice}",
            )
        known: dict[type[Exception], str] = {
            pkcs11.NoSuchToken: f"The hardware module has no token '{token}'.",
            pkcs11.NoSuchKey: f"Token '{token}' holds no key '{label}'.",
            pkcs11.MultipleObjectsReturned: f"Token '{token}' holds several keys '{label}'.",
        }
        what = known.get(type(error), f"The hardware module cannot be used ({type(error).__name__}).")
        return DeviceError(what, next_step=self._advice)


class _Module:
    """One module of this process. What touches the library runs on its thread: `post`."""

    def __init__(self, library: str) -> None:
        self._library = library
        self.users: set[int] = set()
        self._sessions: dict[str, tuple[Any, Any]] = {}
        self._refused: dict[Path, RefusedPin] = {}
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        # A daemon: a module that never returns must not keep the process from ending.
        threading.Thread(target=self._serve, name="pkcs11", daemon=True).start()

    def post(self, job: Callable[[], T]) -> Future[T]:
        """Have a job done after those before it."""
        future: Future[T] = Future()
        self._jobs.put((future, job))
        return future

    def session(self, place: KeyPlace) -> tuple[Any, Any]:
        """The token's session, which all its keys share, and the token."""
        if place.token not in self._sessions:
            self._sessions[place.token] = self._opened(place)
        return self._sessions[place.token]

    def begin_again(self) -> None:
        """Forget all sessions and load the module's state anew."""
        self.end()
        pkcs11.lib(self._library)

    def end(self) -> None:
        """Let the part go; whoever needs it next begins it again."""
        self._sessions.clear()
        try:
            pkcs11.lib(self._library).finalize()
        except pkcs11.PKCS11Error:  # it is broken already: that is why
            pass

    def _opened(self, place: KeyPlace) -> tuple[Any, Any]:
        pin = _pin(place.pin_file)
        refused = self._refused.setdefault(place.pin_file, RefusedPin(place.pin_file))
        if refused.holds(place.token, pin):
            raise pkcs11.PinIncorrect
        token = pkcs11.lib(self._library).get_token(token_label=place.token)
        try:
            session = token.open(user_pin=pin, rw=True)
        except pkcs11.UserAlreadyLoggedIn:  # by other code of this process: the log-in is the process's (2.6)
            return token.open(rw=True), token
        except pkcs11.PinIncorrect:
            refused.remember(place.token, pin)
            raise
        refused.forget()
        return session, token

    def _serve(self) -> None:
        while True:
            future, job = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:  # noqa: BLE001 - it goes to the caller, and the thread lives on
                future.set_exception(error)


def _pin(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(PIN_BYTES_MAX).decode("utf-8").strip()


_modules: dict[str, _Module] = {}
_modules_lock = threading.Lock()


def _module(library: str) -> _Module:
    with _modules_lock:
        if library not in _modules:
            _modules[library] = _Module(library)
        return _modules[library]
