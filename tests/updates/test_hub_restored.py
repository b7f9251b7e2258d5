"""A hub from a backup of yesterday: what its units make of it, and what brings them together again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.tags import Tag
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from contract.clock import utc
from contract.update_problems import UPDATE_WORDING, UpdateProblem, UpdateRefusal
from contract.updates import FileRole, UpdateJob
from edge.update_channel import Span
from edge.update_client import Fetched, UpdateClient
from hub.schema.update_tables import UpdateMetadata
from tests.updates.hub_stage import UpdateStage
from tests.updates.repository import job_for

COLUMNS = UpdateMetadata.__table__


class Follower:
    """A unit's client on a line to this hub."""

    def __init__(self, stage: UpdateStage, folder: Path) -> None:
        self.stage, self.folder = stage, folder
        with stage.world.database.reading() as session:
            self.root = stage.repository.update_root(session)

    def fetch(self, job: UpdateJob) -> Fetched:
        client = UpdateClient(
            self.folder, self.root, self._read, [Tag("py3", "none", "any")], lambda: utc(self.stage.clock.now_ms)
        )
        client.refresh()
        return client.fetch(job, lambda _done, _all: None)

    def _read(self, role: FileRole, name: str, offset: int, length_max: int) -> Span | None:
        with self.stage.world.database.reading() as session:
            if role is FileRole.METADATA:
                content = self.stage.repository.metadata_file(session, name)
                return None if content is None else Span(len(content), content[offset : offset + length_max])
            target = self.stage.repository.file_targets(session).get(name[65:])
        found = None if target is None else self.stage.repository.files.read(target, offset, length_max)
        return None if target is None or found is None else Span(target.length, found)


def in_database(stage: UpdateStage, work: Callable[[Session], object]) -> None:
    with stage.world.database.transaction() as session:
        work(session)


def test_units_take_a_hub_from_its_backup_again_once_it_has_the_newest_media(tmp_path: Path) -> None:
    """Until then they refuse it, as they would one that hides a release from them; and say what the hub may lack."""
    stage = UpdateStage(tmp_path, units=1)
    stage.office.add_edge("0.7.0")
    stage.begin()
    unit = Follower(stage, tmp_path / "unit")
    assert unit.fetch(job_for(1, "0.7.0")).wheels
    kept: list[dict[str, object]] = []
    in_database(stage, lambda s: kept.extend(dict(row._mapping) for row in s.execute(select(COLUMNS))))
    stage.office.add_edge("0.8.0")
    newest = stage.office.publish()
    stage.take(newest)
    assert unit.fetch(job_for(2, "0.8.0")).wheels

    in_database(stage, lambda s: (s.execute(COLUMNS.delete()), s.execute(insert(COLUMNS), kept)))
    stage.clock.now_ms += 3 * 60_000
    in_database(stage, stage.repository.refresh)
    with pytest.raises(UpdateRefusal) as refusal:
        unit.fetch(job_for(1, "0.7.0"))
    assert refusal.value.problem is UpdateProblem.METADATA_OLDER
    assert "take-release" in UPDATE_WORDING[UpdateProblem.METADATA_OLDER].do_en
    assert stage.take(newest).new
    assert unit.fetch(job_for(2, "0.8.0")).wheels
