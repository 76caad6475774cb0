"""A storm: a scenario made by chance. The same seed makes the same steps, byte for byte."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from control_room.scenarios.model import Scenario
from control_room.stack.runtime import BROKERS, MEMBERS

_CALM_S: Final = (1.0, 6.0)
"""Between two steps."""
_BROKEN_S: Final = (0.5, 5.0)
"""How long something stays broken."""
_MODES: Final = ("outage", "silent", "refuse", "rate-limited")


def storm(seed: int, *, faults: int, rate_per_s: float, payments: int, failure_rate: float = 0.2) -> Scenario:
    """A scenario of `faults` faults, one after the other; each is healed before the next one comes.

    Args:
        seed: everything follows from it.
        faults: how many.
        rate_per_s: of the load.
        payments: of the load; enough of them for the length of the storm (see `payments_for`).
        failure_rate: the share of the merchant's answers that fail anyway.
    """
    random = Random(seed)  # noqa: S311  chance that can be repeated, no secret
    steps: list[dict[str, Any]] = []
    for _ in range(faults):
        steps += _fault(random)
    return Scenario.model_validate(
        {
            "name": f"storm-{seed}",
            "proves": f"{faults} faults in an order that nobody chose lose nothing (seed {seed}).",
            "load": {"payments": payments, "rate": rate_per_s, "failure_rate": failure_rate},
            "steps": steps,
            "deadline": 600,
        }
    )


def payments_for(faults: int, rate_per_s: float) -> int:
    """So many payments that the load lasts about as long as a storm of `faults`."""
    per_fault_s = sum(_CALM_S) / 2 + sum(_BROKEN_S) / 2 + 4.0  # what a start and its evidence take on average
    return max(10, round(faults * per_fault_s * rate_per_s))


def faults_for(minutes: float) -> int:
    """How many faults fill so many minutes."""
    return max(1, round(minutes * 60 / payments_for(1000, 1.0) * 1000))


def _fault(random: Random) -> list[dict[str, Any]]:
    calm = {"after": round(random.uniform(*_CALM_S), 1)}
    heal = {"after": round(random.uniform(*_BROKEN_S), 1), "heal": "all"}
    kind = random.choice(("kill", "kill", "kill", "crash", "restart", "freeze", "stop", "merchant", "two"))
    if kind == "merchant":
        return [{**calm, "fault": "merchant", "with": {"mode": random.choice(_MODES)}}, heal]
    if kind == "two":
        # Postgres or the merchant beside a broker: two things at once, never the two brokers that hold a majority.
        pair = [random.choice(("postgres", "merchant-server", "dispatcher")), random.choice(BROKERS)]
        return [{**calm, "fault": "kill", "target": pair}, heal]
    member = random.choice(MEMBERS)
    if kind in ("crash", "restart"):
        return [{**calm, "fault": kind, "target": member}]
    return [{**calm, "fault": kind, "target": member}, heal]
