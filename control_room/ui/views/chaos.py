"""Breaking things on purpose: armed first, previewed, asked, seen, counted down, healed; scenarios step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult

from control_room.chaos.catalogue import CATALOGUE
from control_room.chaos.merchant_fields import FIELDS, MODES
from control_room.chaos.overdue import LATE_S
from control_room.stack.links.names import NAMES
from control_room.stack.runtime import MEMBERS
from control_room.tracking.faults_view import RunningFault
from control_room.tracking.snapshot import Snapshot
from control_room.tracking.text import harmless
from control_room.ui.chaos_words import STORM_HINT, parse_storm
from control_room.ui.dialogs import Choice, Choose, Page, Prompt
from control_room.ui.jobs import Job
from control_room.ui.offers import Offer, change_merchant, take
from control_room.ui.views.base import View, stale
from control_room.ui.widgets.chrome import clock, duration
from control_room.ui.widgets.line_list import Cell, Column, LineList
from control_room.ui.widgets.side import Block
from control_room.ui.widgets.step_list import StepList

if TYPE_CHECKING:
    from control_room.scenarios.model import Scenario


class ChaosView(View):
    """View 4."""

    NAME = "chaos"
    DEFAULT_CSS = """
    ChaosView #offers { height: 2fr; min-height: 5; }
    ChaosView #steps { height: 2fr; min-height: 5; display: none; }
    ChaosView #running { height: 1fr; min-height: 4; }
    ChaosView.-steps #steps { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._impossible_for: Any = None
        self._playing = False
        self._shown = ""
        """The run whose steps were shown without being asked for."""
        self._own = ""
        """The newest run when a scenario of this app ended: its steps stay, also where it was not begun."""
        """The stack that was asked last what it cannot do."""

    def content(self) -> ComposeResult:
        """The catalogue, the steps of a scenario, the merchant, what is open."""
        offers = LineList[Offer](
            [
                Column[Offer]("FAULT", 14, lambda offer: offer.name),
                Column[Offer]("WHAT IT DOES", 20, _does, grows=True),
                Column[Offer]("ON", 16, _targets, from_width=78),
            ],
            lambda offer: offer.name,
            id="offers",
        )
        offers.add_class("pane")
        yield offers
        yield StepList(id="steps")
        merchant = Block(id="merchant")
        merchant.border_title = "The merchant"
        yield merchant
        running = LineList[RunningFault](
            [
                Column[RunningFault]("#", 3, lambda fault: str(fault.number), right=True),
                Column[RunningFault]("FAULT", 22, lambda fault: f"{fault.name} {fault.target}"),
                Column[RunningFault]("SINCE", 8, lambda fault: clock(fault.at_s)),
                Column[RunningFault]("ENDS", 12, lambda fault: _ends(fault, self.snapshot.taken_at_s)),
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
        """The catalogue; what this stack cannot do of it is told when it is known."""
        self._offer({})

    def _offer(self, impossible: dict[str, str]) -> None:
        found = [
            Offer(name, fault.summary, fault.targets, impossible.get(name, "")) for name, fault in CATALOGUE.items()
        ]
        self.query_one("#offers", LineList).show(found)

    def _look_for_impossible(self, snapshot: Snapshot) -> None:
        """Once per stack; nothing is asked where nothing can be done anyway."""
        if snapshot.stack.value is None or snapshot.stack.value == self._impossible_for or self.room.read_only:
            return
        self._impossible_for = snapshot.stack.value
        self.room.read(self.room.desk.unavailable, self._offer)

    def draw(self, snapshot: Snapshot) -> None:
        """What is armed, how the merchant behaves, what is open."""
        offers = self.query_one("#offers", LineList)
        offers.border_title = "ARMED: enter applies" if self.room.armed else f"Faults{self.hint(': {arm} arms first')}"
        self._look_for_impossible(snapshot)
        self._look_at_steps(snapshot)
        self.query_one(StepList).draw(self.hint("{apply} whole · {steps} hides them"), snapshot.taken_at_s)
        merchant = snapshot.merchant
        block = self.query_one("#merchant", Block)
        block.border_subtitle = self.hint("{merchant} changes it")
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

    def _look_at_steps(self, snapshot: Snapshot) -> None:
        """A scenario that another process plays, or played; one that goes on is shown without being asked for, once."""
        standing = snapshot.run.value
        if standing is None or standing.steps is None or self._playing or standing.summary.run_id == self._own:
            return
        self.query_one(StepList).board = standing.steps
        if standing.steps.going_on and standing.summary.run_id != self._shown:
            self._shown = standing.summary.run_id
            self.add_class("-steps")

    def do_arm(self) -> None:
        """Arms or disarms."""
        self.room.armed = not self.room.armed

    def do_apply(self) -> None:
        """Whom it hits, then the preview, then the question. On the steps of a scenario: all of them, whole."""
        offers, steps = self.query_one("#offers", LineList), self.query_one(StepList)
        if steps.has_focus or not offers.display:
            self.room.push_screen(Page("Steps", steps.lines()))
        elif self._may() and isinstance(offers.current, Offer):
            take(self.room, offers.current)

    def do_merchant(self) -> None:
        """Asks for the changes."""
        if self._may():
            change_merchant(self.room)

    def do_steps(self) -> None:
        """Shows the steps of the scenario that ran last, or hides them."""
        if self.query_one(StepList).board is None:
            self.room.notify(self.hint("no scenario was run yet: {scenario} runs one"))
            return
        self.toggle_class("-steps")
        self.focus_content()

    def _play(self, title: str, command: str, scenario: Scenario, seed: int | None = None) -> None:
        """Runs a scenario; its steps tick off in the list."""
        from control_room.ui.desk import board_of  # loads what runs scenarios

        board = board_of(scenario)
        self._playing = True
        self.query_one(StepList).board = board
        self.add_class("-steps")
        self.focus_content()

        def ended(job: Job) -> None:
            board.end(job.error or job.state)
            self._playing = False
            standing = self.snapshot.run.value
            self._own = standing.summary.run_id if standing is not None else ""

        self.room.run_job(title, command, lambda job: self.room.desk.scenario(job, scenario, seed, board.note), ended)

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
                lambda _: self._play(f"scenario {name}", f"scenario run {name}", found),
            )

        self.room.push_screen(Choose("A scenario", _scenarios(), title_width=30), chosen)

    def do_storm(self) -> None:
        """Asks how many faults, and runs it."""
        if not self._may():
            return

        from control_room.ui.desk import storm_of  # as above

        def given(text: str | None) -> None:
            if text:
                faults, seed = parse_storm(text)
                storm, chosen = storm_of(seed, faults)
                title = f"storm of {faults} faults, seed {chosen}"
                self._play(title, f"storm --faults {faults} --seed {chosen}", storm, chosen)

        self.room.push_screen(Prompt("A storm", "20", STORM_HINT, parse_storm), given)

    def _may(self) -> bool:
        if not self.room.armed:
            self.room.notify(self.hint("not armed: press {arm} first"), severity="warning")
        return self.room.armed


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


def _does(offer: Offer) -> Cell:
    return (f"not here: {offer.impossible}", "warn") if offer.impossible else (offer.summary, "dim")


def _targets(offer: Offer) -> Cell:
    if offer.targets == MEMBERS:
        return "any member"
    return "any link" if offer.targets == NAMES else ", ".join(offer.targets)


def _ends(fault: RunningFault, now_s: float) -> Cell:
    if fault.until_s is None:
        return "until healed"
    left_s = fault.until_s - now_s
    if left_s > 0:
        return f"in {duration(left_s)}", "info"
    return ("healing", "info") if left_s > -LATE_S else ("overdue", "bad")


def _seen(fault: RunningFault) -> Cell:
    return {True: ("yes", "good"), False: ("NO", "bad"), None: ("…", "info")}[fault.verified]


def _evidence(fault: RunningFault) -> Cell:
    return ", ".join(f"{key}={value}" for key, value in fault.facts.items()) or fault.expect
