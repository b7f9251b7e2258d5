"""The chip's session against published vectors: RFC 4493, NIST SP 800-108, and secure messaging by BSI and gematik."""

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from contract.apdu import Command, Response, parse_command, parse_response
from contract.card_session import KeyPair, SecureMessaging, cmac, derive
from contract.errors import RemoteError

# BSI TR-03110 worked example's session keys, which gematik's vectors use too.
KEYS = KeyPair(bytes.fromhex("68406B4162100563D9C901A6154D2901"), bytes.fromhex("73FF268784F72AF833FDC9464049AFC9"))


@pytest.mark.parametrize(
    ("message", "tag"),
    [
        ("", "bb1d6929e95937287fa37d129b756746"),
        ("6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"),
        (
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
            "dfa66747de9ae63030ca32611497c827",
        ),
    ],
)
def test_cmac_is_that_of_rfc_4493(message, tag):
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    assert cmac(key, bytes.fromhex(message)).hex() == tag


def test_key_derivation_is_nist_sp_800_108_in_counter_mode_with_aes_256_cmac():
    # ACVP, kdfMode counter, macMode CMAC-AES256, counterLength 32, before fixed data, tcId 525.
    key = bytes.fromhex("BFB99C6AAB859A9873ACC9880BD875BB83A8B24A9307576A054216908756BE5B")
    fixed = bytes.fromhex("CD9B9791F5EEE211918BA1E2B01B4E29")
    vector = KBKDFCMAC(AES, Mode.CounterMode, 32, 4, 4, CounterLocation.BeforeFixed, None, None, fixed).derive(key)
    assert vector.hex() == "c303887fb0aca8e78debb8a008e75c88c26e927f0fa8a1df1614c97e1b6f78b3"
    # The fixed data of `derive` are label ‖ 00 ‖ context ‖ [L]32, so a block is one CMAC over counter and these.
    block = cmac(key, (1).to_bytes(4, "big") + b"label\x00context" + (128).to_bytes(4, "big"))
    assert derive(key, b"label", b"context", 16) == block


@pytest.mark.parametrize(
    ("command", "extended", "expected"),
    [
        (Command(1, 2, 3, 4), False, "0D0203040A8E08D92B4FDDC2BBED8C00"),
        (Command(1, 2, 3, 4, b"", 127), True, "0D02030400000D97017F8E0871D8E0418DAE20F30000"),
        (Command(1, 2, 3, 4, b"", 257), True, "0D02030400000E970201018E089F3EDDFBB1D3971D0000"),
        (
            Command(1, 2, 3, 4, bytes.fromhex("05060708090a")),
            False,
            "0D0203041D871101496C26D36306679609665A385C54DB378E08E7AAD918F260D8EF00",
        ),
        (
            Command(1, 2, 3, 4, bytes.fromhex("05060708090a"), 127),
            True,
            "0D020304000020871101496C26D36306679609665A385C54DB3797017F8E0863D541F262BD445A0000",
        ),
    ],
)
def test_wrapped_commands_are_byte_for_byte_the_published_ones(command, extended, expected):
    wrapped = SecureMessaging(KEYS).wrap_command(command, extended=extended)
    assert wrapped.hex().upper() == expected
    assert SecureMessaging(KEYS).unwrap_command(parse_command(wrapped)) == command


def test_a_long_command_is_wrapped_in_extended_length_as_published():
    wrapped = SecureMessaging(KEYS).wrap_command(Command(1, 2, 3, 4, bytes(256), 127))
    assert wrapped.hex().upper().startswith("0D02030400012287820111013297D4AA774AB26AF8AD539C0A829BCA4D222D3EE2DB")
    assert wrapped.hex().upper().endswith("CA48025D049FCEE497017F8E0856332C83EABDF93C0000")


def test_the_third_command_of_the_bsi_worked_example_is_wrapped_as_published():
    # MSE:Set DST with the counter at 5, as terminal authentication follows two exchanges in the example.
    command = Command(0, 0x22, 0x81, 0xB6, bytes.fromhex("830D44455445535444564445303139"))
    wrapped = SecureMessaging(KEYS, 4).wrap_command(command)
    assert wrapped.hex().upper() == "0C2281B61D871101A7BB8F230FFF9221162AD673B9F319A88E08D8713E9B7A600B4900"


@pytest.mark.parametrize(
    ("counter", "protected", "plain"),
    [
        (0, "990290008E08087631D746F872729000", "9000"),
        (5, "990290008E08C8488F79FEF386C79000", "9000"),  # the card's answer to MSE:Set DST in the BSI example
        (0, "871101496c26d36306679609665a385c54db37990290008E08B7E9ED2A0C89FB3A9000", "05060708090a9000"),
    ],
)
def test_protected_responses_open_as_published(counter, protected, plain):
    opened = SecureMessaging(KEYS, counter).unwrap_response(parse_response(bytes.fromhex(protected)))
    assert opened.encode().hex() == plain
    assert SecureMessaging(KEYS, counter).wrap_response(opened).encode() == bytes.fromhex(protected)


@pytest.mark.parametrize(
    "protected",
    [
        "871101496c26d36306679609665a385c54db378E08B7E9ED2A0C89FB3A9000",  # no status object
        "871101496c26d36306679609665a385c54db37990290008E08A7E9ED2A0C89FB3A9000",  # wrong MAC
        "871101496c26d36306679609665a385c54db37990290009000",  # no MAC
        "9000",  # not protected at all
        "6988",
    ],
)
def test_a_response_that_is_not_wholly_protected_ends_the_session(protected):
    session = SecureMessaging(KEYS)
    with pytest.raises(RemoteError):
        session.unwrap_response(parse_response(bytes.fromhex(protected)))
    assert not session.alive
    with pytest.raises(RemoteError, match="has ended"):
        session.wrap_command(Command(0, 0xB0, 0, 0, b"", 1))


def test_a_status_changed_on_its_way_is_noticed():
    with pytest.raises(RemoteError, match="status"):
        SecureMessaging(KEYS).unwrap_response(Response(bytes.fromhex("990290008E08087631D746F87272"), 0x6982))
