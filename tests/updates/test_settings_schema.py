"""The centre's schema of settings: what it forbids is refused before it is tried, and no schema breaks a unit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.commissioning_problems import Problem
from contract.errors import RemoteError
from contract.settings_schema import SCHEMA_FILE, SettingsSchema
from edge.configuration import Configurations
from tests.commissioning.desk_world import SetClock
from tests.commissioning.test_configuration import OLD, desired, reported

STRICT = {
    "properties": {
        "policy": {"properties": {"verify_fmr": {"type": "number", "maximum": 1e-3}, "attempts_max": {"maximum": 5}}},
        "devices": {"properties": {"finger": {"properties": {"driver": {"enum": ["zfm", "sbi"]}}}}},
    }
}


def schema(found: object) -> SettingsSchema:
    return SettingsSchema(json.dumps(found).encode())


def test_it_names_the_setting_and_the_rule() -> None:
    strict = schema(STRICT)
    assert strict.objection({"policy": {"verify_fmr": 1e-4}, "devices.finger": {"driver": "zfm"}}) == ""
    assert strict.objection({"policy": {"verify_fmr": 0.5}}) == "policy.verify_fmr: maximum 0.001"
    assert "devices.finger.driver: enum" in strict.objection({"devices.finger": {"driver": "folder"}})


@pytest.mark.parametrize(
    "wrong",
    [b"", b"[]", b"\xff", b"{", b"null", b'{"type": 7}', b'{"properties": 3}', b'{"$ref": "http://x/y"}',
     b'{"$ref": "#"}', b'{"not": {"$ref": "#"}}',
     b'{"$ref": "file:///etc/passwd"}', b'{"$ref": "data:,{}"}', b'{"pattern": "("}', b"[" * 5000, b"1" * 300_000],
)  # fmt: skip
def test_what_is_no_schema_is_refused_and_no_document_is_opened(wrong: bytes) -> None:
    with pytest.raises(RemoteError):
        SettingsSchema(wrong)


def test_a_schema_that_asks_itself_without_end_allows_nothing() -> None:
    endless = schema({"properties": {"policy": {"not": {"$ref": "#/properties/policy"}}}})
    assert endless.objection({}) == "" and "without end" in endless.objection({"policy": {}})
    asks = schema({"required": ["policy"]})
    assert "required" in asks.objection({}) and asks.objection({"policy": {}}) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "$ref", "enum", "pattern", "items", "not", "$id"]), inner
        )
    ),
    max_leaves=8,
)


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_any_json_is_a_schema_or_refused(found: object) -> None:
    try:
        made = schema(found)
    except RemoteError:
        return
    assert isinstance(made.objection({"policy": {"attempts_max": 3}}), str)


def test_a_configuration_that_it_forbids_is_refused_before_it_is_tried(tmp_path: Path) -> None:
    (tmp_path / "unit.toml").write_text(OLD, encoding="utf-8")
    found = Configurations(tmp_path / "unit.toml", SetClock())
    assert found.consider(desired(2)) is not None
    (tmp_path / SCHEMA_FILE).write_text(json.dumps(STRICT), encoding="utf-8")
    assert found.consider(desired(3)) is None
    report = reported(found)
    assert report.problem is Problem.CONFIGURATION_INVALID and "policy.attempts_max: maximum 5" in report.detail
    (tmp_path / SCHEMA_FILE).write_bytes(b"spoiled")  # by the disk: a unit can still be configured
    assert found.consider(desired(4)) is not None
