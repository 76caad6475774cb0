"""The merchant's behaviour as a fault: what is changed, and what it was before."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from control_room.chaos.errors import FaultError
from control_room.chaos.faults import MERCHANT, Fault
from control_room.chaos.live import LiveState
from control_room.chaos.observe import Evidence, wait_for
from control_room.stack.runtime import Runtime
from control_room.tracking.http_source import put_json
from control_room.tracking.merchant import read_behaviour
from control_room.tracking.parts import SourceError

READ_BACK_DEADLINE_S: Final = 5.0
MODES: Final = ("normal", "outage", "silent", "refuse", "rate-limited", "gone")
"""Checked before anything is journalled: a typing error must not stand in a run's fault log."""
HEAL_DEADLINE_S: Final = 30.0
"""Longer: the merchant may be starting again at the same time."""


class MerchantBehaviour(Fault):
    """Changes some fields of the merchant's behaviour; the heal puts back what they were.

    `facts`: `set`, the fields changed and their values; `before`, what they were. Where one change lies over another
    (see `injection`), `before` is what the first of them found.
    """

    name = "merchant"
    summary = "changes how the merchant behaves; the heal restores what was before"
    targets = (MERCHANT,)

    @classmethod
    def changing(cls, target: str, changes: Mapping[str, Any]) -> MerchantBehaviour:
        """A fault that sets `changes`. Raises FaultError where there are none."""
        given = {key: value for key, value in changes.items() if value is not None}
        if not given:
            raise FaultError("nothing to change: give at least one of failure_rate, timeout_share, latency_ms, mode")
        if given.get("mode", MODES[0]) not in MODES:
            raise FaultError(f"there is no mode {given['mode']}; there are {', '.join(MODES)}")
        for share in ("failure_rate", "timeout_share"):
            value = given.get(share, 0)
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise FaultError(f"{share} must be a number from 0 to 1 (given: {value})")
        return cls(target, {"set": given})

    def prepare(self, runtime: Runtime) -> None:
        """Reads what the fields are now."""
        now = _read(runtime)
        unknown = sorted(set(self.facts["set"]) - set(now))
        if unknown:
            raise FaultError(f"the merchant has no behaviour {', '.join(unknown)}; it has {', '.join(sorted(now))}")
        self.facts["before"] = {key: now[key] for key in self.facts["set"]}

    def preview(self, live: LiveState) -> str:
        """Each field, what it is and what it will be."""
        del live
        before = self.facts["before"]
        return "merchant: " + ", ".join(
            f"{key} stays {value}" if before[key] == value else f"{key} {before[key]} → {value}"
            for key, value in self.facts["set"].items()
        )

    def apply(self, runtime: Runtime) -> None:
        """Sets them. Raises FaultError with the merchant's own reason where it refuses."""
        self._put(runtime, self.facts["set"])

    def evidence(self, runtime: Runtime) -> Evidence:
        """They read back as set."""
        return wait_for(lambda: self._compared(runtime, self.facts["set"]), READ_BACK_DEADLINE_S)

    def heal(self, runtime: Runtime) -> None:
        """Puts back what they were: `restore` where `injection` left it, else `before`.

        Failure policy: open. A merchant that is down now is being started by another heal of the same moment:
        `healed` goes on trying.
        """
        with suppress(FaultError):
            self._put(runtime, self._wanted())

    def healed(self, runtime: Runtime) -> Evidence:
        """They read back as they were; puts them back again where they do not."""

        def look() -> Evidence:
            seen = self._compared(runtime, self._wanted())
            if not seen.ok:
                self.heal(runtime)
            return seen

        return wait_for(look, HEAL_DEADLINE_S)

    def _wanted(self) -> dict[str, Any]:
        wanted: dict[str, Any] = self.facts.get("restore", self.facts.get("before", {}))
        return wanted

    def _put(self, runtime: Runtime, changes: Mapping[str, Any]) -> None:
        try:
            put_json(f"{runtime.endpoints().merchant_url}/admin/behaviour", changes)
        except SourceError as error:
            raise FaultError(f"the merchant's behaviour cannot be changed: {error}") from error

    def _compared(self, runtime: Runtime, wanted: Mapping[str, Any]) -> Evidence:
        try:
            now = _read(runtime)
        except FaultError as error:
            return Evidence(False, {"error": str(error)})
        seen = {key: now.get(key) for key in wanted}
        return Evidence(seen == dict(wanted), {"behaviour": seen})


def _read(runtime: Runtime) -> dict[str, Any]:
    try:
        return read_behaviour(runtime.endpoints().merchant_url)
    except SourceError as error:
        raise FaultError(f"the merchant does not tell how it behaves: {error}") from error
