"""A disk that was put back revives no lease and no try: the chip has counted more starts than the disk knows of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.checkpoint import Checkpoint
from contract.errors import DeviceError
from edge import disk_age
from edge.eligibility import Refusal
from edge.roster import Officer, RosterBook
from edge.sealed_store import SealedStore
from edge.second_factor import TRIES_MAX, FactorBook
from tests.unit.edge_fakes import HUB_STATEMENT, LEASE_FROM_MS, OPERATOR, SetClock, operator_entry, roster_of
from tests.unit.officer_fakes import OTHER, RECORD

ENTRY = operator_entry(OPERATOR, "operator", pin=RECORD)


class PowerCut(BaseException):
    """The power goes."""


class Counter:
    """The chip's counter; cut: the power goes before (False) or after (True) it has counted."""

    def __init__(self) -> None:
        self.count, self.cut, self.fails = 0, None, False  # type: ignore[var-annotated]

    def starts(self) -> int:
        if self.fails:
            raise DeviceError("The ATECC608 refuses.")
        return self.count

    def count_start(self) -> int:
        self.count += self.cut is not False
        if self.cut is not None:
            self.cut = None
            raise PowerCut
        return self.count


class Unit:
    """A unit with its disk and chip; `image` copies the disk, `put_back` lays the copy in its place."""

    def __init__(self, folder: Path) -> None:
        self.path, self.copy = folder / "unit.db", folder / "image.db"
        self.chip: Counter | None = Counter()
        self.clock = SetClock()
        self.store = SealedStore(self.path, bytes(32))

    def start(self) -> RosterBook:
        self.store.close()
        self.store = SealedStore(self.path, bytes(32))
        time = disk_age.open_time(self.store, self.clock, self.chip)
        self.factors = FactorBook(self.store, time)
        self.book = RosterBook(self.store, "9901-A", HUB_STATEMENT, time)
        return self.book

    def image(self) -> None:
        self.store.close()
        shutil.copy(self.path, self.copy)

    def put_back(self) -> None:
        self.store.close()
        shutil.copy(self.copy, self.path)

    @property
    def works(self) -> bool:
        return isinstance(self.book.may_work(OPERATOR), Officer)


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(tmp_path)
    made.clock.now_ms = LEASE_FROM_MS
    made.start().take(roster_of(ENTRY))
    yield made
    made.store.close()


def test_an_ordinary_start_doubts_nothing(unit: Unit) -> None:
    for _ in range(3):
        unit.start()
        assert unit.works


def test_a_disk_that_was_put_back_lets_nobody_in_before_the_hub_was_heard(unit: Unit) -> None:
    unit.image()
    unit.start()
    for _ in range(TRIES_MAX - 5):
        unit.factors.check_pin(ENTRY, OTHER)
    unit.put_back()
    for _ in range(2):  # starting once more is no way out
        unit.start()
        assert unit.book.may_work(OPERATOR) is Refusal.DISK_PUT_BACK and unit.book.standing() == []
        assert unit.book.may_finish(OPERATOR) is Refusal.DISK_PUT_BACK
    for sequence in (1, 2):
        assert not unit.works
        unit.book.time.hear(Checkpoint(sequence=sequence, time_ms=unit.clock.now_ms))
    assert unit.works
    unit.book.time.keep(at_once=True)
    unit.start()
    assert unit.works


def test_a_record_that_was_taken_out_of_the_disk_is_no_way_out(unit: Unit) -> None:
    unit.store.remove(disk_age.KIND, disk_age.EXPECTED)
    unit.start()
    assert not unit.works


@pytest.mark.parametrize("counted", [False, True])
def test_a_power_cut_while_a_start_is_counted_locks_nobody_out(unit: Unit, counted: bool) -> None:
    assert unit.chip is not None
    for _ in range(2):
        unit.chip.cut = counted
        with pytest.raises(PowerCut):
            unit.start()
    unit.start()
    assert unit.works


def test_a_unit_without_such_a_chip_works_as_before(unit: Unit) -> None:
    unit.chip = None
    unit.image()
    unit.start()
    unit.put_back()
    unit.start()
    assert unit.works


def test_a_chip_that_stops_counting_is_doubted_and_one_that_never_did_is_not(unit: Unit, tmp_path: Path) -> None:
    assert unit.chip is not None
    unit.chip.fails = True
    unit.start()
    assert not unit.works
    (tmp_path / "other").mkdir()
    other = Unit(tmp_path / "other")
    assert other.chip is not None
    other.chip.fails = True
    other.clock.now_ms = LEASE_FROM_MS
    other.start().take(roster_of(ENTRY))
    other.start()
    assert other.works
    other.store.close()
