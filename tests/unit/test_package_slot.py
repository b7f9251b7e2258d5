"""What a Debian package does with the slots, by rule; and a slot filled for real from a wheelhouse with hashes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.launcher import RELEASE_FILE, SLOTS, Boot, BootFile
from edge.package_slot import Held, install, main, plan

OLD, NEW = Held("0.1.9"), Held("0.1.10")


@pytest.mark.parametrize(
    ("boot", "a", "b", "package", "in_service", "slot", "after"),
    [
        (Boot(), None, None, NEW, False, "a", Boot()),
        (Boot(good="b"), None, None, NEW, True, "b", Boot(good="b")),
        (Boot(), OLD, None, NEW, False, "b", Boot(good="b")),
        (Boot(), OLD, None, NEW, True, "b", Boot(good="a", trial="b")),
        (Boot(good="b"), NEW, OLD, NEW, True, "a", Boot(good="b", trial="a")),
        (Boot(), NEW, OLD, NEW, True, "", Boot()),
        (Boot(), NEW, None, OLD, True, "", Boot()),
        (Boot(good="a", trial="b", starts=1), OLD, OLD, NEW, True, "", Boot(good="a", trial="b", starts=1)),
        (Boot(), Held("0.1.0", number=7), None, Held("9.9", number=6), True, "", Boot()),
        (Boot(), Held("9.9", number=6), None, Held("0.1.0", number=7), True, "b", Boot(good="a", trial="b")),
    ],
    ids=[
        "first", "the good one is damaged", "no unit yet", "in service", "the other way round", "same", "older",
        "an update is on trial", "signed before", "signed after",
    ],
)  # fmt: skip
def test_what_becomes_of_the_slots(
    boot: Boot, a: Held | None, b: Held | None, package: Held, in_service: bool, slot: str, after: Boot
) -> None:
    found = plan(boot, {"a": a, "b": b}, package, in_service=in_service)
    assert (found.slot, found.boot) == (slot, after)


helds = st.one_of(
    st.none(), st.builds(Held, st.from_regex(r"\d{1,3}(\.\d{1,3}){0,3}", fullmatch=True), st.integers(0, 9))
)
boots = st.sampled_from(
    [Boot(good=good, trial=trial) for good in SLOTS for trial in ("", SLOTS[1 - SLOTS.index(good)])]
)


@given(boot=boots, a=helds, b=helds, package=helds.map(lambda held: held or Held()), in_service=st.booleans())
def test_a_good_slot_is_never_written_and_nothing_older_ever_runs(
    boot: Boot, a: Held | None, b: Held | None, package: Held, in_service: bool
) -> None:
    held = {"a": a, "b": b}
    found = plan(boot, held, package, in_service=in_service)
    good = held[boot.good]
    if good is not None:
        assert found.slot != boot.good
        assert not found.slot or package.is_newer_than(good)
        assert found.boot == boot or found.slot == found.boot.slot
    else:
        assert found.slot == found.boot.slot == boot.good


def wheelhouse(folder: Path, version: str = "1.0") -> Path:
    """A wheelhouse of one tiny wheel."""
    folder.mkdir()
    wheel = folder / f"tiny-{version}-py3-none-any.whl"
    info = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "requirements.txt").write_text(f"tiny=={version} --hash=sha256:{digest}\n")
    (folder / RELEASE_FILE).write_text(json.dumps({"number": 0, "version": version}))
    return folder


def test_a_slot_is_filled_from_wheels_with_their_hashes_or_not_at_all(tmp_path: Path) -> None:
    slots, unit = tmp_path / "slots", tmp_path / "unit"
    slots.mkdir()
    unit.mkdir()
    boot_file, wheels = BootFile(slots), wheelhouse(tmp_path / "wheels")
    whole = (wheels / "requirements.txt").read_text()
    (wheels / "requirements.txt").write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    assert main([str(slots), str(wheels), "--unit", str(unit)]) != 0
    assert not boot_file.is_whole("a")

    (wheels / "requirements.txt").write_text(whole)
    assert install(slots, wheels, unit).slot == "a"
    assert boot_file.is_whole("a")
    assert (boot_file.read().good, boot_file.read().trial) == ("a", "")
    assert list(slots.glob("a/lib/python3*/site-packages/tiny.py"))
