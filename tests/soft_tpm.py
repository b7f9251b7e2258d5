"""A TPM 2.0 in software (swtpm) with a PKCS#11 token in it, as a unit's technician would have made it.

Run as a program it makes the token, in a process of its own, because the library belongs to whoever loaded it first.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

LIBRARY, TOKEN, PIN, OFFICER_PIN = "libtpm2_pkcs11.so.1", "rekam", "471147", "081508"
SHUTDOWN = bytes.fromhex("80010000000c000001450000")  # TPM2_Shutdown(CLEAR): what a kernel sends before power goes
START_S = 5.0


def why_not() -> str:
    """Why this machine has no TPM in software; empty where it has one."""
    if shutil.which("swtpm") is None:
        return "swtpm is not installed (provisioning/system_packages.sh development)"
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return "libtpm2-pkcs11-1 is not installed (provisioning/system_packages.sh)"
    return ""


class SoftTpm:
    """One TPM. folder: holds its state, its token's store and the file with the PIN."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store, self.pin_file = folder / "store", folder / "pin"
        self._state = folder / "state"
        for path in (self._state, self.store):
            path.mkdir(parents=True, exist_ok=True)
        self.write_pin(PIN)
        self._port = _free_pair()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def tcti(self) -> str:
        """How it is reached."""
        return f"swtpm:port={self._port}"

    def settings(self, **changes: object) -> dict[str, object]:
        """The identity table of a unit whose TPM this is."""
        given = {"driver": "tpm", "pin_file": str(self.pin_file), "store": str(self.store), "tcti": self.tcti}
        return {**given, **changes}

    def write_pin(self, pin: str) -> None:
        """Give the unit this PIN."""
        self.pin_file.write_text(pin + "\n", encoding="utf-8")
        self.pin_file.chmod(0o600)

    def copy(self, folder: Path) -> SoftTpm:
        """The same TPM once more; it must not run."""
        shutil.copytree(self.folder, folder)
        return SoftTpm(folder)

    def start(self) -> None:
        """Give it power."""
        where = f"type=tcp,bindaddr=127.0.0.1,port={self._port}", f"type=tcp,bindaddr=127.0.0.1,port={self._port + 1}"
        self._process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._state}", "--server", where[0], "--ctrl", where[1],
             "--flags", "not-need-init,startup-clear"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline_s = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port + 1), 1.0):
                return
            assert time.monotonic() < deadline_s and self._process.poll() is None, "swtpm did not start"
            time.sleep(0.01)

    def cut(self) -> None:
        """Take its power, as a power cut does: a TPM counts that as one wrong PIN."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Shut it down in order; nobody may use it."""
        with socket.create_connection(("127.0.0.1", self._port), START_S) as line:
            line.sendall(SHUTDOWN)
            assert line.recv(64)
        self.cut()

    def hang(self, hanging: bool) -> None:
        """It takes commands and answers none, or answers them now."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if hanging else signal.SIGCONT)

    def make_token(self) -> None:
        """Make its token, which holds no key."""
        subprocess.run(
            [sys.executable, __file__], check=True, timeout=60, stderr=subprocess.DEVNULL,
            env={**os.environ, "TPM2_PKCS11_STORE": str(self.store), "TPM2_PKCS11_TCTI": self.tcti},
        )  # fmt: skip

    def wipe(self) -> None:
        """Make its token anew: what it held is gone."""
        shutil.rmtree(self.store)
        self.store.mkdir()
        self.make_token()


def _free_pair() -> int:
    """A port that is free, as is the next: the library finds the control port there."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
    raise AssertionError("no two free ports beside each other")


def _make_token() -> None:
    """C_InitToken and C_InitPIN on the library's one slot (PKCS#11 v2.40, 5.5 and 5.6)."""
    number, library = ctypes.c_ulong, ctypes.CDLL(LIBRARY)

    def call(name: str, *arguments: object) -> None:
        found = getattr(library, name)(*arguments)
        if found:
            raise SystemExit(f"{name}: {found:#x}")

    call("C_Initialize", None)
    count, slots, session = number(8), (number * 8)(), number()
    call("C_GetSlotList", ctypes.c_ubyte(0), slots, ctypes.byref(count))
    officer, user = OFFICER_PIN.encode(), PIN.encode()
    slot = number(slots[0])
    call("C_InitToken", slot, officer, number(len(officer)), TOKEN.encode().ljust(32))
    call("C_OpenSession", slot, number(6), None, None, ctypes.byref(session))
    call("C_Login", session, number(0), officer, number(len(officer)))
    call("C_InitPIN", session, user, number(len(user)))
    call("C_Finalize", None)


if __name__ == "__main__":
    _make_token()
