"""The merchant's behaviour as a fault: what is changed, what it was before, and which answers were seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from control_room.chaos.errors import FaultError
from control_room.chaos.faults import MERCHANT, Fault
from control_room.chaos.live import LiveState
from control_room.chaos.merchant_fields import MODES, checked
from control_room.chaos.merchant_probe import fits, probe
from control_room.chaos.observe import Evidence, wait_for
from control_room.stack.runtime import Runtime
from control_room.tracking.http_source import put_json
from control_room.tracking.merchant import read_answers, read_behaviour
from control_room.tracking.parts import SourceError

READ_BACK_DEADLINE_S: Final = 5.0
HEAL_DEADLINE_S: Final = 30.0
"""Longer: the merchant may be starting again at the same time."""


class MerchantBehaviour(Fault):
    """Changes some fields of the merchant's behaviour; the heal puts back what they were.

    `facts`: `set`, the fields changed and their values; `before`, what they were; `answered`, how many deliveries had
    got which answer until then. Where one change lies over another (see `injection`), `before` is what the first of
    them found.
    """

    name = "merchant"
    summary = "changes how the merchant behaves; the heal restores what was before"
    targets = (MERCHANT,)
    takes = True

    @classmethod
    def changing(cls, target: str, changes: Mapping[str, Any]) -> MerchantBehaviour:
        """A fault that sets `changes`. Raises FaultError where there are none, or one is not allowed."""
        return cls(target, {"set": checked(changes)})

    def prepare(self, runtime: Runtime) -> None:
        """Reads what the fields are now."""
        now = _read(runtime)
        unknown = sorted(set(self.facts["set"]) - set(now))
        if unknown:
            raise FaultError(f"the merchant has no behaviour {', '.join(unknown)}; it has {', '.join(sorted(now))}")
        self.facts["before"] = {key: now[key] for key in self.facts["set"]}
        self.facts["answered"] = _answers(runtime)

    def preview(self, live: LiveState) -> str:
        """Each field, what it is and what it will be, and what a new mode means."""
        del live
        before, mode = self.facts["before"], self.facts["set"].get("mode")
        changes = ", ".join(
            f"{key} stays {value}" if before[key] == value else f"{key} {before[key]} → {value}"
            for key, value in self.facts["set"].items()
        )
        return f"merchant: {changes}" + (f": {MODES[mode]}" if mode in MODES else "")

    def apply(self, runtime: Runtime) -> None:
        """Sets them. Raises FaultError with the merchant's own reason where it refuses."""
        self._put(runtime, self.facts["set"])

    def evidence(self, runtime: Runtime) -> Evidence:
        """They read back as set, and a request that is no delivery is answered so."""
        return wait_for(lambda: self._observed(runtime), READ_BACK_DEADLINE_S)

    def heal(self, runtime: Runtime) -> None:
        """Puts back what they were: `restore` where `injection` left it, else `before`.

        Failure policy: open. A merchant that is down now is being started by another heal of the same moment:
        `healed` goes on trying.
        """
        if "answers" not in self.facts:
            self.facts["answers"] = _more(_answers(runtime), self.facts.get("answered"))
        with suppress(FaultError):
            self._put(runtime, self._wanted())

    def healed(self, runtime: Runtime) -> Evidence:
        """They read back as they were; puts them back again where they do not.

        `answers` tells how many deliveries got which answer since the fault was announced, where the merchant lived on.
        """

        def look() -> Evidence:
            seen = self._compared(runtime, self._wanted())
            if not seen.ok:
                self.heal(runtime)
            return seen

        seen = wait_for(look, HEAL_DEADLINE_S)
        answers = self.facts.get("answers")
        return seen if answers is None else Evidence(seen.ok, {**seen.facts, "answers": answers})

    def _wanted(self) -> dict[str, Any]:
        wanted: dict[str, Any] = self.facts.get("restore", self.facts.get("before", {}))
        return wanted

    def _put(self, runtime: Runtime, changes: Mapping[str, Any]) -> None:
        try:
            put_json(f"{runtime.endpoints().merchant_url}/admin/behaviour", changes)
        except SourceError as error:
            raise FaultError(f"the merchant's behaviour cannot be changed: {error}") from error

    def _observed(self, runtime: Runtime) -> Evidence:
        now, seen = self._now(runtime, self.facts["set"])
        if not seen.ok:
            return seen
        ends = runtime.endpoints()
        answer = probe(ends.merchant_url, now)
        return Evidence(fits(now, answer, relayed=ends.relayed), {**seen.facts, **answer.facts()})

    def _compared(self, runtime: Runtime, wanted: Mapping[str, Any]) -> Evidence:
        return self._now(runtime, wanted)[1]

    def _now(self, runtime: Runtime, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], Evidence]:
        """The whole behaviour, and whether it is as `wanted`."""
        try:
            now = _read(runtime)
        except FaultError as error:
            return {}, Evidence(False, {"error": str(error)})
        seen = {key: now.get(key) for key in wanted}
        return now, Evidence(seen == dict(wanted), {"behaviour": seen})


def _read(runtime: Runtime) -> dict[str, Any]:
    try:
        return read_behaviour(runtime.endpoints().merchant_url)
    except SourceError as error:
        raise FaultError(f"the merchant does not tell how it behaves: {error}") from error


def _answers(runtime: Runtime) -> dict[str, Any] | None:
    """The counts, and since when; None where the merchant does not tell: they explain a fault, and decide nothing."""
    try:
        return read_answers(runtime.endpoints().merchant_url)
    except SourceError:
        return None


def _more(now: Mapping[str, Any] | None, before: Mapping[str, Any] | None) -> dict[str, int] | None:
    """How many more there are `now`; None where that cannot be told: the merchant began anew, or never told."""
    if now is None or before is None or now["since"] != before["since"]:
        return None
    counts = {answer: count - before["counts"].get(answer, 0) for answer, count in now["counts"].items()}
    return {answer: count for answer, count in counts.items() if count}
