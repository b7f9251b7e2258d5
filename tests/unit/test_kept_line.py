"""What a line keeps from one try to the next: its TLS context, until a file of it changes; and who hears what."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import topics
from contract.certificates import certify_client, make_root, new_key, pem, private_pem
from contract.channel_mqtt_settings import KeptContext, MqttSettings
from contract.durable_files import DurableFolder
from contract.errors import DeviceError, RemoteError
from contract.topic_routes import TopicRoutes

KEY = new_key()
ROOT = make_root("root", KEY, datetime.now(UTC))


@pytest.fixture
def line(tmp_path: Path) -> MqttSettings:
    files = {"ca.crt": pem(ROOT.certificate), "tls.crt": certificate("desk-a1"), "tls.key": private_pem(KEY)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return MqttSettings("host", 1, *(tmp_path / name for name in files), client_id="desk-a1")


def certificate(name: str) -> bytes:
    return pem(certify_client(ROOT, name, KEY.public_key(), datetime.now(UTC)))


def test_a_context_is_kept_until_one_of_its_files_is_another(line: MqttSettings) -> None:
    kept = KeptContext()
    first = kept.of(line)
    assert kept.of(line) is first
    DurableFolder(line.certificate.parent).write(line.certificate.name, certificate("desk-a2"))
    second = kept.of(line)
    assert second is not first and kept.of(line) is second
    for path in (line.ca, line.key):  # written in place, with the same length
        before = kept.of(line)
        os.utime(path)
        assert kept.of(line) is not before
    following = line.certificate.with_name("tls.next.pem")
    following.write_bytes(certificate("desk-a1") + private_pem(KEY))
    before = kept.of(line)
    assert kept.of(replace(line, certificate=following, key=following)) is not before


def test_a_file_that_is_gone_or_spoiled_is_no_reason_to_go_on_with_what_it_was(line: MqttSettings) -> None:
    kept = KeptContext()
    kept.of(line)
    good = line.key.read_bytes()
    line.key.unlink()
    for _ in range(2):
        with pytest.raises(DeviceError):
            kept.of(line)
    line.key.write_bytes(b"spoiled")
    with pytest.raises(DeviceError):
        kept.of(line)
    line.key.write_bytes(good)
    kept.of(line)


async def _ignore(_names: dict[str, str], _payload: bytes) -> None: ...


def test_who_asked_for_one_unit_hears_only_that_and_who_asked_for_none_hears_all() -> None:
    routes = TopicRoutes()
    routes.add(topics.UP_STATE, {}, _ignore)
    routes.add(topics.DN_NEED, {"unit": "a"}, _ignore)
    routes.add(topics.HUB_STATE, {"unit": "a"}, _ignore)  # has no such field
    assert routes.filters() == ["hub/state", "k/+/up/state", "k/a/dn/pkt/+/need"]
    heard = {name: [names for _, names, _ in routes.hearing(name)] for name in (
        "k/b/up/state", "k/a/dn/pkt/p/need", "k/b/dn/pkt/p/need", "hub/state", "k/a/dn/pkt/p",
        "k//up/state", "k/+/up/state",
    )}  # fmt: skip
    assert list(heard.values()) == [[{"unit": "b"}], [{"unit": "a", "pid": "p"}], [], [{}], [], [], []]


@given(st.sampled_from(topics.ALL_TOPICS), st.text(max_size=80) | st.from_regex(r"[a-z]{1,3}(/[a-z+#\x00]{0,9}){0,7}"))
def test_any_name_is_a_topic_with_names_that_make_it_again_or_is_none(topic: topics.Topic, name: str) -> None:
    names = topic.parse(name)
    assert names is None or topic.at(**names) == name


@pytest.mark.parametrize(("was_retained", "expires_s"), [(True, 30), (False, 0), (False, 31)])
def test_a_command_that_may_be_old_is_refused(was_retained: bool, expires_s: int) -> None:
    topics.DN_COMMAND.check_fresh(was_retained=False, expires_s=30)
    topics.UP_STATE.check_fresh(was_retained, expires_s)
    with pytest.raises(RemoteError):
        topics.DN_COMMAND.check_fresh(was_retained, expires_s)
