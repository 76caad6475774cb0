"""A storm: a scenario made by chance. The same seed makes the same steps, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from control_room.chaos.catalogue import CATALOGUE
from control_room.chaos.crash_point import members_of
from control_room.chaos.merchant_fields import MODES, NORMAL
from control_room.scenarios.model import Scenario
from control_room.stack.links.names import LINKS
from control_room.stack.runtime import API_REPLICAS, BROKERS, MEMBERS
from services.common.crash import POINTS

_PER_FAULT_S: Final = 16.0
"""Of load for each fault: to come, to be seen, to be undone and to be got over takes some 12 s of two busy cores, and
not all of the load has faults. Where a machine needs longer, the load gives way."""
_LOADED: Final = 0.8
"""Share of the load over which the faults are spread: a crash point that comes when all is sent is never reached."""
_BROKEN_S: Final = (0.5, 5.0)
"""How long something stays broken."""
_WEIGHTS: Final[Mapping[str, int]] = {
    "kill": 4,
    "crash": 1,
    "restart": 1,
    "freeze": 2,
    "stop": 1,
    "merchant": 4,
    "crash-point": 3,
    "link": 5,
}
"""How often each fault of the catalogue is drawn, one against the other; links only where the stack has them."""
_LINK_MODES: Final[tuple[Mapping[str, Any], ...]] = (
    {"mode": "refuse"},
    {"mode": "silence"},
    {"mode": "slow", "latency_ms": 200, "jitter_ms": 100},
    {"mode": "reset-after", "bytes": 0},
)
"""The last resets at the first byte: its effect is seen at once, whatever the traffic is."""
NOT_DRAWN: Final[Mapping[str, str]] = {
    "start": "it ends a kill, and every heal does that",
    "thaw": "it ends a freeze, and every heal does that",
    "wipe-kafka": "it takes all of Kafka with it and half a minute: a scenario of its own",
    "restart-engine": "an engine has other users: only where somebody says that it may be restarted",
    "isolate": "only members that are containers have a network that they can be taken off",
    "disk-full": "not every platform can, and Postgres and brokers end by it at every start until it is healed",
    "clock-step": "it takes a library that not every machine has",
}
"""Faults that a storm leaves out, each with the reason."""
_PAIRS: Final = 0.2
"""Share of the kills that hit a broker and something else at once."""
_REACHED_WITHIN_S: Final = 120
"""For a crash point: the rarest, an exhausted round, comes every few seconds at the usual rates."""


def storm(
    seed: int, *, faults: int, rate_per_s: float, payments: int, failure_rate: float = 0.2, links: bool = False
) -> Scenario:
    """A scenario of `faults` faults, one after the other; each is healed before the next one comes.

    Args:
        seed: everything follows from it.
        faults: how many.
        rate_per_s: of the load.
        payments: of the load; enough of them for the length of the storm (see `payments_for`).
        failure_rate: the share of the merchant's answers that fail anyway.
        links: whether links are faulted too. The same seed makes another storm then.
    """
    random = Random(seed)  # noqa: S311  chance that can be repeated, no secret
    steps: list[dict[str, Any]] = []
    for number in range(faults):
        steps += _fault(random, _LOADED * (number + random.uniform(0, 0.5)) / faults, links)
    return Scenario.model_validate(
        {
            "name": f"storm-{seed}",
            "proves": f"{faults} faults in an order that nobody chose lose nothing (seed {seed}).",
            "load": {"payments": payments, "rate": rate_per_s, "failure_rate": failure_rate, "gives_way": True},
            "steps": steps,
            "deadline": 600,
        }
    )


def payments_for(faults: int, rate_per_s: float) -> int:
    """So many payments that the load lasts about as long as a storm of `faults`."""
    return max(10, round(faults * _PER_FAULT_S * rate_per_s))


def faults_for(minutes: float) -> int:
    """How many faults fill so many minutes."""
    return max(1, round(minutes * 60 / payments_for(1000, 1.0) * 1000))


def _fault(random: Random, at: float, links: bool) -> list[dict[str, Any]]:
    """The steps of one fault: it comes when the share `at` of the payments is accepted and the one before is over."""
    heal = {"after": round(random.uniform(*_BROKEN_S), 1), "heal": "all"}
    weights = {kind: weight for kind, weight in _WEIGHTS.items() if links or kind != "link"}
    (kind,) = random.choices(list(weights), list(weights.values()))
    step = {"at": round(at, 6), "fault": kind, **_DRAW.get(kind, _of_a_member)(random)}
    return [step, heal] if CATALOGUE[kind].lasting else [step]


def _of_a_member(random: Random) -> dict[str, Any]:
    return {"target": random.choice(MEMBERS)}


def _kill(random: Random) -> dict[str, Any]:
    if random.random() >= _PAIRS:
        return _of_a_member(random)
    # Postgres or the merchant beside a broker: two things at once, never the two brokers that hold a majority.
    return {"target": [random.choice(("postgres", "merchant-server", "dispatcher")), random.choice(BROKERS)]}


def _merchant(random: Random) -> dict[str, Any]:
    mode = random.choice([mode for mode in MODES if mode != NORMAL])
    return {"with": {"mode": mode, **({"flap_s": 1} if mode == "flapping" else {})}}


def _crash_point(random: Random) -> dict[str, Any]:
    point = random.choice(list(POINTS))
    targets, points = [random.choice(members_of(point))], [point]
    if point.startswith("publisher."):
        # A replica dies with a group that Kafka never saw: else the publisher may have nothing to do.
        targets, points = [*targets, random.choice(API_REPLICAS)], [point, "api.before-produce"]
    return {"target": targets, "with": {"point": points, "within": _REACHED_WITHIN_S}}


def _link(random: Random) -> dict[str, Any]:
    return {"target": random.choice(tuple(LINKS)), "with": dict(random.choice(_LINK_MODES))}


_DRAW: Final[Mapping[str, Callable[[Random], dict[str, Any]]]] = {
    "kill": _kill,
    "merchant": _merchant,
    "crash-point": _crash_point,
    "link": _link,
}
"""What a fault is drawn with, where it is not just any member."""
