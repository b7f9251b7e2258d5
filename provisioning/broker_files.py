"""The broker's configuration and its access lists, as it first starts; from then on the hub writes the lists.

What Mosquitto 2.0 was measured to do decides the settings: queues that are bounded only where a hub hangs or somebody
floods it (a limit drops silently), no trust in persistence (only the hub's signed receipt frees anything), certificates
as identities. Each listener trusts one root and has one list of its own; only the service listener looks at the
revocation list. What is dropped at a limit is asked for, or told, again.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from contract.broker_access import CLAIM_ACCESS, CONTROL_ACCESS, service_access
from provisioning.world import World

PACKET_BYTES_MAX = 1_000_000  # the hub's largest dispatch and its envelope
QUEUE_BYTES_MAX = 256 << 20  # what waits for one client
MEMORY_BYTES_MAX = 1 << 30  # of the broker; a thousand units take a twentieth of it
BOXES_MAX = 200  # that knock at once


def mosquitto_conf(world: World, folder: Path) -> str:
    """mosquitto.conf for a broker whose files lie in `folder`."""
    service, claims, _, control = world.broker.doors
    host = world.broker.host
    server = f"certfile {folder}/tls.crt\nkeyfile {folder}/tls.key\ntls_version tlsv1.2"
    # Below a listener: above the first one Mosquitto would open a plain one for these.
    known = "require_certificate true\nuse_identity_as_username true"
    return f"""\
# Written by 'rekam-provision'; mutual TLS, the certificate's common name is the user.
# Started as root it becomes this account, which made these files; the hub has to run as the same one.
user {pwd.getpwuid(os.geteuid()).pw_name}
per_listener_settings true
pid_file {folder}/mosquitto.pid
log_dest stderr
log_type error
log_type warning
log_type notice
persistence false
max_queued_messages 0
max_queued_bytes {QUEUE_BYTES_MAX}
memory_limit {MEMORY_BYTES_MAX}
persistent_client_expiration 1h
max_inflight_messages 64
max_packet_size {PACKET_BYTES_MAX}
set_tcp_nodelay true

# Units, hub and technicians. Nobody takes over the session of another by its client id.
listener {service} {host}
allow_anonymous false
acl_file {folder}/acl
cafile {folder}/trust.crt
crlfile {folder}/crl.pem
{server}
{known}
use_username_as_clientid true

# Boxes with a claim.
listener {claims} {host}
allow_anonymous false
max_connections {BOXES_MAX}
acl_file {folder}/acl-claims
cafile {folder}/claims.crt
{server}
{known}
use_username_as_clientid true

# The hub's control: whoever connects under another's client id ends that session.
listener {control} 127.0.0.1
allow_anonymous false
acl_file {folder}/acl-control
cafile {folder}/control.crt
{server}
{known}
"""


def access_lists(world: World) -> dict[str, bytes]:
    """The lists by file name: a unit speaks under its own name and hears its own site; the hub reads and writes all."""
    units = [(unit.id, unit.site) for unit in world.units]
    technicians = [operator.id for operator in world.operators if operator.is_technician]
    return {
        "acl": service_access(units, technicians).encode(),
        "acl-claims": CLAIM_ACCESS.encode(),
        "acl-control": CONTROL_ACCESS.encode(),
    }
