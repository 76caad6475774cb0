"""What the app does for every view: the commands that work everywhere, questions before harm, moving between views."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from control_room.durations import seconds
from control_room.stack.runtime import alike
from control_room.tracking.text import harmless
from control_room.ui.commands import VIEWS
from control_room.ui.dialogs import Ask, Choice, Choose, Page, Prompt
from control_room.ui.help import help_lines
from control_room.ui.jobs import Job
from control_room.ui.settings import write_setting
from control_room.ui.themes import THEMES
from control_room.ui.tour import Tour
from control_room.ui.widgets.activity import entries
from control_room.ui.widgets.chrome import clock

if TYPE_CHECKING:
    from control_room.ui.app import ControlRoom

_QUIT_WAIT_S = 0.5
"""For a replay to end its operation log in order; what is not sent then is sent by `replay --resume`."""
_TIME_HINT = "30 s, 500 ms or 2 m from now; it is healed then, even where the control room was left"


class Deeds:
    """A part of the app; uses what the app has."""

    @property
    def _room(self) -> ControlRoom:
        return cast("ControlRoom", self)

    def problem(self, sentence: str) -> None:
        """Shows an error for a while; it stays in the activity."""
        self._room.notify(harmless(sentence, 600), severity="error", timeout=10, markup=False)

    def ask(
        self, title: str, said: Sequence[str], answers: Sequence[tuple[str, str]], then: Callable[[str], object]
    ) -> None:
        """Asks; `then` gets the answer's id, and is not called for a no."""

        def answered(answer: str | None) -> None:
            if answer is not None:
                then(answer)

        self._room.push_screen(Ask(title, said, answers), answered)

    def show_view(self, name: str) -> None:
        """Shows a view."""
        room = self._room
        room.view_name = name
        room.query_one("#views").current = name  # type: ignore[attr-defined]  # a ContentSwitcher has it
        room.view.focus_content()
        room.draw()

    def show_logs(self, members: Sequence[str], words: str = "") -> None:
        """To the logs of these members."""
        from control_room.ui.views.logs import LogsView

        self._room.query_one(LogsView).choose(members, words)
        self.show_view("logs")

    def show_transaction(self, text: str) -> None:
        """To a transaction, by its id or the beginning of one."""
        from control_room.ui.views.transactions import TransactionsView

        self.show_view("transactions")
        self._room.query_one(TransactionsView).jump(text)

    def fault(self, name: str, targets: Sequence[str], params: Mapping[str, Any], *, ask: bool = True) -> None:
        """Applies a fault: first its preview for each target, then the question, then the deed with its evidence.

        Where it lasts, the question may be answered with a time: it is healed after that, whatever becomes of the app.
        """
        room = self._room
        command = fault_command(name, targets, params)

        def deed(for_text: str = "") -> None:
            for_s = seconds(for_text) if for_text else None
            ends = f" --for {for_text.replace(' ', '')}" if for_text else ""
            room.run_job(
                f"{name} {', '.join(targets)}",
                f"{command}{ends}",
                lambda job: room.desk.apply(job, name, targets, params, for_s),
            )

        if not ask:
            deed()
            return

        def answered(answer: str) -> None:
            if answer == "yes":
                deed()
            else:
                room.push_screen(
                    Prompt(f"{name} {', '.join(targets)}: healed after", "30 s", _TIME_HINT, _some_seconds),
                    lambda text: deed(text) if text else None,
                )

        def look(job: Job) -> list[str]:
            del job
            return [room.desk.preview(name, target, params) for target in targets]

        def previewed(job: Job) -> None:
            if job.state == "done":
                answers = [("yes", f"{name} now"), *([("for", "For a time…")] if _lasts(name) else [])]
                self.ask(f"{name} {', '.join(targets)}?", job.result, answers, answered)

        room.run_job(f"what {name} {', '.join(targets)} would hit", f"{command} --preview", look, previewed)

    def fault_menu(self, members: Sequence[str]) -> None:
        """Every fault that all of `members` can have."""
        from control_room.chaos.catalogue import CATALOGUE
        from control_room.ui.offers import fault_members

        fitting = [
            Choice(name, name, fault.summary)
            for name, fault in CATALOGUE.items()
            if name not in ("merchant", "crash-point") and all(alike(member) in fault.targets for member in members)
        ]

        def chosen(name: str | None) -> None:
            if name is not None:
                fault_members(self._room, name, members)

        self._room.push_screen(Choose(f"A fault for {', '.join(members)}", fitting), chosen)

    def do_help(self) -> None:
        """Every key."""
        room = self._room
        room.push_screen(Page("Keys", help_lines(room.table, room.view_name)))

    def do_palette(self) -> None:
        """The palette."""
        self._room.action_command_palette()

    def do_heal(self) -> None:
        """Heals everything."""
        self._room.run_job("heal all", "heal", self._room.desk.heal)

    def do_replay(self) -> None:
        """To the replay."""
        self.show_view("replay")

    def do_activity(self) -> None:
        """Everything that was done, as text that can be copied."""
        room = self._room
        lines = [
            f"{clock(entry.at_s)} {entry.glyph} {entry.words}"
            for entry in entries(room.jobs.all, room.snapshot, every_line=True)
        ]
        room.push_screen(Page("Activity", lines or ["nothing was done yet"]))

    def do_cancel(self) -> None:
        """Cancels the newest job."""
        running = self._room.jobs.running
        if running:
            running[-1].cancel()
        else:
            self._room.notify("nothing is running")

    def do_freeze_drawing(self) -> None:
        """Stops or goes on drawing."""
        self._room.frozen = not self._room.frozen

    def do_zoom(self) -> None:
        """The view alone, or with what is around it."""
        self._room.screen_stack[0].toggle_class("-zoomed")

    def do_tour(self) -> None:
        """Begins the tour, or leaves it."""
        self._room.tour = Tour() if self._room.tour is None else None

    def do_theme(self) -> None:
        """Asks for the theme, shows it, and writes it into the settings file."""
        room = self._room
        path = room.settings_file

        def chosen(name: str | None) -> None:
            if name is None:
                return
            room.theme = name
            if path is not None:
                room.run_job("theme", f"config set theme {name}", lambda _: write_setting(path, "theme", name))

        choices = [Choice(name, name, "now" if name == room.theme else "") for name in THEMES]
        room.push_screen(Choose("Theme", choices), chosen)

    def do_picture(self) -> None:
        """Writes an SVG."""
        self._room.deliver_screenshot()

    def do_quit(self) -> None:
        """Asks what becomes of the stack; leaves at once where there is none, or when asked twice."""
        room = self._room
        if not room.snapshot.is_up or room.read_only:
            self.leave()
            return
        faults = room.snapshot.faults.value
        broken = len(faults.running) if faults else 0
        said = ["The stack goes on without the control room; `bruce-control` finds it again."]
        answers = [("leave", "Leave it up")]
        if broken:
            said.append(f"{broken} fault{'s are' if broken != 1 else ' is'} open.")
            answers.append(("heal", "Heal and leave"))
        if any(job.title.startswith("replay") for job in room.jobs.running):
            said.append("A replay is going on: it ends, and `bruce-control replay --resume` goes on with it.")
        answers.append(("down", "Take it down"))
        self.ask("Leave the control room?", said, answers, self._quit)

    def _quit(self, answer: str) -> None:
        room = self._room
        if answer == "heal":
            room.run_job("heal and leave", "heal", room.desk.heal, lambda _: self.leave())
        elif answer == "down":
            room.run_job("take down and leave", "down", room.desk.down, lambda _: self.leave())
        else:
            self.leave()

    def leave(self) -> None:
        """Ends the app; a replay that is going on gets a moment to end its log."""
        # A desk that nobody asked for is not made, and all that it needs not loaded, only to leave.
        replay = self._room.desk.replay if "desk" in vars(self._room) else None
        if replay is not None and replay.running:
            for job in self._room.jobs.running:
                job.cancel()
            until_s = time.monotonic() + _QUIT_WAIT_S
            while replay.running and time.monotonic() < until_s:
                time.sleep(0.02)
        self._room.exit(0)


def fault_command(name: str, targets: Sequence[str], params: Mapping[str, Any]) -> str:
    """The same as a command line, without `bruce-control`."""
    if name == "crash-point":
        return f"chaos crash-point {params.get('point', 'POINT')} {' '.join(targets)}"
    given = "".join(f" --{key.replace('_', '-')} {value}" for key, value in params.items())
    return f"chaos merchant{given}" if name == "merchant" else f"chaos {name} {' '.join(targets)}{given}"


def _lasts(name: str) -> bool:
    from control_room.chaos.catalogue import CATALOGUE

    return CATALOGUE[name].lasting


def _some_seconds(text: str) -> None:
    if seconds(text) <= 0:
        raise ValueError("a fault that is healed at once breaks nothing")


for _view in VIEWS:
    # One method per view, so that the table's `view_<id>` are done as everything else is.
    setattr(Deeds, f"do_view_{_view}", lambda self, name=_view: self.show_view(name))
