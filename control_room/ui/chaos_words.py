"""What a person types to say how a fault is to be: read, checked, and refused with a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from control_room.chaos.clock_step import ClockStep
from control_room.chaos.errors import FaultError
from control_room.chaos.link_fault import LinkFault
from control_room.chaos.merchant_fields import FIELDS, MODES
from control_room.stack.links.modes import FIELDS as LINK_FIELDS
from control_room.stack.links.modes import Kind

MERCHANT_HINT: Final = f"mode=outage failure_rate=0.7 latency_ms=200 · modes: {', '.join(MODES)} · {', '.join(FIELDS)}"
STORM_HINT: Final = "how many faults, and a seed where the same storm is wanted again: 20 or 20 4711"
STEP_HINT: Final = "forward or back, and how far: +90s or -60m"
LINK_HINT: Final = (
    f"mode=slow latency_ms=200 · modes: {', '.join(kind for kind in Kind if kind is not Kind.PASS)}"
    f" · {', '.join(LINK_FIELDS)}"
)


def parse_changes(text: str) -> Mapping[str, Any]:
    """`mode=outage latency_ms=200` as the fields of the merchant's behaviour. Raises ValueError with a sentence."""
    changes: dict[str, Any] = {}
    for word in text.replace(",", " ").split():
        name, sign, value = word.partition("=")
        if not sign or (name != "mode" and name not in FIELDS):
            raise ValueError(f"{word!r} is no change; write {' '.join(['mode=…', *(f'{each}=…' for each in FIELDS)])}")
        if name == "mode":
            if value not in MODES:
                raise ValueError(f"there is no mode {value!r}; there are {', '.join(MODES)}")
            changes[name] = value
            continue
        try:
            changes[name] = int(value) if FIELDS[name].whole else float(value)
        except ValueError:
            raise ValueError(f"{name} takes a number, not {value!r}") from None
        if not FIELDS[name].low <= changes[name] <= FIELDS[name].high:
            raise ValueError(f"{name} is from {FIELDS[name].low:g} to {FIELDS[name].high:g}")
    if not changes:
        raise ValueError("nothing to change")
    return changes


def parse_storm(text: str) -> tuple[int, int | None]:
    """`20 4711` as a number of faults and a seed. Raises ValueError with a sentence."""
    words = text.split()
    if not 1 <= len(words) <= 2 or not all(word.isdigit() for word in words) or not 1 <= int(words[0]) <= 1000:
        raise ValueError("write how many faults, from 1 to 1000, and a seed if you like: 20 4711")
    return int(words[0]), int(words[1]) if len(words) == 2 else None


def parse_step(text: str) -> Mapping[str, Any]:
    """`+90s` as what a step of a clock takes. Raises ValueError with a sentence."""
    params = {"by": text.strip()}
    _check(lambda: ClockStep.by(ClockStep.targets[0], params))
    return params


def parse_link(text: str) -> Mapping[str, Any]:
    """`mode=slow latency_ms=200` as what a fault of a link takes. Raises ValueError with a sentence."""
    params: dict[str, Any] = {}
    for word in text.replace(",", " ").split():
        name, sign, value = word.partition("=")
        if not sign or (name != "mode" and name not in LINK_FIELDS):
            raise ValueError(f"{word!r} is nothing that a link takes; write {LINK_HINT}")
        params[name] = value if name == "mode" else _number(name, value)
    _check(lambda: LinkFault.faulting(LinkFault.targets[0], params))
    return params


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{name} takes a number, not {value!r}") from None


def _check(make: Any) -> None:
    try:
        make()
    except FaultError as error:
        raise ValueError(str(error)) from error
