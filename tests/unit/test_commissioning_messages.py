"""What comes over the provisioning listener, off a claim's media or from a technician's tool is right or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from contract.certificates import (
    OPERATIONAL_LIFE,
    Issuer,
    RevocationReason,
    Revoked,
    certify_authority,
    certify_client,
    common_name,
    der,
    is_issued_by,
    key_home_of,
    load_certificate,
    load_public,
    load_request,
    make_request,
    make_revocation_list,
    make_root,
    new_key,
    pem,
    renewal_due,
    request_challenge,
)
from contract.commissioning import (
    CertificateAsk,
    Claim,
    Confirmation,
    Grant,
    Knock,
    Renewal,
    SignedBirth,
    decode_claim,
    encode_claim,
    is_signed,
    verify_answer,
    verify_confirmation,
    verify_renewal_answer,
)
from contract.commissioning_problems import WORDING, Problem, Refusal
from contract.configuration import Desired, Reported, SelftestReport
from contract.dispatch import decode
from contract.errors import RemoteError
from contract.seal import StatementKey, StatementPublicKey, load_statement_key, load_statement_public_key
from contract.technician import Order, Reply, Verb, sign_order, sign_reply, verify_order, verify_reply

NOW = datetime(2026, 11, 25, tzinfo=UTC)
ORDER_ID = "01939c6e-7c1e-7aaa-8000-0123456789ab"
MESSAGES = (CertificateAsk, Confirmation, Grant, Knock, Renewal, SignedBirth, Desired, Reported, SelftestReport)


def statement_keys(kid: str) -> tuple[StatementKey, StatementPublicKey]:
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return load_statement_key(private, kid), load_statement_public_key(public, kid)


HUB, HUB_PUBLIC = statement_keys("hub")
OFFICER, OFFICER_PUBLIC = statement_keys("tek-1")


def authority() -> tuple[Issuer, Issuer]:
    root = make_root("Root", new_key(), NOW)
    key = new_key()
    return root, Issuer(certify_authority(root, "Issuing", key.public_key(), NOW), key)


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else_happens(garbage: bytes):
    doors = [
        lambda: decode_claim(garbage),
        lambda: load_request(garbage),
        lambda: load_certificate(garbage),
        lambda: load_public(garbage),
        lambda: verify_answer(garbage, HUB_PUBLIC, "c-1"),
        lambda: verify_confirmation(garbage, HUB_PUBLIC, "u"),
        lambda: verify_renewal_answer(garbage, HUB_PUBLIC, b"r"),
        lambda: verify_order(garbage, OFFICER_PUBLIC),
        lambda: verify_reply(garbage, HUB_PUBLIC, ORDER_ID),
        *(lambda kind=kind: decode(kind, garbage) for kind in MESSAGES),
    ]
    for door in doors:
        with pytest.raises(RemoteError):
            door()


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_damaged_request_or_certificate_is_refused_or_still_says_what_it_is(place: int, bit: int):
    _, issuing = authority()
    key = new_key()
    for encoded, load in (
        (der(make_request("desk-a1", key, bytes(32))), load_request),
        (der(certify_client(issuing, "desk-a1", key.public_key(), NOW, key_home="tls=software")), load_certificate),
    ):
        damaged = bytearray(encoded)
        damaged[place % len(encoded)] ^= 1 << bit
        try:
            found = load(bytes(damaged))
        except RemoteError:
            continue
        if load is load_certificate:  # a signature or an extension may be another one: only its issuer's key tells
            key_home_of(found)
            renewal_due(found)
        else:  # a bit outside of what is signed
            assert (common_name(found), request_challenge(found)) == ("desk-a1", bytes(32))


def claim_file() -> bytes:
    return encode_claim(
        Claim(
            nonce="c-1", serial="", certificate=b"c", key=b"k", ca=b"a", hub_statement=b"\1" * 60,
            hub_dispatch=b"\1" * 91, host="h", claim_port=1, service_port=2, renewal_port=3, made_ms=4, expires_ms=5,
        )
    )  # fmt: skip


def test_claim_media_torn_at_every_byte_says_so():
    whole = claim_file()
    for cut in range(len(whole)):
        with pytest.raises(Refusal) as refused:
            decode_claim(whole[:cut])
        assert refused.value.problem is Problem.CLAIM_INCOMPLETE
    with pytest.raises(Refusal):
        decode_claim(whole[:-20] + bytes(20))  # a block that the media never wrote


def test_every_problem_says_what_happened_and_what_to_do_in_both_languages():
    assert set(WORDING) == set(Problem)
    for wording in WORDING.values():
        lines = (wording.what_id, wording.do_id, wording.what_en, wording.do_en)
        assert all(line.strip().endswith((".", ")")) or line.endswith("'.") for line in lines), lines
        assert len(set(lines)) == 4


def test_a_request_proves_its_key_its_name_and_the_challenge():
    key = new_key()
    request = load_request(der(make_request("desk-a1", key, b"\7" * 32)))
    assert (common_name(request), request_challenge(request)) == ("desk-a1", b"\7" * 32)
    assert request_challenge(load_request(der(make_request("desk-a1", key)))) == b""
    with pytest.raises(RemoteError):
        common_name(load_request(der(make_request("desk/a1", key))))
    with pytest.raises(RemoteError, match="P-256"):
        load_request(der(make_request("desk-a1", ec.generate_private_key(ec.SECP384R1()))))


def test_certificates_chain_say_where_the_key_lives_and_are_due_at_two_thirds():
    root, issuing = authority()
    certificate = load_certificate(
        pem(certify_client(issuing, "desk-a1", new_key().public_key(), NOW, key_home="tls=software sign=atecc608"))
    )
    assert is_issued_by(certificate, issuing.certificate) and is_issued_by(issuing.certificate, root.certificate)
    assert not is_issued_by(certificate, root.certificate)
    assert key_home_of(certificate) == "tls=software sign=atecc608"
    assert abs(renewal_due(certificate) - (NOW + OPERATIONAL_LIFE * 2 / 3)) < timedelta(minutes=5)


def test_a_revocation_list_names_its_issuer_number_and_end():
    from cryptography import x509

    _, issuing = authority()
    lines = [Revoked(77, NOW, RevocationReason.KEY_COMPROMISE)]
    found = x509.load_pem_x509_crl(make_revocation_list(issuing, 3, lines, NOW, timedelta(days=7)))
    assert found.is_signature_valid(issuing.key.public_key())
    assert found.next_update_utc == NOW + timedelta(days=7)
    assert found.get_revoked_certificate_by_serial_number(77) is not None
    assert found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3


def test_an_order_is_the_technicians_own_and_a_reply_the_hubs():
    order = Order(id=ORDER_ID, technician="tek-1", verb=Verb.STATUS, at_ms=1, body=b"\xa0")
    signed = sign_order(order, OFFICER)
    assert verify_order(signed, OFFICER_PUBLIC) == order
    with pytest.raises(RemoteError):
        verify_order(signed, HUB_PUBLIC)
    stolen = sign_order(order.model_copy(update={"technician": "tek-2"}), OFFICER)
    with pytest.raises(RemoteError):
        verify_order(stolen, OFFICER_PUBLIC)
    reply = Reply(id=ORDER_ID, done=True, hub_ms=2)
    assert verify_reply(sign_reply(reply, HUB), HUB_PUBLIC, ORDER_ID) == reply
    with pytest.raises(RemoteError):
        verify_reply(sign_reply(reply, HUB), HUB_PUBLIC, ORDER_ID.replace("ab", "ac"))
    with pytest.raises(RemoteError):
        verify_answer(sign_reply(reply, HUB), HUB_PUBLIC, "c-1")  # a statement for another purpose


def test_a_signature_is_checked_not_believed():
    from cryptography.hazmat.primitives import hashes

    key = new_key()
    signature = key.sign(b"text", ec.ECDSA(hashes.SHA256()))
    assert is_signed(key.public_key(), signature, b"text")
    assert not is_signed(key.public_key(), signature, b"other")
    assert not is_signed(key.public_key(), b"no signature", b"text")
