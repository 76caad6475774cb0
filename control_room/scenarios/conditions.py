"""Conditions that a scenario waits for or asserts, as words: `outbox >= 50`, `dispatcher paused`, `kafka-2 ready`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from control_room.stack.runtime import MEMBERS, MemberStatus
from control_room.verify import Arithmetic

COUNTS: Final[Mapping[str, str]] = {
    "accepted": "accepted",
    "delivered": "delivered",
    "open": "open",
    "outbox": "outbox",
    "kafka": "kafka",
    "in-flight": "in_flight",
    "retrying": "retrying",
    "re-queued": "requeued",
    "dead-lettered": "dead",
    "unaccounted": "unaccounted",
}
"""The words of the arithmetic, and the fields they stand for."""
_COMPARE: Final[Mapping[str, Callable[[int, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_COUNT: Final = re.compile(rf"({'|'.join(COUNTS)}) (>=|<=|==|>|<) (\d+)( ?%)?")
_DISPATCHER: Final = re.compile(r"dispatcher (not )?paused")
_MEMBER: Final = re.compile(r"([a-z0-9-]+) (not )?ready")
HELP: Final = (
    f"a count ({', '.join(COUNTS)}) compared with a number or a share of the payments, such as `outbox >= 50` or "
    "`delivered >= 90 %`; `dispatcher paused` or `dispatcher not paused`; a member that is `ready` or `not ready`; "
    "`client ended`"
)


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known at one look. Parts that a condition does not need may be left out."""

    arithmetic: Arithmetic
    payments: int
    client_ended: bool
    dispatcher: Mapping[str, Any] | None = None
    """Its status; None where it did not answer."""
    members: Mapping[str, MemberStatus] | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was understood."""

    text: str
    holds: Callable[[Moment], bool]
    needs_dispatcher: bool = False
    needs_members: bool = False


def parse(text: str) -> Condition:
    """The condition that `text` says. Raises ValueError with what can be said."""
    words = " ".join(text.split())
    if found := _COUNT.fullmatch(words):
        return _count(words, *found.groups())
    if found := _DISPATCHER.fullmatch(words):
        wanted = found[1] is None
        return Condition(words, lambda now: _paused(now) is wanted, needs_dispatcher=True)
    if words == "client ended":
        return Condition(words, lambda now: now.client_ended)
    found = _MEMBER.fullmatch(words)
    if found and found[1] in MEMBERS:
        name, wanted = found[1], found[2] is None
        return Condition(words, lambda now: _ready(now, name) is wanted, needs_members=True)
    raise ValueError(f"{text!r} is not a condition; one is {HELP}")


def _count(words: str, name: str, sign: str, number: str, percent: str | None) -> Condition:
    field, compare = COUNTS[name], _COMPARE[sign]

    def holds(now: Moment) -> bool:
        bound = float(number) if percent is None else now.payments * float(number) / 100
        return compare(getattr(now.arithmetic, field), bound)

    return Condition(words, holds)


def _paused(now: Moment) -> bool | None:
    return bool(now.dispatcher.get("paused")) if now.dispatcher else None


def _ready(now: Moment, name: str) -> bool | None:
    return now.members[name].ready if now.members and name in now.members else None
