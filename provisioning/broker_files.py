"""The broker's configuration and its access list, written from the fleet.

What Mosquitto 2.0 was measured to do decides the settings: queues without a limit (a limit drops silently), no trust in
persistence (only the hub's signed receipt frees anything), certificates as identities, and an explicit ACL, since a
forbidden SUBSCRIBE is granted and then filtered.
"""

from __future__ import annotations

from pathlib import Path

from provisioning.world import World

PACKET_BYTES_MAX = 2_000_000


def mosquitto_conf(world: World, folder: Path) -> str:
    """mosquitto.conf for a broker whose files lie in `folder`."""
    return f"""\
# Written by 'rekam-provision setup'; mutual TLS, the certificate's common name is the user.
per_listener_settings false
allow_anonymous false
acl_file {folder}/acl
log_dest stderr
log_type error
log_type warning
log_type notice
persistence false
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 64
max_packet_size {PACKET_BYTES_MAX}
set_tcp_nodelay true

listener {world.broker.port} {world.broker.host}
cafile {folder}/ca.crt
certfile {folder}/tls.crt
keyfile {folder}/tls.key
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
# Nobody takes over the session of another by its client id. Below the listener: above it, it would open a plain one.
use_username_as_clientid true
"""


def access_list(world: World) -> str:
    """The ACL: a unit speaks under its own name and hears its own site; the hub reads and writes all of it."""
    lines = [
        "# Written by 'rekam-provision setup'.",
        "pattern write k/%u/up/#",
        "pattern read k/%u/dn/#",
        "",
        "user hub",
        "topic readwrite k/#",
        "topic readwrite s/#",
        "topic readwrite hub/#",
    ]
    for unit in world.units:
        lines += [
            "",
            f"user {unit.id}",
            "topic read hub/state",
            f"topic read s/{unit.site}/#",
            f"topic write s/{unit.site}/gallery/#",
        ]
    return "\n".join(lines) + "\n"
