"""The form of a scenario: what a YAML file may say, checked before anything is started.

`python -m control_room.scenarios.model` writes the JSON Schema that editors and `scenario lint` go by.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

import scenarios
from control_room.chaos.catalogue import CATALOGUE, make
from control_room.chaos.errors import FaultError
from control_room.chaos.link_fault import LinkFault
from control_room.durations import seconds
from control_room.scenarios import conditions, targets
from control_room.stack.runtime import MEMBERS
from services.common.batch import MAX_BATCH_EVENTS


class ScenarioError(ValueError):
    """A scenario that cannot be read or does not make sense. The message names the file and the place."""


def _seconds(value: Any) -> Any:
    return seconds(value) if isinstance(value, str) else value


def _share(value: Any) -> Any:
    if isinstance(value, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", value.strip())
        if found is None:
            raise ValueError(f"{value!r} is not a share; one is such as 25 %")
        return float(found[1]) / 100
    return value


def _condition(value: Any) -> Any:
    if isinstance(value, str):
        conditions.parse(value)
    return value


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_TEXT_OR_NUMBER: Final[dict[str, Any]] = {"type": ["string", "number"]}
_TEXT_OR_LIST: Final[dict[str, Any]] = {"type": ["string", "array"]}
Duration = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=86_400, json_schema_extra=_TEXT_OR_NUMBER)]
Share = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1, json_schema_extra=_TEXT_OR_NUMBER)]
ConditionText = Annotated[str, BeforeValidator(_condition)]
Names = Annotated[list[str], BeforeValidator(_names), Field(min_length=1, json_schema_extra=_TEXT_OR_LIST)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Load(_Strict):
    """The payments that are sent while things break."""

    payments: Annotated[int, Field(ge=10, le=10_000_000)] = 300
    rate: Annotated[float, Field(gt=0, le=100_000)] = 40.0
    """Payments a second, whether or not answers come."""
    failure_rate: Annotated[float, Field(ge=0, le=0.95)] = 0.2
    """Share of the merchant's answers that fail."""
    batch: Annotated[int, Field(ge=1, le=MAX_BATCH_EVENTS)] = 1
    """Payments in one request; more than one go to `POST /events/batch`."""
    gives_way: bool = False
    """Whether it slows down while it is ahead of the steps: many of them then have their load on a slow machine too."""


class Step(_Strict):
    """One step: when it comes, and what it does. Steps come one after the other."""

    at: Share | None = None
    """As soon as that share of the payments is accepted."""
    after: Duration | None = None
    """So long after the step before it."""
    when: ConditionText | None = None
    """As soon as the condition holds."""
    within: Duration = 60.0
    """How long `when`, `at` or `expect` may take; then the scenario has failed."""
    fault: str | None = None
    """The name of a fault of the catalogue."""
    target: Names | None = None
    """The members that it hits, by name or by what they are then. (`on` is a truth value to YAML.)"""
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    """What the fault takes."""
    one_by_one: bool = False
    """Each member only after the one before it was seen to be hit: a rolling restart."""
    heal: Names | None = None
    """Members whose faults are undone; `all` for every one of the scenario."""
    rate: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """The load goes on at this rate."""
    expect: ConditionText | None = None
    """What must hold by then; else the scenario has failed, whatever the verdict."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if sum(value is not None for value in (self.at, self.after, self.when)) > 1:
            raise ValueError("a step has one of at, after and when")
        does = [name for name in ("fault", "heal", "rate", "expect") if getattr(self, name) is not None]
        if len(does) > 1:
            raise ValueError(f"a step does one thing; this one has {', '.join(does)}")
        if self.fault is None and (self.target or self.with_ or self.one_by_one):
            raise ValueError("target, with and one_by_one belong to a fault")
        if self.fault is not None:
            self._check_fault(self.fault)
        for name in self.heal or []:
            if name != "all" and not targets.known(name):
                raise ValueError(f"heal: there is no member {name}")
        return self

    def _check_fault(self, fault: str) -> None:
        if fault not in CATALOGUE:
            raise ValueError(f"there is no fault {fault}; there are {', '.join(CATALOGUE)}")
        only = CATALOGUE[fault].targets
        if self.target is None and len(only) != 1:
            raise ValueError(f"{fault} needs `target`: whom it hits")
        for name in self.target or []:
            if not targets.known(name):
                raise ValueError(f"target: there is no {name}; there are the members and {', '.join(targets.SYMBOLS)}")
        for name in self.members:
            if name in targets.SYMBOLS and not set(only) & set(MEMBERS):
                raise ValueError(f"target: {name} is a member, and {fault} can hit {', '.join(only)}")
            if name not in (*targets.SYMBOLS, *only):
                raise ValueError(f"{fault} cannot hit {name}; it can hit {', '.join(only)}")
            # Who a symbol stands for is known only when the step comes; a member that the fault can hit stands for it.
            self._check_made(fault, only[0] if name in targets.SYMBOLS else name)

    def _check_made(self, fault: str, member: str) -> None:
        try:
            make(fault, member, self.with_)
        except FaultError as error:
            raise ValueError(str(error)) from error

    @property
    def members(self) -> list[str]:
        """Whom the fault hits, as named."""
        return list(self.target or CATALOGUE[self.fault or ""].targets)

    def describe(self) -> str:
        """The step in words."""
        if self.at is not None:
            begin = f"at {self.at:.0%} accepted: "
        elif self.after is not None:
            begin = f"after {self.after:g} s: "
        else:
            begin = f"when {self.when}: " if self.when is not None else ""
        return begin + self._does()

    def _does(self) -> str:
        if self.fault is not None:
            given = "".join(f" {key}={value}" for key, value in self.with_.items())
            return f"{self.fault} {', '.join(self.members)}{given}" + (", one by one" if self.one_by_one else "")
        if self.heal is not None:
            return f"heal {', '.join(self.heal)}"
        if self.rate is not None:
            return f"load at {self.rate:g}/s"
        return f"expect {self.expect}" if self.expect is not None else "go on"


class Scenario(_Strict):
    """A whole scenario."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    proves: Annotated[str, Field(min_length=10, max_length=400)]
    """What a green verdict of it proves, in a sentence."""
    load: Load = Load()
    settings: dict[str, str] = Field(default_factory=dict)
    """Settings of the stack that it needs; it says so where the stack was started without."""
    steps: Annotated[list[Step], Field(min_length=1, max_length=20_000)]
    deadline: Duration = 180.0
    """For the drain, after everything is healed."""
    quick: bool = True
    """Whether `matrix --quick` runs it."""

    @property
    def faults_named(self) -> list[str]:
        """The faults it needs, each once, in order."""
        return list(dict.fromkeys(step.fault for step in self.steps if step.fault is not None))

    @property
    def needs_links(self) -> bool:
        """Whether the stack must have been started with `--links`."""
        return any(step.fault == LinkFault.name for step in self.steps)

    @property
    def faults_planned(self) -> int:
        """How many faults its log must hold; with fewer the verdict is UNKNOWN."""
        return sum(targets.count(step.members) for step in self.steps if step.fault is not None)


def load(path: Path) -> Scenario:
    """The scenario in a file. Raises ScenarioError, naming each place that is wrong."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        raise ScenarioError("\n".join(_places(path, error))) from error


def _places(path: Path, error: ValidationError) -> list[str]:
    found = []
    for fault in error.errors(include_url=False):
        place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in fault["loc"])
        found.append(f"{path}: {place or 'the file'}: {fault['msg'].removeprefix('Value error, ')}")
    return found


def shipped() -> dict[str, Path]:
    """The scenarios that come with the project, by name, in order."""
    return {path.stem: path for path in sorted(scenarios.FOLDER.glob("*.yaml"))}


def find(given: str) -> Path:
    """The file of a scenario, by the name of one that ships or by path. Raises ScenarioError."""
    known = shipped()
    if given in known:
        return known[given]
    if Path(given).is_file():
        return Path(given)
    raise ScenarioError(f"there is no scenario {given}; there are {', '.join(known)}, or name a file")


def schema() -> str:
    """The JSON Schema of the form."""
    return json.dumps(Scenario.model_json_schema(by_alias=True), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes the JSON Schema."""
    scenarios.SCHEMA.write_text(schema(), encoding="utf-8")
    sys.stderr.write(f"{scenarios.SCHEMA}\n")


if __name__ == "__main__":
    main()
