"""A resident at a desk that is off-line: the real agent, worker process, drivers and twins, from papers to packet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.packet import EnrolmentBody, PacketKind, decode
from contract.seal import load_opening_key, load_public_key, open_sealed
from contract.unit_command import LogsAsk
from edge.log_ring import read_page
from edge.sealed_store import SealedStore
from tests.journey.agent_world import UNIT, AgentWorld, private_pem, public_pem


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AgentWorld]:
    made = AgentWorld(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_resident_is_captured_off_line_and_the_packet_survives_a_kill(world: AgentWorld) -> None:
    world.start()
    seen = world.walk(world.resident, lambda found: found["step"] == "fingers")
    world.kill()  # power is lost in the middle of a session
    world.start()
    assert world.post("/api/session/capture")["code"] == "NO_SESSION"
    assert world.get("/api/status")["spool"]["total"] == 0
    seen = world.walk(world.resident, lambda found: found["step"] == "irises")
    world.cross_the_eyes()
    asked = world.do(seen[-1])
    assert (asked["step"], asked["advice_id"], asked["problem"]) == ("iris_review", "", None), asked
    world.devices.obey({"iris": {"person": [world.resident.seed, world.resident.index]}})
    seen = world.go_on([world.post("/api/session/retake")], lambda found: found["state"] == "ended")
    assert "iris_review" not in {found["step"] for found in seen}
    assert seen[-1]["step"] == "saved", seen[-1]
    assert seen[-1]["result"]["status"] == "BIO_CAPTURED" and seen[-1]["result"]["receipt"] is None

    status = world.get("/api/status")
    assert status["uplink"]["queue"] == "DISCONNECTED" and status["uplink"]["pending"] == 1
    (packet,) = (world.data / "spool" / "packets").iterdir()
    sealed = packet.read_bytes()
    opened = open_sealed(
        sealed,
        load_opening_key(private_pem(world.hub_packet), "hub"),
        lambda signer: load_public_key(public_pem(world.sign), signer) if signer == UNIT else None,
    )
    envelope = decode(opened.payload)
    assert envelope.kind is PacketKind.ENROLMENT and envelope.id == seen[-1]["result"]["capture_id"]
    assert isinstance(envelope.body, EnrolmentBody)
    assert envelope.body.biodata == world.resident.biodata and len(envelope.body.samples) == 16
    nik = world.resident.nik.encode()
    for path in world.data.rglob("*"):
        assert not path.is_file() or nik not in path.read_bytes(), f"{path} shows the NIK"
    assert nik not in (world.folder / "agent.log").read_bytes()
    kept = SealedStore(world.data / "log.db", world.store_key)
    lines = read_page(kept, LogsAsk(), 0).lines
    kept.close()
    said = "".join(f"{line.event} {line.fields}" for line in lines)
    assert "site gallery loaded" in said
    assert not any(word in said for word in (world.resident.nik, world.resident.biodata.name, "op-siti"))

    world.post("/api/session/finish")
    refused = world.begin(world.resident)
    assert refused["code"] == "CAPTURED_HERE"
    world.kill_worker()  # the site's gallery is given to the next one
    again = world.walk(world.twin_papers, lambda found: found["state"] == "ended")
    assert again[-1]["step"] == "refused" and again[-1]["result"]["code"] == "LOCAL_DUPLICATE"
    assert again[-1]["result"]["similar_capture"] == envelope.id
    assert world.end() == 0
