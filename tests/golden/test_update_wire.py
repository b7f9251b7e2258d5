"""The bytes of updates on the wire, pinned: units and hubs of different releases must agree on just these."""

from __future__ import annotations

from contract.dispatch import encode
from contract.topics import DN_UPDATE, DN_UPDATE_PART, UP_UPDATE, UP_UPDATE_ASK
from contract.updates import (
    Artefact,
    FileAsk,
    FilePart,
    FileRole,
    NamedTarget,
    NamedWheel,
    ReleaseManifest,
    Running,
    UpdateJob,
    UpdateReport,
    UpdateState,
    encode_manifest,
)


def test_job_bytes():
    job = UpdateJob(
        job="j1", unit="u1", artefact=Artefact.EDGE, target="edge-2.json", number=2, version="2", wave="w", issued_ms=3
    )
    assert encode(job).hex() == (
        "a8"
        "636a6f62" "626a31"  # job: j1
        "64756e6974" "627531"  # unit: u1
        "6477617665" "6177"  # wave: w
        "666e756d626572" "02"  # number: 2
        "66746172676574" "6b656467652d322e6a736f6e"  # target: edge-2.json
        "6776657273696f6e" "6132"  # version: 2
        "686172746566616374" "6465646765"  # artefact: edge
        "696973737565645f6d73" "03"  # issued_ms: 3
    )  # fmt: skip


def test_ask_and_part_bytes():
    ask = FileAsk(request=1, role=FileRole.METADATA, name="timestamp.json", offset=2, length=3)
    assert encode(ask).hex() == (
        "a5"
        "646e616d65" "6e74696d657374616d702e6a736f6e"  # name: timestamp.json
        "64726f6c65" "686d65746164617461"  # role: metadata
        "666c656e677468" "03"  # length: 3
        "666f6666736574" "02"  # offset: 2
        "6772657175657374" "01"  # request: 1
    )  # fmt: skip
    assert encode(FilePart(request=1, total=9, data=b"\x07")).hex() == (
        "a5"
        "6464617461" "4107"  # data: 07
        "65746f74616c" "09"  # total: 9
        "66616273656e74" "f4"  # absent: false
        "6772657175657374" "01"  # request: 1
        "6e72657472795f61667465725f6d73" "00"  # retry_after_ms: 0
    )  # fmt: skip


def test_report_bytes():
    report = UpdateReport(
        job="j", state=UpdateState.GOOD, running=Running(version="2", number=2, slot="a", floor=2), at_ms=1
    )
    assert encode(report).hex() == (
        "a9"
        "636a6f62" "616a"  # job: j
        "6477617665" "60"  # wave: ""
        "6561745f6d73" "01"  # at_ms: 1
        "657374617465" "64676f6f64"  # state: good
        "6664657461696c" "60"  # detail: ""
        "6770726f626c656d" "f6"  # problem: none
        "6772756e6e696e67" "a7"  # running:
        "64736c6f74" "6161"  # slot: a
        "65666c6f6f72" "02"  # floor: 2
        "666e756d626572" "02"  # number: 2
        "6776657273696f6e" "6132"  # version: 2
        "686669726d77617265" "60"  # firmware: ""
        "6d736368656d615f6e756d626572" "00"  # schema_number: 0
        "6f6669726d776172655f6e756d626572" "00"  # firmware_number: 0
        "6962797465735f616c6c" "00"  # bytes_all: 0
        "6a62797465735f646f6e65" "00"  # bytes_done: 0
    )  # fmt: skip


def test_manifest_bytes():
    manifest = ReleaseManifest(
        number=2,
        version="0.2.0",
        wheels=(NamedWheel(target="rekam-0.2.0-py3-none-any.whl", sha256="ab" * 32),),
        firmware=NamedTarget(target="controller-2.bin", number=2, version="0.2"),
    )
    assert (
        encode_manifest(manifest).decode()
        == f"""\
{{
 "schema_version": 1,
 "number": 2,
 "version": "0.2.0",
 "wheels": [
  {{
   "target": "rekam-0.2.0-py3-none-any.whl",
   "sha256": "{"ab" * 32}"
  }}
 ],
 "firmware": {{
  "target": "controller-2.bin",
  "number": 2,
  "version": "0.2"
 }},
 "configuration_schema": null
}}
"""
    )


def test_topics():
    assert DN_UPDATE.at(unit="u") == "k/u/dn/update/next" and DN_UPDATE.retain
    assert UP_UPDATE.at(unit="u") == "k/u/up/update/report" and UP_UPDATE.retain
    assert UP_UPDATE_ASK.at(unit="u") == "k/u/up/update/ask" and not UP_UPDATE_ASK.retain
    assert DN_UPDATE_PART.at(unit="u") == "k/u/dn/update/part" and not DN_UPDATE_PART.retain
    assert UP_UPDATE_ASK.expiry_s and DN_UPDATE_PART.expiry_s
