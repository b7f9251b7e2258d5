"""A PC/SC reader without hardware: pcscd with vsmartcard's virtual reader, and a virtual card's slot behind it.

pcscd's virtual reader listens on every address, so each unit's pcscd lives in a network namespace that has only its
own loopback; its socket comes out by a bind mount, and PC/SC clients find it by PCSCLITE_CSOCK_NAME. That takes root.
Who is not root uses the slot directly (virtual.card_direct), and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from contract.errors import DeviceError
from virtual.card_slot import SlotControl

VPCD_PORT = 0x8C7B
DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
SOCKET_PATH_BYTES_MAX = 107
# pcscd names the two places of one virtual reader 00 00 and 00 01; the slot is the first.
_PLACE = " 00 00"


def missing_for_rig() -> str:
    """Why the rig cannot run on this machine, or empty where it can."""
    if os.geteuid() != 0:
        return "virtual PC/SC readers need root, for network namespaces"
    for program in ("pcscd", "ip", "unshare", "mount"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not DRIVER.exists():
        return "vsmartcard-vpcd is not installed"
    probe = subprocess.run(("unshare", "--net", "--mount", "true"), capture_output=True, check=False)
    return "" if probe.returncode == 0 else "this root may not make network and mount namespaces"


class CardReaderRig:
    """One unit's card reader: a namespace, a pcscd and a slot. A context manager.

    name: of the namespace, unique on the machine; folder: for sockets, logs and configuration; cards: the box.
    """

    def __init__(self, name: str, folder: Path, cards: Path) -> None:
        self.namespace = f"rekam-{name}"
        self._folder = folder
        self.cards = cards
        self._run = folder / "run"
        self._friendly_name = f"Rekam Virtual {name}"
        self._stack = ExitStack()
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """The socket of this pcscd: `socket` of a unit's [devices.card]."""
        return self._run / "pcscd.comm"

    @property
    def reader(self) -> str:
        """The reader's name as PC/SC gives it: `reader` of a unit's [devices.card]."""
        return self._friendly_name + _PLACE

    @property
    def control(self) -> SlotControl:
        """The hands that lay and remove cards."""
        return SlotControl(self._folder / "slot.control")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it all and wait until pcscd listens. Raises DeviceError."""
        why = missing_for_rig()
        if why:
            raise DeviceError(f"There can be no virtual PC/SC reader: {why}.", next_step="Use virtual.card_direct.")
        if len(str(self.socket)) > SOCKET_PATH_BYTES_MAX:
            raise DeviceError(f"{self.socket} is too long for a socket.", next_step="Choose a folder nearer to '/'.")
        shutil.rmtree(self._run, ignore_errors=True)
        configuration = self._folder / "readers"
        for folder in (self._run, configuration, self.cards, Path("/run/pcscd")):
            folder.mkdir(parents=True, exist_ok=True)
        (configuration / "vpcd.conf").write_text(
            f'FRIENDLYNAME "{self._friendly_name}"\nDEVICENAME /dev/null:{VPCD_PORT:#x}\n'
            f"LIBPATH {DRIVER}\nCHANNELID {VPCD_PORT:#x}\n"
        )
        self._in_shell("ip", "netns", "delete", self.namespace, check=False)
        self._in_shell("ip", "netns", "add", self.namespace)
        self._stack.callback(self._in_shell, "ip", "netns", "delete", self.namespace, check=False)
        self._in_shell("ip", "-n", self.namespace, "link", "set", "lo", "up")
        self.start_pcscd()
        slot = (sys.executable, "-m", "virtual.card_slot", "serve", "--cards", str(self.cards))
        ends = ("--control", str(self._folder / "slot.control"), "--vpcd", f"127.0.0.1:{VPCD_PORT}")
        self._start("slot", *slot, *ends)
        self.control.wait_until_up(START_TIMEOUT_S)

    def start_pcscd(self) -> subprocess.Popen[bytes]:
        """Start pcscd, again where it was ended, and wait for its socket. Raises DeviceError."""
        self.socket.unlink(missing_ok=True)
        mount, daemon_command = f"mount --bind '{self._run}' /run/pcscd", f"pcscd -f -c '{self._folder / 'readers'}'"
        daemon = self._daemon = self._start("pcscd", "unshare", "-m", "bash", "-c", f"{mount} && exec {daemon_command}")
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.socket.exists():
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise DeviceError("pcscd does not start.", next_step=f"Read {self._folder / 'pcscd.log'}.")
            time.sleep(0.02)
        return daemon

    def stop_pcscd(self) -> None:
        """Kill pcscd, as if the reader and its service had gone; `start_pcscd` brings both back."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()

    def stop(self) -> None:
        """End it all; may be called twice."""
        self._stack.close()

    def _start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                ("ip", "netns", "exec", self.namespace, *command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._stack.callback(_end, process)
        return process

    def _in_shell(self, *command: str, check: bool = True) -> None:
        done = subprocess.run(command, capture_output=True, check=False)
        if check and done.returncode:
            reason = done.stderr.decode(errors="replace").strip()
            raise DeviceError(f"{' '.join(command[:3])} failed: {reason}.", next_step="Run it as root by hand.")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
