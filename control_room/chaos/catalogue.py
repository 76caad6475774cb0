"""Every fault there is, in one place. A new fault is a class and a line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from control_room.chaos.clock_step import ClockStep
from control_room.chaos.crash_point import CrashPoint
from control_room.chaos.disk_full import DiskFull
from control_room.chaos.errors import FaultError
from control_room.chaos.faults import Fault
from control_room.chaos.hooked import fitted
from control_room.chaos.isolate import Isolate
from control_room.chaos.link_fault import LinkFault
from control_room.chaos.member_faults import Crash, Freeze, Kill, Restart, Start, Stop, Thaw
from control_room.chaos.merchant_fault import MerchantBehaviour
from control_room.chaos.restart_engine import RestartEngine
from control_room.chaos.wipe_kafka import WipeKafka
from control_room.stack.runtime import NotRunningError, Runtime

CATALOGUE: Final[Mapping[str, type[Fault]]] = {
    fault.name: fault
    for fault in (
        Kill,
        Crash,
        Stop,
        Start,
        Restart,
        Freeze,
        Thaw,
        Isolate,
        DiskFull,
        ClockStep,
        CrashPoint,
        WipeKafka,
        RestartEngine,
        LinkFault,
        MerchantBehaviour,
    )
}
"""By name, in the order of a menu."""


def make(name: str, target: str, params: Mapping[str, Any]) -> Fault:
    """The fault `name` on `target`. Raises FaultError: no such fault, no such target, params that it does not take."""
    kind = _kind(name)
    if issubclass(kind, MerchantBehaviour):
        return kind.changing(target, params)
    if issubclass(kind, CrashPoint):
        return kind.at(target, params)
    if issubclass(kind, ClockStep):
        return kind.by(target, params)
    if issubclass(kind, LinkFault):
        return kind.faulting(target, params)
    if params:
        raise FaultError(f"{name} takes no parameters (given: {', '.join(sorted(params))})")
    return kind(target)


def remake(name: str, target: str, facts: Mapping[str, Any]) -> Fault:
    """A fault from its journal line. Raises FaultError where this version knows no such fault."""
    return _kind(name)(target, facts)


def on_runtime(fault: Fault, runtime: Runtime) -> Fault:
    """The same fault, as `runtime` can do it: by its own ways, or by commands of the user's."""
    kind = fitted(type(fault), runtime)
    return fault if kind is type(fault) else kind(fault.target, fault.facts)


def unavailable(runtime: Runtime, names: Iterable[str] = CATALOGUE) -> dict[str, str]:
    """Those of `names` that this platform or this stack cannot do, and why.

    While no stack is up, what depends on how it was started is left out: the next one may be started so.
    """
    reasons = {}
    for name in names:
        with suppress(NotRunningError):
            reason = fitted(_kind(name), runtime).unavailable(runtime)
            if reason is not None:
                reasons[name] = reason
    return reasons


def _kind(name: str) -> type[Fault]:
    if name not in CATALOGUE:
        raise FaultError(f"there is no fault {name}; there are {', '.join(CATALOGUE)}")
    return CATALOGUE[name]
