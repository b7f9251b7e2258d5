"""Bring a firmware image to the controller over its link, block by block; the board starts it on trial and confirms it.

The board takes only what carries an HMAC under its own key. The image's origin is not its business: whoever calls this
has verified the release's signature before. Interrupted at any block, the board goes on with what it runs.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from contract.errors import DeviceError, RemoteError, TransientError
from edge.panel import Panel, Request
from edge.panel_words import Identity, PanelEvent, version_text
from firmware import dictionary

MAGIC = b"RKFW"
KEY_BYTES = 32
IMAGE_BYTES_MAX = 192 * 1024
INSTALL_TIMEOUT_S = 30.0
RESTART_TIMEOUT_S = 20.0
POLL_S = 0.05
BLOCKS_AHEAD = 3


def image_version(content: bytes) -> int:
    """The version that an image states. Raises RemoteError where it is none."""
    if len(content) < 9 or content[:4] != MAGIC or len(content) > IMAGE_BYTES_MAX:
        raise RemoteError("This is no firmware image.", next_step="Give controller.bin, as 'make firmware' builds it.")
    return int.from_bytes(content[4:8], "little")


def update_mac(key: bytes, content: bytes) -> bytes:
    """HMAC-SHA256 under the board's key over `length u32 | version u32 | SHA-256`."""
    message = struct.pack("<II", len(content), image_version(content)) + hashlib.sha256(content).digest()
    return hmac.digest(key, message, "sha256")


def update_controller(
    panel: Panel, content: bytes, key: bytes, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Identity:
    """Send, install, restart, and wait until the new firmware answers; returns who answered.

    progress: bytes sent, bytes in all. Blocks for the time the line takes (about 2 s for 20 KB). Raises what the board
    refuses with; DeviceError where it does not come back with this version, by when it may have fallen back.
    """
    version = image_version(content)
    if len(key) != KEY_BYTES:
        raise DeviceError(f"A controller's key has {KEY_BYTES} bytes.", next_step="Give the key of this board.")
    begin = struct.pack("<II", len(content), version) + hashlib.sha256(content).digest() + update_mac(key, content)
    panel.command(dictionary.DO_UPDATE_BEGIN, begin)
    under_way: deque[tuple[int, Request]] = deque()
    for offset in range(0, len(content), dictionary.UPDATE_BLOCK_BYTES_MAX):
        block = content[offset : offset + dictionary.UPDATE_BLOCK_BYTES_MAX]
        asked = panel.ask(dictionary.DO_UPDATE_BLOCK, struct.pack(dictionary.UPDATE_BLOCK_HEAD, offset) + block)
        under_way.append((offset + len(block), asked))
        while len(under_way) > (BLOCKS_AHEAD if offset + len(block) < len(content) else 0):
            done, asked = under_way.popleft()
            panel.await_answer(asked)
            progress(done, len(content))
    panel.command(dictionary.DO_UPDATE_END, timeout_s=INSTALL_TIMEOUT_S)
    restarts = panel.status().restarts
    panel.command(dictionary.DO_RESTART)
    return _returned(panel, version, restarts)


def update_over_port(
    table: Mapping[str, Any], content: bytes, key: bytes, progress: Callable[[int, int], None]
) -> Identity:
    """The same on the port of a table [devices.controller], which nobody else may hold meanwhile.

    Events that the controller has not told yet stay with it. Raises DeviceError, RemoteError, TransientError.
    """
    port = table.get("port")
    if not isinstance(port, str):
        raise DeviceError(
            "This unit has no controller.", next_step="Add [devices.controller] with its port to unit.toml."
        )
    panel = Panel(port, baud=int(table.get("baud", 115200)), journal=_leave)
    try:
        panel.open()
        return update_controller(panel, content, key, progress)
    finally:
        panel.close()


def _leave(event: PanelEvent) -> bool:
    """Events belong to the agent, which does not run now."""
    raise TransientError(f"The event {event.number} waits for the agent.")


def _returned(panel: Panel, version: int, restarts: int) -> Identity:
    """Who answers after the restart, once the new firmware has been confirmed."""
    deadline_s = time.monotonic() + RESTART_TIMEOUT_S
    identity = None
    while time.monotonic() < deadline_s:
        if panel.status().restarts > restarts:
            try:
                identity = panel.identify()
            except DeviceError:
                identity = None
            if identity is not None and identity.version == version and not identity.on_trial:
                return identity
        time.sleep(POLL_S)
    runs = version_text(identity.version) if identity is not None else "nothing that answers"
    raise DeviceError(
        f"The controller did not come back with {version_text(version)}; it runs {runs}.",
        next_step="Wait a minute for its fall-back, then look at its events; flash it by cable if it stays silent.",
    )
