"""What a unit keeps at rest: sealed, bound to its place, and true after a power cut."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from contract.checkpoint import Checkpoint, sign_checkpoint
from contract.dispatch import Notice, RegisterEntry, RegisterPage, SiteKey
from contract.errors import DeviceError, RemoteError
from contract.lifecycle import RecordState
from contract.seal import load_statement_key, load_statement_public_key
from edge.config import load_config
from edge.moment import MomentSource
from edge.register import CardOutcome, Claim, Register
from edge.sealed_store import Change, SealedStore
from tests.unit.edge_fakes import (
    CARD_UID,
    LEASE_UNTIL_MS,
    NIK,
    PAPERS,
    SetClock,
    biodata,
    consigned,
    make_bench,
    roster_of,
)

KEY = bytes(range(32))
CAPTURE = "01920000-0000-7000-8000-00000000000a"


def test_nothing_readable_lies_on_the_disk(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    bench.register.take_card(consigned())
    bench.register.keep_claim(Claim(NIK, CAPTURE, confirmed=True))
    bench.store.close()
    found = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (NIK, "SARI", "op-siti", CARD_UID, CAPTURE):
        assert secret.encode() not in found


def test_a_value_does_not_open_in_another_place_or_with_another_key(tmp_path: Path) -> None:
    store = SealedStore(tmp_path / "unit.db", KEY)
    store.put("a", "one", b"first")
    store.put("a", "two", b"second")
    store.close()
    rows = sqlite3.connect(tmp_path / "unit.db")
    places = [place for (place,) in rows.execute("SELECT place FROM sealed")]
    rows.execute("UPDATE sealed SET value = (SELECT value FROM sealed WHERE place = ?)", (places[0],))
    rows.commit()
    rows.close()
    moved = SealedStore(tmp_path / "unit.db", KEY)
    with pytest.raises(RemoteError):
        list(moved.items("a"))
    moved.close()
    other = SealedStore(tmp_path / "other.db", KEY)
    other.put("a", "one", b"first")
    other.close()
    wrong = SealedStore(tmp_path / "other.db", bytes(32))
    assert wrong.get("a", "one") is None  # its place is under another name there
    with pytest.raises(RemoteError):
        list(wrong.items("a"))


def test_changes_are_made_together_or_not_at_all(tmp_path: Path) -> None:
    store = SealedStore(tmp_path / "unit.db", KEY)
    with pytest.raises(AttributeError):
        store.change((Change("a", "one", b"kept"), Change("a", None, b"broken")))  # type: ignore[arg-type]
    assert store.get("a", "one") is None and store.count("a") == 0
    store.put("a", "one", b"kept")
    assert store.get("a", "one") == b"kept"


def test_a_moment_is_never_given_twice_even_after_a_kill(tmp_path: Path) -> None:
    clock = SetClock()
    store = SealedStore(tmp_path / "unit.db", KEY)
    first = MomentSource(store, clock)
    moments = [first.next() for _ in range(3)]
    again = MomentSource(store, clock)
    moments += [again.next() for _ in range(3)]
    assert [moment.sequence for moment in moments] == [1, 2, 3, 4, 5, 6]
    assert moments[0].boot_id != moments[3].boot_id and again.boot == first.boot + 1


def test_a_moment_carries_the_newest_checkpoint_and_no_false_one(tmp_path: Path) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    signing = load_statement_key(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public = load_statement_public_key(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    store = SealedStore(tmp_path / "unit.db", KEY)
    moments = MomentSource(store, SetClock())
    one = Checkpoint(sequence=1, time_ms=10)
    two = one.following(20)
    assert moments.take_checkpoint(sign_checkpoint(two, signing), public)
    assert not moments.take_checkpoint(sign_checkpoint(one, signing), public)
    assert MomentSource(store, SetClock()).next().checkpoint == two.digest()
    forged = bytearray(sign_checkpoint(two.following(30), signing))
    forged[-1] ^= 1
    with pytest.raises(RemoteError):
        moments.take_checkpoint(bytes(forged), public)
    assert moments.checkpoint == two


def test_an_older_word_of_the_hub_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    register = bench.register
    entry = RegisterEntry(biodata=biodata(), status=RecordState.INACTIVE, eligible=True, required_papers=PAPERS)
    assert register.take_page(RegisterPage(site="9901-A", page="p1", version=5, entries=(entry,)))
    assert not register.take_page(RegisterPage(site="9901-A", page="p1", version=4, entries=()))
    assert not register.take_page(RegisterPage(site="9902-B", page="p9", version=9, entries=(entry,)))
    assert not bench.roster.take(roster_of(version=0))
    assert not register.take_site_key(SiteKey(site="9902-B", epoch=1, key=KEY))
    after = Register(bench.store, "9901-A")
    found = after.entry(NIK)
    assert found is not None and found.status is RecordState.INACTIVE and bench.roster.officer("op-siti") is not None


def test_a_lease_that_has_run_out_is_not_listed(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    assert "op-late" not in {officer.operator for officer in bench.roster.standing()}
    bench.clock.now_ms = LEASE_UNTIL_MS
    assert bench.roster.standing() == []


def test_a_notice_tells_the_status_until_the_nik_is_freed(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    register = bench.register
    register.keep_claim(Claim(NIK, CAPTURE, confirmed=True))
    entry = register.entry(NIK)
    assert entry is not None and entry.status is RecordState.PROCESSING
    notice = Notice(
        capture_id=CAPTURE,
        nik=NIK,
        status=RecordState.DUPLICATE_RECORD,
        version=2,
        at_ms=9,
        message_id="",
        message_en="",
    )
    assert register.take_notice(notice)
    assert not register.take_notice(notice.model_copy(update={"version": 1}))
    entry = register.entry(NIK)
    assert entry is not None and entry.status is RecordState.DUPLICATE_RECORD
    freed = notice.model_copy(update={"version": 3, "at_ms": 10, "status": RecordState.UNREGISTERED})
    assert register.take_notice(freed) and register.is_freed(CAPTURE)
    register.drop_claim(CAPTURE)
    entry = register.entry(NIK)
    assert entry is not None and entry.status is RecordState.UNREGISTERED and register.claim_of(NIK) is None


def test_a_retained_card_is_withdrawn_for_good(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    bench.register.take_card(consigned())
    bench.register.settle_card(CARD_UID, CardOutcome.RETAINED)
    bench.register.take_card(consigned())
    again = Register(bench.store, "9901-A")
    card = again.card(card_uid=CARD_UID)
    assert card is not None and card.withdrawn


@pytest.mark.parametrize("outcome", list(CardOutcome))
def test_an_empty_message_and_an_old_one_behind_it_do_not_bring_a_settled_card_back(
    tmp_path: Path, outcome: CardOutcome
) -> None:
    bench = make_bench(tmp_path)
    bench.register.take_card(consigned())
    bench.register.settle_card(CARD_UID, outcome)
    bench.register.drop_card(CARD_UID)
    bench.register.take_card(consigned())
    for register in (bench.register, Register(bench.store, "9901-A")):
        card = register.card(card_uid=CARD_UID)
        assert card is None or card.withdrawn


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[unit", "cannot be read"),
        ('[unit]\nid = "a"\n', "unit.site"),
        ('[unit]\nid = "a"\nsite = "s"\nrole = "desk"\ncolour = "red"\n', "colour"),
        ("[screen]\nport = 70000\n", "screen.port"),
        ('[screen]\nhost = "0.0.0.0"\n', "screen.host"),
        ("[policy]\nsign_fmr = 2.0\n", "sign_fmr"),
    ],
)
def test_a_wrong_configuration_names_its_key(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "unit.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DeviceError, match=named):
        load_config(path)
