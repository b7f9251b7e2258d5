"""A card from job to release, with everything that goes wrong on the way: power, cards, printers, people, issuers."""

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from contract.card_keys import SoftSam
from contract.chip_layout import ChipFile, chip_files
from contract.errors import DeviceError, TransientError
from edge.card_access import read_card
from edge.print_jobs import JobResult
from edge.procedure import Refused
from tests.journey.personalisation_stage import (
    BACK,
    FRONT,
    MASTER,
    PowerCut,
    RememberingPrinter,
    SlotChannel,
    Stage,
    make_job,
)
from tests.unit.test_chip_file import BIODATA, ISSUER_PUBLIC, key_pair

SAM = SoftSam.load(MASTER)
JOB = make_job()


@pytest.fixture
async def stage(tmp_path):
    stage = Stage(tmp_path)
    await stage.desk.load()
    yield stage
    stage.store.close()


def chip_of(stage, uid):
    if stage.slot.uid != uid:
        stage.slot.remove()
        stage.slot.insert(uid)
    return read_card(SlotChannel(stage.slot), SAM)


def check_one_good_card(stage, job=JOB):
    (body,) = stage.bodies("released")
    assert (body.job_id, body.capture_id, body.operator, body.released_by) == (
        job.job_id, job.capture_id, "op-1", "head-1",
    )  # fmt: skip
    assert body.read_back_sha256 == chip_files(job.chip_files).digest
    found = chip_of(stage, body.card_uid)
    assert found.files.digest == body.read_back_sha256
    assert found.verified(ISSUER_PUBLIC).biodata == BIODATA
    assert body.print_job.startswith("ipp://")
    assert {"encode", "printing", "read_back", "release"} <= {clock.step for clock in body.steps}
    return body


async def test_a_job_becomes_a_released_card(stage):
    answer = await stage.desk.accept(JOB)
    assert answer.accepted
    await stage.drive()
    check_one_good_card(stage)
    assert stage.printer.sides == [FRONT, BACK]
    assert stage.desk.snapshot()["state"] == "idle"


async def test_the_page_sees_prompts_pictures_and_only_what_is_allowed(stage):
    await stage.desk.accept(JOB)
    view = stage.desk.snapshot()
    assert (view["actions"], view["jobs"][0]["nik_end"]) == (["start"], BIODATA.nik[-4:])
    await stage.drive(until="preview")
    view = stage.desk.snapshot()
    assert "Card Encoding Successfully. Would you like to process print the card" in view["prompt_en"]
    assert "garuda menghadap ke atas" in view["prompt_id"]
    assert view["job"]["card"] == "encoded"
    assert stage.desk.picture("front") == (FRONT, "image/png")
    assert stage.desk.picture("back") == (BACK, "image/png")
    assert b"GARUDA MENGHADAP KE ATAS" in stage.desk.picture("blank")[0]
    assert stage.desk.picture("../x") is None
    with pytest.raises(Refused, match="not possible"):
        await stage.act("release", operator="head-1")
    assert stage.step == "preview"


async def test_a_printer_that_does_not_turn_the_card_gets_front_then_back(tmp_path):
    stage = Stage(tmp_path, two_sided=False)
    await stage.desk.accept(JOB)
    await stage.drive(until="turn")
    assert stage.printer.sides == [FRONT]
    await stage.drive()
    check_one_good_card(stage)
    assert stage.printer.sides == [FRONT, BACK]


async def test_the_same_job_again_is_answered_and_not_made_twice(stage):
    for _ in range(2):
        assert (await stage.desk.accept(JOB)).accepted
    await stage.drive()
    assert (await stage.desk.accept(JOB)).accepted
    assert stage.desk.snapshot()["jobs"] == []
    await stage.restart()
    assert (await stage.desk.accept(JOB)).accepted
    assert stage.desk.actions() == []
    assert len(stage.reports) == 1


async def test_a_job_that_could_not_make_a_true_card_is_refused_with_a_reason(stage):
    stranger, _ = key_pair("issuer")
    other_person = BIODATA.model_copy(update={"name": "ORANG LAIN"})
    files = {**JOB.chip_files, int(ChipFile.PHOTO): b"another photo"}
    bad = [
        make_job(2, issuer=stranger),
        JOB.model_copy(update={"job_id": make_job(3).job_id, "biodata": other_person}),
        JOB.model_copy(update={"job_id": make_job(4).job_id, "card_number": "9901-9"}),
        JOB.model_copy(update={"job_id": make_job(5).job_id, "chip_files": files}),
        JOB.model_copy(update={"job_id": make_job(6).job_id, "front": b"no picture"}),
        JOB.model_copy(update={"job_id": make_job(7).job_id, "nik": "9901014506900002"}),
    ]
    for job in bad:
        answer = await stage.desk.accept(job)
        assert not answer.accepted
        assert answer.reason
    assert stage.desk.actions() == []


async def test_only_an_operator_starts_and_only_another_section_head_releases(stage):
    await stage.desk.accept(JOB)
    with pytest.raises(Refused):
        await stage.act("start", nik=BIODATA.nik, operator="head-1")
    with pytest.raises(Refused, match="No print job"):
        await stage.act("start", nik="9901014506900009", operator="op-2")
    await stage.act("start", nik=BIODATA.nik, operator="op-2")
    await stage.drive(until="release")
    with pytest.raises(Refused):
        await stage.act("release", operator="op-1")
    with pytest.raises(Refused, match="does not release"):
        await stage.act("release", operator="op-2")
    assert stage.step == "release"
    assert not stage.reports
    await stage.drive()
    assert stage.bodies("released")[0].operator == "op-2"


async def test_a_card_removed_in_mid_write_is_asked_for_and_finished(stage):
    await stage.desk.accept(JOB)
    await stage.drive(until="encode")
    uid = stage.slot.uid
    stage.slot.remove_after(9)
    view = await stage.act("encode")
    assert view["step"] == "encode"
    assert view["advice_en"]
    stage.slot.insert(uid)
    await stage.drive()
    assert check_one_good_card(stage).card_uid == uid


async def test_another_card_laid_before_or_after_printing_is_noticed(stage):
    """The swap guard (M36): the chip that was begun is the only one this job goes on with."""
    await stage.desk.accept(JOB)
    await stage.drive(until="encode")
    bound = stage.slot.remove()
    other = next(uid for uid in stage.blanks if uid != bound)
    stage.slot.insert(other)
    view = await stage.act("encode")
    assert (view["step"], bound[-4:] in view["advice_en"]) == ("encode", True)
    stage.slot.remove()
    await stage.drive(until="read_back")
    stage.slot.remove()
    stage.slot.insert(other)
    view = await stage.act("read_back")
    assert (view["step"], bound[-4:] in view["advice_id"]) == ("read_back", True)
    assert stage.box.load(other).is_blank
    stage.slot.remove()
    await stage.drive()
    assert check_one_good_card(stage).card_uid == bound


async def test_two_cards_of_the_same_run_cannot_be_exchanged(stage):
    second = make_job(2, biodata=BIODATA.model_copy(update={"nik": "9901014506900002", "name": "ORANG KEDUA"}))
    await stage.desk.accept(JOB)
    await stage.drive()
    first_uid = stage.bodies("released")[0].card_uid
    await stage.desk.accept(second)
    await stage.act("start", nik=second.nik, operator="op-1")
    stage.slot.remove()
    stage.slot.insert(first_uid)
    view = await stage.act("check")
    assert view["step"] == "blank"
    assert "no blank" in view["problem"]["message"]
    stage.slot.remove()
    await stage.drive(until="read_back")
    stage.slot.remove()
    stage.slot.insert(first_uid)
    assert (await stage.act("read_back"))["step"] == "read_back"


async def test_a_spoiled_card_is_written_off_with_a_reason_and_the_job_takes_another_blank(stage):
    await stage.desk.accept(JOB)
    await stage.drive(until="read_back")
    with pytest.raises(Refused, match="reason"):
        await stage.act("spoil", reason=" ")
    await stage.act("spoil", reason="ribbon tore")
    spoiled = stage.bodies("spoiled")[0]
    assert (spoiled.reason, spoiled.operator, spoiled.released_by) == ("ribbon tore", "op-1", None)
    stage.slot.remove()
    await stage.act("start", nik=BIODATA.nik, operator="op-1")
    stage.slot.insert(spoiled.card_uid)
    view = await stage.act("check")
    assert view["problem"]
    stage.slot.remove()
    await stage.drive()
    assert check_one_good_card(stage).card_uid != spoiled.card_uid


async def test_a_blank_that_is_not_ours_is_refused(stage):
    stage.box.discard(stage.blanks[0])
    foreign = stage.box.add_blanks(1, bytes(32), 77)[0]
    await stage.desk.accept(JOB)
    await stage.act("start", nik=BIODATA.nik, operator="op-1")
    stage.slot.insert(foreign)
    view = await stage.act("check")
    assert (view["step"], "another issuer" in view["problem"]["message"]) == ("blank", True)
    stage.slot.remove()
    await stage.drive()
    check_one_good_card(stage)


async def test_no_card_on_the_reader_is_advice_and_the_blank_can_be_put_back(stage):
    await stage.desk.accept(JOB)
    await stage.act("start", nik=BIODATA.nik, operator="op-1")
    view = await stage.act("check")
    assert view["advice_en"] == "No card came onto the reader."
    await stage.act("put_back")
    assert stage.step == "waiting"
    await stage.drive()
    check_one_good_card(stage)


async def test_a_chip_altered_between_print_and_read_back_is_not_released(stage):
    await stage.desk.accept(JOB)
    await stage.drive(until="read_back")
    uid = stage.desk.current.card_uid
    memory = stage.box.load(uid)
    memory.files[ChipFile.PHOTO][10] ^= 1
    stage.box.save(memory)
    stage.slot.remove()
    stage.slot.insert(uid)
    view = await stage.act("read_back")
    assert (view["step"], view["problem"]["message"]) == ("read_back", "The chip's file PHOTO was altered.")
    assert "section head" in view["problem"]["next_step"]


async def test_a_printer_that_vanishes_leaves_the_state_and_is_asked_again(stage):
    await stage.desk.accept(JOB)
    await stage.drive(until="preview")
    stage.printer.vanished = True
    view = await stage.act("print")
    assert (view["step"], view["problem"]["next_step"]) == ("preview", "Check its cable.")
    stage.printer.vanished = False
    await stage.drive()
    check_one_good_card(stage)
    assert stage.printer.sides == [FRONT, BACK]


async def test_a_card_the_printer_gave_up_is_printed_again_or_spoiled(stage):
    stage.printer.results = [JobResult.ABORTED]
    await stage.desk.accept(JOB)
    await stage.drive(until="print_failed")
    view = stage.desk.snapshot()
    assert "not printed" in view["problem"]["message"]
    assert view["actions"] == ["print_again", "spoil"]
    await stage.drive()
    check_one_good_card(stage)
    assert stage.printer.sides == [FRONT, BACK]


async def test_a_printer_that_forgets_the_job_leaves_the_word_to_the_operator(stage):
    stage.printer.forgets = True
    await stage.desk.accept(JOB)
    await stage.drive(until="print_unsure")
    assert stage.desk.actions() == ["printed", "not_printed", "spoil"]
    await stage.drive()
    check_one_good_card(stage)
    assert stage.printer.sides == [FRONT, BACK]


async def test_a_busy_printer_sends_nothing_and_can_be_tried_again(stage):
    class Busy(RememberingPrinter):
        async def start(self, faces, name):
            self.start = super().start
            raise TransientError("The printer is busy with another job.")

    stage.printer = Busy()
    await stage.restart()
    await stage.desk.accept(JOB)
    await stage.drive(until="preview")
    view = await stage.act("print")
    assert (view["step"], "busy" in view["problem"]["message"]) == ("preview", True)


async def test_a_result_that_cannot_be_kept_is_kept_later(stage):
    await stage.desk.accept(JOB)
    await stage.drive(until="release")
    stage.report_error = DeviceError("The spool is full.", next_step="Connect the unit.")
    view = await stage.act("release", operator="head-1")
    assert (view["step"], view["problem"]["next_step"]) == ("report", "Connect the unit.")
    stage.report_error = None
    await stage.drive()
    check_one_good_card(stage)


async def test_nothing_of_the_resident_is_readable_at_rest(stage):
    await stage.desk.accept(JOB)
    await stage.drive(until="preview")
    at_rest = b"".join(path.read_bytes() for path in stage.folder.glob("unit.db*"))
    for secret in (BIODATA.nik, "SITI", stage.desk.current.card_uid, JOB.card_number):
        assert secret.encode() not in at_rest


@pytest.fixture
def memory_folder(tmp_path):
    """A folder without a disk under it where there is one: this test writes thousands of times."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


async def count_points(folder, two_sided):
    stage = Stage(folder / "whole", two_sided=two_sided)
    await stage.desk.accept(JOB)
    await stage.drive()
    check_one_good_card(stage)
    stage.store.close()
    return stage.fuse.passed


@pytest.mark.parametrize(("two_sided", "stride"), [(True, 1), (False, 3)])
async def test_power_lost_at_any_point_is_taken_up_with_the_same_card_and_printed_once(
    memory_folder, two_sided, stride
):
    """Cut the power before and after every write, command to the card, order to the printer and report."""
    points = await count_points(memory_folder, two_sided)
    assert points > 40
    steps_hit = set()
    for point in range(0, points, stride):
        stage = Stage(memory_folder / str(point), two_sided=two_sided, points=point, blanks=2)
        with suppress(PowerCut):
            await stage.desk.accept(JOB)
            await stage.drive()
            steps_hit.add(stage.step)
        await stage.restart()
        assert (await stage.desk.accept(JOB)).accepted
        await stage.drive()
        body = check_one_good_card(stage)
        assert stage.printer.sides == [FRONT, BACK], f"power cut at point {point}"
        assert len(stage.bodies("spoiled")) == 0
        written = [uid for uid in stage.box.uids() if not stage.box.load(uid).is_blank]
        assert written == [body.card_uid], f"power cut at point {point}"
        stage.store.close()
    assert {"blank", "encode", "preview", "printing", "read_back", "release", "report"} <= steps_hit
