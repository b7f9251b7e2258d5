"""A commissioned unit's configuration on its disk: the one in force, one on trial, and what the unit reports of them.

unit.toml stays as it is until the configuration on trial has proved itself; going back is to forget the trial. So a
power cut at any write leaves the one or the other whole, and the next start settles what was left. Whoever calls
`start` holds the unit's data lock.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import structlog
from pydantic import Field

from contract.clock import Clock
from contract.commissioning_problems import WORDING, Problem, Refusal
from contract.configuration import Desired, Reported, SelftestReport, as_toml, objection
from contract.dispatch import decode, encode
from contract.durable_files import DurableFolder, Observer, unobserved
from contract.errors import DeviceError, RemoteError
from contract.packet import Digest, Model, Name
from contract.settings_schema import SCHEMA_FILE, SettingsSchema
from edge.box_files import REPORTED, SELFTEST
from edge.config import CONFIG_BYTES_MAX, UnitConfig, load_config

TRIAL, TRIAL_CONFIG = "trial.bin", "unit.trial.toml"
STARTS_MAX = 2  # a power cut during a trial says nothing against it, a second one may be its doing
IDENTITY = "identity"
log = structlog.get_logger("configuration")


class Trial(Model):
    """A configuration on trial. content: the unit.toml that it would be; failing: devices that failed before it."""

    version: Annotated[int, Field(ge=1, le=2**53)]
    digest: Digest
    content: Annotated[bytes, Field(max_length=CONFIG_BYTES_MAX)]
    failing: Annotated[tuple[Name, ...], Field(max_length=40)] = ()
    starts: Annotated[int, Field(ge=0, le=STARTS_MAX)] = 0


class Configurations:
    """The configurations of one unit. Methods block on the disk; Refusal (STORE_UNUSABLE) where that fails."""

    def __init__(self, path: Path, clock: Clock, observe: Observer = unobserved) -> None:
        """path: of unit.toml. Raises DeviceError where it cannot be used."""
        self.config = load_config(path)
        self.on_trial = False
        self.path = path.resolve()
        self._clock = clock
        self._files = DurableFolder(self.path.parent, observe)
        self._kept = DurableFolder(self.config.broker.certificate.parent, observe)
        self.schema_of_release: Callable[[], bytes | None] = lambda: None  # what came with the software, if it counts

    def start(self) -> tuple[UnitConfig, Trial | None]:
        """What to run on now, and the trial that this is, if it is one."""
        trial, known = self._trial(), self._known()
        if trial is None:
            return self.config, None
        if _gave_up(known, trial.version):
            self._forget()
        elif self._files.read(self.path.name) == trial.content:
            self.adopt(trial)
        elif trial.starts >= STARTS_MAX:
            self.roll_back(trial, f"It ended {STARTS_MAX} times before it was healthy.")
        else:
            trial = trial.model_copy(update={"starts": trial.starts + 1})
            self._files.write(TRIAL, encode(trial))
            self._files.write(TRIAL_CONFIG, trial.content)
            try:
                config = load_config(self._files.path(TRIAL_CONFIG))
            except DeviceError as error:
                self.roll_back(trial, error.message)
            else:
                self.on_trial = True
                return config, trial
        return self.config, None

    def consider(self, desired: Desired) -> Trial | None:
        """What to try, where there is something to try; a configuration that cannot be taken up is reported."""
        known, waiting = self._known(), self._trial()
        if _gave_up(known, desired.version) or desired.digest() == known.digest:
            return None
        if waiting is not None and waiting.digest == desired.digest():
            return None
        try:
            trial = self._drafted(desired, known)
        except Refusal as refusal:
            log.warning("configuration refused", version=desired.version, **refusal.diagnostics())
            if known.problem is not Problem.CONFIGURATION_UNHEALTHY or desired.version > known.refused_version:
                self._refuse(desired.version, refusal)  # else a replay would have what was given up tried again
            return None
        if self._files.read(self.path.name) == trial.content:
            self.adopt(trial)
            return None
        return trial

    def begin(self, trial: Trial) -> None:
        """From the next start on it is tried."""
        self._files.write(TRIAL, encode(trial))
        log.info("configuration goes on trial", version=trial.version, failing=",".join(trial.failing))

    def adopt(self, trial: Trial) -> None:
        """It is the unit's configuration now."""
        self._files.write(self.path.name, trial.content)
        self.config = load_config(self.path)
        report = Reported(version=trial.version, digest=trial.digest, at_ms=self._clock.wall_ms())
        self._carry_selftest(trial)
        self._kept.write(REPORTED, encode(report))
        self._forget()
        self.on_trial = False
        log.info("configuration taken up", version=trial.version)

    def roll_back(self, trial: Trial, why: str) -> None:
        """It did not prove itself: the one in force stays, and the report says why."""
        refusal = Refusal(Problem.CONFIGURATION_UNHEALTHY, why)
        log.warning("configuration rolled back", version=trial.version, **refusal.diagnostics())
        self._refuse(trial.version, refusal)
        self._forget()

    def reported(self) -> bytes | None:
        """The report as it is published."""
        return self._kept.read(REPORTED)

    def selftest(self) -> bytes | None:
        """The newest test of the devices, as it is published."""
        return self._kept.read(SELFTEST)

    def status(self) -> Mapping[str, Any]:
        """For the unit's page: the version in force, whether another is on trial, what was refused last, in words."""
        known = self._known()
        found: dict[str, Any] = {"version": known.version, "on_trial": self.on_trial, "refused": 0}
        if known.problem is not None:
            said = WORDING[known.problem]
            found |= {
                "refused": known.refused_version,
                "problem_id": f"{said.what_id} {said.do_id}",
                "problem_en": f"{said.what_en} {known.detail} {said.do_en}",
            }
        return found

    def _drafted(self, desired: Desired, known: Reported) -> Trial:
        """The trial of a configuration that may be tried. Raises Refusal."""
        unit = self.config.unit.id
        if desired.unit != unit:
            raise Refusal(Problem.CONFIGURATION_FOR_OTHER_UNIT, f"It is for {desired.unit}, this is {unit}.")
        if desired.version <= known.version:
            raise Refusal(Problem.CONFIGURATION_OLD, f"It is version {desired.version}; {known.version} is in force.")
        if refusal := objection(desired.tables):
            raise refusal
        if why := self._forbidden(desired):
            raise Refusal(Problem.CONFIGURATION_INVALID, why)
        content = as_toml(self._tables(desired)).encode()
        self._files.write(TRIAL_CONFIG, content[: CONFIG_BYTES_MAX + 1])
        path = self._files.path(TRIAL_CONFIG)
        try:
            load_config(path)
        except DeviceError as error:
            raise Refusal(Problem.CONFIGURATION_INVALID, error.message.replace(str(path), "unit.toml")) from None
        return Trial(version=desired.version, digest=desired.digest(), content=content)

    def _forbidden(self, desired: Desired) -> str:
        """What the centre's schema does not allow of these settings, where one is in force."""
        content = self.schema_of_release() or self._kept.read(SCHEMA_FILE)
        try:
            return SettingsSchema(content).objection(desired.tables) if content is not None else ""
        except RemoteError:
            return ""  # it was read before it was kept: another software's schema forbids nothing here

    def _tables(self, desired: Desired) -> dict[str, Mapping[str, Any]]:
        """The tables of the unit.toml that this would be: who the unit is and where its keys lie stays."""
        present = tomllib.loads(self.path.read_text(encoding="utf-8"))
        tables: dict[str, Mapping[str, Any]] = {name: present[name] for name in ("unit", "broker", "keys")}
        tables["unit"] = {**present["unit"], "site": desired.site}
        tables |= desired.tables
        chip = present.get("devices", {}).get(IDENTITY)
        if chip is not None and "sign" not in present["keys"]:
            tables[f"devices.{IDENTITY}"] = chip
        return tables

    def _carry_selftest(self, trial: Trial) -> None:
        """What passed its test before is well on the new configuration too, or it would not be taken up.

        A unit that gets one while it is commissioned would else wait for ever for a test of the one before.
        """
        content = self._kept.read(SELFTEST)
        try:
            before = decode(SelftestReport, content) if content is not None else None
        except RemoteError:
            return
        if before is not None and before.passed and not trial.failing:
            after = before.model_copy(update={"digest": trial.digest, "at_ms": self._clock.wall_ms()})
            self._kept.write(SELFTEST, encode(after))

    def _refuse(self, version: int, refusal: Refusal) -> None:
        known = self._known()
        report = Reported(
            version=known.version,
            digest=known.digest,
            refused_version=version,
            problem=refusal.problem,
            detail=refusal.detail[:1000],
            at_ms=self._clock.wall_ms(),
        )
        self._kept.write(REPORTED, encode(report))

    def _forget(self) -> None:
        """The trial's record goes last: a start that finds it settles it again."""
        self._files.remove(TRIAL_CONFIG)
        self._files.remove(TRIAL)

    def _known(self) -> Reported:
        content = self._kept.read(REPORTED)
        try:
            return decode(Reported, content) if content is not None else Reported(version=0, at_ms=0)
        except RemoteError:
            return Reported(version=0, at_ms=0)

    def _trial(self) -> Trial | None:
        content = self._files.read(TRIAL)
        try:
            return decode(Trial, content) if content is not None else None
        except RemoteError:
            return None  # it is written again by the next one


def _gave_up(known: Reported, version: int) -> bool:
    """Whether this version was tried and given up; every other refusal is found again by looking again."""
    return known.problem is Problem.CONFIGURATION_UNHEALTHY and known.refused_version == version
