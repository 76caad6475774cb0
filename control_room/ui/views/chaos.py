"""Breaking things on purpose: armed first, previewed, asked, seen, counted down, healed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from textual.app import ComposeResult

from control_room.chaos.catalogue import CATALOGUE
from control_room.chaos.merchant_fault import MerchantBehaviour
from control_room.chaos.merchant_fields import FIELDS, MODES
from control_room.stack.runtime import MEMBERS
from control_room.tracking.faults_view import RunningFault
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.text import harmless
from control_room.ui.dialogs import Choice, Choose, Prompt
from control_room.ui.views.base import View, stale
from control_room.ui.widgets.chrome import clock, duration
from control_room.ui.widgets.line_list import Cell, Column, LineList
from control_room.ui.widgets.side import Block

MERCHANT_HINT: Final = f"mode=outage failure_rate=0.7 latency_ms=200 · modes: {', '.join(MODES)} · {', '.join(FIELDS)}"
STORM_HINT: Final = "how many faults, and a seed where the same storm is wanted again: 20 or 20 4711"


@dataclass(frozen=True, slots=True)
class Offer:
    """A fault of the catalogue."""

    name: str
    summary: str
    targets: tuple[str, ...]


class ChaosView(View):
    """View 4."""

    NAME = "chaos"
    DEFAULT_CSS = """
    ChaosView #offers { height: 2fr; min-height: 5; }
    ChaosView #running { height: 1fr; min-height: 4; }
    """

    def content(self) -> ComposeResult:
        """The catalogue, the merchant, what is open."""
        offers = LineList[Offer](
            [
                Column[Offer]("FAULT", 11, lambda offer: offer.name),
                Column[Offer]("WHAT IT DOES", 20, lambda offer: (offer.summary, "dim"), grows=True),
                Column[Offer]("ON", 16, _targets, from_width=78),
            ],
            lambda offer: offer.name,
            id="offers",
        )
        offers.add_class("pane")
        yield offers
        merchant = Block(id="merchant")
        merchant.border_title = "The merchant"
        merchant.border_subtitle = self.hint("{merchant} changes it")
        yield merchant
        running = LineList[RunningFault](
            [
                Column[RunningFault]("#", 3, lambda fault: str(fault.number), right=True),
                Column[RunningFault]("FAULT", 22, lambda fault: f"{fault.name} {fault.target}"),
                Column[RunningFault]("SINCE", 8, lambda fault: clock(fault.at_s)),
                Column[RunningFault]("ENDS", 12, _ends),
                Column[RunningFault]("SEEN", 4, _seen),
                Column[RunningFault]("EVIDENCE", 10, _evidence, grows=True),
            ],
            lambda fault: str(fault.number),
            id="running",
            empty="no fault is open",
        )
        running.add_class("pane")
        yield running

    def on_mount(self) -> None:
        """The catalogue does not change."""
        offers = [Offer(name, fault.summary, fault.targets) for name, fault in CATALOGUE.items()]
        self.query_one("#offers", LineList).show(offers)

    def draw(self, snapshot: Snapshot) -> None:
        """What is armed, how the merchant behaves, what is open."""
        offers = self.query_one("#offers", LineList)
        offers.border_title = "ARMED: enter applies" if self.room.armed else "Faults: ! arms first"
        merchant = snapshot.merchant
        block = self.query_one("#merchant", Block)
        if merchant.value is None:
            block.say((stale(merchant) or "looking", "$text-muted"))
        else:
            behaviour = merchant.value.behaviour
            mode = str(behaviour.get("mode", "?"))
            words = ", ".join(f"{key} {harmless(value, 40)}" for key, value in behaviour.items() if key in FIELDS)
            answers = ", ".join(f"{harmless(each, 20)} ×{count:,}" for each, count in merchant.value.answers.items())
            block.say(
                (f"{harmless(mode, 30)}: {MODES.get(mode, '')}\n", "bold"),
                (words, ""),
                (f"\nanswered {answers}" if answers else "", "$text-muted"),
                (f"\n{stale(merchant)}" if merchant.error else "", "$text-warning"),
            )
        running = self.query_one("#running", LineList)
        running.border_title = f"Open faults {len(snapshot.faults.value.running) if snapshot.faults.value else 0}"
        running.border_subtitle = stale(snapshot.faults).replace("[", "(") or self.hint("{heal} heals all")
        running.show(snapshot.faults.value.running if snapshot.faults.value else ())

    def do_arm(self) -> None:
        """Arms or disarms."""
        self.room.armed = not self.room.armed

    def do_apply(self) -> None:
        """Whom it hits, then the preview, then the question."""
        offer = self.query_one("#offers", LineList).current
        if not self._may() or not isinstance(offer, Offer):
            return
        if offer.name == MerchantBehaviour.name:
            self.do_merchant()
            return
        if offer.name == "crash-point":
            self.room.notify("crash points are armed on the command line: bruce-control chaos crash-point --help")
            return
        if len(offer.targets) == 1:
            self.room.fault(offer.name, offer.targets, {})
            return
        states = {member.status.name: member.status for member in self.snapshot.members.value or ()}
        choices = [
            Choice(name, name, f"{states[name].state.value} {states[name].reason}" if name in states else "")
            for name in offer.targets
        ]
        self.room.push_screen(
            Choose(f"{offer.name}: {offer.summary}", choices),
            lambda name: self.room.fault(offer.name, [name], {}) if name is not None else None,
        )

    def do_merchant(self) -> None:
        """Asks for the changes."""
        if not self._may():
            return
        now = self.snapshot.merchant.value
        mode = f"mode={now.behaviour.get('mode')} failure_rate={now.behaviour.get('failure_rate')}" if now else ""

        def given(text: str | None) -> None:
            if text:
                self.room.fault(MerchantBehaviour.name, MerchantBehaviour.targets, parse_changes(text))

        self.room.push_screen(Prompt("The merchant from now on", mode, MERCHANT_HINT, parse_changes), given)

    def do_scenario(self) -> None:
        """Chooses one and runs it."""
        from control_room.ui.desk import named_scenario  # loads what runs scenarios

        if not self._may():
            return

        def chosen(name: str | None) -> None:
            if name is None:
                return
            found = named_scenario(name)
            said = [found.proves, *(f"{number}. {step.describe()}" for number, step in enumerate(found.steps, 1))]
            self.room.ask(
                f"Run {name}?",
                said,
                [("run", "Run it")],
                lambda _: self.room.run_job(
                    f"scenario {name}", f"scenario run {name}", lambda job: self.room.desk.scenario(job, found)
                ),
            )

        self.room.push_screen(Choose("A scenario", _scenarios(), title_width=30), chosen)

    def do_storm(self) -> None:
        """Asks how many faults, and runs it."""
        if not self._may():
            return

        from control_room.ui.desk import storm_of  # as above

        def given(text: str | None) -> None:
            if text:
                faults, seed = _storm(text)
                storm, chosen = storm_of(seed, faults)
                self.room.run_job(
                    f"storm of {faults} faults, seed {chosen}",
                    f"storm --faults {faults} --seed {chosen}",
                    lambda job: self.room.desk.scenario(job, storm, chosen),
                )

        self.room.push_screen(Prompt("A storm", "20", STORM_HINT, _storm), given)

    def _may(self) -> bool:
        if not self.room.armed:
            self.room.notify(self.hint("not armed: press {arm} first"), severity="warning")
        return self.room.armed


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


def _storm(text: str) -> tuple[int, int | None]:
    words = text.split()
    if not 1 <= len(words) <= 2 or not all(word.isdigit() for word in words) or not 1 <= int(words[0]) <= 1000:
        raise ValueError("write how many faults, from 1 to 1000, and a seed if you like: 20 4711")
    return int(words[0]), int(words[1]) if len(words) == 2 else None


def _scenarios() -> list[Choice]:
    from control_room.scenarios.model import ScenarioError, shipped
    from control_room.ui.desk import named_scenario

    found = []
    for name in shipped():
        try:
            found.append(Choice(name, name, named_scenario(name).proves))
        except ScenarioError as error:
            found.append(Choice(name, name, str(error)))
    return found


def _targets(offer: Offer) -> Cell:
    return "any member" if offer.targets == MEMBERS else ", ".join(offer.targets)


def _ends(fault: RunningFault) -> Cell:
    if fault.until_s is None:
        return "until healed"
    left_s = fault.until_s - time.time()
    return (f"in {duration(left_s)}", "info") if left_s > 0 else ("overdue", "bad")


def _seen(fault: RunningFault) -> Cell:
    return {True: ("yes", "good"), False: ("NO", "bad"), None: ("…", "info")}[fault.verified]


def _evidence(fault: RunningFault) -> Cell:
    return ", ".join(f"{key}={value}" for key, value in fault.facts.items()) or fault.expect
