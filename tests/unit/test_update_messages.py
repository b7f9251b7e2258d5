"""What travels for updates is right or refused: names that leave a folder, floors that contradict, parts, manifests."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.dispatch import decode, encode
from contract.errors import RemoteError
from contract.transfer import CHUNK_BYTES_MAX
from contract.update_problems import UPDATE_WORDING, UpdateProblem, UpdateRefusal
from contract.updates import (
    PART_MESSAGE_BYTES_MAX,
    Artefact,
    FileAsk,
    FilePart,
    FileRole,
    NamedWheel,
    ReleaseManifest,
    Running,
    TargetCustom,
    UpdateJob,
    UpdateReport,
    UpdateState,
    decode_manifest,
    encode_manifest,
    read_custom,
    write_custom,
)

DIGEST = "ab" * 32


def ask(role: FileRole, name: str) -> FileAsk:
    return decode(FileAsk, encode(FileAsk.model_construct(request=1, role=role, name=name, offset=0, length=1)))


@pytest.mark.parametrize(
    ("role", "name"),
    [
        (FileRole.METADATA, "timestamp.json"),
        (FileRole.METADATA, "12.root.json"),
        (FileRole.METADATA, "3.targets.json"),
        (FileRole.TARGET, f"{DIGEST}.rekam-0.2.0+pi-py3-none-any.whl"),
        (FileRole.TARGET, f"{DIGEST}.edge-0.2.0.json"),
    ],
)
def test_names_of_a_repository_pass(role: FileRole, name: str) -> None:
    assert ask(role, name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "", "..", "../hub/issuing.key", "/etc/passwd", f"{DIGEST}./x", f"{DIGEST}...", f"{DIGEST}.a/b", "a" * 251,
        f"{DIGEST}.x\n", f"{DIGEST}.x\x00", "root.json/..", "0.root.json", "ROOT.json", f"{DIGEST.upper()}.x", "x.whl",
    ],
)  # fmt: skip
def test_no_name_leaves_its_folder(name: str) -> None:
    for role in FileRole:
        with pytest.raises(RemoteError):
            ask(role, name)


def test_a_role_takes_only_its_own_names() -> None:
    with pytest.raises(RemoteError):
        ask(FileRole.TARGET, "timestamp.json")
    with pytest.raises(RemoteError):
        ask(FileRole.METADATA, f"{DIGEST}.x.whl")


@pytest.mark.parametrize("kind", [UpdateJob, UpdateReport, FileAsk, FilePart])
@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else_happens(kind: type[UpdateJob], garbage: bytes) -> None:
    with pytest.raises(RemoteError):
        decode(kind, garbage)


JSON_LIKE = st.recursive(
    st.none() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["number", "wheels", "version"]), inner)
    ),
)


@given(garbage=st.binary(max_size=200) | JSON_LIKE.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_no_manifest(garbage: bytes) -> None:
    with pytest.raises(RemoteError):
        decode_manifest(garbage)


def test_the_largest_part_fits_its_limit() -> None:
    part = FilePart(request=2**53, total=2**28, data=bytes(CHUNK_BYTES_MAX))
    assert len(encode(part)) <= PART_MESSAGE_BYTES_MAX
    assert decode(FilePart, encode(part), PART_MESSAGE_BYTES_MAX) == part


def test_a_part_says_one_thing() -> None:
    for wrong in ({"absent": True, "data": b"x", "total": 1}, {"retry_after_ms": 5, "total": 9}):
        with pytest.raises(RemoteError):
            decode(FilePart, encode(FilePart.model_construct(**({"request": 1} | wrong))))


def test_a_report_survives_the_wire() -> None:
    running = Running(version="0.2.0", number=7, slot="b", floor=7)
    report = UpdateReport(
        job="j-1", state=UpdateState.RETURNED, problem=UpdateProblem.UNHEALTHY, detail="finger: silent",
        running=running, at_ms=5,
    )  # fmt: skip
    assert decode(UpdateReport, encode(report)) == report
    assert [state for state in UpdateState if state.is_end] == list(UpdateState)[-4:]


def test_what_a_signer_says_of_a_target() -> None:
    said = TargetCustom(artefact=Artefact.EDGE, number=7, version="0.2.0", floor=5)
    assert read_custom(json.loads(json.dumps(write_custom(said)))) == said
    for wrong in (
        None, {}, {"rekam": 1}, {"rekam": {"artefact": "edge", "number": 3, "version": "x", "floor": 4}},
        {"rekam": {"artefact": "edge", "number": 0, "version": "x"}},
        {"rekam": {"artefact": "wheel", "number": 1, "version": "x"}},
        {"rekam": {"artefact": "edge", "number": 3, "version": "x", "more": 1}},
    ):  # fmt: skip
        with pytest.raises(RemoteError):
            read_custom(wrong)


def test_a_manifest_is_the_same_bytes_again() -> None:
    wheels = (NamedWheel(target="rekam-0.2.0-py3-none-any.whl", sha256=DIGEST),)
    manifest = ReleaseManifest(number=7, version="0.2.0", wheels=wheels)
    assert decode_manifest(encode_manifest(manifest)) == manifest
    twice = manifest.model_copy(update={"wheels": wheels * 2})
    with pytest.raises(RemoteError):
        decode_manifest(encode_manifest(twice))
    with pytest.raises(RemoteError):
        decode_manifest(encode_manifest(manifest).replace(b"rekam-0.2.0-", b"../rekam-0.2.0-"))


def test_every_problem_has_its_words_in_both_languages() -> None:
    assert set(UPDATE_WORDING) == set(UpdateProblem)
    for problem, wording in UPDATE_WORDING.items():
        assert wording.what_id != wording.what_en and wording.do_id != wording.do_en, problem
        assert str(UpdateRefusal(problem)).startswith(wording.what_en)
