"""What a stack must be started with so that scenarios can run on it: their own settings, and those of their faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from control_room.chaos.catalogue import CATALOGUE
from control_room.scenarios.model import Scenario, ScenarioError


def needs_of(scenario: Scenario) -> dict[str, str]:
    """The settings, by variable, that `scenario` needs."""
    found: dict[str, str] = {}
    for step in scenario.steps:
        if step.fault is not None:
            found |= CATALOGUE[step.fault].needs
    return found | scenario.settings


def needs_of_all(chosen: Iterable[Scenario]) -> dict[str, str]:
    """The settings that one stack needs for all of them. Raises ScenarioError where two need different values."""
    found: dict[str, str] = {}
    for scenario in chosen:
        for name, value in needs_of(scenario).items():
            if found.setdefault(name, value) != value:
                raise ScenarioError(
                    f"{scenario.name} needs {name}={value}, another one needs {name}={found[name]}: run them apart"
                )
    return found


def lacking(scenario: Scenario, settings: Mapping[str, str]) -> str:
    """Why `scenario` cannot run on a stack that was started with `settings`, and what to do; empty where it can."""
    words = " ".join(f"{name}={value}" for name, value in needs_of(scenario).items() if settings.get(name) != value)
    if not words:
        return ""
    return (
        f"{scenario.name} needs a stack that was started with {words}; take this one down with `bruce-control down`, "
        f"and the scenario starts one, or start it with `{words} bruce-control up`"
    )
