"""What the status page and `rekam-edge status` tell: the five lines (M20), what waits with its age (M19), devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from contract.clock import Clock
from edge.comparison_worker import ComparisonWorker
from edge.config import UnitTable
from edge.configuration import Configurations
from edge.device_bench import DeviceBench
from edge.moment import MomentSource
from edge.packing import PacketKeeper
from edge.site_gallery import SiteGallery
from edge.spool import Spool, SpooledPacket
from edge.update_record import Updates
from edge.uplink import Uplink

WAITING_SHOWN_MAX = 200


class UnitStatus:
    """Reads disk and counters; call it off the event loop."""

    def __init__(
        self,
        unit: UnitTable,
        spool: Spool,
        uplink: Uplink,
        bench: DeviceBench,
        worker: ComparisonWorker,
        gallery: SiteGallery,
        moments: MomentSource,
        clock: Clock,
        configurations: Configurations,
        updates: Updates,
    ) -> None:
        self._unit = unit
        self._spool = spool
        self._uplink = uplink
        self._bench = bench
        self._worker = worker
        self._gallery = gallery
        self._moments = moments
        self._clock = clock
        self._configurations = configurations
        self._updates = updates
        self.line: Callable[[], Mapping[str, str]] = dict
        self.enclosure: Callable[[], Mapping[str, Any]] = dict
        self.controller: Callable[[], Mapping[str, Any]] = dict
        self.time: Callable[[], Mapping[str, str]] = dict

    def snapshot(self) -> Mapping[str, Any]:
        """Everything, as JSON-able values."""
        checkpoint = self._moments.checkpoint
        return {
            "unit": self._unit.id,
            "site": self._unit.site,
            "role": self._unit.role,
            "boot": self._moments.boot,
            "time_ms": self._clock.wall_ms(),
            "clock": self.time(),
            "checkpoint": checkpoint.sequence if checkpoint else 0,
            "uplink": self._uplink.status().model_dump(mode="json"),
            "spool": asdict(self._spool.counts()),
            "spool_full": self._spool.refuses() or "",
            "waiting": [self._waiting(packet) for packet in self._spool.all()[:WAITING_SHOWN_MAX]],
            "devices": [asdict(device) for device in self._bench.states()],
            "line": self.line(),
            "configuration": self._configurations.status(),
            "software": self._updates.status(),
            "enclosure": self.enclosure(),
            "controller": self.controller(),
            "worker": {"state": self._worker.state, "restarts": self._worker.restarts},
            "site_gallery": len(self._gallery),
        }

    def capture(self, packet_id: str, keeper: PacketKeeper) -> Mapping[str, Any] | None:
        """What is known of one packet, by the capture's or the event's id."""
        entry = keeper.entry(packet_id)
        if entry is None:
            return None
        packet = self._spool.find(entry.pid)
        receipt = entry.receipt
        return {
            "packet_id": entry.packet_id,
            "capture_id": entry.packet_id,
            "kind": entry.kind,
            "pid": entry.pid,
            "kept_ms": entry.kept_ms,
            "state": packet.state.value if packet else "purged",
            "length": packet.length if packet else receipt.length if receipt else 0,
            "disposition": receipt.disposition.value if receipt else "",
            "hub_sequence": receipt.hub_sequence if receipt else 0,
            "receipted_ms": receipt.time_ms if receipt else 0,
            "reason": receipt.reason if receipt else "",
        }

    def _waiting(self, packet: SpooledPacket) -> dict[str, Any]:
        return {
            "pid": packet.pid,
            "kind": self._spool.label(packet.pid).kind,
            "state": packet.state.value,
            "length": packet.length,
            "age_s": max(0, self._clock.wall_ms() - packet.spooled_ms) // 1000,
            "held_reason": packet.held_reason,
        }
