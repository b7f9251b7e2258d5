"""A unit of a simulated fleet: the agent's own line, presence, standing, spool, uplink, alarms and link check.

Left out, because a thousand of them share one machine: devices, comparison worker, screens, the register and gallery
of the site, and the opening of site key and roster. What it sends is a refusal's packet, which is small. It keeps its
keys, its certificate and its two databases in the folder that setup wrote.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from dataclasses import replace
from pathlib import Path

from contract import topics
from contract.channel_mqtt import Backoff, Connection, MqttChannel
from contract.channel_renewal import Door
from contract.clock import Clock
from contract.configuration import Desired, Reported, SelftestReport
from contract.credential import Credential
from contract.dispatch import decode, encode
from contract.durable_files import DurableFolder
from contract.identifiers import uuid7
from contract.packet import Biodata, Envelope, PacketKind, RefusalBody
from contract.packet import encode as encode_packet
from contract.seal import open_sealed, seal
from contract.transfer import Step
from edge.agent_parts import line_settings
from edge.alarms import AlarmBook, AlarmLine
from edge.config import UnitConfig, load_config
from edge.keys import UnitKeys, load_keys
from edge.links import LinkWatch
from edge.moment import MomentSource
from edge.presence import Presence
from edge.sealed_store import SealedStore
from edge.spool import Spool
from edge.standing import Kept, Standing
from edge.uplink import Uplink
from edge.uplink_settings import UplinkSettings

SOFTWARE = "rekam simulated"
ANSWER_S = 20.0
RECONNECT = Backoff()
IDLE_S = 30.0  # a real unit looks into its spool every five seconds; here all disks are one


class SimulatedUnit:
    """One unit. Make it on the loop; run it as a task until cancelled."""

    def __init__(self, folder: Path, clock: Clock, data: Path | None = None) -> None:
        """folder: as setup wrote it; data: where its databases lie, by default below it."""
        config = load_config(folder / "unit.toml")
        self.id, self.site = config.unit.id, config.unit.site
        self._clock = clock
        self._keys: UnitKeys = load_keys(self.id, config.keys)
        data = data or config.unit.data_dir
        data.mkdir(parents=True, exist_ok=True)
        self._store = SealedStore(data / "unit.db", self._keys.store)
        self._moments = MomentSource(self._store, clock)
        self._spool = Spool(data / "spool", self._keys.store, clock, 10**9, 10**5, observe=self._observe)
        self.presence = Presence(self.id, SOFTWARE, clock)
        line = replace(line_settings(config), backoff=RECONNECT)
        self.credential = Credential(line, clock, DurableFolder(config.broker.certificate.parent))
        self.channel = MqttChannel(self.credential.settings, self.presence.will)
        self.channel.on_connected(self._connected)
        self.presence.attach(self.channel)
        self.standing = Standing(
            self.channel, self.credential, self.id, self._keys.hub_statement, clock,
            serial=f"S-{self.id}", software=SOFTWARE, late=_late(config), kept=self._kept,
        )  # fmt: skip
        settings = UplinkSettings(unit=self.id, site=self.site, idle_s=IDLE_S, answer_timeout_s=ANSWER_S)
        self.uplink = Uplink(self.channel, self._spool, settings, self._keys.hub_statement, clock)
        self.alarms = AlarmBook(self.id, self._store, clock, AlarmLine(self.channel, self.id).tell)
        broker = config.broker
        self._links = LinkWatch(self.channel, self.id, broker.host, broker.port, lambda: self.uplink.hub_online, clock)
        self.uplink.links = lambda: self._links.latest
        self._reported: Reported | None = None
        self.heard: Counter[str] = Counter()
        self.released: Counter[str] = Counter()
        self.captured = len(self._spool.all())  # an earlier life's packets are to arrive as well
        self.connected_s: list[float] = []
        for topic in (topics.DN_CHECKPOINT, topics.DN_SITE_KEY, topics.DN_ROSTER):
            self.channel.on(topic, self._hear, unit=self.id)
        self.channel.on(topics.DN_DESIRED, self._desired, unit=self.id)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with self.channel, asyncio.TaskGroup() as tasks:
            for work in (self.channel.closed, self.standing.run, self.uplink.run, self.alarms.run, self._links.run):
                tasks.create_task(work())

    def capture(self) -> None:
        """Seal a packet and put it into the spool."""
        envelope = Envelope(
            kind=PacketKind.REFUSAL,
            id=uuid7(self._clock),
            unit=self.id,
            site=self.site,
            moment=self._moments.next(),
            body=RefusalBody(
                biodata=_biodata(self.id), similar_capture=uuid7(self._clock), value=60.0, appealed=False, operator="op"
            ),
        )
        sealed = seal(encode_packet(envelope), self._keys.sign, [self._keys.hub_packet, self._keys.recovery])
        self._spool.put(sealed, kind=PacketKind.REFUSAL, subject_id=envelope.id)
        self.captured += 1
        self.uplink.wake()

    def close(self) -> None:
        """Close the databases; it runs no more."""
        self._store.close()
        self._spool.close()

    @property
    def waiting(self) -> int:
        """Packets in the spool and alarms that the hub has not freed."""
        return self.captured - len(self.released) + self.alarms.waiting

    @property
    def is_connected(self) -> bool:
        """Whether its line stands."""
        return self.channel.connection is not None

    def _observe(self, step: Step, pid: str) -> None:
        if step is Step.ROW_PURGED:
            self.released[pid] += 1

    def _kept(self) -> list[Kept]:
        if self._reported is None:
            return []
        tested = SelftestReport(digest=self._reported.digest, rows=(), passed=True, at_ms=self._reported.at_ms)
        said = ((topics.UP_REPORTED, self._reported), (topics.UP_SELFTEST, tested))
        return [(topic.at(unit=self.id), encode(message), topic.retain) for topic, message in said]

    async def _connected(self, _connection: Connection) -> None:
        self.connected_s.append(self._clock.monotonic_ms() / 1000)

    async def _hear(self, names: dict[str, str], payload: bytes) -> None:
        self.heard["messages"] += 1
        self.heard["bytes"] += len(payload)

    async def _desired(self, names: dict[str, str], payload: bytes) -> None:
        opened = open_sealed(payload, self._keys.open, lambda signer: self._keys.hub_dispatch)
        desired = decode(Desired, opened.payload)
        is_new = self._reported is None or self._reported.digest != desired.digest()
        self._reported = Reported(version=desired.version, digest=desired.digest(), at_ms=self._clock.wall_ms())
        if is_new:
            for topic, content, retain in self._kept():
                await self.channel.publish(topic, content, retain=retain)


def _late(config: UnitConfig) -> Door:
    broker = config.broker
    return Door(broker.host, broker.renewal_port or broker.port + 2, broker.ca)


def _biodata(unit: str) -> Biodata:
    return Biodata(
        nik=f"99{secrets.randbelow(10**14):014d}",
        name=f"WARGA {unit}",
        birth_place="CONTOH",
        birth_date="1990-01-01",
        sex="PEREMPUAN",
        blood_type="O",
        address="JL. CONTOH 1",
        rt_rw="001/002",
        village="CONTOH",
        district="CONTOH",
        regency="CONTOH",
        province="CONTOH",
        religion="ISLAM",
        marital_status="KAWIN",
        occupation="PETANI",
        nationality="WNI",
    )
